"""Edits: what is painted in place of a vehicle or an animal. Each takes a shape and returns another one.

`draw(…, edit=without("wheel"))` leaves out the wheels. Edits can be sent to other processes.
"""

from collections.abc import Callable
from functools import partial

import numpy as np

from .car_details import wedge
from .solids import PIECES, Colour, Shape, Wheel, circle, ring

Edit = Callable[[Shape], Shape]
RUBBER, METAL, DARK = (0.06, 0.06, 0.065), (0.72, 0.73, 0.75), (0.1, 0.1, 0.11)
ON_TOP = 3  # the layer of the wheels that a car shows us, in front of its body


def nothing(shape: Shape) -> Shape:
    """Leave the scene empty: no vehicle, no shadow."""
    return Shape()


def without(*pieces: str) -> Edit:
    """Leave out `pieces`, some of `PIECES`. Raises `ValueError` for any other."""
    return partial(_kept, _known(pieces), False)


def only(*pieces: str) -> Edit:
    """Leave out everything but `pieces`, some of `PIECES`. Raises `ValueError` for any other."""
    return partial(_kept, _known(pieces), True)


def scaled_wheels(factor: float) -> Edit:
    """Wheels of `factor` times their size, about the same axles."""
    return partial(_reshaped, partial(_moved, factor, 0.0, 0.0))


def shifted_wheels(ahead: float, up: float) -> Edit:
    """Wheels moved ahead and up, in shares of their radius."""
    return partial(_reshaped, partial(_moved, 1.0, ahead, up))


def cornered_wheels(corners: int) -> Edit:
    """Wheels that are regular polygons of the same area, with an edge down. Raises `ValueError` below 3 or above 28.

    Round wheels are drawn with 28 corners.
    """
    if not 3 <= corners <= 28:
        raise ValueError(f"a wheel can have 3 to 28 corners, not {corners}")
    return partial(_reshaped, partial(_cornered, corners))


def disc_wheels(shape: Shape) -> Shape:
    """Wheels as plain discs: tyre and rim, no spokes."""
    return _refitted(_disc, shape)


def bicycle_wheels(shape: Shape) -> Shape:
    """The wheels of a bicycle on whatever it is: a thin tyre and wire spokes, and what is behind can be seen."""
    return _refitted(_wire, shape)


def car_wheels(shape: Shape) -> Shape:
    """The wheels of a car on whatever it is: a thick tyre and five broad spokes."""
    return _refitted(_cast, shape)


def _known(pieces: tuple[str, ...]) -> tuple[str, ...]:
    if unknown := [piece for piece in pieces if piece not in PIECES]:
        raise ValueError(f"there is no piece {', '.join(map(repr, unknown))}; there are {', '.join(PIECES)}")
    # The gaps between a wheel's spokes go where the wheel goes.
    return (*pieces, "spoke") if "wheel" in pieces else pieces


def _kept(pieces: tuple[str, ...], those: bool, shape: Shape) -> Shape:
    """The shape with `those` pieces alone, or without them."""
    kept = _empty_like(shape)
    for i, piece in enumerate(shape.pieces):
        if (piece in pieces) == those:
            _copy(shape, i, kept)
    kept.wheels = shape.wheels if ("wheel" in pieces) == those else []
    return kept


def _empty_like(shape: Shape) -> Shape:
    empty = Shape()
    empty.gaze, empty.hair = shape.gaze, shape.hair
    return empty


def _copy(source: Shape, i: int, target: Shape, points: np.ndarray | None = None) -> None:
    """Add the `i`-th piece of a shape to another one, with other `points` if they are given."""
    target.points.append(source.points[i] if points is None else points)
    target.looks.append(source.looks[i])
    target.anchors.append(source.anchors[i])
    target.pieces.append(source.pieces[i])


# --- wheels ---


def _reshaped(move: Callable[[np.ndarray], np.ndarray], shape: Shape) -> Shape:
    """The shape with the points of its wheels moved: M×3, ahead, up and to the right, in shares of their radius."""
    changed = _empty_like(shape)
    for i, piece in enumerate(shape.pieces):
        points = shape.points[i]
        if piece in ("wheel", "spoke") and shape.wheels:
            centre, axes = _nearest(shape, points)
            points = move((points - centre) @ np.linalg.inv(axes)) @ axes + centre
        _copy(shape, i, changed, points)
    for wheel in shape.wheels:
        axes = _axes(wheel)
        middle, along, upwards = move(np.array([(0, 0, 0), (1, 0, 0), (0, 1, 0)], float)) @ axes + wheel.centre
        changed.wheels.append(Wheel(middle, along - middle, upwards - middle))
    return changed


def _axes(wheel: Wheel) -> np.ndarray:
    """3×3: ahead and up in the plane of a wheel, and to its right, each as long as its radius."""
    sideways = np.cross(wheel.u, wheel.v)
    return np.stack([wheel.u, wheel.v, sideways / np.linalg.norm(wheel.u)])


