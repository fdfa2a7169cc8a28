"""Where a vehicle stands: studio, wall, street, trees, field, hall. The same for every class."""

from typing import Callable

import cv2
import numpy as np

from .camera import NEAREST, Camera
from .colours import any_paint, grey
from .distractors import add_behind
from .painting import as_bytes

Random = np.random.Generator
SHIFT = 3  # fractional bits of OpenCV's coordinates


class Backdrop:
    """A picture (uint8, size×size×3) that a scene is painted on, and the camera that both look through."""

    def __init__(self, size: int, camera: Camera) -> None:
        self.size, self.camera = size, camera
        self.picture = np.zeros((size, size, 3), np.uint8)

    def fill(self, pixels: np.ndarray, colour: tuple) -> None:
        points = np.clip(np.asarray(pixels, float) * 2**SHIFT, -(2**20), 2**20).astype(np.int32)
        cv2.fillPoly(self.picture, [points], as_bytes(colour), cv2.LINE_AA, SHIFT)

    def stroke(self, pixels: np.ndarray, width: float, colour: tuple) -> None:
        points = np.clip(np.asarray(pixels, float) * 2**SHIFT, -(2**20), 2**20).astype(np.int32)
        cv2.polylines(self.picture, [points], False, as_bytes(colour), max(1, round(width)), cv2.LINE_AA, SHIFT)

    def disc(self, x: float, y: float, radius: float, colour: tuple) -> None:
        scale = 2**SHIFT
        cv2.circle(self.picture, (int(x * scale), int(y * scale)), int(max(radius, 0.5) * scale), as_bytes(colour), -1,
                   cv2.LINE_AA, SHIFT)  # fmt: skip

    def below(self, edge: np.ndarray) -> np.ndarray:
        """Where (bool, size×size) the picture lies under a line given by its two ends, extended to both sides."""
        (x0, y0), (x1, y1) = edge
        slope = (y1 - y0) / (x1 - x0 if abs(x1 - x0) > 1e-6 else 1e-6)
        rows, columns = np.arange(self.size)[:, None], np.arange(self.size)
        return rows + 0.5 > y0 + slope * (columns + 0.5 - x0)

    def texture(self, where: np.ndarray, low: tuple, high: tuple, amount: np.ndarray) -> None:
        """Mix two colours by `amount` (size×size, 0 to 1) inside `where` (bool, size×size)."""
        steps = np.linspace(0, 1, 256)[:, None]
        colours = (255 * ((1 - steps) * low + steps * np.asarray(high))).clip(0, 255).astype(np.uint8)
        chosen = cv2.convertScaleAbs(np.maximum(amount, 0), alpha=255)
        mixed = cv2.LUT(cv2.merge([chosen] * 3), colours[None])
        cv2.copyTo(mixed, where.view(np.uint8), self.picture)


def noise(random: Random, size: int, *cells: tuple[int, float]) -> np.ndarray:
    """Smooth random field (float32, size×size, mean 0): for each (cells across, strength) one layer."""
    field = np.zeros((size, size), np.float32)
    for count, strength in cells:
        grid = random.standard_normal((count, count), np.float32) * np.float32(strength)
        field += cv2.resize(grid, (size, size), interpolation=cv2.INTER_LINEAR)
    return field


def away(camera: Camera, distance: float, turn: float) -> tuple[np.ndarray, np.ndarray]:
    """A vertical plane behind the vehicle: a point on the ground and the direction along it.

    The plane runs along the vehicle or across it, whichever faces the camera more, and is turned by `turn`.
    """
    x, y = camera.position[:2]
    normal = np.array([0.0, -np.sign(y), 0]) if abs(y) > 0.6 * abs(x) else np.array([-np.sign(x), 0.0, 0])
    c, s = np.cos(turn), np.sin(turn)
    normal = np.array([c * normal[0] - s * normal[1], s * normal[0] + c * normal[1], 0])
    return normal * distance, np.array([-normal[1], normal[0], 0])


