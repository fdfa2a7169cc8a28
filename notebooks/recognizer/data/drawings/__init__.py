"""Bikes and cars drawn from a seed, with the truth that photographs do not carry: which pixel shows which part.

A vehicle is a small three-dimensional shape (`bicycles`, `motorbikes`, `cars`; built of `solids` and `wheels`). It is
seen through a `camera`, stands in one of the `scenes`, is painted (`painting`) and photographed (`light`).

`draw` makes one drawing, `draw_many` many of them, `write_zips` a data set on disk.
"""

from .archives import write_zips
from .drawing import CLASSES, Drawing, draw, draw_many
from .solids import PARTS

__all__ = ["CLASSES", "PARTS", "Drawing", "draw", "draw_many", "write_zips"]
