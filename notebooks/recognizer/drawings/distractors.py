"""Other things behind or in front of the vehicle: people, poles, signs, trees, posters, parked objects."""

from typing import Protocol

import numpy as np

from .camera import NEAREST, Camera
from .paint import any_paint, grey

Random = np.random.Generator
CORNERS = np.array([(0, 0), (0, 1), (0.6, 0), (0.6, 1), (0.3, 0.5)])  # of letters
ROUND = np.array([(np.cos(t), np.sin(t)) for t in np.linspace(0, 2 * np.pi, 11)[:-1]])


class Painter(Protocol):
    """What these things are painted on: the background, or the canvas that already shows the vehicle."""

    size: int

    def fill(self, pixels: np.ndarray, colour: tuple) -> None: ...

    def strokes(self, lines: np.ndarray, width: float, colour: tuple) -> None: ...


class Spot:
    """A place on the ground. It converts metres to the right and up from there to pixels."""

    def __init__(self, painter: Painter, foot: np.ndarray, scale: float) -> None:
        self.painter, self.foot, self.scale = painter, foot, scale

    def at(self, points: list | np.ndarray) -> np.ndarray:
        return self.foot + self.scale * np.asarray(points, float) * (1, -1)

    def fill(self, points: list | np.ndarray, colour: tuple) -> None:
        self.painter.fill(self.at(points), colour)

    def stroke(self, points: list | np.ndarray, width: float, colour: tuple) -> None:
        self.strokes([points], width, colour)

    def strokes(self, lines: list | np.ndarray, width: float, colour: tuple) -> None:
        self.painter.strokes(self.at(lines), width * self.scale, colour)

    def disc(self, x: float, y: float, radius: float, colour: tuple) -> None:
        self.fill(ROUND * radius + (x, y), colour)


def spot(painter: Painter, camera: Camera, place: np.ndarray) -> Spot | None:
    """The spot at a point of the world (3), or None if it is behind the lens or too close to it."""
    pixels, depth = camera.project(np.stack([place, place + (0, 0, 1)]))
    return Spot(painter, pixels[0], float(np.linalg.norm(pixels[1] - pixels[0]))) if depth.min() > 5 * NEAREST else None


def person(s: Spot, random: Random) -> None:
    """Someone standing or walking."""
    shirt, trousers = any_paint(random), grey(random, 0.05, 0.4) if random.random() < 0.7 else any_paint(random)
    skin = np.array((0.85, 0.65, 0.52)) * random.uniform(0.4, 1.1)
    stride, lean = random.uniform(0.03, 0.25), random.uniform(-0.05, 0.05)
    for side in (-1, 1):
        s.stroke([(lean, 0.85), (0.6 * side * stride, 0.45), (side * stride, 0.03)], 0.15, trousers)
        s.stroke([(side * stride, 0.03), (side * stride + 0.1, 0.03)], 0.08, grey(random, 0.03, 0.3))
    s.fill([(-0.17, 0.82), (-0.22, 1.42), (-0.1, 1.5), (0.1, 1.5), (0.22, 1.42), (0.17, 0.82)], shirt)
    for side in (-1, 1):
        elbow = (side * random.uniform(0.25, 0.38), 1.12)
        s.stroke([(side * 0.2, 1.4), elbow], 0.1, shirt)
        s.stroke([elbow, (side * random.uniform(0.05, 0.4), random.uniform(0.8, 1.15))], 0.08, tuple(skin))
    s.disc(lean, 1.63, 0.11, tuple(skin))
    hair = [(-0.12, 1.62), (-0.1, 1.74), (0, 1.78), (0.1, 1.74), (0.12, 1.66), (0, 1.7)]
    s.fill([(lean + x, y) for x, y in hair], grey(random, 0.03, 0.3))


