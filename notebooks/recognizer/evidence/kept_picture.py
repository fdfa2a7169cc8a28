"""How much of the picture, pixel by pixel, can be predicted from a layer's values at the nearest position."""

from collections.abc import Sequence

import numpy as np
from sklearn.linear_model import RidgeCV
from torch import Tensor, nn

from .receptive_field import receptive_fields
from .responses import map_batches

PER_IMAGE = 64  # random pixels from each image


def kept_picture(
    model: nn.Module, layer_names: Sequence[str], train: Tensor, test: Tensor, seed: int = 0
) -> dict[str, float]:
    """The share of the variance of pixels that each layer keeps: name → R², at most 1, and about 0 if nothing is kept.

    `train` and `test` are uint8 N×3×S×S. A linear map is fitted on `train` (ridge regression, Hoerl & Kennard 1970) and
    evaluated on `test`. It predicts the red, green and blue of a pixel from all filters at the map position nearest to
    it. Values are not averaged over positions first, so a layer with coarse maps cannot keep fine detail.
    """
    (train_colours, train_values), (test_colours, test_values) = (
        _pixels_and_values(model, layer_names, images, seed) for images in (train, test)
    )
    variation = ((test_colours - test_colours.mean(axis=0)) ** 2).sum()
    r_squared = {}
    for name in layer_names:
        scale = train_values[name].std() or 1.0
        fitted = RidgeCV(np.logspace(-3, 4, 8)).fit(train_values[name] / scale, train_colours)
        r_squared[name] = float(1 - ((test_colours - fitted.predict(test_values[name] / scale)) ** 2).sum() / variation)
    return r_squared


def _pixels_and_values(
    model: nn.Module, layer_names: Sequence[str], pixels: Tensor, seed: int
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Colours of random pixels, M×3 in [0, 1], and for each layer its values at the nearest position, M×C."""
    side = pixels.shape[-1]
    places = np.random.default_rng(seed).integers(side, size=(len(pixels), PER_IMAGE, 2))
    fields = receptive_fields(model, side)
    images = np.arange(len(pixels))[:, None]
    colours = pixels.numpy().transpose(0, 2, 3, 1)[images, places[..., 0], places[..., 1]] / 255
    values, start = {name: [] for name in layer_names}, 0
    for batch in map_batches(model, layer_names, pixels):
        for name, maps in batch.items():
            nearest = np.array([fields[name].nearest((y, y), maps.shape[2:], side) for y in range(side)])
            batch_places = places[start : start + len(maps)]
            rows, columns = nearest[batch_places[..., 0], 0], nearest[batch_places[..., 1], 1]
            values[name].append(maps.transpose(0, 2, 3, 1)[np.arange(len(maps))[:, None], rows, columns])
        start += len(maps)
    joined = {name: np.concatenate(batches).reshape(-1, batches[0].shape[-1]) for name, batches in values.items()}
    return colours.reshape(-1, 3), joined
