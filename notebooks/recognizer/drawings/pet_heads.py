"""The head of a cat or a dog: skull, muzzle, nose, ears, eyes, whiskers and tongue."""

from typing import NamedTuple

import numpy as np

from .furs import Coat
from .pet_kinds import Pet
from .solids import Colour, Shape, ball, both_sides, cross, limb, unit

PINK, DARK, PALE = (0.82, 0.50, 0.48), (0.06, 0.05, 0.05), (0.45, 0.40, 0.38)
# Irises and tongues have the same distribution for both classes, so that only shapes tell them apart.
IRISES = ((0.78, 0.66, 0.20), (0.55, 0.68, 0.30), (0.72, 0.45, 0.15), (0.40, 0.58, 0.78), (0.42, 0.25, 0.13))
TONGUES = 0.3  # share of animals that show theirs
Random = np.random.Generator


class Eyes(NamedTuple):
    """The colour of both irises; half width and half height of the pupil in shares of the eye's half height."""

    iris: Colour
    pupil: tuple[float, float]
    closed: bool


def any_eyes(pet: Pet, random: Random) -> Eyes:
    """The eyes of one animal."""
    slit = random.random() < pet.slit
    pupil = (random.uniform(0.12, 0.35), 0.9) if slit else (random.uniform(0.5, 0.8),) * 2
    iris = np.array(IRISES[random.choice(len(IRISES))]) * random.uniform(0.7, 1.1)
    return Eyes(tuple(iris), pupil, random.random() < 0.07)


def add_head(shape: Shape, pet: Pet, coat: Coat, centre: np.ndarray, random: Random) -> None:
    """Add the head about `centre` (3), looking ahead along x."""
    r = pet.head
    coat.cover(shape, r * ball(pet.skull, 14, 7) + centre, "head", "head")
    if coat.pattern == "striped":
        add_forehead_stripes(shape, pet, coat, centre)
    pink, dark = tuple(random.uniform(0.7, 1.05) * np.array(PINK)), random.random() < 0.75
    on_black = max(coat.colour("muzzle")) < 0.35  # a black nose and mouth would be invisible there
    tip = add_muzzle(shape, pet, coat, centre, DARK if dark and not on_black else pink, PALE if on_black else DARK)
    long_whiskers = random.random() < 0.5 and pet.whiskers > 0
    eyes = any_eyes(pet, random)
    add_ears(shape, pet, coat, centre)
    for side in (-1, 1):
        add_eye(shape, pet, eyes, centre, side)
        if long_whiskers:
            add_whiskers(shape, pet, coat, tip, side)
    if random.random() < TONGUES:
        length = random.uniform(0.35, 0.7) * r
        root = tip + (-0.10 * r, 0, -1.1 * pet.muzzle[2] * r)
        path = [root, root + (0.10 * r, 0, -0.25 * length), root + (0.08 * r, 0, -length)]
        shape.add(limb(path, np.array([(0.2, 0.05), (0.2, 0.06), (0.15, 0.04)]) * r), (0.88, 0.45, 0.48), "tongue")


def add_muzzle(shape: Shape, pet: Pet, coat: Coat, centre: np.ndarray, nose_colour: Colour, ink: Colour) -> np.ndarray:
    """Add muzzle, nose and mouth, a line in `ink`; returns the muzzle's front end (3)."""
    r, (long, wide, high) = pet.head, pet.muzzle
    low = -0.72 * pet.skull[2] + 0.72 * high
    front = pet.skull[0] + long
    stations = np.array([(front - 0.06, low - 0.02, 0.72), (front - 0.2, low - 0.01, 0.95),
                         (0.55 * front + 0.2, low, 1.0), (0.45, low + 0.08, 1.15)])  # x, z, width
    path = np.stack([stations[:, 0], 0 * stations[:, 0], stations[:, 1]], axis=1) * r + centre
    coat.cover(shape, limb(path, r * stations[:, 2:] * (wide, high), 10), "muzzle", "muzzle")
    tip = path[0]
    nose = ball((0.6 * pet.nose, pet.nose, 0.72 * pet.nose), 8, 4)
    place = tip + (0.06 * r, 0, (0.62 * high - 0.1 * pet.nose) * r)
    shape.add(r * nose + place, nose_colour, "nose", gloss=0.35)
    lip = tip + (0.14 * r * min(1, 0.3 + high), 0, -0.25 * high * r)
    shape.add([place + (0.05 * r, 0, 0), lip], ink, "mouth", width=0.035 * r, anchor=lip + (0.3 * r, 0, 0))
    for side in (-1, 1):
        corner = tip + np.array((-0.12, side * 0.68 * wide, -0.62 * high)) * r
        back = tip + np.array((-0.25 - 0.6 * long, side * 0.98 * wide, -0.5 * high)) * r
        shape.add([lip, (lip + corner) / 2 + (0.04 * r, 0, -0.08 * r), corner], ink, "mouth", width=0.03 * r,
                  anchor=(lip + corner) / 2 + (0.25 * r, side * 0.1 * r, 0))
        shape.add([corner, back], ink, "mouth", width=0.03 * r, anchor=corner + (0, side * 0.4 * wide * r, 0))
    return tip


