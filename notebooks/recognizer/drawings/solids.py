"""What vehicles and animals consist of: flat faces and round tubes in space, each with a colour and a part."""

from functools import cache
from typing import NamedTuple

import numpy as np

PARTS: tuple[str, ...] = (
    "background",
    "wheel",
    "headlight",
    "tail light",
    "frame",
    "handlebar",
    "saddle",
    "tank",
    "engine",
    "fairing",
    "body",
    "window",
    "grille",
    "head",
    "ear",
    "eye",
    "muzzle",
    "nose",
    "leg",
    "tail",
    "mouth",
    "whisker",
    "tongue",
    "collar",
)
NO_PART = -1  # a detail painted on top of a part: it keeps the label that is already there
# What can be removed or kept separately: the parts, and three pieces that masks do not distinguish from others.
PIECES: tuple[str, ...] = (*PARTS[1:], "spoke", "well", "rider")
NOWHERE = np.full(3, np.nan)
Colour = tuple[float, float, float]  # red, green, blue from 0 to 1


class Wheel(NamedTuple):
    """The outer circle of a wheel: centre + radius · (cos t, 0, sin t) before any turn."""

    centre: np.ndarray
    u: np.ndarray
    v: np.ndarray


class Origin(NamedTuple):
    """What the rows of one `add` belong to."""

    piece: str  # one of PIECES
    wheel: int  # index into the shape's wheels, -1 if not on a wheel


class Look(NamedTuple):
    """How the `rows` of one `add` look: faces or tubes with `corners` corners each."""

    rows: int
    corners: int
    red: float
    green: float
    blue: float
    part: int
    gloss: float
    width: float
    layer: int
    two_sided: bool
    ghost: bool


class Shape:
    """A list of faces and tubes. Rows of one `add` share their look; the painter sorts them by depth."""

    def __init__(self) -> None:
        self.points: list[np.ndarray] = []  # corners of all rows of one `add`, one after another: M×3
        self.looks: list[Look] = []
        self.origins: list[Origin] = []
        self.anchors: list[np.ndarray] = []  # NaN if rows are sorted by their own centres
        self.wheels: list[Wheel] = []
        self.gaze: float | None = None  # radians from x towards y: where an animal looks
        self.hair = 0.0  # its length in metres
        self.subject = slice(None)  # which `add`s the camera aims at

    def add(
        self,
        points: np.ndarray,
        colour: Colour,
        part: str | None,
        *,
        gloss: float = 0.0,
        width: float = 0.0,
        layer: int = 0,
        anchor: np.ndarray | None = None,
        two_sided: bool = False,
        ghost: bool = False,
        piece: str | None = None,
    ) -> None:
        """Add faces, or tubes `width` metres thick: points rows×corners×3, or corners×3 for a single one.

        A face is seen from the side on which its corners run anticlockwise, or from both if `two_sided`. Rows with
        the same `anchor` are painted together, in the order in which they came; a higher `layer` is painted later.
        A `ghost` has a part but no paint: the air between spokes. `piece`, one of `PIECES`, is the part itself if left
        out; a detail (`part` None) then belongs to what was added just before it. Rows of a wheel or its spokes belong
        to the last of `wheels`.
        """
        points = np.asarray(points, float)
        points = points[None] if points.ndim == 2 else points
        rows, corners = points.shape[:2]
        label = NO_PART if part is None else PARTS.index(part)
        self.points.append(points.reshape(-1, 3))
        self.looks.append(Look(rows, corners, *colour, label, gloss, width, layer, two_sided, ghost))
        self.anchors.append(NOWHERE if anchor is None else anchor)
        if piece is None:  # only a rider counts as background in masks
            piece = self.origins[-1].piece if part is None else "rider" if part == "background" else part
        self.origins.append(Origin(piece, len(self.wheels) - 1 if piece in ("wheel", "spoke") else -1))

    def put(self, points: np.ndarray, look: Look, anchor: np.ndarray, origin: Origin) -> None:
        """Add rows of another shape, or rows like them."""
        self.points.append(points)
        self.looks.append(look)
        self.anchors.append(anchor)
        self.origins.append(origin)

    def chosen(self, which: list[bool]) -> "Shape":
        """A copy with only some `add`s, in the same order. Wheels of which nothing is left are dropped."""
        copy = Shape()
        copy.gaze, copy.hair = self.gaze, self.hair
        left = sorted({origin.wheel for origin, is_chosen in zip(self.origins, which) if is_chosen} - {-1})
        copy.wheels = [self.wheels[i] for i in left]
        number = {-1: -1} | {old: new for new, old in enumerate(left)}
        for points, look, anchor, origin, is_chosen in zip(self.points, self.looks, self.anchors, self.origins, which):
            if is_chosen:
                copy.put(points, look, anchor, origin._replace(wheel=number[origin.wheel]))
        return copy

    def turn(self, since: int, rotation: np.ndarray, origin: np.ndarray, wheels_since: int = 0) -> None:
        """Rotate (3×3, about `origin`) everything from the `since`-th `add` and `wheels_since`-th wheel on."""

        def move(points: np.ndarray) -> np.ndarray:
            return (points - origin) @ rotation.T + origin

        self.points[since:] = [move(points) for points in self.points[since:]]
        self.anchors[since:] = [move(anchors) for anchors in self.anchors[since:]]
        self.wheels[wheels_since:] = [
            Wheel(move(w.centre), rotation @ w.u, rotation @ w.v) for w in self.wheels[wheels_since:]
        ]

    def all_points(self) -> np.ndarray:
        return np.concatenate(self.points)

    def subject_points(self) -> np.ndarray:
        return np.concatenate(self.points[self.subject])


