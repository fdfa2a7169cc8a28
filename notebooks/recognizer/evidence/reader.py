"""A machine that reads filters: from what excites one most and least, can it tell which new patch excites it more?

People were asked that by Borowski et al. (2021), with nine patches of each kind. The machine stands in for them.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .receptive_field import ReceptiveField, receptive_fields
from .responses import map_batches

SHOWN = 9  # patches that excite a filter most, and as many that do so least
PAIRS = 20  # questions about each filter
PER_IMAGE = 4  # patches from each image
SIDE = 16  # pixels: patches of all layers are compared at this size


def read_filters(model: nn.Module, layer_name: str, learn: Tensor, ask: Tensor, seed: int = 0) -> np.ndarray:
    """How often the reader is right about each filter of a layer: float C in [0, 1], 0.5 by chance.

    `learn` and `ask` are pixels, uint8 N×3×S×S, of different images. From each image come `PER_IMAGE` patches at random
    places, as large as the layer's receptive field. The reader sees the `SHOWN` patches of `learn` that excite the
    filter most and those that do so least, and takes what they differ in for what it looks for. Then it gets `PAIRS`
    pairs from `ask`, each of one of the strongest and one of the weakest patches, and picks the one that has more of
    it. NaN for a filter that responds to all shown patches alike.
    """
    (shown, strength), (asked, truth) = (_patches(model, layer_name, each, seed) for each in (learn, ask))
    middle, spread = shown.mean(axis=0), shown.std(axis=0) + 1e-6
    shown, asked = (shown - middle) / spread, (asked - middle) / spread
    order, order_asked = strength.argsort(axis=0, kind="stable"), truth.argsort(axis=0, kind="stable")
    pairs = min(PAIRS, len(asked) // 2)
    right = np.full(strength.shape[1], np.nan)
    for k in range(strength.shape[1]):
        weak, strong = order[:SHOWN, k], order[-SHOWN:, k]
        if strength[strong, k].min() > strength[weak, k].max():
            said = asked @ _looked_for(shown[strong], shown[weak])
            more = said[order_asked[-pairs:, k]] - said[order_asked[:pairs, k]]
            right[k] = 0.5 + np.sign(more).mean() / 2  # where both look alike, it tosses a coin
    return right


def _looked_for(strong: np.ndarray, weak: np.ndarray) -> np.ndarray:
    """The weight of each feature: by how many standard errors two sets of patches, n×D, differ in it, less two.

    So what differs by luck has no weight (nearest shrunken centroids, Tibshirani et al. 2002).
    """
    error = np.sqrt((strong.var(axis=0) + weak.var(axis=0)) / len(strong)) + 1e-3
    t = (strong.mean(axis=0) - weak.mean(axis=0)) / error
    return np.sign(t) * (np.abs(t) - 2).clip(min=0)


def _patches(model: nn.Module, layer_name: str, pixels: Tensor, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Features of patches at random places, M×D, and how much each filter responds to each of them, M×C."""
    random = np.random.default_rng(seed)
    field: ReceptiveField = receptive_fields(model, pixels.shape[-1])[layer_name]
    crops, values, start = [], [], 0
    for batch in map_batches(model, [layer_name], pixels):
        maps = batch[layer_name]
        for image, of_image in zip(pixels[start:], maps):
            for row, column in random.integers(of_image.shape[1:], size=(PER_IMAGE, 2)):
                crop = torch.from_numpy(np.ascontiguousarray(field.crop(image, row, column))).permute(2, 0, 1)
                crops.append(F.interpolate(crop[None].float() / 255, (SIDE, SIDE), mode="bilinear", antialias=True))
                values.append(of_image[:, row, column])
        start += len(maps)
    return features(torch.cat(crops)), np.stack(values)


def features(patches: Tensor) -> np.ndarray:
    """What can be seen at a glance of patches, float N×3×16×16: float N×58.

    Their colours on average (3) and how much these vary (3), brightness on a grid of 4×4 (16), and how strong edges of
    four directions are, in the whole (4), in each of its 2×2 quarters (16), and there with
    the sign of dark and light sides (16).
    """
    grey = patches.mean(dim=1, keepdim=True)
    dy, dx = grey[..., 1:, :-1] - grey[..., :-1, :-1], grey[..., :-1, 1:] - grey[..., :-1, :-1]
    slopes = torch.cat([dx, dy, (dx + dy) / 2**0.5, (dx - dy) / 2**0.5], dim=1)
    found = [
        patches.mean(dim=(2, 3)),
        patches.std(dim=(2, 3)),
        F.adaptive_avg_pool2d(grey, 4),
        slopes.abs().mean(dim=(2, 3)),
        F.adaptive_avg_pool2d(slopes.abs(), 2),
        F.adaptive_avg_pool2d(slopes, 2),
    ]
    return torch.cat([each.flatten(1) for each in found], dim=1).numpy()
