"""The outputs of layers for many images, computed batch by batch to save memory."""

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
    """The positions with the strongest responses of each filter, strongest first: C×count arrays.

    Filter f has the value `values[f, k]` (float32) at (`rows[f, k]`, `columns[f, k]`) of its map of image `images[f,
    k]` (int). All images of a filter are different.
    """

    images: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    values: np.ndarray


def map_batches(model: nn.Module, layer_names: Sequence[str], pixels: Tensor) -> Iterator[dict[str, np.ndarray]]:
    """The maps of the layers for each batch of `pixels`: name → float32 n×C×h×w.

    `pixels` is N×3×S×S, uint8 or float32 in [0, 1]. A linear layer has maps with one position, 1×1. Further calls of a
    layer are named as in `capture`.
    Raises `Problem` as `capture` does, and for a layer whose output is neither N×C×h×w nor N×C.
    """
    # A network without weights runs on the device of its images.
    memory_format = fastest_memory_format(next(model.parameters(), pixels).device)
    for batch in pixels.split(BATCH_SIZE):
        images = to_dtype(batch, torch.float32, scale=True).contiguous(memory_format=memory_format)
        captured = capture(model, layer_names, images)
        yield {name: _as_maps(name, values) for name, values in captured.items()}


def all_maps(model: nn.Module, layer_names: Sequence[str], pixels: Tensor) -> dict[str, np.ndarray]:
    """All batches of `map_batches` together: name → float32 N×C×h×w. Needs four bytes for each value."""
    return _joined(map_batches(model, layer_names, pixels))


def spatial_means(model: nn.Module, layer_names: Sequence[str], pixels: Tensor) -> dict[str, np.ndarray]:
    """The mean of each filter's map in each image: name → float32 N×C. Arguments and errors are as in `map_batches`."""
    return _joined(
        {name: maps.mean(axis=(2, 3)) for name, maps in batch.items()}
        for batch in map_batches(model, layer_names, pixels)
    )


def pooled(model: nn.Module, layer_names: Sequence[str], pixels: Tensor, dimension: int = 128) -> dict[str, np.ndarray]:
    """Maps averaged over a coarse grid, with equally many values for each layer: name → float32 N×D, D ≤ `dimension`.

    The grid of a layer with C filters has at most `dimension` / C cells, so that linear probes of different layers can
    be compared. D is smaller if a map has too few positions. Arguments and errors are as in `map_batches`. Also raises
    `Problem` for a layer with more than `dimension` filters.
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
    """Maps averaged over the same `side`×`side` squares of the image for all layers: name → float32 N×(C·side²).

    Layers with more filters get more values, unlike in `pooled`, but all layers have the same spatial resolution. A
    smaller map stays as it is. A linear layer is a map of 1×1. Arguments and errors are as in `map_batches`.
    """

    def pool(maps: np.ndarray) -> np.ndarray:
        grid = tuple(min(side, length) for length in maps.shape[2:])
        return adaptive_avg_pool2d(torch.from_numpy(maps), grid).flatten(1).numpy()

    return _joined(
        {name: pool(maps) for name, maps in batch.items()} for batch in map_batches(model, layer_names, pixels)
    )


def strongest(model: nn.Module, layer_names: Sequence[str], pixels: Tensor, count: int = 9) -> dict[str, Strongest]:
    """For each filter, the `count` images with the highest values, each at one position: name → `Strongest`.

    If there are fewer images, all are returned. If values are equal, the first image and the first position win.
    Arguments and errors are as in `map_batches`.
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
    """The `count` highest values of each filter, from the highest value in each image and its position, both N×C."""
    images = np.argsort(-values, axis=0, kind="stable")[:count]
    rows, columns = np.divmod(np.take_along_axis(positions, images, axis=0), width)
    return Strongest(images.T, rows.T, columns.T, np.take_along_axis(values, images, axis=0).T)


def _as_maps(name: str, values: np.ndarray) -> np.ndarray:
    if values.ndim not in (2, 4):
        raise Problem(
            f"The output of layer {name!r} is neither a map nor one value per filter: it has {values.ndim} "
            "dimensions. Choose another layer."
        )
    return values if values.ndim == 4 else values[:, :, None, None]


def _joined(batches: Iterator[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    parts = list(batches)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _grid(cells: int, height: int, width: int) -> tuple[int, int]:
    """The h×w grid with the most cells, up to `cells`, that fits into a map. If there are several, the squarest one."""
    shapes = [(h, min(width, cells // h)) for h in range(1, min(height, cells) + 1)]
    return max(shapes, key=lambda shape: (shape[0] * shape[1], min(shape)))
