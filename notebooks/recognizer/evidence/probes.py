"""What kind of pattern a filter responds to most: an edge, a corner, a blob, a texture or stripes."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from .receptive_field import receptive_fields
from .responses import map_batches

PER_KIND = 144  # stimuli of each kind: the best of more would be better by luck


def edges(size: int) -> Tensor:
    """72 straight edges at 24 angles and 3 distances from the middle, and 72 lines from 1 to 4 pixels wide.

    Both, because half of all Gabor filters, the even ones, answer to lines, and would pass for blobs without them.
    """
    x, y = _places(size)
    found = []
    for t in np.arange(24) * np.pi / 12:
        across, _ = _turned(x, y, t)
        found += [across > d for d in (-1, 0, 1)]
        for width in (1.5, 2.5, 4):
            line = np.abs(across) < width / 2
            found.append(line if t < np.pi else ~line)
    return _grey(found)


def corners(size: int) -> Tensor:
    """Corners of 60°, 90° and 120°, white on black and black on white, in 24 directions, the tip in the middle."""
    x, y = _places(size)
    found = []
    for half in np.deg2rad((30, 45, 60)):
        for t in np.arange(24) * np.pi / 12:
            along, across = _turned(x, y, t)
            inside = (along * np.sin(half) - np.abs(across) * np.cos(half)).round(9) > -0.5
            found += [inside, ~inside]
    return _grey(found)


def blobs(size: int) -> Tensor:
    """Discs of 8 radii from 1 to 12 pixels, white on black and black on white, at 9 places about the middle."""
    x, y = _places(size)
    found = []
    for radius in (1, 2, 3, 4, 5, 6, 8, 12):
        for dx in (-1, 0, 1):
            for dy in (-1, 0, 1):
                inside = (x - dx) ** 2 + (y - dy) ** 2 < radius**2
                found += [inside, ~inside]
    return _grey(found)


def textures(size: int) -> Tensor:
    """About half black, half white: 72 of noise with grains of 1 to 8 pixels, 36 chequered, 36 of dots at random."""
    random = np.random.default_rng(0)
    x, y = _places(size)
    found = []
    for grain in (1, 2, 4, 8):
        noise = random.random((18, size + grain - 1, size + grain - 1))
        smooth = avg_pool2d(torch.from_numpy(noise)[None], grain, stride=1)[0].numpy()
        found += list(smooth > np.median(smooth, axis=(1, 2), keepdims=True))
    for t in np.deg2rad((0, 30, 45)):
        across, along = _turned(x, y, t)
        for side in (1, 2, 3, 4):
            for shift in (0, 1 / 3, 2 / 3):
                columns, rows = ((each / side + shift).round(9) % 2 < 1 for each in (across, along))
                found.append(columns ^ rows)
    for radius in (1, 2, 3, 4, 6, 8):
        middles = random.random((3, size, size)) < np.log(2) / (np.pi * radius**2)  # discs around them cover half
        for dots in (distance_transform_edt(~each) <= radius for each in middles):
            found += [dots, ~dots]
    return _grey(found)


def stripes(size: int) -> Tensor:
    """Black and white stripes of 1, 1.5, 2 and 3 pixels, at 12 angles, shifted by 0, a third and two thirds of both."""
    x, y = _places(size)
    found = []
    for t in np.arange(12) * np.pi / 12:
        across, _ = _turned(x, y, t)
        for width in (1, 1.5, 2, 3):
            found += [(across / width + shift).round(9) % 2 < 1 for shift in (0, 2 / 3, 4 / 3)]
    return _grey(found)


KINDS: dict[str, Callable[[int], Tensor]] = {
    "edges": edges,
    "corners": corners,
    "blobs": blobs,
    "textures": textures,
    "stripes": stripes,
}


def best_responses(model: nn.Module, layer_names: Sequence[str], image_size: int) -> dict[str, np.ndarray]:
    """The strongest response of each filter to each of `KINDS`: name → float C×5.

    Each kind has `PER_KIND` stimuli of full contrast, white on black as often as black on white, whose pattern is in
    the middle of the image. What counts is the response of the map's position that looks there: elsewhere a corner is
    an edge. None has a colour, so a filter that tells colours alone apart responds to none.
    """
    fields = receptive_fields(model, image_size)
    found = {name: [] for name in layer_names}
    for stimuli in KINDS.values():
        best = {name: [] for name in layer_names}
        for batch in map_batches(model, layer_names, stimuli(image_size)):
            for name, maps in batch.items():
                row, column = fields[name].nearest((image_size / 2,) * 2, maps.shape[2:], image_size)
                best[name].append(maps[:, :, row, column])
        for name, values in best.items():
            found[name].append(np.concatenate(values).max(axis=0))
    return {name: np.stack(values, axis=1) for name, values in found.items()}


def preferred_kind(responses: np.ndarray) -> np.ndarray:
    """The kind that each filter responds most to, as its place in `KINDS`: int C, from `best_responses` C×5.

    It is -1 for filters that respond to none of the stimuli, or to their two best kinds alike (as those of plain
    brightness: large discs and coarse textures have white all over a small field).
    """
    return np.where(kind_selectivity(responses) > 1e-6, responses.argmax(axis=1), -1)


def preferred_kinds(responses: np.ndarray) -> np.ndarray:
    """The share of filters that respond most to each kind: float 5, from `best_responses` C×5.

    Filters without a preferred kind count for none, so the shares may sum to less than 1.
    """
    chosen = preferred_kind(responses)
    return np.array([(chosen == kind).mean() for kind in range(responses.shape[1])])


def kind_selectivity(responses: np.ndarray) -> np.ndarray:
    """How far each filter prefers its best kind, float C in [0, 1], from `best_responses` C×5.

    It is (best − next) / (best + next): 0 where it responds to two kinds alike, 1/3 where to one twice as much as to
    any other, 1 where to one alone. Responses below 0 count as none; NaN where there is no response at all.
    """
    second, best = np.sort(responses.clip(min=0).astype(float), axis=1)[:, -2:].T
    return np.divide(best - second, best + second, out=np.full_like(best, np.nan), where=best > 0)


def _places(size: int) -> tuple[np.ndarray, np.ndarray]:
    """How far each pixel is to the right of the middle of the image, and above it."""
    along = np.arange(size) - (size - 1) / 2
    return along[None, :], -along[:, None]


def _turned(x: np.ndarray, y: np.ndarray, angle: float) -> tuple[np.ndarray, np.ndarray]:
    """How far each place lies in the direction `angle` (radians), and a quarter turn further.

    Rounded, as is what is made of it, because a pattern's border often runs exactly through places, and an error of
    1e-15 would fray it.
    """
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    return along.round(9), across.round(9)


def _grey(pictures: list[np.ndarray]) -> Tensor:
    """Black and white pictures, bool S×S each, as float32 N×3×S×S."""
    return torch.from_numpy(np.stack(pictures)).float()[:, None].expand(-1, 3, -1, -1)
