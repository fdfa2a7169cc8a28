"""One drawing: a stage, painted and photographed; and the same with one thing changed."""

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from copy import deepcopy
from functools import lru_cache, partial
from multiprocessing import get_context
from typing import NamedTuple

import cv2
import numpy as np

from .camera import View
from .distractors import add_before, add_writing
from .edits import Edit, touched_labels
from .furs import brush
from .light import cast_shadow, exposure, photograph, round_off, tint
from .painting import FINE, Canvas, Light, paint
from .solids import Shape
from .stage import Random, Stage, set_up


class Drawing(NamedTuple):
    """One picture and what it shows."""

    image: np.ndarray  # uint8, size×size×3, RGB
    parts: np.ndarray  # uint8, size×size, index into PARTS
    kind: str
    wheels: np.ndarray  # a row an ellipse: x, y, two half-axes in pixels, angle of the first in radians
    view: View
    scene: str
    exponent: float  # of the exposure: 1 is unchanged, below 1 is brighter
    jpeg: bytes  # the file whose pixels `image` holds
    missing: float = 0.0  # of a control: the share of the edit's pixels for which the other parts have no match


class Take(NamedTuple):
    """What the camera is going to photograph."""

    canvas: Canvas  # as painted, before the last touches
    picture: np.ndarray  # uint8, size×size×3
    parts: np.ndarray  # uint8, size×size
    wheels: list
    missing: float = 0.0


class Unedited(NamedTuple):
    """A scene as it is, before any edit."""

    stage: Stage  # its random numbers are those for the camera
    take: Take
    ground: np.ndarray  # the scene (uint8, size×size×3) with the shadow of the shape
    exponent: float  # of the exposure: with one of its own, an edited picture would be brighter or darker all over
    before: Random  # the random numbers for the painting


def draw(
    class_name: str,
    index: int,
    *,
    seed: int = 0,
    size: int = 160,
    edit: Edit | None = None,
    control: bool = False,
    keep_shadow: bool = False,
    light: Light | int | None = None,
    scene: str | None = None,
    yaw: float | None = None,
) -> Drawing:
    """Draw picture number `index` of a class; the same arguments give the same picture, anywhere.

    `edit` takes the shape just before it is painted, and returns what is painted in its place (see `edits`); it must
    leave the shape that it is given as it is. Where neither the edit nor its shadow is seen, the camera is shown the
    very pixels of the picture without the edit, and it exposes, blurs and adds noise alike. Masks and `wheels` follow
    the edit. So does the shadow: what is taken away casts none, unless `keep_shadow`.

    `control` answers «would any loss of so many pixels do?»: the edit is not painted. Instead, as many visible pixels
    as it changes (shadow not counted) are removed, in one patch, from parts that it does not touch; the scene shows
    there, the shadow stays. If those parts have fewer pixels, all of them go and `missing` says which share of the
    wanted number was not found. Drop or report such pictures.

    `light` (a `Light`, or a number: each stands for a light), `scene` (a name) and `yaw` (of the camera, in radians,
    see `View`) change that one thing; the vehicle and every other choice stay as they were. The camera then frames and
    exposes what it sees. A picture with another yaw shows the vehicle as large as before, and the scene behind it from
    there.

    Raises ValueError for an unknown class or scene, and for a control without an edit.
    """
    if control and edit is None:
        raise ValueError("a control needs an edit: it removes as many pixels as that changes")
    # A light of one's own holds arrays, which a cache cannot look up.
    of_stage = _unedited.__wrapped__ if isinstance(light, Light) else _unedited
    unedited = of_stage(class_name, index, seed, size, light, scene, yaw)
    stage, exponent = unedited.stage, unedited.exponent
    take = _edited(unedited, edit, control, keep_shadow)
    # From another yaw, fur and things in front take more or fewer numbers than from the usual place.
    usual = unedited if yaw is None else _unedited(class_name, index, seed, size, None, None, None)
    image, jpeg = photograph(take.picture, exponent, stage.manner.contrast, deepcopy(usual.stage.random))
    wheels = stage.camera.ellipses(take.wheels)
    return Drawing(
        image, take.parts.copy(), stage.kind, wheels, stage.view, stage.scene_name, exponent, jpeg, take.missing
    )


