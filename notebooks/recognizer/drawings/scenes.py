"""Scenes for vehicles: studio, wall, street, trees, field, hall. They are the same for every class."""

from collections.abc import Callable

import cv2
import numpy as np

from .backdrop import EVERYWHERE, Backdrop, Plane, Random, noise
from .camera import NEAREST, Camera
from .distractors import add_behind
from .paint import any_paint, grey
from .painting import as_bytes


def studio(b: Backdrop, random: Random) -> None:
    """Plain paper, mostly white, a little darker towards the floor or the corners."""
    tone = random.choice(4, p=(0.5, 0.14, 0.22, 0.14))
    colour = [(1, 1, 1), grey(random, 0.6, 0.95), grey(random, 0.06, 0.3), any_paint(random)][tone]
    far, near = (
        np.array(colour),
        np.array(colour) * (1.0 if tone == 0 and random.random() < 0.6 else random.uniform(0.7, 1.1)),
    )
    horizon = b.camera.horizon(b.size)[:, 1].mean() / b.size
    down = np.linspace(0, 1, b.size)[:, None] - horizon - random.uniform(0, 0.3)
    b.texture(b.below(EVERYWHERE), far, near, np.repeat(0.5 + down * random.uniform(1.5, 6), b.size, axis=1))
    if tone and random.random() < 0.5:  # light falls off towards the corners
        d = np.linspace(-1, 1, b.size) ** 2
        fade = 1 - random.uniform(0.1, 0.5) * np.clip(d[:, None] + d, 0, 1.4)
        b.picture[:] = (b.picture * fade[..., None]).astype(np.uint8)


def sky(b: Backdrop, random: Random) -> None:
    """Blue, overcast or evening sky, with clouds."""
    colours = [((0.30, 0.52, 0.85), (0.75, 0.86, 0.96)), ((0.72, 0.75, 0.79), (0.88, 0.89, 0.90)),
               ((0.42, 0.45, 0.60), (0.98, 0.72, 0.50)), ((0.97, 0.98, 1.0), (1, 1, 1))]
    top, low = colours[random.choice(4, p=(0.45, 0.3, 0.1, 0.15))]
    horizon = max(b.camera.horizon(b.size)[:, 1].mean() / b.size, 0.2)
    amount = np.linspace(0, 1 / horizon, b.size)[:, None]
    clouds = noise(random, b.size, (4, 0.3), (9, 0.2), (20, 0.1))
    b.texture(b.below(EVERYWHERE), top, low, amount + np.clip(clouds, 0, 1) * random.uniform(0, 1.5))


def ground(b: Backdrop, random: Random, where: np.ndarray, kind: str | None = None) -> None:
    """Asphalt, paving, grass, earth, gravel or a smooth floor, inside `where`."""
    kind = kind or str(random.choice(["asphalt", "paving", "grass", "earth", "gravel", "floor"]))
    low, high, fine = {
        "asphalt": (grey(random, 0.32, 0.6), None, 0.12),
        "paving": (grey(random, 0.45, 0.75), None, 0.1),
        "grass": ((0.20, 0.30, 0.12), (0.46, 0.56, 0.27), 0.3),
        "earth": ((0.42, 0.35, 0.27), (0.66, 0.57, 0.46), 0.25),
        "gravel": (grey(random, 0.42, 0.5), grey(random, 0.6, 0.75), 0.32),
        "floor": (grey(random, 0.35, 0.8), None, 0.02),
    }[kind]
    high = high or tuple(1.25 * c for c in low)
    patches = noise(random, b.size, (3, 0.2), (7, 0.12))
    coarse, small, share = b.lying(0.1, random), b.lying(0.03, random), fine / 96
    grains = cv2.addWeighted(coarse, share, small, share, 0.5 - 256 * share, dtype=cv2.CV_32F)
    b.texture(where, low, high, patches + grains)
    if kind in ("paving", "floor") and random.random() < 0.8:
        tile, turn, seam = random.uniform(0.3, 1.2), random.uniform(0, 0.6), tuple(0.75 * c for c in low)
        kept = b.picture.copy()
        u, v = np.array([np.cos(turn), np.sin(turn), 0]), np.array([-np.sin(turn), np.cos(turn), 0])
        steps = tile * np.arange(-8, 9)[:, None]
        for one, two in ((u, v), (v, u)):
            b.strokes(b.camera.lines(steps * one - 20 * two, steps * one + 20 * two), 1, seam)
        cv2.copyTo(kept, 1 - where, b.picture)


