"""How well each filter finds the pixels of each part, whatever its threshold: average precision and correlation."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ..settings import Problem
from .dissection import enlarged
from .receptive_field import receptive_fields
from .responses import all_maps

LEVELS = 1000  # bins for a filter's values: counting per bin is faster than sorting millions of pixels


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
    part_of_pixel = torch.as_tensor(masks).long().flatten()
    found = {}
    for name, filters in _enlarged_maps(model, layer_names, pixels, masks.shape[1:]):
        scores = [_scores(values, _levels(values), part_of_pixel, num_parts) for values in filters]
        found[name] = PartScores(*map(np.stack, zip(*scores)))
    return found


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


def best_by_luck(
    model: nn.Module,
    layer_names: Sequence[str],
    pixels: Tensor,
    masks: np.ndarray,
    num_parts: int,
    times: int = 20,
    seed: int = 0,
) -> dict[str, PartScores]:
    """What the best of a layer's C filters scores for each part by luck: name → `PartScores`, both float `times`×P.

    As often as `times` says, each image gets the masks of another one, so that filters know at most where in pictures a
    part usually is, and the highest score of any filter counts. Of many filters one always seems to find something: a
    filter chosen as the best of its layer is to be compared with these, one chosen beforehand is not.
    Other arguments and errors as in `part_scores`, and `Problem` for fewer than two images.
    """
    _check(pixels, masks, num_parts)
    if len(masks) < 2:
        raise Problem("Luck is measured with the masks of other images; give two images or more.")
    random = np.random.default_rng(seed)
    others = [masks[_moved(len(masks), random)] for _ in range(times)]
    parts_of_pixel = [torch.as_tensor(each).long().flatten() for each in others]
    found = {}
    for name, filters in _enlarged_maps(model, layer_names, pixels, masks.shape[1:]):
        best = np.full((2, times, num_parts), np.nan)
        for values in filters:
            levels = _levels(values)
            scores = [_scores(values, levels, parts, num_parts) for parts in parts_of_pixel]
            best = np.fmax(best, np.stack(scores, axis=1))
        found[name] = PartScores(*best)
    return found


def _check(pixels: Tensor, masks: np.ndarray, num_parts: int) -> None:
    if masks.ndim != 3 or len(masks) != len(pixels):
        raise Problem(f"{len(pixels)} images need as many masks, N×H×W; these are {tuple(masks.shape)}.")
    if masks.min() < 0 or masks.max() >= num_parts:
        raise Problem(f"Masks hold numbers of {num_parts} parts; these go from {masks.min()} to {masks.max()}.")


def _moved(count: int, random: np.random.Generator) -> np.ndarray:
    """A permutation of `count` images that leaves none where it was: a random order, and each takes the next one's."""
    order = random.permutation(count)
    moved = np.empty(count, int)
    moved[order] = np.roll(order, 1)
    return moved


def _enlarged_maps(
    model: nn.Module, layer_names: Sequence[str], pixels: Tensor, size: Sequence[int]
) -> Iterator[tuple[str, Iterator[Tensor]]]:
    """For each layer its name and, filter by filter, the values of all pixels of all images: float32 N·H·W."""
    side = pixels.shape[-1]
    fields = receptive_fields(model, side)
    for name in layer_names:  # one layer after the other: the maps of all take gigabytes
        maps = torch.from_numpy(all_maps(model, [name], pixels)[name])
        yield name, (_values(enlarged(maps[:, [k]], fields[name], side, size)) for k in range(maps.shape[1]))


def _values(enlarged_map: Tensor) -> Tensor:
    """All its values in a row; a constant map, no longer quite constant when it was enlarged, becomes 0."""
    values = enlarged_map.flatten()
    is_constant = values.amax() - values.amin() <= 1e-6 * values.abs().amax()
    return torch.zeros_like(values) if is_constant else values


def _levels(values: Tensor) -> Tensor:
    """For each of M values the number of its level, higher for higher values: int64 M, at most `LEVELS` + 1."""
    chosen = torch.randint(len(values), (min(100_000, len(values)),), generator=torch.Generator().manual_seed(0))
    return torch.bucketize(values, torch.quantile(values[chosen], torch.linspace(0, 1, LEVELS + 1)).unique())


def _scores(values: Tensor, levels: Tensor, part_of_pixel: Tensor, num_parts: int) -> tuple[np.ndarray, np.ndarray]:
    """Average precision over the part's share, and correlation, for each part; M values, their levels and parts."""
    counts = torch.bincount(levels * num_parts + part_of_pixel, minlength=(LEVELS + 2) * num_parts)
    counts = counts.view(-1, num_parts).flip(0).double()  # the highest level first
    hits, shown = counts.cumsum(0), counts.sum(0)
    precision = hits / hits.sum(dim=1, keepdim=True).clamp(min=1)
    shares = shown / len(values)
    average = (precision * (counts / shown)).sum(dim=0) / shares
    # Σ (v − mean) over the pixels of a part is M times the covariance with its mask.
    centred = values.double() - values.double().mean()
    sums = torch.bincount(part_of_pixel, weights=centred, minlength=num_parts)
    lengths = centred.norm() * (len(values) * shares * (1 - shares)).sqrt()
    return average.numpy(), torch.where(lengths > 0, sums / lengths, torch.nan).numpy()