def rotation(axis: tuple, angle: float) -> np.ndarray:
    """3×3 matrix that turns by `angle` (radians) about `axis`."""
    x, y, z = np.asarray(axis, float) / np.linalg.norm(axis)
    across = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * across + (1 - np.cos(angle)) * across @ across


@cache
def unit_circle(corners: int) -> np.ndarray:
    """corners×3 points of a circle of radius 1 in the plane of the wheels, seen anticlockwise from the right."""
    t = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    return np.stack([np.cos(t), np.zeros(corners), np.sin(t)], axis=1)


def circle(centre: tuple, radius: float, corners: int = 28) -> np.ndarray:
    """corners×3 points of a circle in the plane of the wheels, seen anticlockwise from the right."""
    return unit_circle(corners) * radius + centre


def arc(centre: tuple, radius: float, corners: int, start: float, end: float) -> np.ndarray:
    """corners×3 points of a part of such a circle, between two angles in radians."""
    t = np.linspace(start, end, corners)
    return np.stack([np.cos(t), np.zeros(corners), np.sin(t)], axis=1) * radius + centre


def lens(centre: np.ndarray, radius: float, corners: int = 12) -> np.ndarray:
    """corners×3 points of a disc that faces ahead, along x."""
    return unit_circle(corners)[:, [1, 0, 2]] * radius + centre


def ring(centre: tuple, outer: float, inner: float, corners: int = 28) -> np.ndarray:
    """A flat ring as one polygon: around the outer circle, then back around the inner one."""
    out, back = circle(centre, outer, corners), circle(centre, inner, corners)[::-1]
    return np.concatenate([out, out[:1], back[-1:], back])


def loft(sections: np.ndarray) -> np.ndarray:
    """Faces (rows×4×3) of the skin over closed cross-sections: stations×corners×3, clockwise seen from behind."""
    a, b = sections[:-1], sections[1:]
    following = np.arange(1, sections.shape[1] + 1) % sections.shape[1]
    faces = np.empty((*a.shape[:2], 4, 3))
    faces[:, :, 0], faces[:, :, 1], faces[:, :, 2], faces[:, :, 3] = a, a[:, following], b[:, following], b
    return faces.reshape(-1, 4, 3)


def solid(stations: list[tuple], corners: int = 10, squareness: float = 0.7) -> np.ndarray:
    """Faces of a rounded body along x. Each station: (x, bottom, top, half width); ends are closed.

    `squareness` goes from 1, an ellipse, towards 0, a box.
    """
    x, bottom, top, half = np.array(stations, float).T[:, :, None]
    c, s = squared_circle(corners, squareness)
    sections = np.empty((len(x) + 2, corners, 3))
    sections[1:-1, :, 0], sections[1:-1, :, 1] = x, half * c
    sections[1:-1, :, 2] = (bottom + top) / 2 + (top - bottom) / 2 * s
    # The first and last sections are points, which closes the ends.
    sections[0], sections[-1] = ((x[i, 0], 0, (bottom[i, 0] + top[i, 0]) / 2) for i in (0, -1))
    return loft(sections)


