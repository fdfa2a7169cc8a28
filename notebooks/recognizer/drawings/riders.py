"""A person on the saddle. A rider hides parts of the vehicle but is not a part; the mask shows background there."""

import numpy as np

from .paint import any_paint, grey
from .solids import Shape, solid

# A ball of radius 1, as stations along x.
BALL = tuple((x, -((1 - x * x) ** 0.5), (1 - x * x) ** 0.5, (1 - x * x) ** 0.5) for x in (-0.95, -0.6, 0.0, 0.6, 0.95))


def add_rider(shape: Shape, hip: np.ndarray, hands: np.ndarray, feet: np.ndarray, random: np.random.Generator) -> None:
    """Add a person between saddle (`hip`, 3), grips (`hands`, 2×3) and pedals or pegs (`feet`, 2×3)."""
    shirt, trousers = any_paint(random), grey(random, 0.05, 0.35) if random.random() < 0.7 else any_paint(random)
    skin = tuple(np.array((0.85, 0.65, 0.52)) * random.uniform(0.4, 1.1))
    gloves = skin if random.random() < 0.5 else grey(random, 0.05, 0.3)
    lean = np.array([0.5 * (hands[:, 0].mean() - hip[0]), 0, 0.5])
    chest = hip + 0.46 * lean / np.linalg.norm(lean)
    back = [(0.0, 0.13), (0.3, 0.16), (0.75, 0.19), (1.0, 0.13)]
    for (low, half), (high, next_half) in zip(back, back[1:]):
        ends = [hip + low * (chest - hip), hip + high * (chest - hip)]
        shape.add(ends, shirt, "background", width=half + next_half)
    for side, hand, foot in zip((-1, 1), hands, feet):
        shoulder, elbow = chest + (0, 0.17 * side, 0), (chest + hand) / 2 + (-0.04, 0.2 * side, -0.1)
        shape.add([shoulder, elbow], shirt, "background", width=0.11)
        shape.add([elbow, hand], shirt if random.random() < 0.6 else skin, "background", width=0.09)
        shape.add([0.9 * hand + 0.1 * elbow, hand], gloves, "background", width=0.1)
        knee = (hip + foot) / 2 + (0.22, 0.08 * side, 0.08)
        shape.add([hip + (0, 0.1 * side, 0), knee], trousers, "background", width=0.16)
        shape.add([knee, foot + (-0.04, 0, 0.05)], trousers, "background", width=0.12)
        shape.add([foot + (-0.08, 0, 0.03), foot + (0.14, 0, 0)], grey(random, 0.04, 0.3), "background", width=0.08)
    head = chest + 0.27 * (lean + (0, 0, 0.4)) / np.linalg.norm(lean + (0, 0, 0.4))
    face = solid([tuple(0.12 * f for f in station) for station in BALL], 8, 1.0)
    shape.add(face + head, skin, "background")
    helmet = solid([tuple(0.14 * f for f in station) for station in BALL], 8, 1.0)
    shape.add(helmet + head + (-0.02, 0, 0.04), any_paint(random), "background", gloss=0.7)
