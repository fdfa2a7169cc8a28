"""From pixels to batches for a network."""

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
) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of (images, labels): float32 B×3×S×S in [0, 1], and int64 B.

    Where all pixels fit into `room` bytes, they are copied to `device` once and stay there.
    With a generator, shuffled by it and whole batches only: batch norm learns nothing good from a rest of one image.
    Raises `Problem` for a `batch_size` below 1; one larger than the set becomes the set.
    """
    if batch_size < 1:
        raise Problem(f"A batch of {batch_size} images is none; use a BATCH_SIZE of 1 or more.")
    batch_size = min(batch_size, len(pictures))
    device = torch.device(device)
    pixels = pictures.pixels_on(device, room)
    queued = device.type == "cuda"  # copies to such a GPU are: nobody waits for what it still has to do
    order = torch.randperm(len(pictures), generator=shuffle) if shuffle else torch.arange(len(pictures))
    for chosen in order.split(batch_size):
        if shuffle and len(chosen) < batch_size:
            return
        chosen = chosen.sort().values  # in the order of the file on disk
        images = pixels.index_select(0, chosen.to(pixels.device, non_blocking=queued))  # `[]` takes five times as long
        labels = pictures.labels[chosen].to(device, non_blocking=queued)
        yield images.to(device, non_blocking=queued).float().div_(255), labels
