"""Cats and dogs: one function builds any kind of cat or dog, in any pose."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .furs import Coat
from .paint import any_paint
from .pet_heads import add_head
from .pet_kinds import CATS, DOGS, Pet
from .solids import Shape, ball, both_sides, limb, rotation, unit

Random = np.random.Generator
PORTRAITS = 0.6  # share of pictures that show only the head


class Pose(NamedTuple):
    """Where an animal's limbs are: points in metres, world coordinates."""

    trunk: np.ndarray  # N×4 from chest to rump: x, z, radius to the side, radius upwards
    forelegs: np.ndarray  # 4×3 from shoulder to paw, of the left one; the right one mirrors it
    hind_legs: np.ndarray
    thigh: np.ndarray  # 2×3: middle and radii of the left one
    neck: np.ndarray  # its foot
    tail: np.ndarray  # its root
    rise: float  # of the neck, radians
    walks: bool  # if not, the ground leaves little room for the tail


def build_cat(kind: str, random: Random) -> Shape:
    """A cat of `kind`, with its own proportions, fur and pose."""
    return build_pet(CATS[kind], random)


def build_dog(kind: str, random: Random) -> Shape:
    """A dog of `kind`, with its own proportions, fur and pose."""
    return build_pet(DOGS[kind], random)


def build_pet(kind: Pet, random: Random) -> Shape:
    """An animal with the measures of a kind; its `gaze` is the direction of its head."""
    pet, shape = vary(kind, random), Shape()
    shape.hair = pet.hair
    coat = Coat(random)
    pose = POSES[random.choice(len(POSES), p=(0.35, 0.35, 0.30))](pet, random)
    x, z, wide, high = pose.trunk.T
    trunk = limb(np.stack([x, 0 * x, z], axis=1), np.stack([wide, high], axis=1), 12)
    coat.cover(shape, trunk, "body", "body")
    add_legs(shape, pet, coat, pose, random)
    add_tail(shape, pet, coat, pose, random)

    head = pose.neck + (pet.neck + 0.7 * pet.head) * np.array([np.cos(pose.rise), 0, np.sin(pose.rise)])
    add_neck(shape, pet, coat, pose.neck, head, random)
    mark = len(shape.points)
    add_head(shape, pet, coat, head, random)
    shape.gaze = float(np.clip(random.normal(0, np.radians(35)), -1.4, 1.4))
    tilted = rotation((0, 1, 0), random.normal(0.05, 0.14)) @ rotation((1, 0, 0), random.normal(0, 0.12))
    shape.turn(mark, rotation((0, 0, 1), shape.gaze) @ tilted, head)
    if random.random() < PORTRAITS:
        shape.subject = slice(mark, None)
    return shape


def vary(pet: Pet, random: Random) -> Pet:
    """Another animal of the same kind."""

    def about(value: float | tuple, spread: float) -> float | tuple:
        if isinstance(value, tuple):
            return tuple(one * factor for one, factor in zip(value, random.uniform(1 - spread, 1 + spread, len(value))))
        return value * random.uniform(1 - spread, 1 + spread)

    changed = {"trunk": 0.08, "girth": 0.10, "leg": 0.10, "thickness": 0.12, "neck": 0.25, "head": 0.07, "skull": 0.05,
               "muzzle": 0.12, "nose": 0.12, "ear_size": 0.12, "ear_place": 0.12, "eye": 0.12, "tail": 0.15,
               "hair": 0.3}
    bent = tuple(degrees + random.normal(0, 15) for degrees in pet.tail_bend)
    return pet._replace(tail_bend=bent, **{name: about(getattr(pet, name), by) for name, by in changed.items()})


