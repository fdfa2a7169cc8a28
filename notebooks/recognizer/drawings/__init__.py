"""Bikes, cars, cats and dogs drawn from a seed, with what photographs do not carry: which pixel shows which part.

A vehicle is a small three-dimensional shape (`bicycles`, `motorbikes`, `cars`; built of `solids` and `wheels`). It is
seen through a `camera`, stands in one of the `scenes`, is painted (`painting`) and photographed (`light`). A cat or a
dog (`pets`; its head in `pet_heads`, what its kind measures in `pet_kinds`) has a fur (`furs`) and is met in `homes`.

`draw` makes one drawing, `draw_many` many of them, `write_zips` a data set on disk.
"""

from .drawing import CLASSES, PETS, VEHICLES, Drawing, draw, draw_many, nothing
from .sample import write_zips
from .solids import PARTS

__all__ = ["CLASSES", "PARTS", "PETS", "VEHICLES", "Drawing", "draw", "draw_many", "nothing", "write_zips"]
