"""Change a vehicle or an animal before it is painted: leave out parts, keep only some, or reshape them.

An edit is a function from a `Shape` to another one. It does not change its argument, and it can be sent to other
processes. `draw(…, edit=without("wheel"))` paints the result.
"""

from collections.abc import Callable
from functools import partial

import numpy as np

from .solids import NO_PART, PARTS, PIECES, Look, Origin, Shape, Wheel, circle

Edit = Callable[[Shape], Shape]
# Pieces that are attached to another piece, and are removed or kept with it.
ATTACHED = {
    "wheel": ("spoke",),
    "body": ("well",),
    "muzzle": ("nose", "mouth", "whisker", "tongue"),
    "head": ("ear", "eye", "muzzle", "nose", "mouth", "whisker", "tongue"),
}
# The parts that masks show for the finer pieces. A rider is not a part.
MASKED = {"spoke": "wheel", "well": "body", "rider": "background"}
CORNERS = (3, 28)  # of a wheel; circles are drawn with 28
ON_TOP = 3  # the layer of the visible faces of a car's wheels


def without(*pieces: str) -> Edit:
    """Leave out `pieces` (names in `PIECES`) and what is attached to them (`ATTACHED`), as the nose to a muzzle.

    Glass is replaced by sheet metal as long as there is a body, because nothing is drawn behind it.
    """
    return partial(select, pieces=with_attached(pieces), kept=False)


def only(*pieces: str) -> Edit:
    """Keep only `pieces` (names in `PIECES`) and what is attached to them (`ATTACHED`)."""
    return partial(select, pieces=with_attached(pieces), kept=True)


def nothing(shape: Shape) -> Shape:
    """An edit that leaves the scene empty: no vehicle, no shadow."""
    return Shape()


def disc_wheels(shape: Shape) -> Shape:
    """An edit that turns every wheel into a plain disc in the colour of its tyre: no rim, no spokes, no hub."""
    discs = shape.chosen([origin.wheel < 0 for origin in shape.origins])
    for number, wheel in enumerate(shape.wheels):
        add_disc(discs, shape, number, wheel)
    add_hollows(discs, shape.wheels)
    return discs


def scaled_wheels(factor: float) -> Edit:
    """Scale wheels, including their width, by `factor` (above 0) about their centres. Small wheels hang in the air."""
    if factor <= 0:
        raise ValueError(f"wheels can be scaled by numbers above 0, not by {factor}")
    return partial(reshaped, change=partial(scale, factor=factor), size=factor)


def shifted_wheels(ahead: float, up: float) -> Edit:
    """Move wheels ahead and up, in shares of their own radius; negative numbers move them back and down."""
    return partial(reshaped, change=partial(shift, ahead=ahead, up=up))


def cornered_wheels(corners: int) -> Edit:
    """Give wheels 3 to 28 corners. They stand on a side and have the same area as the round wheels."""
    if corners not in range(CORNERS[0], CORNERS[1] + 1):
        raise ValueError(f"a wheel can have {CORNERS[0]} to {CORNERS[1]} corners, not {corners}")
    return partial(reshaped, change=partial(corner, corners=int(corners)))


def select(shape: Shape, pieces: frozenset[str], kept: bool) -> Shape:
    """The shape with these pieces only, or if not `kept` without them."""
    which = [(origin.piece in pieces) == kept for origin in shape.origins]
    if all(which):
        return shape
    left = shape.chosen(which)
    if "body" in {origin.piece for origin in left.origins}:
        add_hollows(left, [w for w in shape.wheels if not any(w.centre is other.centre for other in left.wheels)])
        if "window" not in {origin.piece for origin in left.origins}:
            add_metal(left, shape)
    return left


def with_attached(pieces: tuple[str, ...]) -> frozenset[str]:
    """The pieces and what is attached to them. Raises ValueError for an unknown piece."""
    for piece in pieces:
        if piece not in PIECES:
            raise ValueError(f"there is no piece {piece!r}; there are {', '.join(PIECES)}")
    return frozenset(pieces).union(*(ATTACHED.get(piece, ()) for piece in pieces))


def touched_labels(shape: Shape, edited: Shape) -> list[int]:
    """Indices into PARTS of the parts of `shape` that an edit has changed or left out, at least partly."""
    untouched = {id(points) for points in edited.points}
    gone = {origin.piece for points, origin in zip(shape.points, shape.origins) if id(points) not in untouched}
    return [PARTS.index(MASKED.get(piece, piece)) for piece in gone]


# --- what becomes visible when a piece is removed ---


def add_hollows(shape: Shape, wheels: list[Wheel]) -> None:
    """Darken a car's wheel wells where `wheels` were. The reflections on the sides of the body end there."""
    for i in [i for i, origin in enumerate(shape.origins) if origin.piece == "well"]:
        well = shape.points[i]
        near = [w.centre for w in wheels if np.linalg.norm(w.centre - well.mean(axis=0)) < 0.5]
        for centre in near[:1]:
            # Behind any wheel that is there now, whose anchor is its centre.
            look, anchor = shape.looks[i], centre * (1, 0.7, 1)
            colour = look.red, look.green, look.blue
            shape.add(centre + 0.8 * (well - centre), colour, "body", layer=ON_TOP, anchor=anchor, piece="well")


