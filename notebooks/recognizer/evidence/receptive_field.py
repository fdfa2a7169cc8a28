"""The square of input pixels that a position of a map sees: its coordinates, and the crop of an image."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor, fx, nn

from ..maps.tracing import trace
from ..maps.windows import Window, union, windows_of

BEYOND = 225  # light grey, for everything that a position does not see


@dataclass(frozen=True)
class ReceptiveField(Window):
    """The input pixels that the positions of a map see, with equal values for rows and columns: see `Window`."""

    def box(self, row: int, column: int) -> tuple[int, int, int, int]:
        """The pixels that position (`row`, `column`) sees: (top, left, bottom, right), the last two exclusive.

        The box may extend beyond the image, where the position sees padding.
        """
        top, left = self.start + row * self.stride, self.start + column * self.stride
        return top, left, top + self.size, left + self.size

    def middles(self, count: int, image_size: int) -> np.ndarray:
        """The centres of the fields of `count` positions, in pixels: float `count`. The centre of pixel 0 is 0.

        Positions that all see the whole image are treated as if they were evenly spaced over it.
        """
        if self.stride == 0:
            return (np.arange(count) + 0.5) * image_size / count - 0.5
        return self.start + (self.size - 1) / 2 + self.stride * np.arange(count)

    def nearest(self, pixel: tuple[float, float], shape: tuple[int, int], image_size: int) -> tuple[int, int]:
        """(row, column) of the position whose centre is nearest to `pixel` (y, x), in a map of `shape` (h, w)."""
        row, column = (
            int(np.abs(self.middles(count, image_size) - place).argmin()) for count, place in zip(shape, pixel)
        )
        return row, column

    def crop(self, image: Tensor, row: int, column: int) -> np.ndarray:
        """The part of an `image`, uint8 3×S×S, that a position sees: uint8, `size`×`size`×3 or S×S×3.

        A field smaller than the image is cut out, and the parts beyond the image are light grey. For a larger field,
        the whole image is returned, and the parts outside the field are light grey.
        """
        top, left, bottom, right = self.box(row, column)
        rows, columns = slice(max(top, 0), max(bottom, 0)), slice(max(left, 0), max(right, 0))
        seen = np.full((*image.shape[1:], 3), BEYOND, np.uint8)
        seen[rows, columns] = image[:, rows, columns].permute(1, 2, 0).cpu().numpy()
        if self.size >= image.shape[1]:
            return seen
        margin = self.size + abs(self.start)  # no position sees further than this
        wide = np.pad(seen, ((margin, margin), (margin, margin), (0, 0)), constant_values=BEYOND)
        return wide[top + margin : bottom + margin, left + margin : right + margin]


def receptive_fields(model: nn.Module, image_size: int) -> dict[str, ReceptiveField]:
    """The receptive field of each module that runs, in order, for images of `image_size`×`image_size`.

    Names are those of `model.named_modules()`, blocks of layers included. Further calls of a module are 'name#2',
    'name#3', …, as in `capture`. Where branches meet, their fields are joined. A field that is not square counts as the
    square around it. A module sees the whole image if it is not a window and is not known to work position by position:
    flattening, linear layers, adaptive pooling, attention.
    The model is traced and does not run. Raises `Problem` for a model that `torch.fx` cannot trace.
    """
    windows = windows_of(model, trace(model, fx.Tracer()), (image_size, image_size))
    squares = {name: union(rows_and_columns, Window(image_size, 0, 0)) for name, rows_and_columns in windows.items()}
    return {name: ReceptiveField(square.size, square.stride, square.start) for name, square in squares.items()}
