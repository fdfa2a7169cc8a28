"""A machine that reads filters: from what excites one most and least, can it tell which new patch excites it more?

People were asked that by Borowski et al. (2021), with nine patches of each kind. The machine stands in for them.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..settings import Problem
from .receptive_field import receptive_fields
from .responses import map_batches

SHOWN = 9  # patches that excite a filter most, and as many that do so least
PAIRS = 20  # questions about each filter
PER_IMAGE = 4  # patches from each image
SIDE = 16  # pixels: patches of all layers are compared at this size


def read_filters(
    model: nn.Module, layer_names: Sequence[str], learn: Tensor, ask: Tensor, seed: int = 0
) -> dict[str, np.ndarray]:
    """How often the reader is right about each filter: name → float C in [0, 1], 0.5 by chance.

    `learn` and `ask` are pixels, uint8 N×3×S×S, of different images. From each image come `PER_IMAGE` patches at random
    places, as large as the layer's receptive field. Of `learn` the reader sees the `SHOWN` patches that excite the
    filter most and those that do so least, and takes what they differ in for what it looks for. Then it gets `PAIRS`
    pairs from `ask`, each of one of the strongest and one of the weakest patches, and picks the one that has more of
    it. No two patches of a kind are from the same image, because many positions of a late layer see nearly the same.
    NaN for a filter that does not respond more to all shown strong patches than to all shown weak ones, or not so to
    those of any pair; a filter that is 0 in nearly all images is such a one.
    Raises `Problem` as `map_batches` does, and for fewer than two images to learn from or to ask about.
    """
    if min(len(learn), len(ask)) < 2:
        raise Problem(
            "The reader compares patches of different images; give two or more to learn from and to ask about."
        )
    random = np.random.default_rng(seed)
    shown, asked = (_patches(model, layer_names, each, random) for each in (learn, ask))
    return {name: _read_layer(*shown[name], *asked[name]) for name in layer_names}


def _read_layer(shown: np.ndarray, strength: np.ndarray, asked: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """The share of right answers about each of C filters, from features N×P×D and strengths N×P×C of both sets."""
    middle, spread = shown.mean(axis=(0, 1)), shown.std(axis=(0, 1)) + 1e-6
    shown, asked = (shown - middle) / spread, (asked - middle) / spread
    pairs = min(PAIRS, len(asked) // 2)
    right = np.full(strength.shape[2], np.nan)
    for k in range(len(right)):
        (strong, high), (weak, low) = _extremes(shown, strength[..., k], min(SHOWN, len(shown) // 2))
        (more, more_truth), (less, less_truth) = _extremes(asked, truth[..., k], pairs)
        has_answer = more_truth > less_truth
        if high.min() > low.max() and has_answer.any():
            said = (more - less)[has_answer] @ _looked_for(strong, weak)
            right[k] = 0.5 + np.sign(said).mean() / 2  # where both look alike, it tosses a coin
    return right


def _extremes(features: np.ndarray, strength: np.ndarray, count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """The `count` strongest patches, strongest first, and the weakest, weakest first; features n×D and strength n each.

    From each image, N×P, comes its strongest or its weakest patch alone.
    """
    found, images = [], np.arange(len(strength))
    for sign in (-1, 1):
        of_image = (sign * strength).argmin(axis=1)
        values = strength[images, of_image]
        chosen = np.argsort(sign * values, kind="stable")[:count]
        found.append((features[chosen, of_image[chosen]], values[chosen]))
    return found


def _looked_for(strong: np.ndarray, weak: np.ndarray) -> np.ndarray:
    """The weight of each feature: by how many standard errors two sets of patches, n×D, differ in it, less two.

    So what differs by luck has no weight (nearest shrunken centroids, Tibshirani et al. 2002).
    """
    error = np.sqrt((strong.var(axis=0) + weak.var(axis=0)) / len(strong)) + 1e-3
    t = (strong.mean(axis=0) - weak.mean(axis=0)) / error
    return np.sign(t) * (np.abs(t) - 2).clip(min=0)


def _patches(
    model: nn.Module, layer_names: Sequence[str], pixels: Tensor, random: np.random.Generator
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Patches at random places of each image, N×`PER_IMAGE`: name → their features, …×D, and each filter's value, …×C.

    Images come in random order. After a ReLU many patches are equally weak, and by taking the first of them, all weak
    patches would be from the first images: from one class.
    """
    pixels = pixels[random.permutation(len(pixels))]
    fields = receptive_fields(model, pixels.shape[-1])
    found, start = {name: ([], []) for name in layer_names}, 0
    for batch in map_batches(model, layer_names, pixels):
        for name, maps in batch.items():
            places = random.integers(maps.shape[2:], size=(len(maps), PER_IMAGE, 2))
            crops = [
                np.stack([fields[name].crop(image, row, column) for row, column in of_image])
                for image, of_image in zip(pixels[start:], places)
            ]
            seen, values = found[name]
            seen.append(features(_small(np.concatenate(crops))).reshape(len(maps), PER_IMAGE, -1))
            values.append(maps.transpose(0, 2, 3, 1)[np.arange(len(maps))[:, None], places[..., 0], places[..., 1]])
        start += len(maps)
    return {name: (np.concatenate(seen), np.concatenate(values)) for name, (seen, values) in found.items()}


def _small(crops: np.ndarray) -> Tensor:
    """Patches, uint8 N×H×W×3, at the size at which they are compared: float32 N×3×16×16 in [0, 1]."""
    patches = torch.from_numpy(crops).permute(0, 3, 1, 2).float() / 255
    return F.interpolate(patches, (SIDE, SIDE), mode="bilinear", antialias=True)


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
