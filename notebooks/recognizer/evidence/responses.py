"""The outputs of layers for many images, gathered batch by batch, so that memory stays small."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d
from torchvision.transforms.v2.functional import to_dtype

from ..maps.activations import capture
from ..network.hardware import fastest_memory_format
from ..settings import Problem

BATCH_SIZE = 32


@dataclass(frozen=True)
class Strongest:
    """The places at which each filter responds most, best first: C×count arrays.

    Filter f has the value `values[f, k]` (float32) at (`rows[f, k]`, `columns[f, k]`) of its map of image
    `images[f, k]` (int). The images of a filter are all different.
    """

    images: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    values: np.ndarray


def map_batches(model: nn.Module, layer_names: Sequence[str], pixels: Tensor) -> Iterator[dict[str, np.ndarray]]:
    """The maps of the layers for each batch of `pixels`: name → float32 n×C×h×w.

    `pixels` is N×3×S×S, uint8 or float32 in [0, 1]. A linear layer has maps of one position, 1×1. Names of further
    calls are as in `capture`. Raises `Problem` as `capture` does, and for a layer whose output is neither N×C×h×w nor
    N×C.
    """
    # A network without weights runs where its images are.
    memory_format = fastest_memory_format(next(model.parameters(), pixels).device)
    for batch in pixels.split(BATCH_SIZE):
        images = to_dtype(batch, torch.float32, scale=True).contiguous(memory_format=memory_format)
        captured = capture(model, layer_names, images)
        yield {name: _as_maps(name, values) for name, values in captured.items()}


def all_maps(model: nn.Module, layer_names: Sequence[str], pixels: Tensor) -> dict[str, np.ndarray]:
    """`map_batches` in one piece: name → float32 N×C×h×w. Takes four bytes for every activation."""
    return _joined(map_batches(model, layer_names, pixels))


def spatial_means(model: nn.Module, layer_names: Sequence[str], pixels: Tensor) -> dict[str, np.ndarray]:
    """The mean of each filter's map in each image: name → float32 N×C. Arguments and errors as in `map_batches`."""
    return _joined(
        {name: maps.mean(axis=(2, 3)) for name, maps in batch.items()}
        for batch in map_batches(model, layer_names, pixels)
    )


def pooled(model: nn.Module, layer_names: Sequence[str], pixels: Tensor, dimension: int = 128) -> dict[str, np.ndarray]:
    """Maps averaged over a coarse grid, the same number of values for each layer: name → float32 N×D, D ≤ `dimension`.

    A layer of C filters gets a grid of `dimension` / C cells, or as many as fit, so that linear probes of different
    layers can be compared. D is smaller where a map has too few positions. Arguments and errors as in `map_batches`,
    and `Problem` for a layer of more than `dimension` filters.
    """

    def pool(name: str, maps: np.ndarray) -> np.ndarray:
        _, channels, height, width = maps.shape
        if channels > dimension:
            raise Problem(f"Layer {name!r} has {channels} filters; give a dimension of at least {channels}.")
        grid = _grid(dimension // channels, height, width)
        return adaptive_avg_pool2d(torch.from_numpy(maps), grid).flatten(1).numpy()

    return _joined(
        {name: pool(name, maps) for name, maps in batch.items()} for batch in map_batches(model, layer_names, pixels)
    )


def on_grid(model: nn.Module, layer_names: Sequence[str], pixels: Tensor, side: int) -> dict[str, np.ndarray]:
    """Maps averaged over the same `side`×`side` squares of the image for every layer: name → float32 N×(C·side²).

    Unlike `pooled` it gives layers of more filters more values, but all layers know places equally well. A smaller map
    stays as it is, and a linear layer is a map of 1×1. Arguments and errors as in `map_batches`.
    """

    def pool(maps: np.ndarray) -> np.ndarray:
        grid = tuple(min(side, length) for length in maps.shape[2:])
        return adaptive_avg_pool2d(torch.from_numpy(maps), grid).flatten(1).numpy()

    return _joined(
        {name: pool(maps) for name, maps in batch.items()} for batch in map_batches(model, layer_names, pixels)
    )


def strongest(model: nn.Module, layer_names: Sequence[str], pixels: Tensor, count: int = 9) -> dict[str, Strongest]:
    """For each filter, the `count` images (or all, if fewer) with the strongest single position: name → `Strongest`.

    Arguments and errors as in `map_batches`. Of equal values the first image and the first position count.
    """
    values, positions, widths = defaultdict(list), defaultdict(list), {}
    for batch in map_batches(model, layer_names, pixels):
        for name, maps in batch.items():
            flat = maps.reshape(*maps.shape[:2], -1)
            positions[name].append(flat.argmax(axis=2))
            values[name].append(flat.max(axis=2))
            widths[name] = maps.shape[3]
    return {
        name: _best(np.concatenate(values[name]), np.concatenate(positions[name]), widths[name], count)
        for name in values
    }


def _best(values: np.ndarray, positions: np.ndarray, width: int, count: int) -> Strongest:
    """Of each image's highest value and its position, both N×C, the `count` highest of each filter."""
    images = np.argsort(-values, axis=0, kind="stable")[:count]
    rows, columns = np.divmod(np.take_along_axis(positions, images, axis=0), width)
    return Strongest(images.T, rows.T, columns.T, np.take_along_axis(values, images, axis=0).T)


def _as_maps(name: str, values: np.ndarray) -> np.ndarray:
    if values.ndim not in (2, 4):
        raise Problem(
            f"The output of layer {name!r} is neither maps nor one value for each filter: it has {values.ndim} "
            "dimensions. Choose another layer."
        )
    return values if values.ndim == 4 else values[:, :, None, None]


def _joined(batches: Iterator[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    parts = list(batches)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _grid(cells: int, height: int, width: int) -> tuple[int, int]:
    """The h×w with the most cells that a map has positions for, up to `cells`; of several the squarest."""
    shapes = [(h, min(width, cells // h)) for h in range(1, min(height, cells) + 1)]
    return max(shapes, key=lambda shape: (shape[0] * shape[1], min(shape)))
