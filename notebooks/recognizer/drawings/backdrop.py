"""Tools for painting scenes: a picture to paint on, flat areas, lines, textures, and walls in perspective."""

import cv2
import numpy as np

from .camera import NEAREST, Camera
from .painting import as_bytes

Random = np.random.Generator
SHIFT = 3  # bits behind the binary point of OpenCV's coordinates
# Fine grains are the same in every picture and only shifted, because new ones for each picture would be slow.
GRAINS = np.random.default_rng(0).integers(0, 256, (512, 512), np.uint8)
EVERYWHERE = np.array([[0.0, -1.0], [1.0, -1.0]])  # a line above every picture


class Backdrop:
    """A picture (uint8, size×size×3) that a scene is painted on, and the camera of the drawing."""

    def __init__(self, size: int, camera: Camera) -> None:
        self.size, self.camera = size, camera
        self.picture = np.zeros((size, size, 3), np.uint8)

    def fill(self, pixels: np.ndarray, colour: tuple) -> None:
        """Fill a polygon of N×2 pixels."""
        cv2.fillPoly(self.picture, [with_fraction(pixels)], as_bytes(colour), cv2.LINE_AA, SHIFT)

    def strokes(self, lines: np.ndarray, width: float, colour: tuple) -> None:
        """Draw several lines, lines×N×2 pixels."""
        thickness = max(1, round(width))
        cv2.polylines(self.picture, list(with_fraction(lines)), False, as_bytes(colour), thickness, cv2.LINE_AA, SHIFT)

    def below(self, edge: np.ndarray) -> np.ndarray:
        """Which pixels (uint8 0 or 1, size×size) lie below the line through two points, `edge`."""
        (x0, y0), (x1, y1) = edge
        slope = (y1 - y0) / (x1 - x0 if abs(x1 - x0) > 1e-6 else 1e-6)
        rows, columns = np.arange(self.size)[:, None], np.arange(self.size)
        return (rows > y0 + slope * (columns - x0)).view(np.uint8)

    def texture(self, where: np.ndarray, low: tuple, high: tuple, amount: np.ndarray) -> None:
        """Mix two colours by `amount` (float, size×size, 0 to 1) wherever `where` (uint8, size×size) is not 0."""
        steps = np.linspace(0, 1, 256)[:, None]
        colours = (255 * ((1 - steps) * low + steps * np.asarray(high))).clip(0, 255).astype(np.uint8)
        chosen = cv2.convertScaleAbs(np.maximum(amount, 0), alpha=255)
        cv2.copyTo(cv2.applyColorMap(chosen, colours[:, None]), where, self.picture)

    def lying(self, grain: float, random: Random) -> np.ndarray:
        """Random field (uint8, size×size, mean 128) on the ground, in perspective, with grains of `grain` metres.

        It ends some metres behind the vehicle. Farther away, one pixel would average many grains.
        """
        x, y = random.uniform(-0.6, -0.4, 2) * grain * len(GRAINS)
        onto = self.camera.matrix[:, [0, 1, 3]] @ np.array([[grain, 0, x], [0, grain, y], [0, 0, 1]])
        return cv2.warpPerspective(GRAINS, onto, (self.size, self.size), borderValue=128)


def with_fraction(pixels: np.ndarray) -> np.ndarray:
    """Pixels as OpenCV's integers with SHIFT fractional bits; coordinates that are too large for them are clipped."""
    return np.minimum(np.maximum(np.asarray(pixels) * 2**SHIFT, -(2**20)), 2**20).astype(np.int32)


def noise(random: Random, size: int, *cells: tuple[int, float]) -> np.ndarray:
    """Smooth random field (float32, size×size, mean 0): one layer for each (cells across, strength)."""
    field = np.zeros((size, size), np.float32)
    for count, strength in cells:
        grid = grains(random, count).astype(np.float32)
        # Uniform values from 0 to 255 have a mean of 127.5 and a standard deviation of 74.
        layer = cv2.resize(grid, (size, size), interpolation=cv2.INTER_LINEAR)
        field = cv2.addWeighted(layer, strength / 74, field, 1, -127.5 * strength / 74)
    return field


def grains(random: Random, count: int) -> np.ndarray:
    """A random square (uint8, count×count) of uniformly distributed values."""
    if not 64 < count < len(GRAINS):
        return random.integers(0, 256, (count, count), np.uint8)
    y, x = random.integers(0, len(GRAINS) - count, 2)
    return GRAINS[y : y + count, x : x + count]


class Plane:
    """A wall behind the vehicle, with coordinates in metres: along its foot, and up.

    It runs along the vehicle or across it, whichever faces the camera more, and is rotated by `turn`.
    """

    def __init__(self, backdrop: Backdrop, distance: float, turn: float = 0.0) -> None:
        self.backdrop = backdrop
        x, y = backdrop.camera.position[:2]
        ahead = np.array([0.0, -np.sign(y)]) if abs(y) > 0.6 * abs(x) else np.array([-np.sign(x), 0.0])
        c, s = np.cos(turn), np.sin(turn)
        self.ahead = np.array([c * ahead[0] - s * ahead[1], s * ahead[0] + c * ahead[1], 0])
        self.base, self.along = self.ahead * distance, np.array([-self.ahead[1], self.ahead[0], 0])

    def at(self, points: np.ndarray) -> np.ndarray:
        """World points (N×3) of N×2 points of the wall."""
        points = np.asarray(points, float)
        return self.base + points[:, :1] * self.along + points[:, 1:] * (0, 0, 1)

    def edge(self, height: float) -> np.ndarray:
        """Pixels (2×2) of two points on the horizontal line at a height."""
        return self.backdrop.camera.lines(self.at([(-60, height)]), self.at([(60, height)]))[0]

    def fill(self, points: np.ndarray, colour: tuple) -> None:
        """Fill a polygon of N×2 points."""
        pixels, depth = self.backdrop.camera.project(self.at(points))
        if depth.min() > NEAREST:
            self.backdrop.fill(pixels, colour)

    def rectangles(self, corners: list | np.ndarray, colours: list) -> None:
        """Fill rectangles (N×4: start and end along the wall, bottom and top) with one colour per rectangle."""
        corners = np.asarray(corners, float).reshape(-1, 4)
        points = corners[:, [0, 2, 1, 2, 1, 3, 0, 3]].reshape(-1, 2)
        pixels, depth = self.backdrop.camera.project(self.at(points))
        for i in np.flatnonzero(depth.reshape(-1, 4).min(axis=1) > NEAREST):
            self.backdrop.fill(pixels[4 * i : 4 * i + 4], colours[i])

    def lines(self, ends: np.ndarray, colour: tuple) -> None:
        """Draw thin lines (N×4: position along the wall and height of one end, then of the other)."""
        ends = np.asarray(ends, float).reshape(-1, 4)
        self.backdrop.strokes(self.backdrop.camera.lines(self.at(ends[:, :2]), self.at(ends[:, 2:])), 1, colour)

    def visible(self) -> tuple[float, float]:
        """Start and end of the visible part of the wall's foot, at most 30 m in either direction."""
        t = np.linspace(-30, 30, 121)
        pixels, depth = self.backdrop.camera.project(self.base + t[:, None] * self.along)
        seen = t[(depth > NEAREST) & (pixels[:, 0] > -20) & (pixels[:, 0] < self.backdrop.size + 20)]
        return (float(seen.min()), float(seen.max())) if len(seen) else (-3.0, 3.0)
