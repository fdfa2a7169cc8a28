"""From what a layer puts out to colours: maps, scales, palettes."""

from dataclasses import dataclass
from functools import cached_property

import matplotlib
import numpy as np

from ..settings import Problem

Scale = str | tuple[float, float]


@dataclass(frozen=True)
class Coloured:
    """Maps as indices into a palette. `indices` uint8 C×H×W, `palette` uint8 256×3 RGB, `low` and `high` float C:
    what indices 0 and 255 stand for in each map; `dead` bool C: maps of one value all over."""

    indices: np.ndarray
    palette: np.ndarray
    low: np.ndarray
    high: np.ndarray
    dead: np.ndarray

    @cached_property
    def rgb(self) -> np.ndarray:
        """uint8 C×H×W×3."""
        return self.palette[self.indices]


def as_maps(output: np.ndarray) -> np.ndarray:
    """What a layer put out for one image as C×H×W: C×H×W as it is, tokens T×D as one map, values D (or D×1×1) as a row."""
    if output.ndim == 3 and output.shape[1:] == (1, 1):
        return output.reshape(1, 1, -1)
    if output.ndim == 3:
        return output
    if output.ndim in (1, 2):
        return output.reshape(1, -1, output.shape[-1])
    raise Problem(f"An output of {output.ndim} dimensions an image cannot be drawn as maps; choose another layer_name.")


def colour(maps: np.ndarray, scale: Scale = "layer", colormap: str = "viridis") -> Coloured:
    """Float C×H×W to indices into the 256 colours of matplotlib's `colormap`; `scale` is 'map', 'layer' or (low, high).

    A value v becomes floor(256 (v - low) / (high - low)), cut off at 0 and 255, as matplotlib does it. Where low equals
    high, as in a constant map on its own scale, it becomes 0. Values that are not finite are drawn as zeros.
    """
    if colormap not in matplotlib.colormaps:
        raise Problem(f"There is no colour map {colormap!r}; try viridis, magma or gray.")
    maps = maps.astype(np.float32)
    if not np.isfinite(maps).all():
        maps = np.nan_to_num(maps, nan=0.0, posinf=0.0, neginf=0.0)
    lowest, highest = maps.min(axis=(1, 2)), maps.max(axis=(1, 2))
    if scale == "map":
        low, high = lowest, highest
    elif scale == "layer":
        low, high = np.full_like(lowest, lowest.min()), np.full_like(highest, highest.max())
    elif isinstance(scale, tuple) and len(scale) == 2:
        low, high = np.full_like(lowest, scale[0]), np.full_like(highest, scale[1])
    else:
        raise Problem(f"scale={scale!r} is none of 'map', 'layer', 'global' or a pair (low, high).")
    width = (high - low)[:, None, None]
    share = np.divide(maps - low[:, None, None], width, out=np.zeros_like(maps), where=width > 0)
    indices = (share * 256).clip(0, 255).astype(np.uint8)
    palette = matplotlib.colormaps[colormap](np.arange(256), bytes=True)[:, :3]
    return Coloured(indices, palette, low, high, dead=lowest == highest)
