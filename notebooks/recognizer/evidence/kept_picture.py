"""How much of the picture, pixel by pixel, can be read from the position of a layer's maps that looks at the pixel."""

from collections.abc import Sequence

import numpy as np
from sklearn.linear_model import RidgeCV
from torch import Tensor, nn

from .receptive_field import receptive_fields
from .responses import map_batches

PER_IMAGE = 64  # pixels of each image


def kept_picture(
    model: nn.Module, layer_names: Sequence[str], learn: Tensor, ask: Tensor, seed: int = 0
) -> dict[str, float]:
    """The share of the variance of pixels that layers still know: name → R², at most 1, and about 0 if nothing is left.

    `learn` and `ask` are uint8 N×3×S×S. A linear map (ridge regression, Hoerl & Kennard 1970) learns from `learn` to
    predict the red, green and blue of a pixel from all filters at the position of the map that is nearest to it, and is
    asked about `ask`. Nothing is averaged over places first, so that a layer with coarse maps cannot know fine detail.
    """
    (known, values), (truth, asked) = (_pixels_and_values(model, layer_names, each, seed) for each in (learn, ask))
    spread = ((truth - truth.mean(axis=0)) ** 2).sum()
    found = {}
    for name in layer_names:
        scale = values[name].std() or 1.0
        fitted = RidgeCV(np.logspace(-3, 4, 8)).fit(values[name] / scale, known)
        found[name] = float(1 - ((truth - fitted.predict(asked[name] / scale)) ** 2).sum() / spread)
    return found


def _pixels_and_values(
    model: nn.Module, layer_names: Sequence[str], pixels: Tensor, seed: int
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Colours of random pixels, M×3 in [0, 1], and for each layer the values M×C at the nearest position."""
    side = pixels.shape[-1]
    places = np.random.default_rng(seed).integers(side, size=(len(pixels), PER_IMAGE, 2))
    fields = receptive_fields(model, side)
    images = np.arange(len(pixels))[:, None]
    colours = pixels.numpy().transpose(0, 2, 3, 1)[images, places[..., 0], places[..., 1]] / 255
    values, start = {name: [] for name in layer_names}, 0
    for batch in map_batches(model, layer_names, pixels):
        for name, maps in batch.items():
            nearest = np.array([fields[name].nearest((y, y), maps.shape[2:], side) for y in range(side)])
            some = places[start : start + len(maps)]
            rows, columns = nearest[some[..., 0], 0], nearest[some[..., 1], 1]
            values[name].append(maps.transpose(0, 2, 3, 1)[np.arange(len(maps))[:, None], rows, columns])
        start += len(maps)
    joined = {name: np.concatenate(each).reshape(-1, each[0].shape[-1]) for name, each in values.items()}
    return colours.reshape(-1, 3), joined
