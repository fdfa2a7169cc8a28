"""One drawing: a vehicle or an animal, where it stands, how it is seen, lit and photographed."""

import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from typing import NamedTuple

import cv2
import numpy as np

from .bicycles import BICYCLES, build_bicycle
from .camera import View, frame
from .cars import CARS, build_car
from .distractors import add_before, add_writing
from .furs import brush
from .homes import HOMES
from .light import any_light, cast_shadow, exposure, photograph, round_off, tint
from .motorbike_kinds import MOTORBIKES
from .motorbikes import build_motorbike
from .painting import Canvas, paint
from .pet_kinds import CATS, DOGS
from .pets import build_cat, build_dog
from .scenes import SCENES, Scene, paint_scene
from .solids import Shape

CLASSES = {
    "Bike": {**dict.fromkeys(BICYCLES, build_bicycle), **dict.fromkeys(MOTORBIKES, build_motorbike)},
    "Car": dict.fromkeys(CARS, build_car),
    "Cat": dict.fromkeys(CATS, build_cat),
    "Dog": dict.fromkeys(DOGS, build_dog),
}
VEHICLES, PETS = ("Bike", "Car"), ("Cat", "Dog")  # what is told apart
# How a vehicle fills its own outline, so that both classes cover as much of a picture, and as much of its upper half:
# the share of the convex outline that it covers, and where its middle lies, from the top (0) to the bottom (1).
FILLING = {
    build_bicycle: (0.57, 0.57),
    build_motorbike: (0.6, 0.57),
    build_car: (0.97, 0.46),
    build_cat: (0.74, 0.55),
    build_dog: (0.91, 0.51),
}
FAR = (0.16, 0.35)  # what a thing covers of a picture if far away, as the side of a square: the picture's own is 1


class Manner(NamedTuple):
    """How vehicles, or animals, are photographed."""

    near: tuple[float, float]  # what one covers of a picture, as FAR
    longest: float  # at most so many pictures long
    scenes: dict[str, Scene]
    darkest: float  # what is behind it in the shade, in shares of the light
    depth: tuple[float, float] | None  # how far out of focus that is, in shares of the picture
    contrast: float


ROAD = Manner((0.38, 0.85), 1.25, SCENES, 0.45, None, 0.85)
# A car without its bonnet is a car, an animal without its head could be either: it is shown whole, and calmly.
HOME = Manner((0.45, 0.78), 1.05, HOMES, 0.6, (0.002, 0.015), 0.2)


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


Edit = Callable[[Shape], Shape]


def draw(class_name: str, index: int, *, seed: int = 0, size: int = 160, edit: Edit | None = None) -> Drawing:
    """Draw picture number `index` of a class; the same arguments give the same picture, anywhere.

    `edit` takes the shape just before it is painted, and returns what is painted in its place. Scene, camera, light,
    exposure and what stands in front are the same as without the edit. An edited picture takes twice as long, because
    the picture without the edit is drawn first for its exposure.
    """
    if class_name not in CLASSES:
        raise ValueError(f"there are drawings of {', '.join(CLASSES)}, not of {class_name!r}")
    random = np.random.default_rng([seed, zlib.crc32(class_name.encode()), index])
    kinds = CLASSES[class_name]
    kind = list(kinds)[random.integers(len(kinds))]
    shape = kinds[kind](kind, random)
    points = shape.subject_points()
    length = float(np.ptp(points[:, 0]))

    manner = ROAD if shape.gaze is None else HOME
    view = any_view(random, length) if shape.gaze is None else view_of_pet(random, shape.gaze)
    share = random.uniform(*(FAR if random.random() < 0.03 else manner.near)) ** 2
    place = tuple(np.clip(random.normal(0, (0.5, 0.5)), -1, 1))
    camera = frame(view, points, share, FILLING[kinds[kind]], place, size, manner.longest)
    light = any_light(random, None if shape.gaze is None else view.yaw)

    scene, scene_name = paint_scene(camera, size, manner.scenes, manner.darkest, random)
    if manner.depth:
        scene = cv2.GaussianBlur(scene, (0, 0), size * random.uniform(*manner.depth))
    painted = edit(shape) if edit else shape
    if painted.points:
        cast_shadow(scene, painted, camera, light)
    canvas = Canvas(scene)
    if painted.points:
        paint(canvas, painted, camera, light)
    if shape.gaze is None:  # what hides some of a car would hide a face
        add_before(canvas, camera, length / 2, random)
    if random.random() < 0.15:
        add_writing(canvas, random)
    picture, parts = canvas.shrink()
    if shape.gaze is not None:
        scale = camera.scale(points.mean(axis=0))
        picture, parts = brush(picture, parts, 0.014 * scale, 0.09 * shape.hair * scale, random)
    else:
        round_off(picture, parts)
        if scene_name != "studio":
            tint(picture, random)
    # With an exposure of its own, an edited picture would be brighter or darker all over.
    exponent = draw(class_name, index, seed=seed, size=size).exponent if edit else exposure(picture, parts)
    image, jpeg = photograph(picture, exponent, manner.contrast, random)
    return Drawing(image, parts, kind, camera.ellipses(painted.wheels), view, scene_name, exponent, jpeg)


def nothing(shape: Shape) -> Shape:
    """An edit that leaves the scene empty: no vehicle, no shadow."""
    return Shape()


def any_view(random: np.random.Generator, length: float) -> View:
    """From the side, from three quarters, or nearly from the front or the back; left and right alike.

    `length` of the vehicle, in metres, because one steps back for a larger one.
    """
    side, quarter, front = 0.36, 0.46, 0.18
    which = random.choice(3, p=(side, quarter, front))
    yaw = np.radians((90 + random.normal(0, 10), random.uniform(25, 75), 5 + abs(random.normal(0, 14)))[which])
    if random.random() < 0.3:
        yaw = np.pi - yaw  # the rear instead of the front
    return View(
        yaw=float(yaw * random.choice([-1, 1])),
        pitch=float(np.radians(abs(random.normal(6, 7)) + 1)),
        roll=float(np.radians(random.normal(0, 3))),
        distance=float(length * (0.6 + random.gamma(3, 0.6))),
        stretch=float(np.exp(random.normal(-0.4, 0.15) if random.random() < 0.65 else random.normal(0, 0.06))),
    )


def view_of_pet(random: np.random.Generator, gaze: float) -> View:
    """From above, mostly from where the animal looks: people call it before they press the button."""
    return View(
        yaw=float(gaze + random.normal(0, 0.25) if random.random() < 0.93 else random.uniform(-np.pi / 2, np.pi / 2)),
        pitch=float(np.radians(abs(random.normal(10, 9)) + 1)),
        roll=float(np.radians(random.normal(0, 4))),
        distance=float(1.2 + random.gamma(2, 0.5)),
        stretch=float(np.exp(random.normal(0, 0.1))),
    )


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


def draw_many(class_name: str, count: int, *, seed: int = 0, size: int = 160, workers: int = 1) -> Iterator[Drawing]:
    """The first `count` drawings of a class, in order; the same whatever the number of `workers`, processes."""
    with drawing_with(workers) as run:
        yield from run(partial(draw, class_name, seed=seed, size=size), range(count))
