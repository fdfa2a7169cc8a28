"""What a position of a map sees, as a square: where it lies, and cut out of an image."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor, fx, nn

from ..maps.tracing import trace
from ..maps.windows import Window, union, windows_of

BEYOND = 225  # the light grey of whatever a position does not see


@dataclass(frozen=True)
class ReceptiveField(Window):
    """The input pixels that the positions of a map see, the same downwards and across: see `Window`."""

    def box(self, row: int, column: int) -> tuple[int, int, int, int]:
        """(top, left, bottom, right) in pixels, the last two exclusive, that position (`row`, `column`) sees.

        It may lie partly beyond the image: there it sees padding.
        """
        top, left = self.start + row * self.stride, self.start + column * self.stride
        return top, left, top + self.size, left + self.size

    def middles(self, count: int, image_size: int) -> np.ndarray:
        """The pixel in the middle of what each of `count` positions sees, 0 for the middle of the first: float `count`.

        Positions that all see the whole image are taken to be spread evenly over it.
        """
        if self.stride == 0:
            return (np.arange(count) + 0.5) * image_size / count - 0.5
        return self.start + (self.size - 1) / 2 + self.stride * np.arange(count)

    def nearest(self, pixel: tuple[float, float], shape: tuple[int, int], image_size: int) -> tuple[int, int]:
        """(row, column), in a map of `shape` (h, w), of the position whose middle is nearest to `pixel` (y, x)."""
        row, column = (
            int(np.abs(self.middles(count, image_size) - place).argmin()) for count, place in zip(shape, pixel)
        )
        return row, column

    def crop(self, image: Tensor, row: int, column: int) -> np.ndarray:
        """The part of an `image`, uint8 3×S×S, that a position sees: uint8, `size`×`size`×3 or S×S×3.

        A field smaller than the image is cut out of it, with light grey for what lies beyond the image. Of a larger
        field the whole image is returned, with light grey for what lies outside of the field.
        """
        top, left, bottom, right = self.box(row, column)
        rows, columns = slice(max(top, 0), max(bottom, 0)), slice(max(left, 0), max(right, 0))
        seen = np.full((*image.shape[1:], 3), BEYOND, np.uint8)
        seen[rows, columns] = image[:, rows, columns].permute(1, 2, 0).cpu().numpy()
        if self.size >= image.shape[1]:
            return seen
        margin = self.size + abs(self.start)  # no position sees anything further out
        wide = np.pad(seen, ((margin, margin), (margin, margin), (0, 0)), constant_values=BEYOND)
        return wide[top + margin : bottom + margin, left + margin : right + margin]


def receptive_fields(model: nn.Module, image_size: int) -> dict[str, ReceptiveField]:
    """The receptive field of every module that runs, in order, for images of `image_size`×`image_size`.

    Names are those of `model.named_modules()`, blocks of several layers included; further calls of a module are
    'name#2', 'name#3', …, as in `capture`. Where branches meet, the field is the union of theirs; a field that is not
    square counts as the square around it. Whatever is neither a window nor known to work position by position
    (flattening, linear layers, adaptive pooling, attention) sees the whole image.
    The model is traced, not run. Raises `Problem` for a model that `torch.fx` cannot trace.
    """
    found = windows_of(model, trace(model, fx.Tracer()), (image_size, image_size))
    squares = {name: union(both, Window(image_size, 0, 0)) for name, both in found.items()}
    return {name: ReceptiveField(square.size, square.stride, square.start) for name, square in squares.items()}
