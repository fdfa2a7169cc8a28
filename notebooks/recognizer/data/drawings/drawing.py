"""One drawing: a vehicle, where it stands, how it is seen, lit and photographed."""

import zlib
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import NamedTuple

import cv2
import numpy as np

from .bicycles import BICYCLES, build_bicycle
from .camera import View, frame
from .cars import CARS, build_car
from .distractors import add_before, add_writing
from .light import any_light, cast_shadow, photograph
from .motorbikes import MOTORBIKES, build_motorbike
from .painting import FINE, Canvas, paint
from .scenes import paint_scene
from .solids import PARTS

CLASSES = {
    "Bike": {**{kind: build_bicycle for kind in BICYCLES}, **{kind: build_motorbike for kind in MOTORBIKES}},
    "Car": {kind: build_car for kind in CARS},
}
# Share of its own convex outline that a vehicle fills, so that both classes cover as much of a picture.
FILLING = {build_bicycle: 0.6, build_motorbike: 0.72, build_car: 0.95}


class Drawing(NamedTuple):
    """One picture and what it shows."""

    image: np.ndarray  # uint8, size×size×3, RGB
    parts: np.ndarray  # uint8, size×size, index into PARTS
    kind: str
    wheels: tuple[tuple[float, float, float, float, float], ...]  # ellipses: x, y, two half-axes in pixels, angle
    view: View
    scene: str
    jpeg: bytes  # the file whose pixels `image` holds


def draw(class_name: str, index: int, *, seed: int = 0, size: int = 160) -> Drawing:
    """Draw picture number `index` of a class; the same arguments give the same picture, anywhere."""
    if class_name not in CLASSES:
        raise ValueError(f"there are drawings of {' and '.join(CLASSES)}, not of {class_name!r}")
    random = np.random.default_rng([seed, zlib.crc32(class_name.encode()), index])
    kinds = CLASSES[class_name]
    kind = list(kinds)[random.integers(len(kinds))]
    shape = kinds[kind](kind, random)

    view = any_view(random, shape.all_points())
    share = random.uniform(*((0.12, 0.3) if random.random() < 0.12 else (0.28, 0.8))) ** 2
    place = tuple(np.clip(random.normal(0, (0.5, 0.4)), -1, 1))
    camera = frame(view, shape.all_points(), share, FILLING[kinds[kind]], place, size)
    light = any_light(random)

    scene, scene_name = paint_scene(camera, size, random)
    cast_shadow(scene, shape, camera, light)
    canvas = Canvas(size)
    canvas.colours[:] = cv2.resize(scene, (size * FINE, size * FINE), interpolation=cv2.INTER_LINEAR)
    paint(canvas, shape, camera, light)
    add_before(canvas, camera, float(np.ptp(shape.all_points()[:, 0])) / 2, random)
    if random.random() < 0.15:
        add_writing(canvas, random)
    picture, parts = canvas.shrink()
    image, jpeg = photograph(picture, random)
    wheels = tuple(camera.ellipse(*wheel) for wheel in shape.wheels)
    return Drawing(image, parts, kind, wheels, view, scene_name, jpeg)


def any_view(random: np.random.Generator, points: np.ndarray) -> View:
    """From the side, from three quarters, or nearly from the front or the back; left and right alike."""
    side, quarter, front = 0.36, 0.46, 0.18
    which = random.choice(3, p=(side, quarter, front))
    yaw = np.radians((90 + random.normal(0, 10), random.uniform(25, 75), abs(random.normal(0, 14)))[which])
    if random.random() < 0.3:
        yaw = np.pi - yaw  # the rear instead of the front
    length = np.ptp(points[:, 0])
    return View(
        yaw=float(yaw * random.choice([-1, 1])),
        pitch=float(np.radians(abs(random.normal(6, 7)) + 1)),
        roll=float(np.radians(random.normal(0, 3))),
        distance=float(length * (0.6 + random.gamma(3, 0.6))),
        stretch=float(np.exp(random.normal(-0.35, 0.13) if random.random() < 0.55 else random.normal(0, 0.06))),
    )


def draw_many(
    class_name: str, count: int, *, seed: int = 0, size: int = 160, workers: int = 1
) -> Iterator[Drawing]:
    """The first `count` drawings of a class, in order; more than one worker draws in processes of their own."""
    one = partial(draw, class_name, seed=seed, size=size)
    if workers == 1:
        yield from map(one, range(count))
        return
    with ProcessPoolExecutor(workers, initializer=cv2.setNumThreads, initargs=(1,)) as pool:
        yield from pool.map(one, range(count), chunksize=16)
