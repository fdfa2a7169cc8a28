"""A network to compare with: the same network before training."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torchvision.transforms.v2.functional import to_dtype

from ..network.models import new_like
from .responses import BATCH_SIZE


def untrained(model: nn.Module, pixels: Tensor, seed: int = 0) -> nn.Module:
    """A network of the same class and size as `model`, with the weights that training starts from, in eval mode.

    Its batch norms have the statistics of `pixels`, uint8 N×3×S×S.
    """
    torch.manual_seed(seed)
    fresh = new_like(model)
    _calibrate(fresh, [layer for layer in fresh.modules() if isinstance(layer, nn.BatchNorm2d)], pixels)
    return fresh


def _calibrate(model: nn.Module, norms: Sequence[nn.BatchNorm2d], pixels: Tensor) -> None:
    """Give `norms`, batch norms of `model`, the mean and variance of their inputs for `pixels`.

    A batch norm that has never seen an image does not normalise, and then the comparison would not be fair. `model`
    ends in eval mode.
    """
    model.eval()
    weights = next(model.parameters())
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # an equal-weight mean over all batches
        norm.train()
    with torch.no_grad():
        for batch in pixels.split(BATCH_SIZE):
            # A smaller last batch would have too much weight, and a batch of one image has no variance.
            if len(batch) == min(BATCH_SIZE, len(pixels)):
                model(to_dtype(batch.to(weights.device), weights.dtype, scale=True))
    model.eval()
