"""Turn pixels into batches for a network."""

from collections.abc import Iterator

import torch
from torch import Tensor

from ..settings import Problem
from .dataset import Pictures


def batches(
    pictures: Pictures,
    batch_size: int,
    *,
    device: torch.device | str = "cpu",
    room: int = 0,
    shuffle: torch.Generator | None = None,
    share: slice = slice(None),
) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of (images, labels): float32 B×3×S×S in [0, 1], and int64 B.

    If all pixels fit into `room` bytes, they are copied to `device` once and stay there.
    With the generator `shuffle`, the images are shuffled and an incomplete last batch is left out: batch norm learns
    nothing useful from a batch of one image.
    `share` says which images of each batch to take, if other processes take the others. The batches stay the same.
    Raises `Problem` for a `batch_size` below 1. A `batch_size` above the number of images is reduced to it.
    """
    if batch_size < 1:
        raise Problem(f"A batch cannot have {batch_size} images; use a BATCH_SIZE of 1 or more.")
    batch_size = min(batch_size, len(pictures))
    device = torch.device(device)
    pixels = pictures.pixels_on(device, room)
    non_blocking = device.type == "cuda"  # copies to such a GPU run while Python goes on
    order = torch.randperm(len(pictures), generator=shuffle) if shuffle else torch.arange(len(pictures))
    for chosen in order.split(batch_size):
        if shuffle and len(chosen) < batch_size:
            return
        chosen = chosen.sort().values[share]  # in the order of the file on disk
        # `[]` takes five times as long.
        images = pixels.index_select(0, chosen.to(pixels.device, non_blocking=non_blocking))
        labels = pictures.labels[chosen].to(device, non_blocking=non_blocking)
        yield images.to(device, non_blocking=non_blocking).float().div_(255), labels
