"""A machine that interprets filters from patches.

It sees patches that excite a filter most and least. Then it must tell which of two new patches excites the filter more.
Borowski et al. (2021) gave people this task, with nine patches of each kind. The machine replaces the people.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..settings import Problem
from .receptive_field import receptive_fields
from .responses import map_batches

SHOWN = 9  # strongest patches of a filter that the machine sees, and as many weakest ones
PAIRS = 20  # pairs of new patches for each filter
PER_IMAGE = 4  # patches from each image
SIDE = 16  # pixels; patches of all layers are resized to this side


def read_filters(
    model: nn.Module, layer_names: Sequence[str], train: Tensor, test: Tensor, seed: int = 0
) -> dict[str, np.ndarray]:
    """How often the machine is right about each filter: name → float C in [0, 1], 0.5 by chance.

    `train` and `test` are pixels, uint8 N×3×S×S, of different images. From each image come `PER_IMAGE` patches at
    random places, as large as the layer's receptive field. The machine sees the `SHOWN` patches of `train` that excite
    the filter most and the `SHOWN` that excite it least, and learns how they differ. Then it gets `PAIRS` pairs from
    `test`. Each pair has one of the strongest and one of the weakest patches, and the machine picks the one that looks
    more like the strong patches of `train`. Patches of the same kind come from different images, because many positions
    of a late layer see nearly the same.
    The result is NaN for a filter that does not respond more to all shown strong patches than to all shown weak ones,
    or to the strong patch of any pair than to the weak one. A filter that is 0 in nearly all images is an example.
    Raises `Problem` as `map_batches` does, and for fewer than two images in `train` or in `test`.
    """
    if min(len(train), len(test)) < 2:
        raise Problem(
            "The machine reader compares patches of different images; give two or more to learn from and to test on."
        )
    random = np.random.default_rng(seed)
    train_patches, test_patches = (_patches(model, layer_names, images, random) for images in (train, test))
    return {name: _read_layer(*train_patches[name], *test_patches[name]) for name in layer_names}


def _read_layer(train: np.ndarray, train_values: np.ndarray, test: np.ndarray, test_values: np.ndarray) -> np.ndarray:
    """The share of correct decisions for each of C filters. Both sets have features N×P×D and values N×P×C."""
    middle, spread = train.mean(axis=(0, 1)), train.std(axis=(0, 1)) + 1e-6
    train, test = (train - middle) / spread, (test - middle) / spread
    shown, pairs = min(SHOWN, len(train) // 2), min(PAIRS, len(test) // 2)
    accuracy = np.full(train_values.shape[2], np.nan)
    for k in range(len(accuracy)):
        (strong, strong_values), (weak, weak_values) = _extremes(train, train_values[..., k], shown)
        (stronger, stronger_values), (weaker, weaker_values) = _extremes(test, test_values[..., k], pairs)
        has_answer = stronger_values > weaker_values
        if strong_values.min() > weak_values.max() and has_answer.any():
            decisions = (stronger - weaker)[has_answer] @ _feature_weights(strong, weak)
            accuracy[k] = 0.5 + np.sign(decisions).mean() / 2  # if both patches look alike, it tosses a coin
    return accuracy


def _extremes(features: np.ndarray, strength: np.ndarray, count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """The `count` strongest patches, strongest first, and the `count` weakest, weakest first.

    `features` N×P×D and `strength` N×P describe P patches from each of N images. Each image contributes only its
    strongest or its weakest patch. Both results are pairs of features, count×D, and strengths.
    """
    extremes, images = [], np.arange(len(strength))
    for sign in (-1, 1):
        index = (sign * strength).argmin(axis=1)
        values = strength[images, index]
        chosen = np.argsort(sign * values, kind="stable")[:count]
        extremes.append((features[chosen, index[chosen]], values[chosen]))
    return extremes


def _feature_weights(strong: np.ndarray, weak: np.ndarray) -> np.ndarray:
    """The weight of each feature: by how many standard errors two sets of patches, n×D, differ in it, minus two.

    So features that differ by chance have no weight (nearest shrunken centroids, Tibshirani et al. 2002).
    """
    error = np.sqrt((strong.var(axis=0) + weak.var(axis=0)) / len(strong)) + 1e-3
    t = (strong.mean(axis=0) - weak.mean(axis=0)) / error
    return np.sign(t) * (np.abs(t) - 2).clip(min=0)


def _patches(
    model: nn.Module, layer_names: Sequence[str], pixels: Tensor, random: np.random.Generator
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """`PER_IMAGE` patches at random places of N images: name → their features N×P×D, and the filters' values N×P×C.

    The order of the images is random. After a ReLU, many patches are equally weak. In the original order, all weak
    patches would come from the first images, and so from one class.
    """
    pixels = pixels[random.permutation(len(pixels))]
    fields = receptive_fields(model, pixels.shape[-1])
    results, start = {name: ([], []) for name in layer_names}, 0
    for batch in map_batches(model, layer_names, pixels):
        for name, maps in batch.items():
            places = random.integers(maps.shape[2:], size=(len(maps), PER_IMAGE, 2))
            crops = [
                np.stack([fields[name].crop(image, row, column) for row, column in places_of_image])
                for image, places_of_image in zip(pixels[start:], places)
            ]
            seen, values = results[name]
            seen.append(features(_resized(np.concatenate(crops))).reshape(len(maps), PER_IMAGE, -1))
            values.append(maps.transpose(0, 2, 3, 1)[np.arange(len(maps))[:, None], places[..., 0], places[..., 1]])
        start += len(maps)
    return {name: (np.concatenate(seen), np.concatenate(values)) for name, (seen, values) in results.items()}


def _resized(crops: np.ndarray) -> Tensor:
    """Patches, uint8 N×H×W×3, resized for the comparison: float32 N×3×16×16 in [0, 1]."""
    patches = torch.from_numpy(crops).permute(0, 3, 1, 2).float() / 255
    return F.interpolate(patches, (SIDE, SIDE), mode="bilinear", antialias=True)


def features(patches: Tensor) -> np.ndarray:
    """What the machine sees of patches, float N×3×16×16: float N×58.

    The features are the mean colour (3), its standard deviation (3), the brightness on a grid of 4×4 (16), and the
    strength of edges in four directions. Edge strength is measured in the whole patch (4), in each of its 2×2 quarters
    (16), and in the quarters with the sign of light and dark sides (16).
    """
    grey = patches.mean(dim=1, keepdim=True)
    dy, dx = grey[..., 1:, :-1] - grey[..., :-1, :-1], grey[..., :-1, 1:] - grey[..., :-1, :-1]
    slopes = torch.cat([dx, dy, (dx + dy) / 2**0.5, (dx - dy) / 2**0.5], dim=1)
    groups = [
        patches.mean(dim=(2, 3)),
        patches.std(dim=(2, 3)),
        F.adaptive_avg_pool2d(grey, 4),
        slopes.abs().mean(dim=(2, 3)),
        F.adaptive_avg_pool2d(slopes.abs(), 2),
        F.adaptive_avg_pool2d(slopes, 2),
    ]
    return torch.cat([group.flatten(1) for group in groups], dim=1).numpy()