class Plane:
    """A wall: coordinates (along, up) in metres to pixels."""

    def __init__(self, backdrop: Backdrop, base: np.ndarray, along: np.ndarray) -> None:
        self.backdrop, self.base, self.along = backdrop, base, along

    def at(self, t: float, z: float) -> np.ndarray:
        return self.base + t * self.along + (0, 0, z)

    def edge(self, z: float) -> np.ndarray:
        return self.backdrop.camera.line(self.at(-60, z), self.at(60, z))

    def rectangle(self, t0: float, t1: float, z0: float, z1: float, colour: tuple) -> None:
        corners = np.array([self.at(t0, z0), self.at(t1, z0), self.at(t1, z1), self.at(t0, z1)])
        pixels, depth = self.backdrop.camera.project(corners)
        if depth.min() > NEAREST:
            self.backdrop.fill(pixels, colour)

    def line(self, t0: float, z0: float, t1: float, z1: float, colour: tuple, width: float = 1.0) -> None:
        self.backdrop.stroke(self.backdrop.camera.line(self.at(t0, z0), self.at(t1, z1)), width, colour)

    def visible(self) -> tuple[float, float]:
        """The stretch (from, to) of the wall's foot that may be seen, at most 30 m either way."""
        ts = np.linspace(-30, 30, 121)
        pixels, depth = self.backdrop.camera.project(self.base + ts[:, None] * self.along)
        seen = ts[(depth > NEAREST) & (pixels[:, 0] > -20) & (pixels[:, 0] < self.backdrop.size + 20)]
        return (float(seen.min()), float(seen.max())) if len(seen) else (-3.0, 3.0)


def studio(b: Backdrop, random: Random) -> None:
    """Plain paper, white more often than not, a little darker towards the floor or the corners."""
    tone = random.choice(4, p=(0.62, 0.13, 0.12, 0.13))
    colour = [(1, 1, 1), grey(random, 0.6, 0.95), grey(random, 0.02, 0.25), any_paint(random)][tone]
    far, near = np.array(colour), np.array(colour) * (1.0 if tone == 0 and random.random() < 0.6 else random.uniform(0.7, 1.1))
    horizon = b.camera.horizon(b.size)[:, 1].mean() / b.size
    down = np.linspace(0, 1, b.size)[:, None] - horizon - random.uniform(0, 0.3)
    b.texture(np.ones((b.size, b.size), bool), far, near, np.repeat(0.5 + down * random.uniform(1.5, 6), b.size, axis=1))
    if tone and random.random() < 0.5:  # light falls off towards the corners
        d = np.linspace(-1, 1, b.size) ** 2
        fade = 1 - random.uniform(0.1, 0.5) * np.clip(d[:, None] + d, 0, 1.4)
        b.picture[:] = (b.picture * fade[..., None]).astype(np.uint8)


def sky(b: Backdrop, random: Random) -> None:
    """Blue, overcast or evening sky, with clouds."""
    colours = [((0.30, 0.52, 0.85), (0.75, 0.86, 0.96)), ((0.72, 0.75, 0.79), (0.88, 0.89, 0.90)),
               ((0.42, 0.45, 0.60), (0.98, 0.72, 0.50)), ((0.97, 0.98, 1.0), (1, 1, 1))]  # fmt: skip
    top, low = colours[random.choice(4, p=(0.45, 0.3, 0.1, 0.15))]
    horizon = max(b.camera.horizon(b.size)[:, 1].mean() / b.size, 0.2)
    amount = np.linspace(0, 1 / horizon, b.size)[:, None]
    clouds = noise(random, b.size, (4, 0.3), (9, 0.2), (20, 0.1))
    b.texture(np.ones((b.size, b.size), bool), top, low, amount + np.clip(clouds, 0, 1) * random.uniform(0, 1.5))