def add_eye(shape: Shape, pet: Pet, look: Eyes, centre: np.ndarray, side: int) -> None:
    """Rim, iris, pupil and a reflection, each a flat polygon on the skull."""
    r, (wide, high), (aside, up) = pet.head, pet.eye, np.radians(pet.eye_place)
    way = np.array([np.cos(aside) * np.cos(up), side * np.sin(aside) * np.cos(up), np.sin(up)])
    place, out = way * pet.skull, unit(unit(way / pet.skull) + (0.7, 0, 0))
    right = unit(np.array([-out[1], out[0], 0.0]))
    above = cross(out, right)
    # The outer corner lies a little higher.
    right, above = right + side * pet.slant * above, above - side * pet.slant * right
    anchor = r * (place + 0.3 * out) + centre
    t = np.linspace(0, 2 * np.pi, 14, endpoint=False)
    c, s = np.cos(t), np.sin(t)
    almond = s * np.abs(s) ** 0.35  # pointed where the lids meet

    def disc(across: np.ndarray, upwards: np.ndarray, colour: Colour) -> None:
        flat = place + across[:, None] * right + upwards[:, None] * above
        shape.add(r * flat + centre, colour, "eye", anchor=anchor)

    disc(1.18 * wide * c, (0.3 if look.closed else 1.22) * high * almond, DARK)
    if look.closed:
        return
    disc(wide * c, high * almond, look.iris)
    disc(look.pupil[0] * high * c, look.pupil[1] * high * s, (0.02, 0.02, 0.02))
    disc(0.2 * high * c + 0.3 * high, 0.2 * high * s + 0.35 * high, (0.95, 0.95, 0.95))


def add_ears(shape: Shape, pet: Pet, coat: Coat, centre: np.ndarray) -> None:
    """Pricked ears stand up, folded ones tip over to the front, hanging ones lie against the cheeks."""
    r, (length, half), (down, lean), flat = pet.head, pet.ear_size, np.radians(pet.ear_place), 0.14
    root = 0.88 * np.array([-0.05, np.sin(down), np.cos(down)]) * pet.skull
    upwards, front = np.array([0.0, np.sin(lean), np.cos(lean)]), unit(np.array([1.0, 0.3, 0.0]))
    if pet.ear == "pricked":
        path = [root - 0.15 * upwards, root + 0.45 * length * upwards, root + length * upwards]
        radii, across = [(half, 0.2), (0.66 * half, 0.12), (0.05, 0.03)], cross(front, upwards)
    elif pet.ear == "folded":
        path = root + np.array([(0, 0, 0), (0, 0.2, 0.22 * length), (0.2 * length, 0.36, 0.1 * length),
                                (0.4 * length, 0.42, -0.75 * length)])
        radii, across = [(0.7 * half, flat), (half, flat), (0.9 * half, 0.1), (0.12, 0.05)], (0.6, 1.0, 0.0)
    else:
        path = root + np.array([(0, 0, 0), (0, 0.24, -0.02), (0.06, 0.36, -0.5 * length), (0.12, 0.30, -length)])
        radii, across = [(0.5 * half, flat), (0.8 * half, flat), (half, flat), (0.5 * half, 0.08)], (1.0, 0.35, 0.0)
    coat.cover(shape, both_sides(r * limb(path, radii, 6, across)) + centre, "ear", "ear")
    if pet.ear == "pricked":
        middle, wide = root + 0.02 * upwards + 0.17 * front, 0.68 * half * unit(cross(front, upwards))
        inner = np.array([[middle + wide, middle - wide, root + 0.85 * length * upwards + 0.08 * front]])
        colour = tuple(0.65 * np.array(coat.colour("ear")) + 0.12)  # not pink, because other ears show no pink
        anchor = middle + 0.35 * length * upwards + 0.3 * front
        for face, side in zip(both_sides(inner), (1, -1)):
            shape.add(r * face + centre, colour, "ear", anchor=r * anchor * (1, side, 1) + centre)


def add_whiskers(shape: Shape, pet: Pet, coat: Coat, tip: np.ndarray, side: int) -> None:
    """Three stiff hairs on each side of the muzzle."""
    r, (_, wide, high) = pet.head, pet.muzzle
    roots = tip + np.stack([np.full(3, -0.05), np.full(3, side * 0.7 * wide), high * np.linspace(-0.3, 0.25, 3)], 1) * r
    out = np.stack([np.full(3, -0.1), np.full(3, side), np.linspace(-0.45, 0.3, 3)], 1)
    lines = np.stack([roots, roots + 0.6 * pet.whiskers * r * out, roots + pet.whiskers * r * (out - (0, 0, 0.15))], 1)
    shape.add(lines, tuple(0.75 * np.array(coat.colour("muzzle")) + 0.25), "whisker", width=0.008 * r)


def add_forehead_stripes(shape: Shape, pet: Pet, coat: Coat, centre: np.ndarray) -> None:
    """Three dark lines from between the eyes over the top of the head."""
    t = np.radians([(35, 60, 85)])
    for aside in (-0.32, 0.0, 0.32):
        way = np.stack([np.cos(t[0]), np.full(3, aside), np.sin(t[0])], 1)
        points = pet.head * 1.03 * unit(way) * pet.skull + centre
        shape.add(points, coat.second, None, width=0.1 * pet.head, anchor=points[1] + 0.2 * pet.head * unit(way)[1])
