"""The surface of a car as a function of x. The details of the car are attached to it."""

from typing import NamedTuple

import numpy as np

from .solids import Colour, Shape


class Car(NamedTuple):
    """Metres. `top` is the outline over bonnet, roof and boot, from the nose back; x is 0 at mid length."""

    width: float
    clearance: float
    wheel_radius: float
    axles: tuple[float, float]  # x of the front and of the rear axle
    top: tuple[tuple[float, float], ...]
    glass: tuple[float, float, float, float]  # x: foot and head of the windscreen, head and foot of the rear window
    belt: tuple[float, float]  # height of the side windows' lower edge, at the windscreen and at the tail
    pillars: tuple[float, ...]  # x of the posts between side windows
    last_window: float  # x at which the side windows end
    cladding: float = 0.25  # chance of dark plastic along the sills
    seam: float | None = None  # x where a pickup's cab ends


def rounded(line: np.ndarray) -> np.ndarray:
    """A line (N×2) with each corner cut off at a fifth of the way to its neighbours."""
    ahead, behind = line[1:-1] + (line[2:] - line[1:-1]) / 5, line[1:-1] + (line[:-2] - line[1:-1]) / 5
    return np.concatenate([line[:1], np.stack([behind, ahead], axis=1).reshape(-1, 2), line[-1:]])


class Skin:
    """The surface of a car: every measure is a function of x (a number or an array)."""

    def __init__(self, car: Car, nose_taper: float, tail_taper: float) -> None:
        self.car = car
        self.ends = tail, nose = car.top[-1][0], car.top[0][0]
        self.outline, tops = rounded(np.array(car.top[::-1])).T  # with their corners rounded
        x = self.x = np.unique(np.concatenate([self.outline, np.linspace(tail, nose, 40)]))
        self.tops = np.interp(x, self.outline, tops)
        self.belts = np.minimum(np.interp(x, (tail, car.glass[0]), car.belt[::-1]), self.tops - 0.02)
        # Seen from above, nose and tail are rounded.
        front, back = np.clip((x - nose + 0.7) / 0.7, 0, 1), np.clip((tail + 0.6 - x) / 0.6, 0, 1)
        self.halves = car.width / 2 * (1 - nose_taper * front**2.5 - tail_taper * back**2.5)
        self.edges = 0.95 * self.halves - 0.33 * np.maximum(self.tops - self.belts - 0.02, 0)

    def top(self, x: np.ndarray) -> np.ndarray:
        return np.interp(x, self.x, self.tops)

    def belt(self, x: np.ndarray) -> np.ndarray:
        """Height at which the side windows begin."""
        return np.interp(x, self.x, self.belts)

    def half(self, x: np.ndarray) -> np.ndarray:
        """Half of the width at the shoulder."""
        return np.interp(x, self.x, self.halves)

    def edge(self, x: np.ndarray) -> np.ndarray:
        """Half of the width at the edge of roof, bonnet or boot."""
        return np.interp(x, self.x, self.edges)

    def window(self, x: np.ndarray, v: np.ndarray) -> np.ndarray:
        """Points (N×3) of the left side between belt (v = 0) and edge of the roof (v = 1)."""
        low, high = self.belt(x), self.top(x) - 0.03
        y = (1 - v) * 0.97 * self.half(x) + v * self.edge(x)
        return np.stack([x, y, (1 - v) * low + v * high], axis=-1)

    def sections(self) -> np.ndarray:
        """Cross-sections, stations×12×3, from the left sill over the roof to the right one."""
        tail, nose = self.ends
        x = np.unique(np.concatenate([self.outline, [nose - 0.45, nose - 0.2, tail + 0.2]]))
        low, belt, top = np.full_like(x, self.car.clearance), self.belt(x), self.top(x)
        overhang = 0.10 * (np.clip((x - nose + 0.5) / 0.5, 0, 1) + np.clip((tail + 0.5 - x) / 0.5, 0, 1)) ** 2
        low = low + overhang
        w, edge = self.half(x), self.edge(x)
        left = [
            (0.90 * w, low),
            (0.985 * w, 0.55 * low + 0.45 * belt),
            (w, belt - 0.22 * (belt - low)),
            (0.97 * w, belt),
            (edge, top - 0.03),
            (0.6 * edge, top + 0.012),
        ]
        points = left + [(-y, z) for y, z in reversed(left)]
        return np.stack([np.stack([x, y, z], axis=1) for y, z in points], axis=1)


def on_both_sides(shape: Shape, points: np.ndarray, colour: Colour, part: str | None, **look) -> None:
    """Add a face or line of the left side, and its mirror image on the right."""
    shape.add(points, colour, part, **look)
    shape.add(points[..., ::-1, :] * (1, -1, 1), colour, part, **look)


def across(skin: Skin, x: float, rows: tuple[tuple[float, float], ...]) -> np.ndarray:
    """A symmetric face of nose or tail: rows of (half width as a share of the nose's, height), from the bottom up."""
    half = float(skin.half(x))
    left = [(x, share * half, z) for share, z in rows]
    return np.array(left + [(px, -py, pz) for px, py, pz in reversed(left)])