def _nearest(shape: Shape, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The centre and the axes of the wheel that has these points."""
    middle = points.mean(axis=0)
    wheel = min(shape.wheels, key=lambda each: np.linalg.norm(each.centre - middle))
    return wheel.centre, _axes(wheel)


def _moved(factor: float, ahead: float, up: float, points: np.ndarray) -> np.ndarray:
    return factor * points + (ahead, up, 0)


def _cornered(corners: int, points: np.ndarray) -> np.ndarray:
    """Circles become polygons: each point moves away from the axle, or towards it."""
    half = np.pi / corners
    outer = np.sqrt(np.pi / (0.5 * corners * np.sin(2 * half)))  # the area of a circle of radius 1
    angle = np.arctan2(points[:, 1], points[:, 0]) + np.pi / 2 + half  # from a corner on; an edge is down
    reach = outer * np.cos(half) / np.cos(angle % (2 * half) - half)
    return points * np.stack([reach, reach, np.ones(len(points))], axis=1)


def _refitted(fit: Callable[[Shape, "_Face", Colour, dict], None], shape: Shape) -> Shape:
    """The shape with other wheels in the place of its own; the metal keeps its colour."""
    changed = without("wheel")(shape)
    shiny = [look for look, piece in zip(shape.looks, shape.pieces) if piece == "wheel" and look.gloss == 0.7]
    metal = (shiny[0].red, shiny[0].green, shiny[0].blue) if shiny else METAL
    for wheel in shape.wheels:
        beside = abs(wheel.centre[1]) > 0.4  # of a car: it shows one face, in front of the body
        for side in (1, -1):
            if not beside or side * wheel.centre[1] < 0:
                look = {"anchor": wheel.centre, "layer": ON_TOP if beside else 0}
                fit(changed, _Face(wheel, side, 0.0 if beside else 0.1), metal, look)
    changed.wheels = shape.wheels
    return changed


class _Face:
    """One face of a wheel, seen from the right (side 1) or the left (-1): flat points become points in space."""

    def __init__(self, wheel: Wheel, side: int, out: float) -> None:
        self.centre, self.axes, self.side, self.out = wheel.centre, _axes(wheel), side, side * out

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """Points in space (…×3) of points in the plane of the wheel, …×3 with 0 in the middle, and a radius of 1."""
        flat = np.stack([points[..., 0], points[..., 2], np.full(points.shape[:-1], self.out)], axis=-1)
        return flat[..., :: self.side, :] @ self.axes + self.centre


def _disc(shape: Shape, face: _Face, metal: Colour, look: dict) -> None:
    shape.add(face(circle((0, 0, 0), 1.0)), RUBBER, "wheel", gloss=0.15, **look)
    shape.add(face(circle((0, 0, 0), 0.82)), metal, "wheel", gloss=0.7, **look)


def _wire(shape: Shape, face: _Face, metal: Colour, look: dict) -> None:
    shape.add(face(circle((0, 0, 0), 1.0)), RUBBER, "wheel", ghost=True, **look)
    shape.add(face(ring((0, 0, 0), 1.0, 0.91)), RUBBER, "wheel", gloss=0.15, **look)
    shape.add(face(ring((0, 0, 0), 0.91, 0.85)), metal, "wheel", gloss=0.7, **look)
    angles = np.arange(20) * np.pi / 10
    spokes = np.stack([_spoke(angle) for angle in angles])
    shape.add(face(spokes), (0.7, 0.7, 0.7), None, piece="spoke", **look)
    shape.add(face(circle((0, 0, 0), 0.09, 12)), metal, "wheel", gloss=0.6, **look)


def _spoke(angle: float) -> np.ndarray:
    """A wire (4×3) from the hub to the rim of a wheel of radius 1, so thin that it is seen as one line."""
    out, aside = np.array([np.cos(angle), 0, np.sin(angle)]), 0.006 * np.array([np.sin(angle), 0, -np.cos(angle)])
    return np.array([0.08 * out + aside, 0.86 * out + aside, 0.86 * out - aside, 0.08 * out - aside])


def _cast(shape: Shape, face: _Face, metal: Colour, look: dict) -> None:
    shape.add(face(circle((0, 0, 0), 1.0)), RUBBER, "wheel", gloss=0.1, **look)
    shape.add(face(circle((0, 0, 0), 0.7)), metal, "wheel", gloss=0.7, **look)
    gaps = np.stack([wedge(0.7, angle, 0.6 * np.pi / 5) for angle in np.arange(5) * 2 * np.pi / 5])
    shape.add(face(gaps), DARK, None, piece="spoke", **look)
    shape.add(face(circle((0, 0, 0), 0.13, 10)), metal, "wheel", gloss=0.7, **look)
