"""Make one drawing: paint and photograph a stage, as it is or with one thing changed."""

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
    wheels: np.ndarray  # one row per ellipse: x, y, two semi-axes in pixels, angle of the first in radians
    view: View
    scene: str
    exponent: float  # of the exposure: 1 is unchanged, below 1 is brighter
    jpeg: bytes  # the file whose pixels `image` holds
    missing: float = 0.0  # for a control: the share of the edit's pixels that could not be removed elsewhere


class Take(NamedTuple):
    """What the camera will photograph."""

    canvas: Canvas  # as painted, before the finishing steps
    picture: np.ndarray  # uint8, size×size×3
    parts: np.ndarray  # uint8, size×size
    wheels: list
    missing: float = 0.0


class Unedited(NamedTuple):
    """A scene without an edit."""

    stage: Stage  # its next random numbers are those for the camera
    take: Take
    ground: np.ndarray  # the scene (uint8, size×size×3) with the shadow of the shape
    exponent: float  # of the exposure; a different one would make a whole edited picture brighter or darker
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
    """Draw picture number `index` of a class. The same arguments give the same picture on every machine.

    `edit` takes the shape just before it is painted, and returns the shape to paint instead (see `edits`). It must not
    change its argument. Where neither the edit nor its shadow is visible, the camera sees exactly the pixels of the
    picture without the edit, with the same exposure, blur and noise. Masks and `wheels` follow the edit. So does the
    shadow: a part that is removed casts none, unless `keep_shadow`.

    `control` answers the question whether the loss of any other pixels would have the same effect. The edit is not
    painted. Instead, as many visible pixels as it changes (without the shadow) are removed, in one patch, from parts
    that it does not touch. The scene is visible there, and the shadow stays. If those parts have fewer pixels, all of
    them are removed, and `missing` is the share that could not be removed. Drop or report such pictures.

    `light` (a `Light`, or a number that stands for one), `scene` (a name) and `yaw` (of the camera, in radians, see
    `View`) change only that one thing. The vehicle and every other choice stay the same. The camera then frames and
    exposes what it sees. With another yaw, the vehicle is as large as before, and the scene is seen in that direction.

    Raises ValueError for an unknown class or scene, and for a control without an edit.
    """
    if control and edit is None:
        raise ValueError("a control needs an edit: it removes as many pixels as the edit changes")
    # A `Light` holds arrays, which cannot be keys of a cache.
    make_unedited = _unedited.__wrapped__ if isinstance(light, Light) else _unedited
    unedited = make_unedited(class_name, index, seed, size, light, scene, yaw)
    stage, exponent = unedited.stage, unedited.exponent
    take = _edited(unedited, edit, control, keep_shadow)
    # With another yaw, fur and things in front use more or fewer random numbers than usual.
    usual = unedited if yaw is None else _unedited(class_name, index, seed, size, None, None, None)
    image, jpeg = photograph(take.picture, exponent, stage.manner.contrast, deepcopy(usual.stage.random))
    wheels = stage.camera.ellipses(take.wheels)
    return Drawing(
        image, take.parts.copy(), stage.kind, wheels, stage.view, stage.scene_name, exponent, jpeg, take.missing
    )


@lru_cache(maxsize=2)  # scenes are mostly drawn again for another edit, and this is the slower part
def _unedited(
    class_name: str, index: int, seed: int, size: int, light: int | None, scene: str | None, yaw: float | None
) -> Unedited:
    return paint_unedited(set_up(class_name, index, seed, size, light=light, scene=scene, yaw=yaw))


def paint_unedited(stage: Stage) -> Unedited:
    """The picture without an edit. After this, the next random numbers of the stage are those for the camera."""
    before = deepcopy(stage.random)
    ground = ground_of(stage, stage.shape)
    take = develop(stage, paint_all(stage, stage.shape, ground, stage.random), stage.shape, stage.random)
    return Unedited(stage, take, ground, exposure(take.picture, take.parts), before)


def _edited(unedited: Unedited, edit: Edit | None, control: bool, keep_shadow: bool) -> Take:
    """What the camera sees after an edit. `unedited` is not changed, because it is used again."""
    stage, plain, ground, _, before = unedited
    painted = edit(stage.shape) if edit else stage.shape
    if painted is stage.shape:
        return plain
    random = deepcopy(before)
    missing = 0.0
    canvas = paint_all(stage, painted, ground if keep_shadow or control else ground_of(stage, painted), random)
    if control:
        touched = touched_labels(stage.shape, painted)
        canvas, missing = without_as_much(plain.canvas, canvas, Canvas(ground), touched, deepcopy(stage.random))
        painted = stage.shape
    edited = develop(stage, canvas, painted, random)
    hair = max(stage.shape.hair, painted.hair) * fur_scale(stage) if stage.shape.hair else 0.0
    return only_where_changed(plain, edited, 0.09 * hair)._replace(missing=missing)


