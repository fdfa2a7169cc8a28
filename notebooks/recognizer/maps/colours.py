"""From what a layer outputs to colours: maps, scales, palettes."""

from dataclasses import dataclass
from functools import cached_property

import matplotlib
import numpy as np

from ..settings import Problem

Scale = str | tuple[float, float]
NO_NUMBER = (255, 0, 0)  # red, for NaN and infinity: no colour of viridis, magma or gray


@dataclass(frozen=True)
class Coloured:
    """Maps as indices into a palette. `indices` uint8 C×H×W, `palette` uint8 256×3 RGB, `low` and `high` float C:
    what indices 0 and 255 stand for in each map; `dead` bool C: maps of one finite value all over;
    `broken` bool C×H×W: values that are NaN or infinite, or None where there are none."""

    indices: np.ndarray
    palette: np.ndarray
    low: np.ndarray
    high: np.ndarray
    dead: np.ndarray
    broken: np.ndarray | None = None

    @cached_property
    def rgb(self) -> np.ndarray:
        """uint8 C×H×W×3; values that are NaN or infinite are red."""
        rgb = self.palette[self.indices]
        if self.broken is not None:
            rgb[self.broken] = NO_NUMBER
        return rgb


def as_maps(output: np.ndarray, features_last: bool = False) -> np.ndarray:
    """What a layer outputs for one image as C×H×W.

    C×H×W stays as it is, H×W×C with `features_last` is turned, tokens T×D become one map, values D (or D×1×1) a row.
    What has more dimensions becomes as many maps as it takes: …×H×W.
    """
    if features_last:
        output = np.moveaxis(output, -1, 0)
    if output.ndim < 3 or output.shape[1:] == (1, 1):
        rows = output.reshape(-1) if output.ndim > 2 else output
        return rows.reshape(1, -1, rows.shape[-1])
    return output.reshape(-1, *output.shape[-2:])


def colour(maps: np.ndarray, scale: Scale = "layer", colormap: str = "viridis") -> Coloured:
    """Float C×H×W to indices into the 256 colours of matplotlib's `colormap`; `scale` is 'map', 'layer' or (low, high).

    A value v becomes floor(256 (v - low) / (high - low)), cut off at 0 and 255, as matplotlib does it. Where low equals
    high, as in a constant map on its own scale, it becomes 0. Complex values are drawn by their magnitude. NaN and
    infinity have no part in a scale and are marked in `broken`.
    """
    if not isinstance(colormap, str) or colormap not in matplotlib.colormaps:
        raise Problem(f"There is no colour map {colormap!r}; try viridis, magma or gray.")
    maps = (np.abs(maps) if np.iscomplexobj(maps) else maps).astype(np.float32)
    finite = np.isfinite(maps)
    broken = None if finite.all() else ~finite
    if broken is None:
        lowest, highest = maps.min(axis=(1, 2)), maps.max(axis=(1, 2))
    else:
        lowest = np.where(finite, maps, np.inf).min(axis=(1, 2))
        highest = np.where(finite, maps, -np.inf).max(axis=(1, 2))
        lowest[lowest == np.inf] = highest[highest == -np.inf] = np.nan  # maps without a finite value have no ends
        maps = np.where(finite, maps, 0)
    dead = (lowest == highest) if broken is None else (lowest == highest) & finite.all(axis=(1, 2))
    if isinstance(scale, str) and scale == "map":
        low, high = lowest, highest
    elif isinstance(scale, str) and scale == "layer":
        low, high = np.full_like(lowest, np.fmin.reduce(lowest)), np.full_like(highest, np.fmax.reduce(highest))
    else:
        low, high = (np.full_like(lowest, end) for end in _pair(scale))
    if (np.abs([low, high]) > 1e38).any():  # else the differences would be infinite
        maps = maps.astype(np.float64)
    width = (high.astype(maps.dtype) - low)[:, None, None]
    share = np.divide(maps - low[:, None, None], width, out=np.zeros_like(maps), where=width > 0)
    indices = (share * 256).clip(0, 255).astype(np.uint8)
    palette = matplotlib.colormaps[colormap](np.arange(256), bytes=True)[:, :3]
    return Coloured(indices, palette, low, high, dead, broken)


def _pair(scale: object) -> tuple[float, float]:
    """The two ends of a scale that was given as numbers."""
    if isinstance(scale, tuple | list) and len(scale) == 2:
        low, high = (end if isinstance(end, int | float | np.number) else np.nan for end in scale)
        if -np.inf < low <= high < np.inf:
            return low, high
    raise Problem(f"scale={scale!r} is none of 'map', 'layer', 'global' or a pair of numbers (low, high), low first.")
