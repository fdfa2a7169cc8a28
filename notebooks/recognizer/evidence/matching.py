"""Whether two networks have the same filters, in any order."""

import numpy as np
from torch import Tensor, nn

from .responses import all_maps


def best_matches(one: nn.Module, other: nn.Module, layer_name: str, pixels: Tensor) -> np.ndarray:
    """How similar each filter of a layer is to its best match in another network: float C in [0, 1].

    The similarity is the highest absolute correlation between the filter's maps of `pixels`, uint8 N×3×S×S, and those
    of any filter in the same layer of the other network (Li et al. 2016, «Convergent learning»). It is NaN for a filter
    with constant maps. Constant filters of the other network match nothing. Among many filters, one is always somewhat
    similar by chance, so compare the result with that for untrained networks.
    """
    columns, other_columns = (_standardised(network, layer_name, pixels) for network in (one, other))
    similarity = np.abs(columns.T @ other_columns).max(axis=1)
    return np.where(columns.any(axis=0), similarity, np.nan)


def _standardised(model: nn.Module, layer_name: str, pixels: Tensor) -> np.ndarray:
    """The maps of each filter as one column, M×C, with mean 0 and length 1, so that products are correlations.

    The column of a constant filter is 0.
    """
    maps = all_maps(model, [layer_name], pixels)[layer_name]
    columns = maps.transpose(0, 2, 3, 1).reshape(-1, maps.shape[1]).astype(float)
    columns -= columns.mean(axis=0)
    lengths = np.linalg.norm(columns, axis=0)
    return columns / np.where(lengths > 1e-6, lengths, np.inf)