def ground(b: Backdrop, random: Random, where: np.ndarray, kind: str | None = None) -> None:
    """Asphalt, paving, grass, earth, gravel or a smooth floor, inside `where`."""
    kind = kind or str(random.choice(["asphalt", "paving", "grass", "earth", "gravel", "floor"]))
    low, high, fine = {
        "asphalt": (grey(random, 0.22, 0.5), None, 0.09),
        "paving": (grey(random, 0.40, 0.7), None, 0.07),
        "grass": ((0.16, 0.28, 0.10), (0.45, 0.58, 0.25), 0.28),
        "earth": ((0.38, 0.30, 0.22), (0.66, 0.55, 0.42), 0.2),
        "gravel": (grey(random, 0.4, 0.5), grey(random, 0.6, 0.8), 0.28),
        "floor": (grey(random, 0.3, 0.75), None, 0.02),
    }[kind]
    high = high or tuple(1.25 * c for c in low)
    field = noise(random, b.size, (5, 0.2), (24, 0.6 * fine), (b.size // 3, 0.8 * fine), (b.size, fine))
    b.texture(where, low, high, 0.5 + field)
    if kind in ("paving", "floor") and random.random() < 0.8:
        tile, seam = random.uniform(0.3, 1.2), tuple(0.75 * c for c in low)
        kept = b.picture.copy()
        turn = random.uniform(0, 0.6)
        u, v = np.array([np.cos(turn), np.sin(turn), 0]), np.array([-np.sin(turn), np.cos(turn), 0])
        for k in range(-8, 9):
            for one, two in ((u, v), (v, u)):
                b.stroke(b.camera.line(k * tile * one - 20 * two, k * tile * one + 20 * two), 1, seam)
        np.copyto(b.picture, kept, where=~where[..., None])


def foliage(b: Backdrop, random: Random, where: np.ndarray) -> None:
    """Leaves: bright and dark greens (or autumn browns), mixed at several scales."""
    dark, bright = [((0.05, 0.12, 0.04), (0.35, 0.52, 0.18)), ((0.10, 0.18, 0.08), (0.60, 0.68, 0.30)),
                    ((0.16, 0.10, 0.05), (0.70, 0.52, 0.22))][random.choice(3, p=(0.5, 0.3, 0.2))]  # fmt: skip
    leaf = int(random.integers(b.size // 8, b.size // 2))
    field = noise(random, b.size, (4, 0.25), (10, 0.2), (leaf, 0.35), (b.size, 0.2))
    b.texture(where, dark, bright, 0.42 + field)


def wall(b: Backdrop, random: Random) -> None:
    """The vehicle stands before a wall: plaster, brick, stone, boards, a fence or a shutter."""
    base, along = away(b.camera, random.uniform(0.6, 3.0), random.normal(0, 0.12))
    plane = Plane(b, base, along)
    everywhere = np.ones((b.size, b.size), bool)
    below = b.below(plane.edge(0))
    kind = str(random.choice(["plaster", "brick", "stone", "boards", "fence", "shutter"]))
    colour = np.array(any_paint(random)) * 0.35 + np.array(grey(random, 0.15, 0.7))
    left, right = plane.visible()
    if kind == "fence":
        foliage(b, random, everywhere)
    else:
        patchy = noise(random, b.size, (3, 0.2), (12, 0.12), (b.size // 2, 0.12), (b.size, 0.12))
        b.texture(everywhere, 0.8 * colour, 1.1 * colour, 0.5 + patchy)
    seam = tuple(colour * random.choice([0.7, 1.25]))
    if kind == "brick":
        course = random.uniform(0.1, 0.25)
        for k in range(1, 22):
            plane.line(left, k * course, right, k * course, seam)
            for t in np.arange(max(left, -5), min(right, 5), 3 * course) + (k % 2) * 1.5 * course:
                plane.line(t, k * course, t, (k - 1) * course, seam)
    elif kind == "stone":
        for _ in range(70):
            t, z, w = random.uniform(max(left, -5), min(right, 5)), random.uniform(0, 3), random.uniform(0.1, 0.35)
            plane.rectangle(t, t + w, z, z + 0.6 * w, tuple(colour * random.uniform(0.65, 1.3)))
    elif kind in ("boards", "fence"):
        step = random.uniform(0.12, 0.4)
        for t in np.arange(max(left, -20 * step), min(right, 20 * step), step):
            if kind == "fence":
                plane.rectangle(t, t + 0.2 * step, 0, 1.3, tuple(colour))
            else:
                plane.line(t, 0, t, 4, seam)
        if kind == "fence":
            for z in (0.15, 1.15):
                plane.rectangle(left, right, z, z + 0.06, tuple(colour))
    elif kind == "shutter":
        for z in np.arange(0.1, 4, random.uniform(0.1, 0.3)):
            plane.line(left, z, right, z, seam)
    if random.random() < 0.4 and kind not in ("fence", "shutter"):
        t, w, z = random.uniform(-3, 2), random.uniform(0.6, 1.6), random.choice([0.0, 0.8])
        plane.rectangle(t, t + w, z, z + random.uniform(1.0, 2.0), tuple(colour * random.uniform(0.2, 1.6)))
    ground(b, random, below)


def street(b: Backdrop, random: Random) -> None:
    """Houses with windows, hedges or trees across the road; kerb and road markings."""
    sky(b, random)
    base, along = away(b.camera, random.uniform(4, 16), random.normal(0, 0.2))
    plane = Plane(b, base, along)
    below = b.below(plane.edge(0))
    ground(b, random, b.below(b.camera.horizon(b.size)), str(random.choice(["asphalt", "asphalt", "paving", "earth"])))
    ground_kept = b.picture.copy()
    left, right = plane.visible()
    t = left - random.uniform(0, 6)
    while t < right:
        width, height = random.uniform(4, 11), random.uniform(3.5, 12)
        if random.random() < 0.3:
            hedge = np.zeros((b.size, b.size), np.uint8)
            edge = b.camera.project(np.array([plane.at(t + s * width, z) for s, z in
                                              ((0, 0), (0, 1.5), (0.3, 2.4), (0.7, 2), (1, 1.4), (1, 0))]))  # fmt: skip
            if edge[1].min() > NEAREST:
                cv2.fillPoly(hedge, [np.clip(edge[0], -999, 999).astype(np.int32)], 1)
                foliage(b, random, hedge > 0)
        else:
            colour = np.array(any_paint(random)) * 0.4 + np.array(grey(random, 0.3, 0.65))
            plane.rectangle(t, t + width, 0, height, tuple(colour))
            pane = grey(random, 0.08, 0.45)
            columns = int(random.integers(2, 5))
            for z in np.arange(0.9, height - 1.6, 2.9):
                for c in range(columns):
                    x = t + (c + 0.28) * width / columns
                    plane.rectangle(x, x + 0.44 * width / columns, z, z + 1.4, pane)
        t += width + random.choice([0, 0, 2])
    np.copyto(b.picture, ground_kept, where=below[..., None])
    out = base / np.linalg.norm(base)
    for distance, colour, width in ((random.uniform(1.5, 3.5), grey(random, 0.6, 0.8), 0.15), (-1.6, (0.9, 0.9, 0.88), 0.12)):
        if random.random() < 0.6:
            kerb = Plane(b, out * distance, along)
            a, c = kerb.edge(0), b.camera.line(kerb.at(60, 0) + width * out, kerb.at(-60, 0) + width * out)
            b.fill(np.concatenate([a, c]), colour)
    grain = noise(random, b.size, (b.size, 9), (b.size // 3, 8))
    b.picture[:] = np.clip(b.picture + grain[..., None], 0, 255).astype(np.uint8)


def trees(b: Backdrop, random: Random) -> None:
    """A park: leaves behind, trunks between, grass or a path below."""
    foliage(b, random, np.ones((b.size, b.size), bool))
    base, along = away(b.camera, random.uniform(2.5, 12), random.normal(0, 0.2))
    plane = Plane(b, base, along)
    if random.random() < 0.4:
        sky_line = plane.edge(random.uniform(2.5, 6))
        kept = b.picture.copy()
        sky(b, random)
        wavy = b.below(sky_line + np.array([0, 1]) * random.normal(0, 3, (2, 1)))
        np.copyto(b.picture, kept, where=(wavy | (noise(random, b.size, (8, 1), (24, 1)) > 1.6))[..., None])
    bark = (0.22, 0.17, 0.12) if random.random() < 0.7 else (0.6, 0.57, 0.5)
    for _ in range(random.integers(0, 6)):
        t, w = random.uniform(-6, 6), random.uniform(0.1, 0.35)
        plane.rectangle(t, t + w, 0, 7, tuple(random.uniform(0.7, 1.3) * np.array(bark)))
    ground(b, random, b.below(plane.edge(0)), str(random.choice(["grass", "grass", "earth", "gravel", "asphalt"])))


def field(b: Backdrop, random: Random) -> None:
    """Open country: sky, hills or a far town, a field or a road."""
    sky(b, random)
    horizon = b.camera.horizon(b.size)
    for _ in range(random.integers(0, 3)):
        x = np.linspace(-5, b.size + 5, 12)
        height = np.abs(random.normal(0.05, 0.05, 12) + random.uniform(0, 0.12)) * b.size
        y = np.interp(x, horizon[:, 0], horizon[:, 1]) - height
        tone = np.array([(0.45, 0.52, 0.60), (0.25, 0.35, 0.22), (0.55, 0.48, 0.40), (0.5, 0.5, 0.53)][random.integers(4)])
        ridge = np.concatenate([np.stack([x, y], axis=1), [(b.size + 5, b.size * 2), (-5, b.size * 2)]])
        b.fill(ridge, tuple(tone * random.uniform(0.7, 1.2)))
    ground(b, random, b.below(horizon), str(random.choice(["grass", "earth", "asphalt", "gravel"])))


def hall(b: Backdrop, random: Random) -> None:
    """A showroom, garage or fair, out of focus: panels, lamps and whatever else stands there."""
    dark = random.random() < 0.5
    b.picture[:] = as_bytes(grey(random, 0.04, 0.2) if dark else grey(random, 0.4, 0.85))
    for _ in range(random.integers(6, 22)):
        x, y, w, h = random.uniform((-0.1, -0.1, 0.03, 0.05), (1.0, 0.8, 0.4, 0.5)) * b.size
        colour = any_paint(random) if random.random() < 0.5 else grey(random, 0.05, 0.95)
        if random.random() < 0.7:
            b.fill([(x, y), (x + w, y), (x + w, y + h), (x, y + h)], colour)
        else:
            b.disc(x, y, 0.3 * w, colour)
    ground(b, random, b.below(b.camera.horizon(b.size) + (0, random.uniform(0, 0.15) * b.size)), "floor")
    blur = random.uniform(0.003, 0.03) * b.size
    b.picture[:] = cv2.GaussianBlur(b.picture, (0, 0), blur)


# How often each is met.
SCENES: dict[str, tuple[Callable[[Backdrop, Random], None], float]] = {
    "studio": (studio, 0.28),
    "wall": (wall, 0.20),
    "street": (street, 0.20),
    "trees": (trees, 0.13),
    "field": (field, 0.09),
    "hall": (hall, 0.10),
}


def paint_scene(camera: Camera, size: int, random: Random) -> tuple[np.ndarray, str]:
    """A background (uint8, size×size×3) and the name of its scene."""
    names = list(SCENES)
    name = names[random.choice(len(names), p=[SCENES[n][1] for n in names])]
    backdrop = Backdrop(size, camera)
    SCENES[name][0](backdrop, random)
    if name != "studio" or random.random() < 0.15:
        add_behind(backdrop, camera, random)
    return backdrop.picture, name
