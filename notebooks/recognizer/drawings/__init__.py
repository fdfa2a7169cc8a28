"""Bikes, cars, cats and dogs drawn from a seed, with what photographs do not carry: which pixel shows which part.

A vehicle is a small three-dimensional shape (`bicycles`, `motorbikes`, `cars`; built of `solids` and `wheels`). It is
seen through a `camera`, stands in one of the `scenes`, is painted (`painting`) and photographed (`light`). A cat or a
dog (`pets`; its head in `pet_heads`, what its kind measures in `pet_kinds`) has a fur (`furs`) and is met in `homes`.

`draw` makes one drawing, `draw_many` many of them, `write_zips` a data set on disk. A drawing is set up (`stage`),
painted and photographed (`drawing`); `edits` change one thing about it, and `exchange` brings parts of other vehicles.
"""

from .drawing import Drawing, draw, draw_many
from .edits import (
    Edit,
    cornered_wheels,
    disc_wheels,
    nothing,
    only,
    scaled_wheels,
    shifted_wheels,
    without,
)
from .exchange import vehicle_of, wheels_of
from .painting import Light
from .sample import write_zips
from .solids import PARTS, PIECES
from .stage import CLASSES, PETS, VEHICLES

__all__ = [
    "CLASSES",
    "PARTS",
    "PETS",
    "PIECES",
    "VEHICLES",
    "Drawing",
    "Edit",
    "Light",
    "cornered_wheels",
    "disc_wheels",
    "draw",
    "draw_many",
    "nothing",
    "only",
    "scaled_wheels",
    "shifted_wheels",
    "vehicle_of",
    "wheels_of",
    "without",
    "write_zips",
]
