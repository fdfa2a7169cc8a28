"""Which kind of pattern a filter responds to most: edges, corners, blobs, textures or stripes."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from .receptive_field import receptive_fields
from .responses import map_batches

PER_KIND = 144  # stimuli of each kind; equal numbers, because the best of more stimuli would be better by chance


def edges(size: int) -> Tensor:
    """72 straight edges at 24 angles and 3 distances from the centre, and 72 lines that are 1.5, 2.5 or 4 pixels wide.

    Lines are included because half of all Gabor filters, the even ones, respond to lines. Without lines, these filters
    would count as blob detectors.
    """
    x, y = _coordinates(size)
    patterns = []
    for t in np.arange(24) * np.pi / 12:
        across, _ = _rotated(x, y, t)
        patterns += [across > d for d in (-1, 0, 1)]
        for width in (1.5, 2.5, 4):
            line = np.abs(across) < width / 2
            patterns.append(line if t < np.pi else ~line)
    return _grey(patterns)


def corners(size: int) -> Tensor:
    """Corners of 60°, 90° and 120° in 24 directions, white on black and black on white, with the tip in the centre."""
    x, y = _coordinates(size)
    patterns = []
    for half in np.deg2rad((30, 45, 60)):
        for t in np.arange(24) * np.pi / 12:
            along, across = _rotated(x, y, t)
            inside = (along * np.sin(half) - np.abs(across) * np.cos(half)).round(9) > -0.5
            patterns += [inside, ~inside]
    return _grey(patterns)


def blobs(size: int) -> Tensor:
    """Discs with 8 radii from 1 to 12 pixels at 9 places around the centre, white on black and black on white."""
    x, y = _coordinates(size)
    patterns = []
    for radius in (1, 2, 3, 4, 5, 6, 8, 12):
        for dx in (-1, 0, 1):
            for dy in (-1, 0, 1):
                inside = (x - dx) ** 2 + (y - dy) ** 2 < radius**2
                patterns += [inside, ~inside]
    return _grey(patterns)


def textures(size: int) -> Tensor:
    """Textures that are about half black and half white.

    72 are noise with grains of 1 to 8 pixels, 36 are chequered patterns, and 36 are random dots.
    """
    random = np.random.default_rng(0)
    x, y = _coordinates(size)
    patterns = []
    for grain in (1, 2, 4, 8):
        noise = random.random((18, size + grain - 1, size + grain - 1))
        smooth = avg_pool2d(torch.from_numpy(noise)[None], grain, stride=1)[0].numpy()
        patterns += list(smooth > np.median(smooth, axis=(1, 2), keepdims=True))
    for t in np.deg2rad((0, 30, 45)):
        across, along = _rotated(x, y, t)
        for side in (1, 2, 3, 4):
            for shift in (0, 1 / 3, 2 / 3):
                columns, rows = ((coordinate / side + shift).round(9) % 2 < 1 for coordinate in (across, along))
                patterns.append(columns ^ rows)
    for radius in (1, 2, 3, 4, 6, 8):
        middles = random.random((3, size, size)) < np.log(2) / (np.pi * radius**2)  # so that discs cover half
        for dots in (distance_transform_edt(~points) <= radius for points in middles):
            patterns += [dots, ~dots]
    return _grey(patterns)


def stripes(size: int) -> Tensor:
    """Black and white stripes that are 1, 1.5, 2 or 3 pixels wide, at 12 angles and 3 phases."""
    x, y = _coordinates(size)
    patterns = []
    for t in np.arange(12) * np.pi / 12:
        across, _ = _rotated(x, y, t)
        for width in (1, 1.5, 2, 3):
            patterns += [(across / width + shift).round(9) % 2 < 1 for shift in (0, 2 / 3, 4 / 3)]
    return _grey(patterns)


KINDS: dict[str, Callable[[int], Tensor]] = {
    "edges": edges,
    "corners": corners,
    "blobs": blobs,
    "textures": textures,
    "stripes": stripes,
}


def best_responses(model: nn.Module, layer_names: Sequence[str], image_size: int) -> dict[str, np.ndarray]:
    """The strongest response of each filter to each of `KINDS`: name → float C×5.

    Each kind has `PER_KIND` stimuli of full contrast, half of them inverted. The pattern is in the centre of the image,
    and only the response at the map position that looks there counts, because a corner looks like an edge elsewhere.
    The stimuli have no colour, so a filter that only tells colours apart responds to none of them.
    """
    fields = receptive_fields(model, image_size)
    strongest = {name: [] for name in layer_names}
    for stimuli in KINDS.values():
        best = {name: [] for name in layer_names}
        for batch in map_batches(model, layer_names, stimuli(image_size)):
            for name, maps in batch.items():
                row, column = fields[name].nearest((image_size / 2,) * 2, maps.shape[2:], image_size)
                best[name].append(maps[:, :, row, column])
        for name, values in best.items():
            strongest[name].append(np.concatenate(values).max(axis=0))
    return {name: np.stack(values, axis=1) for name, values in strongest.items()}


def preferred_kind(responses: np.ndarray) -> np.ndarray:
    """The kind to which each filter responds most, as an index into `KINDS`: int C, from `best_responses` C×5.

    It is -1 for filters that respond to no stimulus, or equally to their two best kinds. Filters for brightness do the
    latter, because large discs and coarse textures both fill a small receptive field with white.
    """
    return np.where(kind_selectivity(responses) > 1e-6, responses.argmax(axis=1), -1)


def preferred_kinds(responses: np.ndarray) -> np.ndarray:
    """The share of filters that respond most to each kind: float 5, from `best_responses` C×5.

    The shares may sum to less than 1, because some filters have no preferred kind.
    """
    chosen = preferred_kind(responses)
    return np.array([(chosen == kind).mean() for kind in range(responses.shape[1])])


def kind_selectivity(responses: np.ndarray) -> np.ndarray:
    """How far each filter prefers its best kind, float C in [0, 1], from `best_responses` C×5.

    It is (best − second) / (best + second): 0 for equal responses to two kinds, 1/3 for a response twice as strong as
    any other, and 1 for a response to one kind only. Negative responses count as 0. It is NaN for a filter without any
    response.
    """
    second, best = np.sort(responses.clip(min=0).astype(float), axis=1)[:, -2:].T
    return np.divide(best - second, best + second, out=np.full_like(best, np.nan), where=best > 0)


def _coordinates(size: int) -> tuple[np.ndarray, np.ndarray]:
    """The distances of each pixel from the centre of the image: to the right, and upwards."""
    along = np.arange(size) - (size - 1) / 2
    return along[None, :], -along[:, None]


def _rotated(x: np.ndarray, y: np.ndarray, angle: float) -> tuple[np.ndarray, np.ndarray]:
    """The distance of each pixel along the direction `angle` (radians), and along the direction a quarter turn further.

    These distances and values derived from them are rounded. The border of a pattern often runs exactly through pixels,
    and there an error of 1e-15 would make it ragged.
    """
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    return along.round(9), across.round(9)


def _grey(pictures: list[np.ndarray]) -> Tensor:
    """Black and white pictures, bool S×S, as float32 N×3×S×S."""
    return torch.from_numpy(np.stack(pictures)).float()[:, None].expand(-1, 3, -1, -1)
