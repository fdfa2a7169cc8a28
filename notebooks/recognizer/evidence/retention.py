"""How much of the picture, and how much of its class, can be read from a layer."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.linear_model import RidgeCV
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d
from torchvision.transforms.v2.functional import rgb_to_grayscale, to_dtype

from ..network.evaluation import closer, mirrored
from .responses import map_batches, on_grid
from .selectivity import linear_probe

SIDE = 7  # of thumbnails and grids, as in the maps after the last pooling of a LayerByLayerCNN
PENALTIES = np.logspace(-3, 6, 10)  # from almost no penalty to one that suppresses thousands of values of variance 1
PICTURE = "the picture"  # the picture is measured like a layer of this name; names of layers have no blank


@dataclass(frozen=True)
class Retention:
    """The measures of one layer of C filters on N test images.

    `thumbnails` float N×SIDE²: the grey thumbnails of the images, as predicted from the layer by a linear map.
    `errors` float N×2: the squared errors summed over the thumbnail, of this prediction and of the mean thumbnail of
    the training images.
    `found_closer` and `found_mirrored` bool N: whether the layer's output for an enlarged, or mirrored, copy is most
    similar to that for its original.
    `probe` bool N: which images a linear classifier gets right.
    `zeros` float N: the share of values that are exactly 0.
    `dead` bool C: filters that are 0 everywhere in all N images.
    """

    thumbnails: np.ndarray
    errors: np.ndarray
    found_closer: np.ndarray
    found_mirrored: np.ndarray
    probe: np.ndarray
    zeros: np.ndarray
    dead: np.ndarray


def retention(
    model: nn.Module,
    layer_names: Sequence[str],
    train: tuple[Tensor, Tensor],
    test: tuple[Tensor, Tensor],
    grid: int = SIDE,
) -> dict[str, Retention]:
    """Measure what layers keep: name → `Retention`. The first entry, 'the picture', is the picture itself.

    `train` and `test` are pixels, uint8 N×3×S×S, and labels, int64 N. Linear maps are fitted on `train` and evaluated
    on `test`. Each layer is first averaged over the same `grid`×`grid` squares (`on_grid`), so that early layers have
    no advantage from finer maps. Raises `Problem` as `capture` does.
    """
    (train_pixels, train_labels), (pixels, labels) = train, test
    network = _WithPicture(model)
    names_inside = {PICTURE: "picture", **{name: f"model.{name}" for name in layer_names}}
    names = list(names_inside.values())
    train_values, test_values = (on_grid(network, names, images, grid) for images in (train_pixels, pixels))
    as_floats = to_dtype(pixels, torch.float32, scale=True)
    closer_values, mirrored_values = (on_grid(network, names, change(as_floats), grid) for change in (closer, mirrored))
    zeros, dead = zeros_and_dead(network, names, pixels)
    train_thumbnails, test_thumbnails = (grey_thumbnails(images) for images in (train_pixels, pixels))
    results = {}
    for layer_name, name in names_inside.items():
        predicted = reconstruct(train_values[name], train_thumbnails, test_values[name])
        errors = [
            ((thumbnails - test_thumbnails) ** 2).sum(axis=1)
            for thumbnails in (predicted, train_thumbnails.mean(axis=0))
        ]
        results[layer_name] = Retention(
            predicted,
            np.stack(errors, axis=1),
            found_again(test_values[name], closer_values[name]),
            found_again(test_values[name], mirrored_values[name]),
            linear_probe(train_values[name], train_labels.numpy(), test_values[name], labels.numpy()),
            zeros[name],
            dead[name],
        )
    return results


def grey_thumbnails(pixels: Tensor, side: int = SIDE) -> np.ndarray:
    """The mean brightness in `side`×`side` squares of images, uint8 or float N×3×S×S: float32 N×side² in [0, 1]."""
    grey = rgb_to_grayscale(to_dtype(pixels, torch.float32, scale=True))
    return adaptive_avg_pool2d(grey, side).flatten(1).numpy()


def reconstruct(train: np.ndarray, targets: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Fit a linear map from `train` (N×D) to `targets` (N×T) and apply it to `test` (M×D): float M×T.

    The map is that of ridge regression (Hoerl & Kennard 1970). Its penalty is the one for which each training image is
    predicted best from the others. All values are divided by one number, their mean standard deviation. If each value
    were divided by its own, a value that hardly varies over the training images would dominate in test images in which
    it does vary.
    """
    spread = max(float(train.std(axis=0).mean()), 1e-9)
    return RidgeCV(PENALTIES).fit(train / spread, targets).predict(test / spread)


def r_squared(errors: np.ndarray) -> float:
    """The predicted share of the variance, from `Retention.errors`: 1 for all of it, 0 if no better than the mean."""
    error, error_of_mean = errors.sum(axis=0)
    return float(1 - error / error_of_mean)


def found_again(originals: np.ndarray, copies: np.ndarray) -> np.ndarray:
    """Whether copy n is more similar to original n than to all other `originals` (N×D): bool N. Chance is 1 / N.

    The similarity is the cosine between values minus the mean of the originals. A single value (D = 1) has no
    direction, so the distance is used for it. A tie counts as a failure.
    """
    mean = originals.mean(axis=0)
    if originals.shape[1] == 1:
        similarity = -np.abs(copies - originals.T)
    else:
        copies_normalised, originals_normalised = (_normalised(values - mean) for values in (copies, originals))
        similarity = copies_normalised @ originals_normalised.T
    own = similarity.diagonal().copy()
    np.fill_diagonal(similarity, -np.inf)
    return own > similarity.max(axis=1) + 1e-6  # tolerates rounding


def zeros_and_dead(
    model: nn.Module, layer_names: Sequence[str], pixels: Tensor
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The share of each image's values that are 0, name → float N, and which filters are always 0, name → bool C.

    Arguments and errors are as in `map_batches`.
    """
    zeros: dict[str, list[np.ndarray]] = {}
    dead: dict[str, list[np.ndarray]] = {}
    for batch in map_batches(model, layer_names, pixels):
        for name, maps in batch.items():
            is_zero = maps == 0
            zeros.setdefault(name, []).append(is_zero.mean(axis=(1, 2, 3)))
            dead.setdefault(name, []).append(is_zero.all(axis=(0, 2, 3)))
    return (
        {name: np.concatenate(shares) for name, shares in zeros.items()},
        {name: np.all(of_batches, axis=0) for name, of_batches in dead.items()},
    )


class _WithPicture(nn.Module):
    """A network after an identity layer, so that the picture itself can be captured like the output of a layer."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.picture, self.model = nn.Identity(), model

    def forward(self, images: Tensor) -> Tensor:
        return self.model(self.picture(images))


def _normalised(values: np.ndarray) -> np.ndarray:
    return values / np.linalg.norm(values, axis=1, keepdims=True).clip(min=1e-12)