def add_metal(shape: Shape, whole: Shape) -> None:
    """Close the windows that the `whole` car had with the material of its body."""
    metal = next(look for look, origin in zip(whole.looks, whole.origins) if origin.piece == "body")
    for points, look, anchor, origin in zip(whole.points, whole.looks, whole.anchors, whole.origins):
        if origin.piece == "window" and look.part != NO_PART:
            closed = metal._replace(rows=look.rows, corners=look.corners, layer=look.layer)
            shape.put(points.copy(), closed, anchor, Origin("body", -1))  # a copy: the window counts as touched


# --- wheels ---


def reshaped(shape: Shape, change: Callable[[np.ndarray, Wheel], np.ndarray], size: float = 1.0) -> Shape:
    """The shape with the points (N×3) of each wheel changed; `size` is the factor by which this enlarges them."""
    copy = shape.chosen([True] * len(shape.points))
    for i, origin in enumerate(copy.origins):
        if origin.wheel >= 0:
            wheel, look = shape.wheels[origin.wheel], copy.looks[i]
            copy.points[i] = change(copy.points[i], wheel)
            copy.anchors[i] = change(copy.anchors[i][None], wheel)[0]
            copy.looks[i] = look._replace(width=look.width * size)
    copy.wheels = [Wheel(change(w.centre[None], w)[0], size * w.u, size * w.v) for w in shape.wheels]
    add_hollows(copy, shape.wheels)
    return copy


def scale(points: np.ndarray, wheel: Wheel, factor: float) -> np.ndarray:
    """Points (N×3) of a wheel, `factor` times as far from its centre."""
    return wheel.centre + factor * (points - wheel.centre)


def shift(points: np.ndarray, wheel: Wheel, ahead: float, up: float) -> np.ndarray:
    """Points (N×3) of a wheel, moved along x and z by shares of its radius."""
    return points + np.linalg.norm(wheel.u) * np.array([ahead, 0, up])


def corner(points: np.ndarray, wheel: Wheel, corners: int) -> np.ndarray:
    """Points (N×3) of a round wheel moved in its plane so that its circles become polygons of the same area."""
    most, step = CORNERS[1], 2 * np.pi / corners
    rim = np.sqrt(most * np.sin(2 * np.pi / most) / (corners * np.sin(step)))  # radius of the corners; 1 for 28 corners
    places = np.arange(-1, corners + 2) * step - np.pi / 2 + step / 2  # over one turn; the lowest side is level
    drawn = np.floor(places / (2 * np.pi / most) + 0.5) * 2 * np.pi / most  # the nearest corner that circles have
    along, across, aside = local(points, wheel)
    angle = np.interp((np.arctan2(across, along) - drawn[1]) % (2 * np.pi) + drawn[1], drawn, places)
    side = (angle - places[1]) % step - step / 2
    radius = np.hypot(along, across) * rim * np.cos(step / 2) / np.cos(side)
    return (
        wheel.centre
        + (radius * np.cos(angle))[:, None] * wheel.u
        + (radius * np.sin(angle))[:, None] * wheel.v
        + aside[:, None] * axle(wheel)
    )


def local(points: np.ndarray, wheel: Wheel) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Coordinates (N each) of points (N×3) along u and v, in radii, and along the axle, in metres."""
    apart, radius = points - wheel.centre, np.linalg.norm(wheel.u)
    return apart @ wheel.u / radius**2, apart @ wheel.v / radius**2, apart @ axle(wheel)


def axle(wheel: Wheel) -> np.ndarray:
    """Unit vector (3) along a wheel's axle, towards the side from which its circles run anticlockwise."""
    across = np.cross(wheel.u, wheel.v)
    return across / np.linalg.norm(across)


def rows_of(shape: Shape, number: int) -> list[int]:
    """Indices of the `add`s that make up a wheel."""
    return [i for i, origin in enumerate(shape.origins) if origin.wheel == number]


def is_tread(look: Look) -> bool:
    """Whether rows are the bands around a tyre: only these have four corners on a wheel."""
    return look.corners == 4


def add_disc(discs: Shape, shape: Shape, number: int, wheel: Wheel) -> None:
    """A disc on either side of a wheel of `shape`, with its tread between them."""
    rows = rows_of(shape, number)
    treads = [i for i in rows if is_tread(shape.looks[i])]
    look = shape.looks[(treads or rows)[0]]
    discs.wheels.append(wheel)
    for i in treads:
        discs.put(shape.points[i], shape.looks[i], shape.anchors[i], Origin("wheel", len(discs.wheels) - 1))
    places = {i: local(shape.points[i], wheel) for i in rows}
    sides = np.concatenate([aside for *_, aside in places.values()])
    for end, order in ((sides.min(), -1), (sides.max(), 1)):
        reach, layer = 0.0, 0
        for i, (along, across, aside) in places.items():
            there = abs(aside - end) < 1e-6
            if there.any():
                reach = max(reach, np.hypot(along, across)[there].max())
                layer = max(layer, shape.looks[i].layer)
        along, _, across = circle((0, 0, 0), reach).T[..., None]
        disc = wheel.centre + along * wheel.u + across * wheel.v + end * axle(wheel)
        colour = look.red, look.green, look.blue
        discs.add(disc[::order], colour, "wheel", gloss=0.1, layer=layer, anchor=wheel.centre)
