"""The paints of vehicles, which are the same for every class."""

import colorsys
from bisect import bisect
from itertools import accumulate

import numpy as np

from .solids import Colour

# Hue, saturation, value and relative frequency of paints. White, greys and black are the most common.
PAINTS = (
    (0.00, 0.00, 0.94, 5.0),
    (0.60, 0.05, 0.74, 3.0),
    (0.60, 0.08, 0.45, 1.8),
    (0.00, 0.00, 0.10, 2.4),
    (0.00, 0.88, 0.72, 3.0),
    (0.98, 0.80, 0.42, 1.0),
    (0.60, 0.80, 0.55, 2.5),
    (0.56, 0.65, 0.75, 1.2),
    (0.64, 0.75, 0.28, 1.5),
    (0.07, 0.90, 0.88, 1.3),
    (0.14, 0.88, 0.90, 1.0),
    (0.35, 0.65, 0.38, 1.0),
    (0.23, 0.75, 0.75, 0.6),
    (0.47, 0.60, 0.55, 0.6),
    (0.09, 0.40, 0.55, 0.8),
    (0.82, 0.50, 0.50, 0.5),
)


OFTEN = list(accumulate(paint[3] for paint in PAINTS))


def any_paint(random: np.random.Generator) -> Colour:
    """One of the paints, varied a little every time."""
    h, s, v, _ = PAINTS[bisect(OFTEN, OFTEN[-1] * random.random())]
    hue, saturation, value = random.normal(0, (0.015, 0.08, 0.08))
    s = s if s < 0.1 else min(max(s + saturation, 0.0), 1.0)  # greys stay grey
    return colorsys.hsv_to_rgb((h + hue) % 1, s, min(max(v + value, 0.07), 1.0))


def grey(random: np.random.Generator, low: float, high: float) -> Colour:
    """A nearly neutral grey, a little warm or cold."""
    value, warmth = random.uniform(low, high), random.normal(0, 0.02)
    return (value * (1 + warmth), value, value * (1 - warmth))


class Paint:
    """The colours of one vehicle: body, second colour, accent, dark trim, bare metal, rubber and leather."""

    def __init__(self, random: np.random.Generator) -> None:
        self.main = any_paint(random)
        self.accent = any_paint(random)
        self.trim = grey(random, 0.07, 0.24)
        self.second = (self.main, self.trim, self.accent)[random.choice(3, p=(0.4, 0.4, 0.2))]
        self.metal = grey(random, 0.45, 0.88) if random.random() < 0.75 else grey(random, 0.12, 0.32)
        self.rubber = grey(random, 0.08, 0.19)
        self.leather = grey(random, 0.08, 0.2) if random.random() < 0.8 else (0.42, 0.25, 0.13)
