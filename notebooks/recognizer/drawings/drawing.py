"""One drawing: a stage, painted and photographed, as it is or with one thing changed."""

import copy
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from typing import Any, NamedTuple

import cv2
import numpy as np

from .camera import View
from .distractors import add_before, add_writing
from .furs import brush
from .light import cast_shadow, exposure, photograph, round_off, tint
from .painting import Canvas, paint
from .solids import Shape
from .stage import Stage, any_scene, set_up


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
    matched: bool = True  # False: a control that had too few other pixels to remove


Edit = Callable[[Shape], Shape]


def draw(
    class_name: str,
    index: int,
    *,
    seed: int = 0,
    size: int = 160,
    edit: Edit | None = None,
    control: bool = False,
    keep_shadow: bool = False,
    light_from: int = 0,
    scene_from: int = 0,
    yaw_from: int = 0,
) -> Drawing:
    """Draw picture number `index` of a class; the same arguments give the same picture, anywhere.

    `edit` (see `edits`) takes the shape just before it is painted, and returns what is painted in its place. Everything
    else is as without the edit: scene, camera, light, exposure, what stands in front, writing, and the camera's noise.
    What was removed throws no shadow any more, unless `keep_shadow`.

    With `control`, the edit is not shown. As many pixels as it changes are removed from the rest of the vehicle
    instead, in one patch, so that the scene shows behind it. `matched` is False where the rest has fewer.

    `light_from`, `scene_from` and `yaw_from` replace one thing by that of another drawing of the class, the one so many
    numbers further on: the light, the scene, or the side from which the camera looks.
    Raises `ValueError` for a class that cannot be drawn.
    """
    stage = set_up(class_name, index, seed, size, yaw_from)
    if light_from:
        stage = stage._replace(light=set_up(class_name, index + light_from, seed, size).light)
    if scene_from:
        of_scene = set_up(class_name, index + scene_from, seed, size).of_scene
        scene, name = any_scene(stage.camera, size, stage.manner, of_scene)
        stage = stage._replace(scene=scene, scene_name=name)
    whole = painted_on(stage, stage.shape, stage.shape)
    matched, wheels = True, stage.shape.wheels
    if not edit:
        picture, parts = developed(stage, whole, stage.random)
        exponent = exposure(picture, parts)
    else:
        # With an exposure of its own, an edited picture would be brighter or darker all over.
        exponent = exposure(*developed(stage, copy.deepcopy(whole), copy.deepcopy(stage.random)))
        edited = edit(stage.shape)
        if control:
            ground = painted_on(stage, Shape(), stage.shape)
            edited_there = painted_on(stage, edited, stage.shape)
            shown, matched = removed_elsewhere(whole, edited_there, ground, stage.random.spawn(1)[0])
        else:
            shown, wheels = painted_on(stage, edited, stage.shape if keep_shadow else edited), edited.wheels
        picture, parts = developed(stage, shown, stage.random)
    image, jpeg = photograph(picture, exponent, stage.manner.contrast, stage.random)
    ellipses = stage.camera.ellipses(wheels)
    return Drawing(image, parts, stage.kind, ellipses, stage.view, stage.scene_name, exponent, jpeg, matched)


def painted_on(stage: Stage, shape: Shape, shadow_of: Shape) -> Canvas:
    """`shape` in the scene, with the shadow that `shadow_of` throws."""
    scene = stage.scene.copy()
    if shadow_of.points:
        cast_shadow(scene, shadow_of, stage.camera, stage.light)
    canvas = Canvas(scene)
    if shape.points:
        paint(canvas, shape, stage.camera, stage.light)
    return canvas


def developed(stage: Stage, canvas: Canvas, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The picture and its parts, with all that stands in front (on `canvas`, in place), before the camera's own."""
    points, gaze = stage.shape.subject_points(), stage.shape.gaze
    if gaze is None:  # what hides some of a car would hide a face
        add_before(canvas, stage.camera, float(np.ptp(points[:, 0])) / 2, random)
    if random.random() < 0.15:
        add_writing(canvas, random)
    picture, parts = canvas.shrink()
    if gaze is not None:
        scale = stage.camera.scale(points.mean(axis=0))
        return brush(picture, parts, 0.014 * scale, 0.09 * stage.shape.hair * scale, random)
    round_off(picture, parts)
    if stage.scene_name != "studio":
        tint(picture, random)
    return picture, parts


def removed_elsewhere(
    whole: Canvas, edited: Canvas, ground: Canvas, random: np.random.Generator
) -> tuple[Canvas, bool]:
    """`whole` with as many pixels of the vehicle removed as the edit changes, but other ones; and whether there were.

    They are the nearest to a random pixel of the rest of the vehicle, so that a patch is missing and not a sprinkle.
    """
    vehicle, changed = ((whole.colours != other.colours).any(axis=2) for other in (ground, edited))
    rows, columns = np.nonzero(vehicle & ~changed)
    count = int((vehicle & changed).sum())
    canvas = copy.deepcopy(whole)
    if len(rows):
        middle = random.integers(len(rows))
        distance = (rows - rows[middle]) ** 2 + (columns - columns[middle]) ** 2
        nearest = np.argsort(distance, kind="stable")[:count]
        patch = rows[nearest], columns[nearest]
        canvas.colours[patch], canvas.labels[patch] = ground.colours[patch], 0
    return canvas, count <= len(rows)


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
    class_name: str, count: int, *, first: int = 0, seed: int = 0, size: int = 160, workers: int = 1, **changes: Any
) -> Iterator[Drawing]:
    """`count` drawings of a class from number `first` on, in order; the same whatever the number of `workers`.

    `workers` are processes. `changes` are those that `draw` knows: `edit`, `control`, ….
    """
    with drawing_with(workers) as run:
        yield from run(partial(draw, class_name, seed=seed, size=size, **changes), range(first, first + count))