@lru_cache(maxsize=2)  # the usual reason to draw a scene again is another edit, and this is the longer part of it
def _unedited(
    class_name: str, index: int, seed: int, size: int, light: int | None, scene: str | None, yaw: float | None
) -> Unedited:
    return paint_unedited(set_up(class_name, index, seed, size, light=light, scene=scene, yaw=yaw))


def paint_unedited(stage: Stage) -> Unedited:
    """The picture without an edit; afterwards the random numbers of the stage are those for the camera."""
    before = deepcopy(stage.random)
    ground = ground_of(stage, stage.shape)
    take = develop(stage, paint_all(stage, stage.shape, ground, stage.random), stage.shape, stage.random)
    return Unedited(stage, take, ground, exposure(take.picture, take.parts), before)


def _edited(unedited: Unedited, edit: Edit | None, control: bool, keep_shadow: bool) -> Take:
    """What the camera is shown after an edit. `unedited` stays as it is, because it is used again."""
    stage, plain, ground, _, before = unedited
    painted = edit(stage.shape) if edit else stage.shape
    if painted is stage.shape:
        return plain
    again = deepcopy(before)
    missing = 0.0
    canvas = paint_all(stage, painted, ground if keep_shadow or control else ground_of(stage, painted), again)
    if control:
        touched = touched_labels(stage.shape, painted)
        canvas, missing = without_as_much(plain.canvas, canvas, Canvas(ground), touched, deepcopy(stage.random))
        painted = stage.shape
    other = develop(stage, canvas, painted, again)
    hair = max(stage.shape.hair, painted.hair) * fur_scale(stage) if stage.shape.hair else 0.0
    return only_where_changed(plain, other, 0.09 * hair)._replace(missing=missing)


def before_the_camera(
    stage: Stage, edit: Edit | None = None, control: bool = False, keep_shadow: bool = False
) -> tuple[Take, float]:
    """The picture that the camera is shown, and the exposure's exponent, which is that of the picture without edit."""
    unedited = paint_unedited(stage)
    return _edited(unedited, edit, control, keep_shadow), unedited.exponent


def ground_of(stage: Stage, casting: Shape) -> np.ndarray:
    """The scene (uint8, size×size×3) with the shadow of a shape."""
    scene = stage.scene.copy()
    if casting.points:
        cast_shadow(scene, casting, stage.camera, stage.light)
    return scene


def paint_all(stage: Stage, shape: Shape, ground: np.ndarray, random: Random) -> Canvas:
    """The `ground` (uint8, size×size×3) with the `shape` on it, and what stands in front."""
    canvas = Canvas(ground)
    if shape.points:
        paint(canvas, shape, stage.camera, stage.light)
    if stage.shape.gaze is None:  # what hides some of a car would hide a face
        add_before(canvas, stage.camera, float(np.ptp(stage.shape.subject_points()[:, 0])) / 2, random)
    if random.random() < 0.15:
        add_writing(canvas, random)
    return canvas


def develop(stage: Stage, canvas: Canvas, shape: Shape, random: Random) -> Take:
    """The canvas with the last touches: fur, or roundness and uneven light."""
    picture, parts = canvas.shrink()
    if stage.shape.gaze is not None:
        scale = fur_scale(stage)
        picture, parts = brush(picture, parts, 0.014 * scale, 0.09 * shape.hair * scale, random)
    else:
        round_off(picture, parts)
        if stage.uneven:
            tint(picture, random)
    return Take(canvas, picture, parts, shape.wheels)