@cache
def squared_circle(corners: int, squareness: float) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates of points on a shape between a circle (1) and a square (0)."""
    t = np.linspace(0, 2 * np.pi, corners, endpoint=False) + np.pi / corners
    return tuple(np.sign(f) * np.abs(f) ** squareness for f in (np.cos(t), np.sin(t)))


def limb(path: list, radii: list, corners: int = 8, across: tuple = (0, 1, 0), rounds: int = 1) -> np.ndarray:
    """Faces of a rounded, bent limb along `path` (N×3 metres), whose bends are rounded `rounds` times.

    `radii`: N, or N×2 for a flattened limb: along `across`, and at right angles to it.
    """
    stations = np.empty((len(path), 5))
    stations[:, :3], stations[:, 3:] = path, np.reshape(radii, (len(path), -1))
    for _ in range(rounds):
        a, b = stations[:-1], stations[1:]
        cut = np.hstack([0.75 * a + 0.25 * b, 0.25 * a + 0.75 * b]).reshape(-1, 5)
        stations = np.concatenate([stations[:1], cut, stations[-1:]])
    path, radii = stations[:, :3], stations[:, 3:]
    ahead = np.empty_like(path)
    ahead[1:-1], ahead[0], ahead[-1] = path[2:] - path[:-2], path[1] - path[0], path[-1] - path[-2]
    ahead = unit(ahead)
    side = unit(across - (ahead @ across)[:, None] * ahead + 1e-9)
    up = cross(ahead, side)
    c, s = squared_circle(corners, 1.0)
    closed = np.empty((len(path) + 2, corners, 3))
    aside, upwards = (radii[:, :1] * c)[..., None] * side[:, None], (radii[:, 1:] * s)[..., None] * up[:, None]
    closed[1:-1] = path[:, None] + aside + upwards
    for end, step in ((0, -0.4), (-1, 0.4)):
        closed[end] = path[end] + step * radii[end].min() * ahead[end]
    return loft(closed)


def ball(radii: tuple, corners: int = 10, stations: int = 6) -> np.ndarray:
    """Faces of an ellipsoid about the origin, from its front to its rear."""
    t = np.linspace(0.2, np.pi - 0.2, stations)
    path = np.stack([np.cos(t) * radii[0], 0 * t, 0 * t], axis=1)
    return limb(path, np.sin(t)[:, None] * radii[1:], corners, rounds=0)


def both_sides(faces: np.ndarray) -> np.ndarray:
    """Faces (N×corners×3) of something on the left, and of its mirror image on the right: 2N."""
    return np.concatenate([faces, faces[:, ::-1] * (1, -1, 1)])


def unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors (…×3) scaled to length 1."""
    return vectors / np.sqrt((vectors * vectors).sum(axis=-1, keepdims=True))


def cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cross products of …×3 and …×3; several times faster than numpy's general one."""
    (ax, ay, az), (bx, by, bz) = a.T, b.T
    return np.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], axis=-1)


def facing_ahead(x: float, y: tuple[float, float], z: tuple[float, float]) -> np.ndarray:
    """A rectangle (4×3) across the vehicle that faces ahead."""
    return np.array([(x, y[0], z[0]), (x, y[1], z[0]), (x, y[1], z[1]), (x, y[0], z[1])])


def facing_left(x: tuple[float, float], y: float, z: tuple[float, float]) -> np.ndarray:
    """A rectangle (4×3) along the vehicle that faces left."""
    return np.array([(x[0], y, z[1]), (x[1], y, z[1]), (x[1], y, z[0]), (x[0], y, z[0])])


def box(low: tuple, high: tuple) -> np.ndarray:
    """The six faces (6×4×3) of an upright box between two opposite corners."""
    (x0, y0, z0), (x1, y1, z1) = low, high
    p = np.array([[x, y, z] for x in (x0, x1) for y in (y0, y1) for z in (z0, z1)])
    return p[[[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]]
