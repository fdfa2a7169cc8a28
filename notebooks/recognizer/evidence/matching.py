"""Whether two networks have the same filters, in whatever order."""

import numpy as np
from torch import Tensor, nn

from .responses import all_maps


def best_matches(one: nn.Module, other: nn.Module, layer_name: str, pixels: Tensor) -> np.ndarray:
    """How alike each filter of a layer and its best match in another network are: float C in [0, 1].

    That is the highest absolute correlation between its maps of `pixels`, uint8 N×3×S×S, and those of any filter of the
    same layer of the other network (Li et al. 2016, «Convergent learning»). NaN for a filter whose maps are constant;
    constant filters of the other network match nothing. Of many filters one is always somewhat alike, so compare it
    with the same number of untrained networks.
    """
    mine, theirs = (_standardised(each, layer_name, pixels) for each in (one, other))
    found = np.abs(mine.T @ theirs).max(axis=1)
    return np.where(mine.any(axis=0), found, np.nan)


def _standardised(model: nn.Module, layer_name: str, pixels: Tensor) -> np.ndarray:
    """The maps of each filter in one column, M×C, centred and of length 1: products are correlations. 0 if constant."""
    maps = all_maps(model, [layer_name], pixels)[layer_name]
    columns = maps.transpose(0, 2, 3, 1).reshape(-1, maps.shape[1]).astype(float)
    columns -= columns.mean(axis=0)
    lengths = np.linalg.norm(columns, axis=0)
    return columns / np.where(lengths > 1e-6, lengths, np.inf)
