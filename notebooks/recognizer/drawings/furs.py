"""The furs of animals, which are the same for every class: colours, patterns, hairs."""

import cv2
import numpy as np

from .backdrop import noise
from .solids import PARTS, Colour, Shape

DARKEST = 0.14  # a face must be visible in black fur, too
FURS = (
    ((0.22, 0.21, 0.20), 2.0),
    ((0.95, 0.93, 0.89), 2.2),
    ((0.50, 0.50, 0.51), 1.6),
    ((0.36, 0.24, 0.16), 1.5),
    ((0.52, 0.38, 0.25), 1.2),
    ((0.80, 0.47, 0.20), 1.8),
    ((0.88, 0.75, 0.55), 1.6),
)
PATTERNS = {"plain": 0.32, "patched": 0.30, "striped": 0.18, "pointed": 0.20}
# How much a patched animal tends to its second colour there. Elsewhere, the patches alone decide.
WHITE_FIRST = {"muzzle": 0.9, "paw": 1.1, "chest": 0.7, "head": -0.5, "ear": -1.2}
FURRY = [PARTS.index(part) for part in ("head", "muzzle", "ear", "body", "leg", "tail")]
IS_FURRY = np.isin(np.arange(256), FURRY).view(np.uint8)  # 1 where an index into PARTS is of a furry part
POINTS = ("ear", "muzzle", "paw", "tail")


def any_fur(random: np.random.Generator) -> Colour:
    """One of the furs, a little lighter or darker each time."""
    chances = np.array([often for _, often in FURS])
    colour = np.array(FURS[random.choice(len(FURS), p=chances / chances.sum())][0])
    return tuple(np.clip(colour * random.uniform(0.8, 1.2) * np.exp(random.normal(0, 0.03, 3)), DARKEST, 0.97))


class Coat:
    """The fur of one animal."""

    def __init__(self, random: np.random.Generator) -> None:
        self.pattern = str(random.choice(list(PATTERNS), p=list(PATTERNS.values())))
        self.main, self.second = any_fur(random), any_fur(random)
        if self.pattern == "patched" and random.random() < 0.7:
            self.second = tuple(random.uniform(0.85, 0.97) * np.array((1.0, 0.98, 0.94)))
        elif self.pattern in ("striped", "pointed"):
            self.second = tuple(np.maximum(np.array(self.main) * random.uniform(0.3, 0.6), DARKEST))
        self.waves = random.normal(0, 1, (3, 3)) * (14 if random.random() < 0.7 else 30)
        self.starts, self.share = random.uniform(0, 6, 3), random.normal(0.1, 0.5)
        self.pace = 2 * np.pi / random.uniform(0.08, 0.14)  # of stripes, radians a metre

    def colour(self, region: str) -> Colour:
        """The main colour of a small region."""
        return (self.main, self.second)[int(self.is_second(np.zeros((1, 3)), np.zeros(1), region)[0])]

    def is_second(self, middles: np.ndarray, along: np.ndarray, region: str) -> np.ndarray:
        """Which faces (N bools) have the second colour, given their centres (N×3) and metres along their limb (N)."""
        field = np.sin(middles @ self.waves + self.starts).sum(axis=1)
        if self.pattern == "patched":
            return 0.7 * field + WHITE_FIRST.get(region, 0.0) + self.share > 0
        if self.pattern == "striped" and region not in ("muzzle", "ear", "chest"):
            return np.sin(self.pace * along + 0.5 * field) > 0.35
        if self.pattern == "pointed":
            return np.full(len(middles), region in POINTS)
        return np.zeros(len(middles), bool)

    def cover(self, shape: Shape, faces: np.ndarray, part: str, region: str) -> None:
        """Add the faces (N×4×3) of a limb in the colours of the fur."""
        middles = (faces[:, 0] + faces[:, 2]) / 2
        apart = middles - middles[0]
        second = self.is_second(middles, np.sqrt((apart * apart).sum(axis=1)), region)
        for chosen, colour in ((~second, self.main), (second, self.second)):
            if chosen.any():
                shape.add(faces[chosen], colour, part, gloss=0.25)


def brush(
    picture: np.ndarray, parts: np.ndarray, width: float, hair: float, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The picture (uint8, H×W×3) and its parts (uint8, H×W) with soft fur: no edges inside a part, frayed outlines.

    The `width` of the locks and the length of a `hair` are in pixels. Edges between parts stay as sharp as before.
    """
    size = len(picture)
    grain = 1 + noise(random, size, (size, 0.045), (max(2, int(size / (1 + width))), 0.06))
    brushed, hairy = picture.copy(), cv2.LUT(parts, IS_FURRY)
    side = 2 * round(1.3 * width) + 1
    for label in FURRY:
        where = cv2.inRange(parts, label, label)
        x, y, w, h = cv2.boundingRect(where)
        if w * h == 0 or side == 1:
            continue
        weight = where[y : y + h, x : x + w]
        inside = cv2.copyTo(picture[y : y + h, x : x + w], weight)
        total, shares = (cv2.blur(f, (side, side), borderType=cv2.BORDER_CONSTANT) for f in (inside, weight))
        cv2.copyTo(cv2.divide(total, cv2.merge([shares] * 3), scale=255), weight, brushed[y : y + h, x : x + w])
    brushed = cv2.copyTo(cv2.multiply(brushed, cv2.merge([grain] * 3), dtype=cv2.CV_8U), hairy, brushed)
    return fray(brushed, parts, hairy, hair, random)


def fray(
    picture: np.ndarray, parts: np.ndarray, hairy: np.ndarray, hair: float, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Picture and parts with the outlines of the fur displaced at random by about a `hair`, in pixels; eyes stay."""
    size = len(picture)
    reach = 2 * int(hair + 1) + 1
    bare = cv2.dilate((parts > 0).view(np.uint8) - hairy, np.ones((reach, reach), np.uint8))
    strength = cv2.blur((cv2.dilate(hairy, np.ones((reach, reach), np.uint8)) & (1 - bare)).astype(np.float32), (3, 3))
    cells = max(4, int(size / (1.5 + 0.5 * hair)))
    here = np.meshgrid(*[np.arange(size, dtype=np.float32)] * 2)
    columns, rows = (axis + hair * strength * noise(random, size, (cells, 1.0)) for axis in here)
    moved = cv2.remap(picture, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return moved, cv2.remap(parts, columns, rows, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