def fur_scale(stage: Stage) -> float:
    """Pixels a metre, where the animal is."""
    return stage.camera.scale(stage.shape.subject_points().mean(axis=0))


def differ(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Where (bool, H×W) two pictures (uint8, H×W×3) are not the same."""
    return cv2.inRange(cv2.absdiff(a, b), (0, 0, 0), (0, 0, 0)) == 0


def only_where_changed(plain: Take, other: Take, hair: float) -> Take:
    """`other`, but with the pixels of `plain` wherever both were painted alike, a `hair` (in pixels) apart.

    Roundness and fur look at the whole outline, so without this they would change far from what was edited.
    """
    fine = differ(plain.canvas.colours, other.canvas.colours) | (plain.canvas.labels != other.canvas.labels)
    rows = np.logical_or.reduce([fine[i::FINE] for i in range(FINE)])
    changed = np.logical_or.reduce([rows[:, i::FINE] for i in range(FINE)]).astype(np.uint8)
    if hair:  # hairs reach over the outline, by chance up to twice as far
        reach = 2 * int(2 * hair + 1) + 1
        changed = cv2.dilate(changed, np.ones((reach, reach), np.uint8))
    picture = cv2.copyTo(other.picture, changed, plain.picture.copy())
    parts = cv2.copyTo(other.parts, changed, plain.parts.copy())
    return other._replace(picture=picture, parts=parts)


def without_as_much(
    plain: Canvas, edited: Canvas, patched: Canvas, touched: list[int], random: Random
) -> tuple[Canvas, float]:
    """`plain` without a patch of parts that an edit leaves alone, as large as what it changes; and what is missing.

    `patched` is the empty scene, and is painted on. All have the same shadow. `touched` are the labels of the parts
    that the edit changes. Counted are pixels that are seen: of a wheel with spokes, not the air between them.
    """
    empty = plain.labels == 0
    wanted = np.count_nonzero(differ(plain.colours, edited.colours))
    free = differ(plain.colours, patched.colours) & ~empty
    for label in touched:
        free &= plain.labels != label
    rows, columns = np.nonzero(free)
    gone = np.zeros(0, int)
    if wanted and len(rows):
        middle = random.integers(len(rows))
        distance = (rows - rows[middle]) ** 2 + (columns - columns[middle]) ** 2
        gone = np.argsort(distance, kind="stable")[:wanted]
    kept = np.ones_like(empty)
    kept[rows[gone], columns[gone]] = False
    cv2.copyTo(plain.colours, kept.view(np.uint8), patched.colours)
    cv2.copyTo(plain.labels, kept.view(np.uint8), patched.labels)
    return patched, max(0.0, 1 - len(rows) / wanted) if wanted else 0.0


@contextmanager
def drawing_with(workers: int) -> Iterator[Callable]:
    """A `map` that draws in this process, or in several at once: each needs some seconds to start."""
    if workers == 1:
        yield map
        return
    # Forked processes would inherit the locks of OpenCV's and PyTorch's threads and could wait for them for ever.
    context = get_context("spawn")
    with ProcessPoolExecutor(workers, context, initializer=cv2.setNumThreads, initargs=(1,)) as pool:
        yield partial(pool.map, chunksize=16)


def draw_many(
    class_name: str,
    count: int,
    *,
    seed: int = 0,
    size: int = 160,
    first: int = 0,
    workers: int = 1,
    **changes: object,
) -> Iterator[Drawing]:
    """`count` drawings of a class in order, from number `first` on; the same whatever the number of `workers`,
    processes. `changes` are handed on to `draw`, the same for all: `edit`, `control`, `keep_shadow`, `light`, `scene`,
    `yaw`. With several workers they must be picklable, as all edits of this package are; a lambda is not.
    """
    with drawing_with(workers) as run:
        yield from run(partial(draw, class_name, seed=seed, size=size, **changes), range(first, first + count))
