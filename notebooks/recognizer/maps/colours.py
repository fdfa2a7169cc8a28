"""From the outputs of layers to colours: maps, scales and palettes."""

import warnings
from dataclasses import dataclass
from functools import cache, cached_property

import matplotlib
import numpy as np

from ..settings import Problem

Scale = str | tuple[float, float]
CLIP = 0.5  # per cent of the values that may lie beyond each end of a scale
SEQUENTIAL, DIVERGING = "viridis", "RdBu_r"  # both are safe for colour-blind readers
# Matplotlib's diverging colour maps. Zero gets the colour in their middle.
WITH_A_MIDDLE = {"PiYG", "PRGn", "BrBG", "PuOr", "RdGy", "RdBu", "RdYlBu", "RdYlGn", "Spectral", "coolwarm", "bwr"}
WITH_A_MIDDLE |= {"seismic", "berlin", "managua", "vanimo"}
# NaN and infinity get the first of these colours that is far from every colour of the palette.
MARKS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "black": (0, 0, 0), "white": (255, 255, 255)}
FAR = 110  # Euclidean distance in RGB; black and white are 442 apart


@dataclass(frozen=True)
class Coloured:
    """Maps as indices into a palette.

    `indices` uint8 C×H×W; `palette` uint8 256×3, RGB. `low` and `high` float C: the two ends of each map's scale, which
    have the indices 0 and 255. `beyond` int C: the number of finite values outside the scale. `dead` bool C: whether
    the map is constant and finite. `broken` bool C×H×W: which values are NaN or infinite; None if none are. `centred`:
    whether zero is in the middle of the palette.
    """

    indices: np.ndarray
    palette: np.ndarray
    low: np.ndarray
    high: np.ndarray
    beyond: np.ndarray
    dead: np.ndarray
    broken: np.ndarray | None = None
    centred: bool = False

    @cached_property
    def mark(self) -> str:
        """The colour of values that are NaN or infinite, a key of `MARKS`."""
        distances = {
            name: np.linalg.norm(self.palette.astype(int) - mark, axis=1).min() for name, mark in MARKS.items()
        }
        return next((name for name, distance in distances.items() if distance > FAR), max(distances, key=distances.get))

    def strength(self, number: int) -> np.ndarray:
        """A map relative to its scale: float H×W in [0, 1], or in [-1, 1] if centred. NaN and infinity become 0."""
        share = self.indices[number] / 255
        strength = 2 * share - 1 if self.centred else share
        return strength if self.broken is None else np.where(self.broken[number], 0, strength)

    @cached_property
    def rgb(self) -> np.ndarray:
        """The maps in colour, uint8 C×H×W×3. Values that are NaN or infinite have the colour `mark`."""
        rgb = self.palette[self.indices]
        if self.broken is not None:
            rgb[self.broken] = MARKS[self.mark]
        return rgb


def as_maps(output: np.ndarray, features_last: bool = False) -> np.ndarray:
    """The output of a layer for one image, as maps C×H×W.

    C×H×W stays as it is. With `features_last`, H×W×C becomes C×H×W. Tokens T×D become one map 1×T×D, and values D (or
    D×1×1) become one row 1×1×D. In outputs with more dimensions, the leading ones are flattened into C.
    """
    if features_last:
        output = np.moveaxis(output, -1, 0)
    if output.ndim < 3 or output.shape[1:] == (1, 1):
        rows = output.reshape(-1) if output.ndim > 2 else output
        return rows.reshape(1, -1, rows.shape[-1])
    return output.reshape(-1, *output.shape[-2:])