def foliage(b: Backdrop, random: Random, where: np.ndarray) -> None:
    """Leaves: bright and dark greens (or autumn browns), mixed at several scales."""
    dark, bright = [((0.08, 0.14, 0.06), (0.38, 0.50, 0.22)), ((0.13, 0.20, 0.10), (0.60, 0.66, 0.34)),
                    ((0.18, 0.13, 0.08), (0.66, 0.52, 0.28))][random.choice(3, p=(0.5, 0.3, 0.2))]
    leaf = int(random.integers(b.size // 8, b.size // 3))
    field = noise(random, b.size, (4, 0.2), (10, 0.15), (leaf, 0.22), (b.size // 2, 0.18))
    b.texture(where, dark, bright, 0.45 + field)


def wall(b: Backdrop, random: Random) -> None:
    """A wall behind the vehicle: plaster, brick, stone, boards, a fence or a shutter."""
    plane = Plane(b, random.uniform(0.6, 3.0), random.normal(0, 0.12))
    kind = str(random.choice(["plaster", "brick", "stone", "boards", "fence", "shutter"]))
    colour = np.array(any_paint(random)) * 0.35 + np.array(grey(random, 0.15, 0.7))
    left, right = plane.visible()
    near = np.clip((left, right), -5, 5)
    if kind == "fence":
        foliage(b, random, b.below(EVERYWHERE))
    else:
        patchy = noise(random, b.size, (3, 0.2), (12, 0.12), (b.size // 2, 0.12), (b.size, 0.12))
        b.texture(b.below(EVERYWHERE), 0.8 * colour, 1.1 * colour, 0.5 + patchy)
    seam = tuple(colour * random.choice([0.7, 1.25]))
    if kind == "brick":
        high = random.uniform(0.1, 0.25)
        courses = [(left, k * high, right, k * high) for k in range(1, 22)]
        joints = [(t, k * high, t, (k - 1) * high) for k in range(1, 22)
                  for t in np.arange(*near, 3 * high) + (k % 2) * 1.5 * high]
        plane.lines(courses + joints, seam)
    elif kind == "stone":
        t, z, w = random.uniform((near[0], 0, 0.1), (near[1], 3, 0.35), (70, 3)).T
        tones = colour * random.uniform(0.65, 1.3, (70, 1))
        plane.rectangles(np.stack([t, t + w, z, z + 0.6 * w], axis=1), tones)
    elif kind == "boards":
        step = random.uniform(0.12, 0.4)
        plane.lines([(t, 0, t, 4) for t in np.arange(*np.clip((left, right), -20 * step, 20 * step), step)], seam)
    elif kind == "fence":
        step = random.uniform(0.12, 0.4)
        pales = [(t, t + 0.2 * step, 0, 1.3) for t in np.arange(*np.clip((left, right), -20 * step, 20 * step), step)]
        rails = [(left, right, z, z + 0.06) for z in (0.15, 1.15)]
        plane.rectangles(pales + rails, [colour] * (len(pales) + 2))
    elif kind == "shutter":
        plane.lines([(left, z, right, z) for z in np.arange(0.1, 4, random.uniform(0.1, 0.3))], seam)
    if random.random() < 0.4 and kind not in ("fence", "shutter"):  # a door or a window
        t, w, z = random.uniform(-3, 2), random.uniform(0.6, 1.6), random.choice([0.0, 0.8])
        plane.rectangles([(t, t + w, z, z + random.uniform(1.0, 2.0))], [colour * random.uniform(0.2, 1.6)])
    ground(b, random, b.below(plane.edge(0)))


def street(b: Backdrop, random: Random) -> None:
    """Houses and hedges across the road; kerb and road markings."""
    sky(b, random)
    distance, turn = random.uniform(4, 16), random.normal(0, 0.2)
    plane = Plane(b, distance, turn)
    ground(b, random, b.below(b.camera.horizon(b.size)), str(random.choice(["asphalt", "asphalt", "paving", "earth"])))
    road = b.picture.copy()
    left, right = plane.visible()
    t = left - random.uniform(0, 6)
    while t < right:
        width = random.uniform(4, 11)
        (hedge if random.random() < 0.3 else house)(b, plane, t, width, random)
        t += width + random.choice([0, 0, 2])
    cv2.copyTo(road, b.below(plane.edge(0)), b.picture)
    for near, colour, wide in (
        (random.uniform(1.5, 3.5), grey(random, 0.6, 0.8), 0.15),
        (-1.6, (0.9, 0.9, 0.88), 0.12),
    ):
        if random.random() < 0.6:
            edges = Plane(b, near, turn).edge(0), Plane(b, near + wide, turn).edge(0)[::-1]
            b.fill(np.concatenate(edges), colour)
    grain = noise(random, b.size, (b.size, 9), (b.size // 3, 8))
    b.picture[:] = np.clip(b.picture + grain[..., None], 0, 255).astype(np.uint8)


def house(b: Backdrop, plane: Plane, start: float, width: float, random: Random) -> None:
    """The front of a house with rows of windows, and sometimes a gable."""
    colour = np.array(any_paint(random)) * 0.4 + np.array(grey(random, 0.3, 0.65))
    height, columns, pane = random.uniform(3.5, 12), int(random.integers(2, 5)), grey(random, 0.08, 0.45)
    if random.random() < 0.4:
        roof = [
            (start - 0.3, height),
            (start + width / 2, height + random.uniform(1, 3)),
            (start + width + 0.3, height),
        ]
        plane.fill(roof, (0.5, 0.25, 0.18) if random.random() < 0.6 else grey(random, 0.2, 0.4))
    plane.rectangles([(start, start + width, 0, height)], [colour])
    step = width / columns
    windows = np.array([(start + (c + 0.28) * step, start + (c + 0.72) * step, z, z + 1.4)
                        for z in np.arange(0.9, height - 1.6, 2.9) for c in range(columns)]).reshape(-1, 4)
    plane.rectangles(windows + (-0.1, 0.1, -0.1, 0.1), [1.25 * colour] * len(windows))
    plane.rectangles(windows, [pane] * len(windows))


def hedge(b: Backdrop, plane: Plane, start: float, width: float, random: Random) -> None:
    """Leaves between two houses."""
    outline = np.array([(0, 0), (0, 1.5), (0.3, 2.4), (0.7, 2), (1, 1.4), (1, 0)]) * (width, random.uniform(0.7, 2)) + (
        start,
        0,
    )
    pixels, depth = b.camera.project(plane.at(outline))
    if depth.min() > NEAREST:
        where = np.zeros((b.size, b.size), np.uint8)
        cv2.fillPoly(where, [np.clip(pixels, -999, 999).astype(np.int32)], 1)
        foliage(b, random, where)


def trees(b: Backdrop, random: Random) -> None:
    """A park: leaves in the background, trunks in front of them, grass or a path below."""
    foliage(b, random, b.below(EVERYWHERE))
    plane = Plane(b, random.uniform(2.5, 12), random.normal(0, 0.2))
    if random.random() < 0.4:
        leaves, tops = b.picture.copy(), plane.edge(random.uniform(2.5, 6))
        sky(b, random)
        cv2.copyTo(leaves, b.below(tops) | (noise(random, b.size, (8, 1), (24, 1)) > 1.5).view(np.uint8), b.picture)
    bark = np.array((0.22, 0.17, 0.12) if random.random() < 0.7 else (0.6, 0.57, 0.5))
    count = random.integers(0, 6)
    t, w = random.uniform((-6, 0.1), (6, 0.35), (count, 2)).T
    plane.rectangles(np.stack([t, t + w, 0 * t, 0 * t + 7], axis=1), bark * random.uniform(0.7, 1.3, (count, 1)))
    ground(b, random, b.below(plane.edge(0)), str(random.choice(["grass", "grass", "earth", "gravel", "asphalt"])))


def field(b: Backdrop, random: Random) -> None:
    """Open country: sky, hills or a far town, a field or a road."""
    sky(b, random)
    horizon = b.camera.horizon(b.size)
    for _ in range(random.integers(0, 3)):
        x = np.linspace(-5, b.size + 5, 12)
        height = np.abs(random.normal(0.05, 0.05, 12) + random.uniform(0, 0.12)) * b.size
        y = np.interp(x, horizon[:, 0], horizon[:, 1]) - height
        tone = np.array(
            [(0.45, 0.52, 0.60), (0.25, 0.35, 0.22), (0.55, 0.48, 0.40), (0.5, 0.5, 0.53)][random.integers(4)]
        )
        ridge = np.concatenate([np.stack([x, y], axis=1), [(b.size + 5, b.size * 2), (-5, b.size * 2)]])
        b.fill(ridge, tuple(tone * random.uniform(0.7, 1.2)))
    ground(b, random, b.below(horizon), str(random.choice(["grass", "earth", "asphalt", "gravel"])))


def hall(b: Backdrop, random: Random) -> None:
    """A showroom, garage or fair, out of focus: panels, lamps and other things."""
    dark = random.random() < 0.5
    b.picture[:] = as_bytes(grey(random, 0.04, 0.2) if dark else grey(random, 0.4, 0.85))
    for _ in range(random.integers(6, 22)):
        x, y, w, h = random.uniform((-0.1, -0.1, 0.03, 0.05), (1.0, 0.8, 0.4, 0.5)) * b.size
        colour = any_paint(random) if random.random() < 0.5 else grey(random, 0.05, 0.95)
        b.fill(np.array([(x, y), (x + w, y), (x + w, y + h), (x, y + h)]), colour)
    ground(b, random, b.below(b.camera.horizon(b.size) + (0, random.uniform(0, 0.15) * b.size)), "floor")
    blur = random.uniform(0.003, 0.03) * b.size
    b.picture[:] = cv2.GaussianBlur(b.picture, (0, 0), blur)


Scene = tuple[Callable[[Backdrop, Random], None], float]  # the function that paints it, and its probability

SCENES: dict[str, Scene] = {
    "studio": (studio, 0.28),
    "wall": (wall, 0.20),
    "street": (street, 0.20),
    "trees": (trees, 0.13),
    "field": (field, 0.09),
    "hall": (hall, 0.10),
}
EMPTY = ("studio", "room", "rug", "sofa", "blanket")  # scenes where other things are rare


def paint_scene(
    camera: Camera, size: int, scenes: dict[str, Scene], darkest: float, random: Random, wanted: str | None = None
) -> tuple[np.ndarray, str]:
    """A background (uint8, size×size×3) and its name in `scenes`. In shade it keeps at least `darkest` of its light.

    If `wanted` names a scene, it is painted instead of a random one.
    """
    names = list(scenes)
    by_chance = names[random.choice(len(names), p=[scenes[n][1] for n in names])]
    name = wanted or by_chance
    backdrop = Backdrop(size, camera)
    scenes[name][0](backdrop, random)
    if name not in EMPTY or random.random() < 0.15:
        add_behind(backdrop, camera, random)
    if name != "studio" and random.random() < 0.45:  # vehicle in the light, background in the shade
        backdrop.picture[:] = cv2.convertScaleAbs(backdrop.picture, alpha=random.uniform(darkest, 0.8))
    return backdrop.picture, name
