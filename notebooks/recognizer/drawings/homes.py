"""Scenes for cats and dogs: a room, a rug, a sofa, a blanket, a garden, and some of the vehicles' scenes."""

import cv2
import numpy as np

from .backdrop import EVERYWHERE, Backdrop, Plane, Random, noise
from .paint import any_paint, grey
from .scenes import Scene, foliage, ground, sky, street, studio, trees, wall

WOODS = ((0.55, 0.36, 0.20), (0.70, 0.52, 0.33), (0.36, 0.22, 0.13), (0.62, 0.58, 0.52))


def soft(random: Random) -> np.ndarray:
    """A colour of cloth or wallpaper (3)."""
    return 0.45 * np.array(any_paint(random)) + 0.55 * np.array(grey(random, 0.3, 0.95))


def room(b: Backdrop, random: Random) -> None:
    """Boards, tiles or a carpet, a wall with a skirting, perhaps furniture, a curtain or a picture."""
    plane = Plane(b, random.uniform(0.5, 2.5), random.normal(0, 0.25))
    floor(b, random)
    kept, colour = b.picture.copy(), soft(random)
    patchy = noise(random, b.size, (3, 0.15), (9, 0.06), (b.size, 0.03))
    b.texture(b.below(EVERYWHERE), tuple(0.85 * colour), tuple(1.1 * colour), 0.5 + patchy)
    if random.random() < 0.3:  # wallpaper
        step = random.uniform(0.08, 0.3)
        stripes = [(t, t + 0.5 * step, 0, 4) for t in np.arange(-15, 15) * step]
        plane.rectangles(stripes, [colour * 0.85] * len(stripes))
    plane.rectangles([(-30, 30, 0, random.uniform(0.05, 0.15))], [np.array(grey(random, 0.3, 0.95))])
    for _ in range(random.integers(0, 4)):
        t, w = random.uniform(-2, 1.4), random.uniform(0.15, 0.9)
        low, high = (0, random.uniform(0.3, 2)) if random.random() < 0.7 else (random.uniform(0.8, 1.2), 1.6)
        tone = soft(random) if random.random() < 0.5 else np.array(WOODS[random.integers(4)]) * random.uniform(0.6, 1.2)
        inner = (t + 0.1 * w, t + 0.9 * w, low + 0.05, high - 0.05)
        plane.rectangles([(t, t + w, low, high), inner], [tone, 0.8 * tone])
    cv2.copyTo(kept, b.below(plane.edge(0)), b.picture)


