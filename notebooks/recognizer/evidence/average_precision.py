"""How well each filter locates the pixels of each part, without any threshold: average precision and correlation."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ..settings import Problem
from .dissection import enlarged
from .receptive_field import ReceptiveField, receptive_fields
from .responses import all_maps

ONE = 0x3C00 >> 2  # the bits of 1.0 as float16, without the last two
LEVELS = 2 * ONE + 1


class PartScores(NamedTuple):
    """How well C filters locate P parts, both float C×P, and NaN for parts that no pixel shows.

    `precision`: the average precision divided by chance. Chance level is 1, and the maximum is the inverse of the
    part's share of all pixels.
    `correlation`: Pearson's correlation of a filter's values with the part's mask, in [-1, 1]. It is also NaN for a
    constant filter and for a part that covers every pixel.
    """

    precision: np.ndarray
    correlation: np.ndarray


def part_scores(
    model: nn.Module, layer_names: Sequence[str], pixels: Tensor, masks: np.ndarray, num_parts: int
) -> dict[str, PartScores]:
    """How well each filter locates each part, pixel by pixel: name → `PartScores`.

    `pixels` N×3×S×S as in `map_batches`; `masks` integers N×H×W below `num_parts`, the part that each pixel shows. A
    filter's maps are enlarged to H×W (see `dissection.enlarged`), and all pixels of all images are ranked together by
    their values. The average precision is the area under the steps of the precision-recall curve, as in scikit-learn.
    It is divided by the value of a random ranking, which is the part's share of all pixels. Both scores fall if a
    filter misses half of a part's places, and also if it marks as many places again outside the part. The area under
    the ROC curve, precision and recall each hardly react to one of these faults (Oikarinen et al. 2025).
    Raises `Problem` as `map_batches` does, and for masks that do not fit the images.
    """
    _check(pixels, masks, num_parts)
    side = pixels.shape[-1]
    fields = receptive_fields(model, side)
    return {  # one layer at a time, because the maps of all layers take gigabytes
        name: scores_of_maps(all_maps(model, [name], pixels)[name], fields[name], side, masks, num_parts)
        for name in layer_names
    }


def scores_of_maps(
    maps: np.ndarray, field: ReceptiveField, image_size: int, masks: np.ndarray, num_parts: int
) -> PartScores:
    """`part_scores` for one layer with known maps, float32 N×C×h×w, and receptive field `field`."""
    part_of_pixel = torch.as_tensor(masks).long().flatten()
    filters = _enlarged_filters(maps, field, image_size, masks.shape[1:])
    return PartScores(
        *map(np.stack, zip(*(_scores(values, _levels(values), part_of_pixel, num_parts) for values in filters)))
    )


def part_scores_within(
    model: nn.Module, layer_names: Sequence[str], pixels: Tensor, masks: np.ndarray, num_parts: int, labels: np.ndarray
) -> dict[int, dict[str, PartScores]]:
    """`part_scores` within the images of each class: label → name → `PartScores`. `labels` int N.

    Over all classes together, a filter that marks whole bikes would look like a filter that marks the wheels of bikes.
    """
    labels = np.asarray(labels)
    return {
        int(label): part_scores(model, layer_names, pixels[labels == label], masks[labels == label], num_parts)
        for label in np.unique(labels)
    }


def _check(pixels: Tensor, masks: np.ndarray, num_parts: int) -> None:
    if masks.ndim != 3 or len(masks) != len(pixels):
        raise Problem(f"{len(pixels)} images need as many masks, N×H×W; these are {tuple(masks.shape)}.")
    if masks.min() < 0 or masks.max() >= num_parts:
        raise Problem(f"Masks hold numbers of {num_parts} parts; these go from {masks.min()} to {masks.max()}.")


def _enlarged_filters(
    maps: np.ndarray, field: ReceptiveField, image_size: int, size: Sequence[int]
) -> Iterator[Tensor]:
    """For one filter after another, the values of all pixels of all images, minus their mean: float32 N·H·W."""
    for group in torch.from_numpy(maps).split(8, dim=1):  # the enlarged maps of all filters would take gigabytes
        for filter_maps in enlarged(group, field, image_size, size).unbind(1):
            yield _values(filter_maps)


def _values(enlarged_map: Tensor) -> Tensor:
    """All values of a map, minus their mean. They are 0 for a constant map, which enlarging leaves slightly uneven."""
    values = enlarged_map.flatten()
    centred = values - values.double().mean().float()
    return torch.zeros_like(values) if centred.abs().amax() <= 1e-6 * values.abs().amax() else centred


def _levels(centred: Tensor) -> Tensor:
    """The level of each of M values around 0, higher for higher values: int64 M below `LEVELS`.

    Values are divided by the largest absolute value and cut to eight bits after the leading one, a change of at most
    about 0.3 %. The bits of a float16 have the same order as its absolute value. So levels can be counted, and millions
    of pixels need no sorting.
    """
    bits = (centred / centred.abs().amax().clamp(min=1e-30)).half().view(torch.int16).long()
    return torch.where(bits < 0, -((bits & 0x7FFF) >> 2), bits >> 2) + ONE


def _scores(values: Tensor, levels: Tensor, part_of_pixel: Tensor, num_parts: int) -> tuple[np.ndarray, np.ndarray]:
    """The average precision over the part's share, and the correlation, for each part.

    The arguments describe M pixels: `values` minus their mean, their levels, and the part that each pixel shows.
    """
    counts = torch.bincount(levels * num_parts + part_of_pixel, minlength=LEVELS * num_parts).view(-1, num_parts)
    counts = counts[counts.any(dim=1)].flip(0).double()  # the highest level first
    hits, shown = counts.cumsum(0), counts.sum(0)
    shares = shown / len(values)
    average = (hits / hits.sum(dim=1, keepdim=True) * counts).sum(dim=0) / shown / shares
    # The values have mean 0, so their sum over the pixels of a part is M times the covariance with its mask.
    sums = torch.bincount(part_of_pixel, weights=values.double(), minlength=num_parts)
    lengths = values.double().norm() * (len(values) * shares * (1 - shares)).sqrt()
    return average.numpy(), torch.where(lengths > 0, sums / lengths, torch.nan).numpy()