def colour(maps: np.ndarray, scale: Scale = "layer", colormap: str | None = None, clip: float = CLIP) -> Coloured:
    """Convert maps, float C×H×W, to indices into the 256 colours of a matplotlib colour map.

    `scale` sets the range of the colours: 'map' uses the range of each map, 'layer' the range of all maps, and a pair
    (low, high) sets it explicitly. Up to `clip` per cent of the values (0 ≤ clip < 25) may lie beyond each end, so that
    a few extreme values do not reduce the contrast of all others. With 0, the ends are the minimum and the maximum. The
    same holds if both ends would be equal, as in a map that is almost everywhere 0.

    Without a `colormap`, values that are never negative get viridis, and other values get RdBu_r. In a diverging colour
    map such as RdBu_r, zero is in the middle, and both ends are equally far from zero.

    A value v becomes floor(256 (v - low) / (high - low)), clipped to 0 and 255, as in matplotlib. If low equals high,
    as in a constant map on its own scale, the index is 0. Complex values are drawn by their magnitude. NaN and infinity
    do not influence the scale and are marked in `broken`. Raises `Problem` for an unknown scale or colour map and for
    an invalid `clip`.
    """
    if colormap is not None and (not isinstance(colormap, str) or colormap not in matplotlib.colormaps):
        raise Problem(f"There is no colour map {colormap!r}; try viridis, RdBu_r or gray.")
    if not isinstance(clip, int | float) or not 0 <= clip < 25:
        raise Problem(f"clip={clip!r} is not valid; give a number from 0 to below 25 (per cent of the values per end).")
    maps = (np.abs(maps) if np.iscomplexobj(maps) else maps).astype(np.float32)
    finite = np.isfinite(maps)
    broken = None if finite.all() else ~finite
    lowest = np.where(finite, maps, np.inf).min(axis=(1, 2))
    highest = np.where(finite, maps, -np.inf).max(axis=(1, 2))
    colormap = colormap or colormap_for(maps)
    dead = (lowest == highest) & finite.all(axis=(1, 2))
    if isinstance(scale, str) and scale == "map":
        low, high = np.array([ends_of(values, clip, colormap) for values in maps]).T
    elif isinstance(scale, str) and scale == "layer":
        low, high = (np.full(len(maps), end) for end in ends_of(maps, clip, colormap))
    else:
        low, high = (np.full(len(maps), end, float) for end in _pair(scale))
    centred = colormap.removesuffix("_r") in WITH_A_MIDDLE and np.array_equal(low, -high, equal_nan=True)
    # The difference of two large float32 numbers may be infinite.
    dtype = np.float64 if np.nanmax(np.abs([low, high]), initial=0) > 1e37 else np.float32
    values = np.where(finite, maps, 0).astype(dtype)
    bottom, top = (ends.astype(dtype)[:, None, None] for ends in (low, high))
    share = np.divide(values - bottom, top - bottom, out=np.zeros_like(values), where=top > bottom)
    indices = (share * 256).clip(0, 255).astype(np.uint8)
    beyond = (((values < bottom) | (values > top)) & finite).sum(axis=(1, 2))
    return Coloured(indices, _palette(colormap), low, high, beyond, dead, broken, centred)


@cache
def _palette(colormap: str) -> np.ndarray:
    """The colours of a matplotlib colour map, uint8 256×3."""
    return matplotlib.colormaps[colormap](np.arange(256), bytes=True)[:, :3]


def colormap_for(values: np.ndarray) -> str:
    """The name of a diverging colour map if some values are negative, else of a sequential one."""
    return DIVERGING if (values[np.isfinite(values)] < 0).any() else SEQUENTIAL


def ends_of(values: np.ndarray, clip: float, colormap: str = SEQUENTIAL) -> tuple[float, float]:
    """The ends (low, high) of a scale. Up to `clip` per cent of `values` lie below low, and as many above high.

    For a diverging colour map, low is -high, and up to twice `clip` per cent lie beyond the two ends together. If the
    ends would be equal, they are the minimum and the maximum. If no value is finite, they are NaN.
    """
    values = values[np.isfinite(values)]
    if not values.size:
        return np.nan, np.nan
    if colormap.removesuffix("_r") in WITH_A_MIDDLE:
        _, farthest = ends_of(np.abs(values), 2 * clip)
        return -farthest, farthest
    beyond = int(len(values) * clip / 100)
    # Two calls, because NumPy takes longer to find both in one call.
    low, high = (np.partition(values, rank)[rank] for rank in (beyond, len(values) - 1 - beyond))
    return (float(low), float(high)) if low < high else (float(values.min()), float(values.max()))


def most_varying(maps: np.ndarray, count: int | None = None) -> np.ndarray:
    """The numbers (int) of the `count` maps with the most variation, highest first, from maps float C×H×W.

    Variation is the standard deviation of a map's finite values. By default all maps are sorted.
    """
    values = np.abs(maps) if np.iscomplexobj(maps) else maps
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # for maps without a finite value
        spread = np.nan_to_num(np.nanstd(np.where(np.isfinite(values), values, np.nan), axis=(1, 2), dtype=float))
    return np.argsort(-spread, kind="stable")[:count]


def _pair(scale: object) -> tuple[float, float]:
    """The two ends of a scale that is a pair of numbers. Raises `Problem` for any other value."""
    if isinstance(scale, tuple | list) and len(scale) == 2:
        low, high = (end if isinstance(end, int | float | np.number) else np.nan for end in scale)
        if -np.inf < low <= high < np.inf:
            return low, high
    raise Problem(f"scale={scale!r} is not valid; use 'map', 'layer', 'global' or a pair (low, high) with low ≤ high.")
