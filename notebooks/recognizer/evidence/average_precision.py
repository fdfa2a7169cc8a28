"""How well each filter finds the pixels of each part, whatever its threshold: average precision over chance."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from ..settings import Problem
from .dissection import enlarged
from .receptive_field import receptive_fields
from .responses import all_maps

LEVELS = 1000  # bins for a filter's values: counting per bin is faster than sorting millions of pixels


def precision_over_chance(
    model: nn.Module, layer_names: Sequence[str], pixels: Tensor, masks: np.ndarray, num_parts: int
) -> dict[str, np.ndarray]:
    """Per-pixel average precision of each filter for each part, divided by the part's share of all pixels.

    `pixels` N×3×S×S as in `map_batches`; `masks` integers N×H×W below `num_parts`, the part that each pixel shows. A
    filter's maps are enlarged to H×W (see `dissection.enlarged`), and all pixels of all images are ranked by them
    together. The average precision is the area under the steps of the precision-recall curve, as in scikit-learn. A
    random ranking reaches the part's share of all pixels, so that 1 means chance. Unlike the area under the ROC curve,
    it tells a filter that marks a part from one that marks the part and much more (Oikarinen et al. 2025).
    Returns name → float C×`num_parts`; NaN for parts that no pixel shows.
    Raises `Problem` as `map_batches` does, and for masks that do not fit the images.
    """
    if masks.ndim != 3 or len(masks) != len(pixels):
        raise Problem(f"{len(pixels)} images need as many masks, N×H×W; these are {tuple(masks.shape)}.")
    if masks.min() < 0 or masks.max() >= num_parts:
        raise Problem(f"Masks hold numbers of {num_parts} parts; these go from {masks.min()} to {masks.max()}.")
    part_of_pixel = torch.as_tensor(masks).long().flatten()
    side = pixels.shape[-1]
    fields = receptive_fields(model, side)
    found = {}
    for name in layer_names:  # one layer after the other: the maps of all take gigabytes
        maps = torch.from_numpy(all_maps(model, [name], pixels)[name])
        by_filter = (enlarged(maps[:, [k]], fields[name], side, masks.shape[1:]) for k in range(maps.shape[1]))
        found[name] = np.stack([_over_chance(each.flatten(), part_of_pixel, num_parts) for each in by_filter])
    return found


def _over_chance(values: Tensor, part_of_pixel: Tensor, num_parts: int) -> np.ndarray:
    """The average precision of `values` for each part, over the part's share; M values and the part of each."""
    if values.amax() - values.amin() <= 1e-6 * values.abs().amax():
        values = torch.zeros_like(values)  # a constant map is no longer quite constant when it was enlarged
    chosen = torch.randint(len(values), (min(100_000, len(values)),), generator=torch.Generator().manual_seed(0))
    edges = torch.quantile(values[chosen], torch.linspace(0, 1, LEVELS + 1)).unique()
    levels = torch.bucketize(values, edges)
    counts = torch.bincount(levels * num_parts + part_of_pixel, minlength=(len(edges) + 1) * num_parts)
    counts = counts.view(-1, num_parts).flip(0).double()  # the highest level first
    hits = counts.cumsum(0)
    precision = hits / hits.sum(dim=1, keepdim=True).clamp(min=1)
    recall_steps = counts / counts.sum(dim=0)
    return ((precision * recall_steps).sum(dim=0) / (counts.sum(dim=0) / len(values))).numpy()


def correlation_with_part(
    model: nn.Module, layer_names: Sequence[str], pixels: Tensor, where: np.ndarray
) -> dict[str, np.ndarray]:
    """Pearson's correlation of each filter's enlarged maps with a part, over all pixels: name → float C in [-1, 1].

    `where` bool N×H×W says which pixels show the part. As the average precision, and unlike the area under the ROC
    curve, it falls when a filter marks as much again beside the part (Oikarinen et al. 2025).
    NaN for a constant filter.
    """
    part = torch.as_tensor(where).flatten().float()
    part = part - part.mean()
    side, found = pixels.shape[-1], {}
    fields = receptive_fields(model, side)
    for name in layer_names:
        maps = torch.from_numpy(all_maps(model, [name], pixels)[name])
        values = (enlarged(maps[:, [k]], fields[name], side, where.shape[1:]).flatten() for k in range(maps.shape[1]))
        found[name] = np.array([_correlation(each - each.mean(), part) for each in values])
    return found


def _correlation(values: Tensor, part: Tensor) -> float:
    """Of centred values; NaN where one is constant."""
    lengths = values.norm() * part.norm()
    return float(values @ part / lengths) if lengths > 1e-6 * len(part) ** 0.5 else np.nan