def floor(b: Backdrop, random: Random) -> None:
    """Boards, tiles or carpet over the whole picture."""
    kind = random.choice(3, p=(0.45, 0.25, 0.3))
    if kind == 1:
        ground(b, random, b.below(EVERYWHERE), "floor")
        return
    tone = np.array(WOODS[random.integers(4)]) * random.uniform(0.7, 1.25) if kind == 0 else soft(random)
    grain = noise(random, b.size, (6, 0.15), (b.size // 2, 0.12), (b.size, 0.1 + 0.1 * kind))
    b.texture(b.below(EVERYWHERE), tuple(0.75 * tone), tuple(1.15 * tone), 0.5 + grain)
    if kind == 0:
        turn, step = random.uniform(0, np.pi), random.uniform(0.08, 0.2)
        u, v = np.array([np.cos(turn), np.sin(turn), 0]), np.array([-np.sin(turn), np.cos(turn), 0])
        places = step * np.arange(-25, 26)[:, None] * u
        b.strokes(b.camera.lines(places - 15 * v, places + 15 * v), 1, tuple(0.6 * tone))


def rug(b: Backdrop, random: Random) -> None:
    """A room, and a rug with a border under the animal."""
    room(b, random)
    turn, (long, wide) = random.uniform(0, np.pi), random.uniform((0.6, 0.5), (1.4, 1.0))
    colour, border = soft(random), soft(random)
    t = np.linspace(0, 2 * np.pi, 25)[:-1]
    outline = np.stack([np.cos(t), np.sin(t)], axis=1)
    if random.random() < 0.7:  # rectangular
        outline = outline / np.abs(outline).max(axis=1, keepdims=True)
    turned = np.array([(np.cos(turn), np.sin(turn)), (-np.sin(turn), np.cos(turn))])
    for share, tone in ((1.0, border), (0.88, colour), (0.5, border if random.random() < 0.4 else colour)):
        points = np.concatenate([share * outline * (long, wide) @ turned, np.zeros((24, 1))], axis=1)
        pixels, depth = b.camera.project(points)
        if depth.min() > 0.1:
            b.fill(pixels, tuple(tone))
    grain = noise(random, b.size, (b.size, 5), (b.size // 3, 5))
    b.picture[:] = np.clip(b.picture + grain[..., None], 0, 255).astype(np.uint8)


def sofa(b: Backdrop, random: Random) -> None:
    """The seat of a sofa under the animal, with cushions and the back of the sofa behind it."""
    room(b, random)
    plane, colour = Plane(b, random.uniform(0.35, 0.7), random.normal(0, 0.2)), soft(random)
    high, wide, start = random.uniform(0.35, 0.7), random.uniform(0.5, 0.9), random.uniform(-0.9, 0)
    weave = noise(random, b.size, (4, 0.15), (b.size // 3, 0.08), (b.size, 0.08))
    b.texture(b.below(plane.edge(high)), tuple(0.7 * colour), tuple(1.0 * colour), 0.5 + weave)
    b.texture(b.below(plane.edge(0)), tuple(0.85 * colour), tuple(1.2 * colour), 0.5 + weave)
    plane.lines([(start + k * wide, 0, start + k * wide, high) for k in range(-5, 6)], tuple(0.5 * colour))
    plane.lines([(-20, 0, 20, 0)], tuple(0.4 * colour))
    for _ in range(random.integers(0, 4)):
        t, w, lean = random.uniform(-1, 0.8), random.uniform(0.2, 0.4), random.uniform(-0.06, 0.06)
        corners = [(t, 0), (t + 0.5 * w, 0.03), (t + w, 0), (t + 0.95 * w, 0.5 * w), (t + w + lean, w),
                   (t + 0.5 * w + lean, 0.95 * w), (t + lean, w), (t + 0.05 * w, 0.5 * w)]
        plane.fill(corners, tuple(soft(random)))


def blanket(b: Backdrop, random: Random) -> None:
    """Cloth with folds all over the picture: plain, striped, dotted or checked."""
    colour, other = soft(random), soft(random)
    folds = noise(random, b.size, (4, 0.25), (9, 0.15), (b.size, 0.06))
    b.texture(b.below(EVERYWHERE), tuple(0.7 * colour), tuple(1.15 * colour), 0.5 + folds)
    pattern, turn, step = random.integers(4), random.uniform(0, np.pi), b.size * random.uniform(0.05, 0.16)
    u, v = np.array([np.cos(turn), np.sin(turn)]), np.array([-np.sin(turn), np.cos(turn)])
    steps = step * np.arange(-24, 25)[:, None] + random.uniform(0, step)
    for one, two in ((u, v), (v, u))[: pattern if pattern < 3 else 0]:
        lines = np.stack([steps * one - 4 * b.size * two, steps * one + 4 * b.size * two], axis=1)
        b.strokes(lines, step * random.uniform(0.15, 0.5), tuple(other))
    if pattern == 3:
        places = np.stack(np.meshgrid(np.arange(0, b.size, step), np.arange(0, b.size, step)), -1).reshape(-1, 2)
        for x, y in (places + random.uniform(-0.1, 0.1, places.shape) * step).astype(int).tolist():
            cv2.circle(b.picture, (x, y), max(1, int(0.2 * step)), (255 * other).tolist(), -1)
    b.picture[:] = cv2.convertScaleAbs(b.picture * (1 + 0.35 * folds[..., None]))


def garden(b: Backdrop, random: Random) -> None:
    """A lawn or a terrace in front of a hedge or a fence."""
    plane = Plane(b, random.uniform(1.0, 5), random.normal(0, 0.2))
    sky(b, random) if random.random() < 0.3 else foliage(b, random, b.below(EVERYWHERE))
    if random.random() < 0.6:
        step, colour, high = random.uniform(0.1, 0.25), soft(random), random.uniform(0.6, 1.6)
        pales = [(t, t + 0.8 * step, 0, high) for t in np.arange(-20, 20) * step]
        plane.rectangles(pales, colour * random.uniform(0.85, 1.1, (len(pales), 1)))
    else:
        foliage(b, random, b.below(plane.edge(random.uniform(0.4, 1.5))))
    ground(b, random, b.below(plane.edge(0)), str(random.choice(["grass", "paving", "earth"], p=(0.7, 0.15, 0.15))))


# The scenes with their probabilities.
HOMES: dict[str, Scene] = {
    "room": (room, 0.22),
    "rug": (rug, 0.12),
    "sofa": (sofa, 0.14),
    "blanket": (blanket, 0.12),
    "garden": (garden, 0.16),
    "wall": (wall, 0.06),
    "studio": (studio, 0.06),
    "street": (street, 0.06),
    "trees": (trees, 0.06),
}
