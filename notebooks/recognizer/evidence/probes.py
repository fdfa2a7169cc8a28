"""What kind of pattern a filter responds to most: an edge, a corner, a blob or a texture."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from .receptive_field import receptive_fields
from .responses import map_batches

PER_KIND = 96  # stimuli of each kind: the best of more would be better by luck


def edges(size: int) -> Tensor:
    """Straight edges between black and white through the middle, at 24 angles and 4 distances from it."""
    x, y = _places(size)
    angles, distances = np.repeat(np.arange(24) * np.pi / 12, 4), np.tile((-1.5, -0.5, 0.5, 1.5), 24)
    return _grey([(x * np.cos(t) + y * np.sin(t) > d) for t, d in zip(angles, distances)])


def corners(size: int) -> Tensor:
    """Right angles, white on black and black on white, in 24 directions, the tip at 2 distances from the middle."""
    x, y = _places(size)
    found = []
    for t in np.arange(24) * np.pi / 12:
        for d in (0.5, -1.5):
            inside = (x * np.cos(t) + y * np.sin(t) > d) & (-x * np.sin(t) + y * np.cos(t) > d)
            found += [inside, ~inside]
    return _grey(found)


def blobs(size: int) -> Tensor:
    """Discs of 8 radii from 1 to 12 pixels, white on black and black on white, at 6 places about the middle."""
    x, y = _places(size)
    found = []
    for radius in (1, 2, 3, 4, 5, 6, 8, 12):
        for dx, dy in ((0, 0), (1, 0), (0, 1), (-1, -1), (1, 1), (2, 0)):
            inside = (x - dx) ** 2 + (y - dy) ** 2 < radius**2
            found += [inside, ~inside]
    return _grey(found)


def textures(size: int) -> Tensor:
    """Noise of 4 grain sizes from 1 to 8 pixels, half of it black and half of it white, 24 times each."""
    random = torch.Generator().manual_seed(0)
    found = []
    for grain in (1, 2, 4, 8):
        noise = torch.rand(24, 1, size + grain, size + grain, generator=random)
        smooth = avg_pool2d(noise, grain, stride=1)[..., :size, :size]
        found.append(smooth > smooth.flatten(1).median(dim=1).values[:, None, None, None])
    return torch.cat(found).float().expand(-1, 3, -1, -1)


KINDS: dict[str, Callable[[int], Tensor]] = {"edges": edges, "corners": corners, "blobs": blobs, "textures": textures}


def best_responses(model: nn.Module, layer_names: Sequence[str], image_size: int) -> dict[str, np.ndarray]:
    """The strongest response of each filter to each of `KINDS`: name → float C×4.

    Each kind has `PER_KIND` stimuli of full contrast, whose pattern is in the middle of the image. What counts is the
    response of the map's position that looks there: elsewhere a corner is an edge.
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


def preferred_kinds(responses: np.ndarray) -> np.ndarray:
    """The share of filters that respond most to each kind: float 4, from `best_responses` C×4.

    Filters that respond to none of the stimuli count for no kind, so that the shares may sum to less than 1.
    """
    alive = responses.max(axis=1) > 0
    chosen = np.where(alive, responses.argmax(axis=1), -1)
    return np.array([(chosen == kind).mean() for kind in range(responses.shape[1])])


def _places(size: int) -> tuple[np.ndarray, np.ndarray]:
    """How far each pixel is to the right of the middle of the image, and above it."""
    along = np.arange(size) - (size - 1) / 2
    return along[None, :], -along[:, None]


def _grey(pictures: list[np.ndarray]) -> Tensor:
    """Black and white pictures, bool S×S each, as float32 N×3×S×S."""
    return torch.from_numpy(np.stack(pictures)).float()[:, None].expand(-1, 3, -1, -1)