def standing(pet: Pet, random: Random) -> Pose:
    """On four legs, perhaps walking."""
    half, g, high = pet.trunk / 2, pet.girth, pet.leg
    trunk = [(half + 0.35 * g, high + 0.25 * g, 0.6 * g, 0.7 * g), (half, high + 0.05 * g, 0.92 * g, 1.1 * g),
             (0.3 * half, high, g, 1.05 * g), (-0.4 * half, high + 0.15 * g, pet.waist * g, 0.9 * pet.waist * g),
             (-half, high + 0.15 * g, 0.88 * g, 0.88 * g),
             (-half - 0.5 * g, high + 0.2 * g, 0.5 * g, 0.55 * g)]
    t, side = pet.thickness, 0.55 * g
    stride, other = random.normal(0, 0.07, 2)
    fore = [(half - 0.1 * g, side, high), (half - 0.25 * g, 1.1 * side, 0.6 * high), (half + stride, side, 0.7 * t),
            (half + stride + 1.1 * t, side, 0.55 * t)]
    hind = [(-half, 0.9 * side, high), (-half + 0.1 * g, 1.15 * side, 0.62 * high),
            (-half - 0.55 * g + other, side, 0.34 * high), (-half - 0.3 * g + other, side, 0.7 * t),
            (-half - 0.3 * g + other + 1.1 * t, side, 0.55 * t)]
    thigh = [(-half + 0.05 * g, 0.62 * g, high - 0.25 * g), (0.62 * g, 0.36 * g, 0.85 * g)]
    neck, tail = (half + 0.1 * g, 0, high + 0.4 * g), (-half - 0.5 * g, 0, high + 0.45 * g)
    return Pose(*map(np.array, (trunk, fore, hind, thigh, neck, tail)), np.radians(random.uniform(35, 65)), True)


def sitting(pet: Pet, random: Random) -> Pose:
    """Upright on the haunches."""
    half, g, t = 0.42 * pet.trunk, pet.girth, pet.thickness
    high = 0.62 * pet.leg + 0.42 * pet.trunk
    trunk = [(0.75 * half, high + 0.5 * g, 0.6 * g, 0.6 * g), (0.62 * half, high, 0.92 * g, 0.85 * g),
             (0.3 * half, 0.6 * high + 0.4 * g, g, g), (-0.25 * half, 0.3 * high + 0.7 * g, 1.05 * g, 1.05 * g),
             (-0.7 * half, 0.9 * g, 1.05 * g, 0.9 * g), (-half - 0.3 * g, 0.6 * g, 0.6 * g, 0.5 * g)]
    side, front = 0.52 * g, 0.95 * half + random.uniform(0, 0.06)
    fore = [(0.7 * half, side, high - 0.1 * g), (0.75 * half, 1.15 * side, 0.55 * high), (front, 0.95 * side, 0.7 * t),
            (front + 1.2 * t, 0.95 * side, 0.55 * t)]
    out = random.uniform(0.85, 1.15)
    hind = [(-0.5 * half, 0.9 * g, 0.7 * g), (0.15 * half, 1.05 * g * out, 0.6 * g), (0.0, g * out, 0.8 * t),
            (0.3 * half + 1.6 * t, 1.05 * g * out, 0.6 * t)]
    thigh = [(-0.25 * half, 0.85 * g, 0.85 * g), (1.0 * g, 0.42 * g, 0.8 * g)]
    neck, tail = (0.62 * half, 0, high + 0.4 * g), (-half - 0.2 * g, 0, 0.5 * g)
    return Pose(*map(np.array, (trunk, fore, hind, thigh, neck, tail)), np.radians(random.uniform(60, 85)), False)


def lying(pet: Pet, random: Random) -> Pose:
    """On the belly, forelegs stretched out."""
    half, g, t = 0.48 * pet.trunk, pet.girth, pet.thickness
    trunk = [(half + 0.3 * g, 1.25 * g, 0.6 * g, 0.7 * g), (half, 1.05 * g, 0.95 * g, 1.0 * g),
             (0.2 * half, 0.92 * g, 1.05 * g, 0.9 * g), (-0.5 * half, 0.9 * g, 1.1 * g, 0.88 * g),
             (-half, 0.8 * g, 0.95 * g, 0.75 * g), (-half - 0.5 * g, 0.6 * g, 0.5 * g, 0.5 * g)]
    reach = half + 0.4 * g + random.uniform(0.4, 1.0) * 0.6 * pet.leg
    fore = [(half - 0.2 * g, 0.7 * g, 0.9 * g), (half - 0.1 * g, 0.95 * g, 1.1 * t), (reach, 0.6 * g, 0.8 * t),
            (reach + t, 0.6 * g, 0.6 * t)]
    hind = [(-0.8 * half, 0.9 * g, 0.6 * g), (-0.35 * half, 1.25 * g, 0.5 * g), (-0.5 * half, 1.3 * g, 0.8 * t),
            (-0.3 * half + t, 1.3 * g, 0.6 * t)]
    thigh = [(-0.65 * half, 0.85 * g, 0.72 * g), (0.9 * g, 0.45 * g, 0.68 * g)]
    neck, tail = (half + 0.1 * g, 0, 1.5 * g), (-half - 0.4 * g, 0, 0.55 * g)
    return Pose(*map(np.array, (trunk, fore, hind, thigh, neck, tail)), np.radians(random.uniform(45, 75)), False)


