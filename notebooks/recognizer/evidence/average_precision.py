"""How well each filter finds the pixels of each part, whatever its threshold: average precision and correlation."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ..settings import Problem
from .dissection import enlarged
from .receptive_field import ReceptiveField, receptive_fields
from .responses import all_maps

ONE = 0x3C00 >> 2  # the bits of 1 as float16, without the last two
LEVELS = 2 * ONE + 1


class PartScores(NamedTuple):
    """How well C filters find P parts, both float C×P, NaN for parts that no pixel shows.

    `precision`: average precision over chance, so that 1 means chance and the inverse of the part's share of all pixels
    is the most. `correlation`: Pearson's, in [-1, 1], of a filter's values with where the part is; also NaN for a
    constant filter and for a part that is everywhere.
    """

    precision: np.ndarray
    correlation: np.ndarray


def part_scores(
    model: nn.Module, layer_names: Sequence[str], pixels: Tensor, masks: np.ndarray, num_parts: int
) -> dict[str, PartScores]:
    """How well each filter finds each part, pixel by pixel: name → `PartScores`.

    `pixels` N×3×S×S as in `map_batches`; `masks` integers N×H×W below `num_parts`, the part that each pixel shows. A
    filter's maps are enlarged to H×W (see `dissection.enlarged`), and all pixels of all images are ranked by them
    together. The average precision is the area under the steps of the precision-recall curve, as in scikit-learn. A
    random ranking reaches the part's share of all pixels, by which it is divided. Unlike the area under the ROC curve,
    precision or recall, both scores fall when a filter misses half of a part's places as well as when it marks as much
    again beside them (Oikarinen et al. 2025).
    Raises `Problem` as `map_batches` does, and for masks that do not fit the images.
    """
    _check(pixels, masks, num_parts)
    side = pixels.shape[-1]
    fields = receptive_fields(model, side)
    return {  # one layer after the other: the maps of all take gigabytes
        name: scores_of_maps(all_maps(model, [name], pixels)[name], fields[name], side, masks, num_parts)
        for name in layer_names
    }


def scores_of_maps(
    maps: np.ndarray, field: ReceptiveField, image_size: int, masks: np.ndarray, num_parts: int
) -> PartScores:
    """`part_scores` of one layer whose maps, float32 N×C×h×w, are known; `field` is that of the layer."""
    part_of_pixel = torch.as_tensor(masks).long().flatten()
    filters = _enlarged_filters(maps, field, image_size, masks.shape[1:])
    return PartScores(
        *map(np.stack, zip(*(_scores(values, _levels(values), part_of_pixel, num_parts) for values in filters)))
    )


def part_scores_within(
    model: nn.Module, layer_names: Sequence[str], pixels: Tensor, masks: np.ndarray, num_parts: int, labels: np.ndarray
) -> dict[int, dict[str, PartScores]]:
    """`part_scores` in the images of each class alone: label → name → `PartScores`. `labels` int N.

    Over all classes together, a filter that marks bikes would pass for one that marks the wheels of bikes.
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
    """Filter by filter, the values of all pixels of all images around their mean: float32 N·H·W."""
    for some in torch.from_numpy(maps).split(8, dim=1):  # enlarged maps of all filters take gigabytes
        for of_filter in enlarged(some, field, image_size, size).unbind(1):
            yield _values(of_filter)


def _values(enlarged_map: Tensor) -> Tensor:
    """All its values in a row, minus their mean; 0 for a constant map, which enlarging leaves not quite constant."""
    values = enlarged_map.flatten()
    centred = values - values.double().mean().float()
    return torch.zeros_like(values) if centred.abs().amax() <= 1e-6 * values.abs().amax() else centred


def _levels(centred: Tensor) -> Tensor:
    """For each of M values around 0 the number of its level, higher for higher values: int64 M below `LEVELS`.

    The largest is scaled to 1, and each is cut to eight bits after its first, about 0.3 % of it. The bits of a float16
    are in the order of its absolute values, so they can be counted without sorting millions of pixels.
    """
    bits = (centred / centred.abs().amax().clamp(min=1e-30)).half().view(torch.int16).long()
    return torch.where(bits < 0, -((bits & 0x7FFF) >> 2), bits >> 2) + ONE


def _scores(values: Tensor, levels: Tensor, part_of_pixel: Tensor, num_parts: int) -> tuple[np.ndarray, np.ndarray]:
    """Average precision over the part's share, and correlation, for each part.

    Of M pixels: `values` around 0 and their levels, and the part that each shows.
    """
    counts = torch.bincount(levels * num_parts + part_of_pixel, minlength=LEVELS * num_parts).view(-1, num_parts)
    counts = counts[counts.any(dim=1)].flip(0).double()  # the highest level first
    hits, shown = counts.cumsum(0), counts.sum(0)
    shares = shown / len(values)
    average = (hits / hits.sum(dim=1, keepdim=True) * counts).sum(dim=0) / shown / shares
    # The values are around their mean, so their sum over the pixels of a part is M times the covariance with its mask.
    sums = torch.bincount(part_of_pixel, weights=values.double(), minlength=num_parts)
    lengths = values.double().norm() * (len(values) * shares * (1 - shares)).sqrt()
    return average.numpy(), torch.where(lengths > 0, sums / lengths, torch.nan).numpy()
