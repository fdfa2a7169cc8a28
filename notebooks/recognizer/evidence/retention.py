"""How much of the picture itself can be read from a layer, and how much of its class."""

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

SIDE = 7  # of thumbnails and of grids: what the last pooling of a LayerByLayerCNN leaves
PENALTIES = np.logspace(-3, 6, 10)  # from hardly any to one that silences thousands of values of variance 1
PICTURE = "the picture"  # the name under which it is measured like a layer; no layer has a blank in its name


@dataclass(frozen=True)
class Retention:
    """The measures of one layer of C filters on N test images.

    `thumbnails` float N×SIDE²: their grey thumbnails, as a linear map reads them from the layer. `errors` float N×2:
    the squared errors of these, summed over the thumbnail, and those of the mean thumbnail of the training images.
    `found_closer` and `found_mirrored` bool N: whether a copy seen from closer, or mirrored, leads back to its image.
    `probe` bool N: which images a linear classifier gets right. `zeros` float N: the share of values that are exactly
    0. `dead` bool C: filters that are 0 everywhere in all N images.
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
    """Measure what layers keep: name → `Retention`, and under 'the picture', first, that of the picture itself.

    `train` and `test` are pixels, uint8 N×3×S×S, and labels, int64 N. Linear maps learn from `train` and are asked
    about `test`. Before that, every layer is averaged over the same `grid`×`grid` squares (`on_grid`), so that early
    layers have no advantage from finer places. Raises `Problem` as `capture` does.
    """
    (train_pixels, train_labels), (pixels, labels) = train, test
    seen = _Seeing(model)
    inside = {PICTURE: "picture", **{name: f"model.{name}" for name in layer_names}}
    names = list(inside.values())
    learned, asked = (on_grid(seen, names, each, grid) for each in (train_pixels, pixels))
    as_floats = to_dtype(pixels, torch.float32, scale=True)
    nearer, turned = (on_grid(seen, names, look(as_floats), grid) for look in (closer, mirrored))
    zeros, dead = silence(seen, names, pixels)
    known, truth = (grey_thumbnails(each) for each in (train_pixels, pixels))
    found = {}
    for layer_name, name in inside.items():
        guess = reconstruct(learned[name], known, asked[name])
        errors = [((against - truth) ** 2).sum(axis=1) for against in (guess, known.mean(axis=0))]
        found[layer_name] = Retention(
            guess,
            np.stack(errors, axis=1),
            found_again(asked[name], nearer[name]),
            found_again(asked[name], turned[name]),
            linear_probe(learned[name], train_labels.numpy(), asked[name], labels.numpy()),
            zeros[name],
            dead[name],
        )
    return found


def grey_thumbnails(pixels: Tensor, side: int = SIDE) -> np.ndarray:
    """The brightness of each of `side`×`side` squares of images, uint8 or float N×3×S×S: float32 N×side² in [0, 1]."""
    grey = rgb_to_grayscale(to_dtype(pixels, torch.float32, scale=True))
    return adaptive_avg_pool2d(grey, side).flatten(1).numpy()


def reconstruct(learned: np.ndarray, targets: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Learn a linear map from `learned` (N×D) to `targets` (N×T) and apply it to `asked` (M×D): float M×T.

    The map is that of ridge regression (Hoerl & Kennard 1970), with the penalty under which each training image is
    predicted best from the others. All values are divided by one number, their common spread. Divided each by its own
    spread, a value that hardly varies over the training images would dominate wherever it does in others.
    """
    spread = max(float(learned.std(axis=0).mean()), 1e-9)
    return RidgeCV(PENALTIES).fit(learned / spread, targets).predict(asked / spread)


def r_squared(errors: np.ndarray) -> float:
    """The share of the variance that was predicted, from `Retention.errors`: 1 for all, 0 for no more than the mean."""
    wrong, by_mean = errors.sum(axis=0)
    return float(1 - wrong / by_mean)


def found_again(originals: np.ndarray, copies: np.ndarray) -> np.ndarray:
    """Whether, of all `originals` (N×D), copy n is most like original n: bool N. Chance is 1 / N.

    The similarity is the cosine between values minus the mean of the originals. A single value (D = 1) has no
    direction; there it is the distance that counts. A tie is no success.
    """
    mean = originals.mean(axis=0)
    if originals.shape[1] == 1:
        alike = -np.abs(copies - originals.T)
    else:
        one, other = (_of_length_one(values - mean) for values in (copies, originals))
        alike = one @ other.T
    own = alike.diagonal().copy()
    np.fill_diagonal(alike, -np.inf)
    return own > alike.max(axis=1) + 1e-6  # rounding


def silence(
    model: nn.Module, layer_names: Sequence[str], pixels: Tensor
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The share of each image's values that are 0, name → float N, and the filters that are 0 everywhere, bool C.

    Arguments and errors as in `map_batches`.
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


class _Seeing(nn.Module):
    """A network behind a layer that does nothing, so that the picture itself can be captured like any layer."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.picture, self.model = nn.Identity(), model

    def forward(self, images: Tensor) -> Tensor:
        return self.model(self.picture(images))


def _of_length_one(values: np.ndarray) -> np.ndarray:
    return values / np.linalg.norm(values, axis=1, keepdims=True).clip(min=1e-12)