POSES: tuple[Callable[[Pet, Random], Pose], ...] = (standing, sitting, lying)


def add_legs(shape: Shape, pet: Pet, coat: Coat, pose: Pose, random: Random) -> None:
    """Four legs, with the thighs of the hind legs. Paws are separate, because many have another colour."""
    t, g, step = pet.thickness, pet.girth, random.normal(0, 0.05)
    legs, paws = [ball(pose.thigh[1], 8, 4) + pose.thigh[0]], []
    for path, top in ((pose.forelegs, 0.42 * g), (pose.hind_legs, 0.4 * g)):
        faces = limb(path, [top, 1.25 * t, *[t] * (len(path) - 3), 1.15 * t], 6)
        legs.append(faces[:-18])
        paws.append(faces[-18:])
    for region, faces in (("leg", np.concatenate(legs)), ("paw", np.concatenate(paws))):
        pair = both_sides(faces)
        if pose.walks:  # one leg of a pair is ahead of the other
            lower = np.maximum(1 - pair[..., 2] / pet.leg, 0)
            left = np.repeat([1, -1], len(faces))[:, None]
            pair[..., 0] += step * left * np.sign(pair[..., 0]) * lower
        coat.cover(shape, pair, "leg", region)


def add_tail(shape: Shape, pet: Pet, coat: Coat, pose: Pose, random: Random) -> None:
    """A tail that bends upwards if the pose leaves room for it, otherwise along the ground to one side."""
    (long, thick), (root, bend), steps = pet.tail, np.radians(pet.tail_bend), 8
    way = np.linspace(0, 1, steps)
    rise = (1.0 if pose.walks else 0.2) * (root + bend * way)
    turn = random.normal(0, 0.25) + (0.0 if pose.walks else random.choice([-1, 1])) * (0.2 + 1.6 * way)
    ahead = np.stack([-np.cos(rise) * np.cos(turn), np.cos(rise) * np.sin(turn) + 0 * rise, np.sin(rise)], axis=1)
    path = pose.tail + np.cumsum(ahead, axis=0) * long / steps
    path[:, 2] = np.maximum(path[:, 2], thick)
    path = np.concatenate([[pose.tail], path])
    swell = np.interp(np.linspace(0, 1, steps + 1), (0, 0.15, 0.6, 1), (1.0, 0.95, 1.0, 0.55))
    coat.cover(shape, limb(path, thick * swell, 6, (0.1, 1, 0.05), rounds=0), "tail", "tail")


def add_neck(shape: Shape, pet: Pet, coat: Coat, foot: np.ndarray, head: np.ndarray, random: Random) -> None:
    """A neck from inside the chest to inside the head, sometimes with a collar."""
    g, r = pet.girth, pet.head
    sunk = foot - 0.9 * g * unit(head - foot)
    path, radii = [head, 0.5 * (head + foot), foot, sunk], [0.78 * r, 0.42 * r + 0.46 * g, 0.9 * g, 0.7 * g]
    coat.cover(shape, limb(path, radii, 12, rounds=0), "body", "chest")
    if random.random() < 0.3:
        path = foot + np.array([[0.54], [0.42], [0.30]]) * (head - foot)
        band = limb(path, [1.06 * (0.42 * r + 0.48 * g)] * 3, 12, rounds=0)
        shape.add(band, any_paint(random), "collar")