def pole(s: Spot, random: Random) -> None:
    """A lamp post, bollard or traffic sign."""
    colour, kind = grey(random, 0.1, 0.7), random.integers(4)
    if kind == 0:
        s.stroke([(0, 0), (0, 0.9)], 0.14, any_paint(random))
        return
    s.stroke([(0, 0), (0, 6 if kind == 1 else 2.6)], random.uniform(0.05, 0.14), colour)
    if kind == 2:
        s.disc(0, 2.4, 0.34, (0.8, 0.1, 0.1) if random.random() < 0.5 else (0.1, 0.3, 0.7))
        s.disc(0, 2.4, 0.24, (0.95, 0.95, 0.95) if random.random() < 0.5 else (0.1, 0.3, 0.7))
    elif kind == 3:
        s.fill([(-0.4, 2.1), (0.4, 2.1), (0, 2.8)], (0.8, 0.1, 0.1))
        s.fill([(-0.25, 2.2), (0.25, 2.2), (0, 2.63)], (0.95, 0.95, 0.9))


def tree(s: Spot, random: Random) -> None:
    """A trunk with branches, with or without leaves."""
    bark = tuple(np.array((0.25, 0.19, 0.14)) * random.uniform(0.5, 1.8))
    high = random.uniform(1.8, 3.0)
    s.stroke([(0, 0), (random.normal(0, 0.05), high)], random.uniform(0.12, 0.35), bark)
    boughs, twigs = [], []
    for _ in range(random.integers(4, 12)):
        start = random.uniform(0.5, 1.0) * high
        x, y = random.uniform(-1.4, 1.4), start + random.uniform(0.3, 2)
        boughs.append([(0, start), (0.5 * x, 0.6 * start + 0.4 * y), (x, y)])
        twigs.append([boughs[-1][1], (0.5 * x + random.uniform(-0.6, 0.6), y)])
    s.strokes(boughs, 0.05, bark)
    s.strokes(twigs, 0.03, bark)
    if random.random() < 0.5:
        green = np.array(((0.2, 0.36, 0.12), (0.45, 0.5, 0.15), (0.55, 0.35, 0.12))[random.integers(3)])
        for x, y, radius, tone in random.normal((0, high + 0.7, 0.1, 1), (0.7, 0.55, 0.06, 0.25), (45, 4)):
            s.disc(x, y, max(radius, 0.04), tuple(green * max(tone, 0.4)))


def bush(s: Spot, random: Random) -> None:
    """A low bush."""
    green = np.array((0.22, 0.36, 0.12)) * random.uniform(0.6, 1.4)
    wide, high = random.uniform(0.15, 0.4), random.uniform(0.15, 0.35)
    for x, y, radius, tone in random.normal((0, 0, 0.04, 1), (wide, high, 0.014, 0.25), (40, 4)):
        s.disc(x, abs(y), max(radius, 0.015), tuple(green * max(tone, 0.4)))


def poster(s: Spot, random: Random) -> None:
    """A board with a few lines that look like writing."""
    w, h, low = random.uniform(0.3, 1.5), random.uniform(0.3, 1.2), random.uniform(0.0, 2.0)
    ink, paper = (any_paint(random), grey(random, 0.6, 1.0))[:: random.choice((-1, 1))]
    s.fill([(-w, low), (w, low), (w, low + h), (-w, low + h)], paper)
    letters(s, -0.85 * w, low + 0.1 * h, 1.7 * w, 0.8 * h, ink, random)


def letters(s: Spot, x: float, y: float, width: float, height: float, ink: tuple, random: Random) -> None:
    """Lines of strokes that look like writing from afar, in a rectangle whose lower left corner is (x, y)."""
    rows = int(random.integers(1, 4))
    tall = 0.6 * height / rows
    glyphs = []
    for row in range(rows):
        count = max(1, int(width * random.uniform(0.6, 1) / (0.9 * tall)))
        corners = CORNERS[random.integers(0, len(CORNERS), (count, 4))] * tall
        corners += np.stack([x + 0.9 * tall * np.arange(count), np.full(count, y + row * height / rows)], axis=1)[
            :, None
        ]
        glyphs.append(corners)
    s.strokes(np.concatenate(glyphs), 0.18 * tall, ink)


