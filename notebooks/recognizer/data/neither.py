"""Pictures that show none of the classes."""

import torch
from PIL import Image
from torch import Tensor

from ..drawings import VEHICLES, draw, nothing
from ..inputs import as_pixels
from .dataset import Pictures
from .record import Record

# The first index of the scenes for training and for tests. The sample uses smaller ones, so no scene is drawn twice.
TO_LEARN, TO_ASK = 1_000_000, 3_000_000


def empty_scenes(record: Record, count: int, image_size: int, first: int = TO_ASK) -> Tensor | None:
    """Drawn scenes without a vehicle, uint8 count×3×S×S with S = `image_size`, or None if the images are not drawn.

    Among photographs, they would teach the wrong thing: that every drawing shows neither class. `first` is the index of
    the first scene. The scenes from `TO_ASK` on are for testing.
    """
    if record.dataset != "sample":
        return None
    look = as_pixels(image_size)
    scenes = [draw(VEHICLES[i % 2], first + i // 2, edit=nothing).image for i in range(count)]
    return torch.stack([torch.as_tensor(look(Image.fromarray(scene))) for scene in scenes])


def scenes_to_learn_from(record: Record, train: Pictures) -> Tensor | None:
    """`empty_scenes` for training: one for every ten images of `train`, at least one, as large as its `pixels`."""
    if record.dataset != "sample":
        return None
    return empty_scenes(record, max(1, len(train) // 10), train.pixels.shape[-1], TO_LEARN)
