"""From what a layer outputs to colours: maps, scales, palettes."""

import warnings
from dataclasses import dataclass
from functools import cache, cached_property

import matplotlib
import numpy as np

from ..settings import Problem

Scale = str | tuple[float, float]
CLIP = 0.5  # per cent of the values at each end that may lie beyond a scale
SEQUENTIAL, DIVERGING = "viridis", "RdBu_r"  # both can be read by the colour-blind
# Matplotlib's maps whose middle is a colour of its own; zero is put there.
WITH_A_MIDDLE = {"PiYG", "PRGn", "BrBG", "PuOr", "RdGy", "RdBu", "RdYlBu", "RdYlGn", "Spectral", "coolwarm", "bwr"}
WITH_A_MIDDLE |= {"seismic", "berlin", "managua", "vanimo"}
# For NaN and infinity, the first of these that is far from all colours of the palette.
MARKS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "black": (0, 0, 0), "white": (255, 255, 255)}
FAR = 110  # of the 442 between black and white


@dataclass(frozen=True)
class Coloured:
    """Maps as indices into a palette.

    `indices` uint8 C×H×W, `palette` uint8 256×3 RGB, `low` and `high` float C: what indices 0 and 255 stand for in each
    map. `beyond` int C: how many finite values lie outside of that. `dead` bool C: maps of one finite value all over.
    `broken` bool C×H×W: values that are NaN or infinite, or None where there are none. `centred`: whether zero is in
    the middle of the palette.
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
        """A map on its scale: float H×W in [0, 1], or [-1, 1] where zero is in the middle; NaN and infinity are 0."""
        share = self.indices[number] / 255
        strength = 2 * share - 1 if self.centred else share
        return strength if self.broken is None else np.where(self.broken[number], 0, strength)

    @cached_property
    def rgb(self) -> np.ndarray:
        """uint8 C×H×W×3; values that are NaN or infinite have the colour `mark`."""
        rgb = self.palette[self.indices]
        if self.broken is not None:
            rgb[self.broken] = MARKS[self.mark]
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


def colour(maps: np.ndarray, scale: Scale = "layer", colormap: str | None = None, clip: float = CLIP) -> Coloured:
    """Float C×H×W to indices into the 256 colours of a colour map of matplotlib.

    `scale` says what the values span: 'map', each map alone; 'layer', all of them; or a pair (low, high). At each end,
    up to `clip` per cent of the values may lie beyond, from 0 to below 25: a few extreme ones would take the contrast
    from all others. 0 takes the plain minimum and maximum, and so does a scale whose ends would coincide, as those of a
    map that is nearly everywhere 0.

    Without a `colormap`, values that are never negative get viridis, and others RdBu_r. In a map with two sides such as
    this one, zero is in the middle, and both ends are equally far from it.

    A value v becomes floor(256 (v - low) / (high - low)), cut off at 0 and 255, as matplotlib does it. Where low equals
    high, as in a constant map on its own scale, it becomes 0. Complex values are drawn by their magnitude. NaN and
    infinity have no part in a scale and are marked in `broken`. Raises `Problem` for an unknown scale or colour map.
    """
    if colormap is not None and (not isinstance(colormap, str) or colormap not in matplotlib.colormaps):
        raise Problem(f"There is no colour map {colormap!r}; try viridis, RdBu_r or gray.")
    if not isinstance(clip, int | float) or not 0 <= clip < 25:
        raise Problem(f"clip={clip!r} is no number from 0 to below 25, in per cent of the values at each end.")
    maps = (np.abs(maps) if np.iscomplexobj(maps) else maps).astype(np.float32)
    finite = np.isfinite(maps)
    broken = None if finite.all() else ~finite
    lowest = np.where(finite, maps, np.inf).min(axis=(1, 2))
    highest = np.where(finite, maps, -np.inf).max(axis=(1, 2))
    colormap = colormap or colormap_for(maps)
    dead = (lowest == highest) & finite.all(axis=(1, 2))
    if isinstance(scale, str) and scale == "map":
        low, high = np.array([ends_of(each, clip, colormap) for each in maps]).T
    elif isinstance(scale, str) and scale == "layer":
        low, high = (np.full(len(maps), end) for end in ends_of(maps, clip, colormap))
    else:
        low, high = (np.full(len(maps), end, float) for end in _pair(scale))
    centred = colormap.removesuffix("_r") in WITH_A_MIDDLE and np.array_equal(low, -high, equal_nan=True)
    # The difference of two float32 may be infinite.
    dtype = np.float64 if np.nanmax(np.abs([low, high]), initial=0) > 1e37 else np.float32
    values, bottom, top = (each.astype(dtype) for each in (np.where(finite, maps, 0), low, high))
    bottom, top = bottom[:, None, None], top[:, None, None]
    share = np.divide(values - bottom, top - bottom, out=np.zeros_like(values), where=top > bottom)
    indices = (share * 256).clip(0, 255).astype(np.uint8)
    beyond = (((values < bottom) | (values > top)) & finite).sum(axis=(1, 2))
    return Coloured(indices, _palette(colormap), low, high, beyond, dead, broken, centred)


@cache
def _palette(colormap: str) -> np.ndarray:
    """The colours of one of matplotlib's maps, uint8 256×3."""
    return matplotlib.colormaps[colormap](np.arange(256), bytes=True)[:, :3]


def colormap_for(values: np.ndarray) -> str:
    """A map with a colour for zero where some of the values are negative, else one that goes from dark to bright."""
    return DIVERGING if (values[np.isfinite(values)] < 0).any() else SEQUENTIAL


def ends_of(values: np.ndarray, clip: float, colormap: str = SEQUENTIAL) -> tuple[float, float]:
    """The ends of a scale for `values`: two of them, with up to `clip` per cent of them below and as many above.

    If zero is in the middle of the colour map, both ends are equally far from it, and twice `clip` per cent lie beyond
    the two together. The smallest and the largest value where the ends would be equal, NaN where none is finite.
    """
    values = values[np.isfinite(values)]
    if not values.size:
        return np.nan, np.nan
    if colormap.removesuffix("_r") in WITH_A_MIDDLE:
        _, farthest = ends_of(np.abs(values), 2 * clip)
        return -farthest, farthest
    beyond = int(len(values) * clip / 100)
    # One after the other: both places in one call take NumPy longer.
    low, high = (np.partition(values, place)[place] for place in (beyond, len(values) - 1 - beyond))
    return (float(low), float(high)) if low < high else (float(values.min()), float(values.max()))


def most_varying(maps: np.ndarray, count: int | None = None) -> np.ndarray:
    """The numbers of the `count` maps (all by default) that vary most, in that order: int, from float C×H×W.

    What counts is the standard deviation of a map's finite values.
    """
    values = np.abs(maps) if np.iscomplexobj(maps) else maps
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of maps without a finite value
        spread = np.nan_to_num(np.nanstd(np.where(np.isfinite(values), values, np.nan), axis=(1, 2), dtype=float))
    return np.argsort(-spread, kind="stable")[:count]


def _pair(scale: object) -> tuple[float, float]:
    """The two ends of a scale that was given as numbers."""
    if isinstance(scale, tuple | list) and len(scale) == 2:
        low, high = (end if isinstance(end, int | float | np.number) else np.nan for end in scale)
        if -np.inf < low <= high < np.inf:
            return low, high
    raise Problem(f"scale={scale!r} is none of 'map', 'layer', 'global' or a pair of numbers (low, high), low first.")
