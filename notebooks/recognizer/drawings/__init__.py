"""Bikes, cars, cats and dogs drawn from a seed, with masks that say which part each pixel shows.

A vehicle is a small three-dimensional shape (`bicycles`, `motorbikes`, `cars`; built from `solids` and `wheels`). It is
seen through a `camera`, stands in one of the `scenes`, is painted (`painting`) and photographed (`light`). A cat or a
dog (`pets`; heads in `pet_heads`, measures in `pet_kinds`) has a fur (`furs`) and is shown in one of the `homes`.

`draw` makes one drawing, `draw_many` makes many, and `write_zips` writes a data set to disk. A drawing is set up
(`stage`), painted and photographed (`drawing`). `edits` change one thing about it, and `exchange` brings in parts of
other vehicles.
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
