"""Edits that bring in parts of other vehicles: a car body on bicycle wheels, or the vehicle of another drawing."""

import zlib
from functools import lru_cache, partial
from typing import NamedTuple

import numpy as np

from .edits import ON_TOP, Edit, add_hollows, axle, is_tread, local, rows_of
from .solids import Look, Origin, Shape, Wheel, rotation, unit
from .stage import CLASSES, VEHICLES, any_vehicle, stream


def wheels_of(kind: str, seed: int = 0) -> Edit:
    """Replace the wheels with those of another `kind` of vehicle, a key of `CLASSES["Bike"]` or `CLASSES["Car"]`.

    The new wheels have the size and the places of the old ones. Each `seed` gives other wheels of that kind.
    """
    kinds = [kind for name in VEHICLES for kind in CLASSES[name]]
    if kind not in kinds:
        raise ValueError(f"the kinds of vehicles are {', '.join(kinds)}, not {kind!r}")
    return partial(exchange_wheels, kind=kind, seed=seed)


def vehicle_of(class_name: str, index: int, *, seed: int = 0, kind: str | None = None) -> Edit:
    """Replace the vehicle or animal with that of drawing number `index` of a class, or with one of `kind`.

    It faces in the same direction and is as large, seen from the side. It is never longer, so that the camera still
    frames it. Scene, camera and light are those of the drawing that is edited, whatever its class.

    Raises ValueError for an unknown class or kind, and, when painted, if an animal would replace a vehicle.
    """
    any_vehicle(class_name, stream(class_name, index, seed), kind)  # raises at once for an unknown class or kind
    return partial(exchange_vehicle, class_name=class_name, index=index, seed=seed, kind=kind)


def exchange_vehicle(shape: Shape, class_name: str, index: int, seed: int, kind: str | None) -> Shape:
    """Another vehicle where `shape` is; see `vehicle_of`."""
    other = any_vehicle(class_name, stream(class_name, index, seed), kind)[2]
    if (other.gaze is None) != (shape.gaze is None):
        raise ValueError(f"a {class_name} cannot be put here: vehicles replace only vehicles, and animals only animals")
    whole = shape.subject == slice(None)
    if shape.gaze is not None:  # it looks in the same direction, and in a portrait its head is fitted
        other.turn(0, rotation((0, 0, 1), shape.gaze - other.gaze), np.zeros(3))
        other.gaze = shape.gaze
        other.subject = slice(None) if whole else slice([o.piece for o in other.origins].index("head"), None)
    old, new = ((points.min(axis=0), points.max(axis=0)) for points in (shape.subject_points(), other.subject_points()))
    long, _, high = np.ptp(old, axis=0) / np.ptp(new, axis=0)
    size = float(min(long, np.sqrt(long * high)))
    offset = np.mean(old, axis=0) - size * np.mean(new, axis=0)
    offset[2] *= not whole  # it stays on the ground

    def moved(points: np.ndarray) -> np.ndarray:
        return size * points + offset

    other.points, other.anchors = [moved(p) for p in other.points], [moved(a) for a in other.anchors]
    other.looks = [look._replace(width=size * look.width) for look in other.looks]
    other.wheels = [Wheel(moved(w.centre), size * w.u, size * w.v) for w in other.wheels]
    other.hair *= size
    return other


# --- wheels ---


class Row(NamedTuple):
    """One `add` of a wheel."""

    points: np.ndarray  # N×3: along u, v and the axle, in radii; the middle of the wheel's width is at 0
    look: Look
    origin: Origin


class Donor(NamedTuple):
    """A wheel to mount on another vehicle."""

    inner: list[Row]
    faces: list[Row]  # visible on the side to which the axle points, and only from there
    covered: bool  # as on cars, whose wheels show only one face
    wide: float  # half of its width, in radii


