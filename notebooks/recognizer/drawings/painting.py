"""Paint a shape as a camera sees it in a light: the picture and, with the same strokes, its part labels."""

from typing import NamedTuple

import cv2
import numpy as np

from .camera import NEAREST, Camera
from .solids import NO_PART, Shape, cross

FINE = 2  # the canvas has FINE × FINE pixels for each pixel of the picture


class Light(NamedTuple):
    """The sun (or the lamps of a studio) and what shiny surfaces reflect; colours from 0 to 1."""

    direction: np.ndarray  # unit vector towards the light
    ambient: float
    diffuse: float
    sky: np.ndarray
    ground: np.ndarray
    shadow: float  # 0 none, 1 black
    softness: float  # of the shadow's edge, in shares of the picture


class Canvas:
    """Colours (uint8, H×W×3) and part labels (uint8, H×W), both FINE times the size of the picture."""

    def __init__(self, scene: np.ndarray) -> None:
        self.size = len(scene)
        fine = (self.size * FINE, self.size * FINE)
        self.colours = cv2.resize(scene, fine, interpolation=cv2.INTER_NEAREST)
        self.labels = np.zeros(fine, np.uint8)

    def shrink(self) -> tuple[np.ndarray, np.ndarray]:
        """The picture, anti-aliased by averaging, and the label nearest to the centre of each of its pixels."""
        picture = cv2.resize(self.colours, (self.size, self.size), interpolation=cv2.INTER_AREA)
        return picture, self.labels[FINE // 2 :: FINE, FINE // 2 :: FINE].copy()

    def fill(self, pixels: np.ndarray, colour: tuple) -> None:
        """Fill a polygon of N×2 pixels of the picture, in front of what is there."""
        points = to_canvas(pixels)
        cv2.fillPoly(self.colours, [points], as_bytes(colour))
        cv2.fillPoly(self.labels, [points], 0)

    def strokes(self, lines: np.ndarray, width: float, colour: tuple) -> None:
        """Draw lines `width` pixels wide, lines×N×2 pixels of the picture, in front of what is there."""
        points, thickness = list(to_canvas(lines)), max(1, round(width * FINE))
        cv2.polylines(self.colours, points, False, as_bytes(colour), thickness)
        cv2.polylines(self.labels, points, False, 0, thickness)


def to_canvas(pixels: np.ndarray) -> np.ndarray:
    """Convert pixels of the picture to whole pixels of the canvas."""
    return np.minimum(np.maximum(np.floor(np.asarray(pixels) * FINE), -20000), 20000).astype(np.int32)


def as_bytes(colour: tuple) -> tuple[int, int, int]:
    r, g, b = colour
    return (min(max(int(r * 255), 0), 255), min(max(int(g * 255), 0), 255), min(max(int(b * 255), 0), 255))


def paint(canvas: Canvas, shape: Shape, camera: Camera, light: Light) -> None:
    """Paint every visible face and tube of `shape`, the far ones first."""
    points, looks = np.concatenate(shape.points), np.array(shape.looks, float)
    rows = looks[:, 0].astype(int)
    counts, looks = np.repeat(looks[:, 1].astype(int), rows), np.repeat(looks[:, 2:], rows, axis=0)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    pixels, depth = camera.project(points)

    middles = np.add.reduceat(points, starts) / counts[:, None]
    following = np.arange(len(points)) + 1
    following[starts + counts - 1] = starts
    normals = np.add.reduceat(cross(points, points[following]), starts)
    normals /= np.maximum(length(normals), 1e-12)[:, None]
    sight = camera.position - middles
    distance = length(sight)
    sight /= distance[:, None]

    label, gloss, width, layer, two_sided, ghost = looks[:, 3:].T
    away = np.einsum("ij,ij->i", normals, sight) < 0
    normals[away] *= -1
    near = np.minimum.reduceat(depth, starts) < NEAREST
    visible = np.flatnonzero((~away | (two_sided > 0) | (width > 0)) & ~near)
    colours = shade(looks[:, :3], gloss, normals, sight, light)
    # A round tube has sides in all directions. On average it is this bright.
    tubes = width > 0
    colours[tubes] = looks[tubes, :3] * (light.ambient + 0.6 * light.diffuse)

    anchors = np.repeat(np.array(shape.anchors), rows, axis=0)
    anchored = length(camera.position - anchors)
    far = np.where(np.isnan(anchored), distance, anchored)
    order = visible[np.lexsort((-far[visible], layer[visible]))]

    corners = to_canvas(pixels)
    # Bright tones are compressed, as on film, so that they do not all become white. The curve is highest at 1.49.
    colours = np.minimum(colours, 1.49)
    colours -= 0.15 * colours**3
    bytes_ = np.clip(colours * 255, 0, 255).astype(np.uint8).tolist()
    # Pixels per metre at each row's distance: the mean of the two axes, so that a stretched picture stretches tubes.
    scale = FINE * np.sqrt(abs(np.linalg.det(camera.matrix[:, :3]))) / np.maximum(depth[starts], NEAREST)
    thickness = np.maximum(1, np.rint(width * scale)).astype(int).tolist()
    labels, starts, counts = label.astype(int).tolist(), starts.tolist(), counts.tolist()
    shiny = gloss.tolist()
    for i in order.tolist():
        corner = corners[starts[i] : starts[i] + counts[i]]
        if tubes[i]:
            cv2.polylines(canvas.colours, [corner], False, bytes_[i], thickness[i])
            if thickness[i] > 3:
                bright = [min(255, int(c * 1.25 + 70 * shiny[i] + 8)) for c in bytes_[i]]
                lifted = corner - (thickness[i] // 6, thickness[i] // 5)
                cv2.polylines(canvas.colours, [lifted.astype(np.int32)], False, bright, max(1, thickness[i] // 3))
            if labels[i] != NO_PART:
                cv2.polylines(canvas.labels, [corner], False, labels[i], thickness[i])
            continue
        fill = cv2.fillConvexPoly if counts[i] == 4 else fill_any
        if not ghost[i]:
            fill(canvas.colours, corner, bytes_[i])
        if labels[i] != NO_PART:
            fill(canvas.labels, corner, labels[i])


def fill_any(image: np.ndarray, corners: np.ndarray, colour: tuple | int) -> None:
    cv2.fillPoly(image, [corners], colour)


def length(vectors: np.ndarray) -> np.ndarray:
    """Lengths of N×3 vectors."""
    return np.sqrt(np.einsum("ij,ij->i", vectors, vectors))


def shade(colours: np.ndarray, gloss: np.ndarray, normals: np.ndarray, sight: np.ndarray, light: Light) -> np.ndarray:
    """Colours (N×3) of faces in the light: diffuse light, and on glossy faces reflections of sky, ground and sun."""
    lit = light.ambient + light.diffuse * np.maximum(normals @ light.direction, 0)
    # Faces that point to the ground get little light from the sky.
    lit *= 0.8 + 0.2 * normals[:, 2]
    facing = np.clip(np.einsum("ij,ij->i", normals, sight), 0, 1)
    mirrored = 2 * facing[:, None] * normals - sight
    # Ground below, sky above, and along the horizon a dark band of houses and trees.
    above = np.clip(4 * mirrored[:, 2] - 0.2, 0, 1)[:, None]
    below = np.clip(-4 * mirrored[:, 2], 0, 1)[:, None]
    reflected = above * light.sky + (below + 0.3 * (1 - above - below)) * light.ground
    share = (gloss * (0.28 + 0.6 * (1 - facing) ** 3))[:, None]
    spot = np.clip(mirrored @ light.direction, 0, 1) ** 24
    # Every surface is brighter at a grazing angle. Without this rim, a black car would be invisible on black.
    rim = (0.16 * (1 - facing) ** 2)[:, None] * light.sky * light.ambient
    glint = (0.55 * gloss * spot * light.diffuse)[:, None]
    return colours * lit[:, None] * (1 - share) + reflected * share + rim + glint