def before_the_camera(
    stage: Stage, edit: Edit | None = None, control: bool = False, keep_shadow: bool = False
) -> tuple[Take, float]:
    """What the camera sees, and the exponent of the exposure, which is that of the picture without the edit."""
    unedited = paint_unedited(stage)
    return _edited(unedited, edit, control, keep_shadow), unedited.exponent


def ground_of(stage: Stage, casting: Shape) -> np.ndarray:
    """The scene (uint8, size×size×3) with the shadow of a shape."""
    scene = stage.scene.copy()
    if casting.points:
        cast_shadow(scene, casting, stage.camera, stage.light)
    return scene


def paint_all(stage: Stage, shape: Shape, ground: np.ndarray, random: Random) -> Canvas:
    """The `ground` (uint8, size×size×3) with the `shape` on it and the things in front."""
    canvas = Canvas(ground)
    if shape.points:
        paint(canvas, shape, stage.camera, stage.light)
    if stage.shape.gaze is None:  # what hides part of a car would hide a whole face
        add_before(canvas, stage.camera, float(np.ptp(stage.shape.subject_points()[:, 0])) / 2, random)
    if random.random() < 0.15:
        add_writing(canvas, random)
    return canvas


def develop(stage: Stage, canvas: Canvas, shape: Shape, random: Random) -> Take:
    """The canvas after the finishing steps: fur, or roundness and uneven light."""
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
    """Pixels per metre at the animal."""
    return stage.camera.scale(stage.shape.subject_points().mean(axis=0))


def differ(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Where (bool, H×W) two pictures (uint8, H×W×3) differ."""
    return cv2.inRange(cv2.absdiff(a, b), (0, 0, 0), (0, 0, 0)) == 0


def only_where_changed(plain: Take, other: Take, hair: float) -> Take:
    """`other`, but with the pixels of `plain` where both were painted alike, up to a `hair` (in pixels) from a change.

    Roundness and fur depend on the whole outline. Without this, pixels far from the edit would change too.
    """
    fine = differ(plain.canvas.colours, other.canvas.colours) | (plain.canvas.labels != other.canvas.labels)
    rows = np.logical_or.reduce([fine[i::FINE] for i in range(FINE)])
    changed = np.logical_or.reduce([rows[:, i::FINE] for i in range(FINE)]).astype(np.uint8)
    if hair:  # hairs reach over the outline, sometimes up to twice as far
        reach = 2 * int(2 * hair + 1) + 1
        changed = cv2.dilate(changed, np.ones((reach, reach), np.uint8))
    picture = cv2.copyTo(other.picture, changed, plain.picture.copy())
    parts = cv2.copyTo(other.parts, changed, plain.parts.copy())
    return other._replace(picture=picture, parts=parts)


def without_as_much(
    plain: Canvas, edited: Canvas, patched: Canvas, touched: list[int], random: Random
) -> tuple[Canvas, float]:
    """Remove a patch from `plain`, as large as the change by an edit, from parts that the edit does not touch.

    Returns the canvas, and the share of pixels that could not be removed. `patched` is the empty scene, and is painted
    on. All canvases have the same shadow. `touched` are the labels of the parts that the edit changes. Only visible
    pixels count: for a wheel with spokes, not the air between them.
    """
    empty = plain.labels == 0
    count = np.count_nonzero(differ(plain.colours, edited.colours))
    free = differ(plain.colours, patched.colours) & ~empty
    for label in touched:
        free &= plain.labels != label
    rows, columns = np.nonzero(free)
    removed = np.zeros(0, int)
    if count and len(rows):
        centre = random.integers(len(rows))
        distance = (rows - rows[centre]) ** 2 + (columns - columns[centre]) ** 2
        removed = np.argsort(distance, kind="stable")[:count]
    kept = np.ones_like(empty)
    kept[rows[removed], columns[removed]] = False
    cv2.copyTo(plain.colours, kept.view(np.uint8), patched.colours)
    cv2.copyTo(plain.labels, kept.view(np.uint8), patched.labels)
    return patched, max(0.0, 1 - len(rows) / count) if count else 0.0


@contextmanager
def drawing_with(workers: int) -> Iterator[Callable]:
    """A `map` that draws in this process, or in several processes, which take some seconds to start."""
    if workers == 1:
        yield map
        return
    # Forked processes would inherit the locks of OpenCV's and PyTorch's threads and could wait for them forever.
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
    """`count` drawings of a class in order, from number `first` on.

    `workers` is the number of processes; it does not change the drawings. `changes` are passed to `draw` for all of
    them: `edit`, `control`, `keep_shadow`, `light`, `scene`, `yaw`. With several workers, they must be picklable. All
    edits of this package are; a lambda is not.
    """
    with drawing_with(workers) as run:
        yield from run(partial(draw, class_name, seed=seed, size=size, **changes), range(first, first + count))