@lru_cache(16)
def wheel_of(kind: str, seed: int) -> Donor:
    """A wheel of a kind of vehicle."""
    random = np.random.default_rng([seed, zlib.crc32(kind.encode())])
    name = next(name for name in VEHICLES if kind in CLASSES[name])
    whole = any_vehicle(name, random, kind)[2]
    wheel, numbers = whole.wheels[0], rows_of(whole, 0)
    radius = np.linalg.norm(wheel.u)
    points = [np.stack(local(whole.points[i], wheel), axis=1) / (1, 1, radius) for i in numbers]
    sides = np.concatenate(points)[:, 2]
    rows = [
        Row(p - (0, 0, (sides.min() + sides.max()) / 2), look._replace(width=look.width / radius), whole.origins[i])
        for i, p, look in ((i, p, whole.looks[i]) for i, p in zip(numbers, points))
    ]
    covered = any(row.look.layer == ON_TOP for row in rows)
    inner = [row for row in rows if row.look.layer != ON_TOP]
    faces = [row for row in rows if row.look.layer == ON_TOP] if covered else [as_face(r) for r in rows if is_face(r)]
    return Donor(inner, faces, covered, float(np.ptp(sides)) / 2)


def is_face(row: Row) -> bool:
    """Whether the row belongs to the near face of a wheel with two faces: spokes, and rows that do not face away."""
    x, y, _ = row.points[: row.look.corners].T
    looks_out = row.look.two_sided or (x * np.roll(y, -1) - y * np.roll(x, -1)).sum() > 0
    return row.look.width > 0 or (looks_out and not is_tread(row.look))


def as_face(row: Row) -> Row:
    """The row as flat faces, visible only from where the axle points; spokes, which are tubes, become narrow faces."""
    look = row.look._replace(two_sided=False)
    if not look.width:
        return row._replace(look=look)
    start, end = row.points.reshape(-1, 2, 3).transpose(1, 0, 2) * (1, 1, 0)
    ahead = unit(end - start)
    beside = look.width / 2 * np.stack([-ahead[:, 1], ahead[:, 0], 0 * ahead[:, 0]], axis=1)
    flat = np.stack([start - beside, end - beside, end + beside, start + beside], axis=1)
    return row._replace(points=flat.reshape(-1, 3), look=look._replace(width=0.0, corners=4))


def exchange_wheels(shape: Shape, kind: str, seed: int) -> Shape:
    """The shape with other wheels; see `wheels_of`."""
    donor = wheel_of(kind, seed)
    result = shape.chosen([origin.wheel < 0 for origin in shape.origins])
    for number, wheel in enumerate(shape.wheels):
        rows = rows_of(shape, number)
        result.wheels.append(wheel)
        if any(shape.looks[i].layer == ON_TOP for i in rows):
            aside = np.concatenate([local(shape.points[i], wheel)[2] for i in rows])
            mount_outside(result, wheel, donor, 1 if aside.max() < -aside.min() else -1)
        else:
            mount_in_fork(result, wheel, donor)
    add_hollows(result, shape.wheels)
    return result


def mount_in_fork(result: Shape, wheel: Wheel, donor: Donor) -> None:
    """Add a wheel that is visible from both sides."""
    for row in donor.inner:
        if not donor.covered or is_tread(row.look):
            put(result, wheel, row, 1, 0.0, 0)
    for row in donor.faces if donor.covered else ():
        for side in (1, -1):
            put(result, wheel, row, side, 0.0, 0)


def mount_outside(result: Shape, wheel: Wheel, donor: Donor, side: int) -> None:
    """Add a wheel to the side of a car: its visible part under the car, and its face over the body.

    The face points along the axle (`side` 1) or against it (-1), and lies in the plane of the original wheel.
    """
    for rows, layer in ((donor.inner, 0), (donor.faces, ON_TOP)):
        for row in rows:
            put(result, wheel, row, side, -side * donor.wide, layer)


def put(result: Shape, wheel: Wheel, row: Row, side: int, shift: float, layer: int) -> None:
    """Add a row in the place of `wheel`, mirrored if `side` is -1, and shifted along the axle by `shift` radii."""
    radius = np.linalg.norm(wheel.u)
    points = row.points.reshape(-1, row.look.corners, 3)
    points = (points if side > 0 else points[:, ::-1] * (1, 1, -1)).reshape(-1, 3)
    placed = wheel.centre + points @ np.stack([wheel.u, wheel.v, radius * axle(wheel)]) + shift * radius * axle(wheel)
    look = row.look._replace(layer=layer, width=radius * row.look.width)
    result.put(placed, look, wheel.centre, row.origin._replace(wheel=len(result.wheels) - 1))