def parked(s: Spot, random: Random) -> None:
    """A low object, such as a covered thing, a container or a bench, but not a recognizable vehicle."""
    w, h = random.uniform(0.5, 2.0), random.uniform(0.5, 1.3)
    colour = np.array(any_paint(random)) * 0.7 + 0.1
    slope = random.uniform(0, 0.4) * w
    s.fill([(-w, 0.1), (-w, 0.6 * h), (-w + slope, h), (w - slope, h), (w, 0.6 * h), (w, 0.1)], tuple(colour))
    s.fill([(-w, 0.1), (-w, 0.35 * h), (w, 0.35 * h), (w, 0.1)], tuple(0.6 * colour))
    for x in np.linspace(-0.7 * w, 0.7 * w, random.integers(2, 5)):
        s.stroke([(x, 0.4 * h), (x, 0.9 * h)], 0.04, tuple(0.5 * colour))
        s.disc(x, 0.1, 0.12, (0.06, 0.06, 0.06))


def railing(s: Spot, random: Random) -> None:
    """A railing or a low fence."""
    colour, w, h = (
        any_paint(random) if random.random() < 0.3 else grey(random, 0.1, 0.8),
        random.uniform(0.8, 3),
        random.uniform(0.5, 1.1),
    )
    bars = np.arange(-w, w, random.uniform(0.12, 0.4))
    s.strokes([[(-w, y), (w, y)] for y in (0.15, h)], 0.05, colour)
    s.strokes([[(x, 0), (x, h)] for x in bars], 0.03, colour)


BEHIND = (person, pole, tree, bush, poster, parked, railing)
BEFORE = (person, pole, tree, bush, railing)


def add_behind(painter: Painter, camera: Camera, random: Random) -> None:
    """A few things between the vehicle and the horizon, the far ones first."""
    ahead = -camera.position * (1, 1, 0)
    reach = np.linalg.norm(ahead)
    ahead /= reach
    aside = np.array([ahead[1], -ahead[0], 0])
    for distance in np.sort(random.uniform(1.2, 9, random.poisson(2.7)))[::-1]:
        spread = 0.6 * (reach + distance)
        s = spot(painter, camera, distance * ahead + random.uniform(-spread, spread) * aside)
        if s:
            BEHIND[random.integers(len(BEHIND))](s, random)


def add_before(painter: Painter, camera: Camera, reach: float, random: Random) -> None:
    """Sometimes, one thing that hides part of the vehicle. `reach` is half of the vehicle's length."""
    if random.random() > 0.12:
        return
    ahead = -camera.position * (1, 1, 0)
    ahead /= np.linalg.norm(ahead)
    aside = np.array([ahead[1], -ahead[0], 0])
    s = spot(painter, camera, -1.15 * reach * ahead + random.uniform(-1, 1) * reach * aside)
    if s:
        BEFORE[random.choice(len(BEFORE), p=(0.03, 0.48, 0.1, 0.29, 0.1))](s, random)


def add_writing(painter: Painter, random: Random) -> None:
    """A headline, a watermark or a strip along the lower edge, as in pictures from the web."""
    size = painter.size
    s = Spot(painter, np.array([0.0, size]), size)
    if random.random() < 0.5:
        high = random.uniform(0.04, 0.09)
        ink, paper = ((0, 0, 0), (1, 1, 1))[:: random.choice((-1, 1))]
        s.fill([(0, 0), (1, 0), (1, high), (0, high)], paper)
        letters(s, random.uniform(0.02, 0.6), 0.25 * high, 0.25, 0.6 * high, ink, random)
    else:
        x, y = random.uniform(0, 0.6), random.choice([random.uniform(0.02, 0.1), random.uniform(0.75, 0.88)])
        letters(s, x, y, random.uniform(0.15, 0.6), random.uniform(0.04, 0.2), any_paint(random), random)
