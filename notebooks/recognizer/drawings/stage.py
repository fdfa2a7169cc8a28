"""The set-up of a drawing: the vehicle or animal, its place, the view and the light; everything except the painting."""

import zlib
from collections.abc import Callable
from copy import deepcopy
from typing import NamedTuple

import cv2
import numpy as np

from .bicycles import BICYCLES, build_bicycle
from .camera import Camera, View, frame
from .cars import CARS, build_car
from .homes import HOMES
from .light import any_light
from .motorbike_kinds import MOTORBIKES
from .motorbikes import build_motorbike
from .painting import Light
from .pet_kinds import CATS, DOGS
from .pets import build_cat, build_dog
from .scenes import SCENES, Scene, paint_scene
from .solids import Shape

Random = np.random.Generator

CLASSES = {
    "Bike": {**dict.fromkeys(BICYCLES, build_bicycle), **dict.fromkeys(MOTORBIKES, build_motorbike)},
    "Car": dict.fromkeys(CARS, build_car),
    "Cat": dict.fromkeys(CATS, build_cat),
    "Dog": dict.fromkeys(DOGS, build_dog),
}
VEHICLES, PETS = ("Bike", "Car"), ("Cat", "Dog")  # the pairs of classes to tell apart
# How a vehicle fills its own outline: the share of the convex outline that it covers, and where its centre lies, from
# the top (0) to the bottom (1). With this, both classes cover as much of a picture, and as much of its upper half.
FILLING = {
    build_bicycle: (0.57, 0.57),
    build_motorbike: (0.6, 0.57),
    build_car: (0.97, 0.46),
    build_cat: (0.74, 0.55),
    build_dog: (0.91, 0.51),
}
FAR = (0.16, 0.35)  # how much of a picture a distant subject covers: the side of a square, where the picture's is 1


class Manner(NamedTuple):
    """How vehicles, or animals, are photographed."""

    near: tuple[float, float]  # how much of a picture one covers, as in FAR
    longest: float  # the largest length, in pictures
    scenes: dict[str, Scene]
    darkest: float  # the darkest background in the shade, as a share of its light
    depth: tuple[float, float] | None  # the blur of the background, in shares of the picture
    contrast: float


ROAD = Manner((0.38, 0.85), 1.25, SCENES, 0.45, None, 0.85)
# A car without its bonnet is still a car, but an animal without its head could be either: it is shown whole.
HOME = Manner((0.45, 0.78), 1.05, HOMES, 0.6, (0.002, 0.015), 0.2)


class Stage(NamedTuple):
    """Everything about a drawing except its painting."""

    kind: str
    shape: Shape
    view: View
    camera: Camera
    light: Light
    scene: np.ndarray  # uint8, size×size×3: the background
    scene_name: str
    uneven: bool  # whether the light is uneven, see `light.tint`
    manner: Manner
    random: Random  # for the later steps


def stream(class_name: str, index: int, seed: int) -> Random:
    """The random numbers of one drawing."""
    if class_name not in CLASSES:
        raise ValueError(f"there are drawings of {', '.join(CLASSES)}, not of {class_name!r}")
    return np.random.default_rng([seed, zlib.crc32(class_name.encode()), index])


def any_vehicle(class_name: str, random: Random, kind: str | None = None) -> tuple[str, Callable, Shape]:
    """A random vehicle or animal of a class, or one of `kind`: the kind, the function that built it, and its shape."""
    kinds = CLASSES[class_name]
    if kind is not None and kind not in kinds:
        raise ValueError(f"the kinds of {class_name} are {', '.join(kinds)}, not {kind!r}")
    by_chance = list(kinds)[random.integers(len(kinds))]
    kind = kind or by_chance
    return kind, kinds[kind], kinds[kind](kind, random)


def set_up(
    class_name: str,
    index: int,
    seed: int,
    size: int,
    *,
    light: Light | int | None = None,
    scene: str | None = None,
    yaw: float | None = None,
) -> Stage:
    """The set-up of drawing number `index`, with another light, scene or yaw if given (see `draw`).

    In every case, the same random numbers are used, so that everything else stays the same.
    """
    random = stream(class_name, index, seed)
    kind, build, shape = any_vehicle(class_name, random)
    points = shape.subject_points()
    length = float(np.ptp(points[:, 0]))

    manner = ROAD if shape.gaze is None else HOME
    if scene is not None and scene not in manner.scenes:
        raise ValueError(f"the scenes of a {class_name} are {', '.join(manner.scenes)}, not {scene!r}")
    view = any_view(random, length) if shape.gaze is None else view_of_pet(random, shape.gaze)
    share = random.uniform(*(FAR if random.random() < 0.03 else manner.near)) ** 2
    place = tuple(np.clip(random.normal(0, (0.5, 0.5)), -1, 1))

    def camera_at(view: View) -> Camera:
        return frame(view, points, share, FILLING[build], place, size, manner.longest)

    camera = camera_at(view)
    usual_yaw = None if shape.gaze is None else view.yaw  # light on pets comes mostly from the camera's side
    usual_light = any_light(random, usual_yaw)
    if light is None:
        light = usual_light
    elif not isinstance(light, Light):
        light = any_light(np.random.default_rng(light), usual_yaw)

    before = deepcopy(random) if scene is not None or yaw is not None else None
    picture, scene_name = paint_scene(camera, size, manner.scenes, manner.darkest, random)
    uneven = shape.gaze is None and scene_name != "studio"
    if before:  # the usual scene is painted as well: only this shows how many random numbers it uses
        view = view if yaw is None else view._replace(yaw=float(yaw))
        camera = camera_at(view)
        picture, scene_name = paint_scene(
            camera, size, manner.scenes, manner.darkest, before, scene_name if scene is None else scene
        )
    if manner.depth:
        picture = cv2.GaussianBlur(picture, (0, 0), size * random.uniform(*manner.depth))
    return Stage(kind, shape, view, camera, light, picture, scene_name, uneven, manner, random)


def any_view(random: np.random.Generator, length: float) -> View:
    """A view from the side, at three quarters, or nearly from the front or the back; left and right equally often.

    `length` is that of the vehicle in metres, because photographers step back for a larger one.
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
    """A view from above, mostly from where the animal looks: people call it before they take the picture."""
    return View(
        yaw=float(gaze + random.normal(0, 0.25) if random.random() < 0.93 else random.uniform(-np.pi / 2, np.pi / 2)),
        pitch=float(np.radians(abs(random.normal(10, 9)) + 1)),
        roll=float(np.radians(random.normal(0, 4))),
        distance=float(1.2 + random.gamma(2, 0.5)),
        stretch=float(np.exp(random.normal(0, 0.1))),
    )
