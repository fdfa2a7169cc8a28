"""A network to compare with: the same before training."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torchvision.transforms.v2.functional import to_dtype

from ..network.models import new_like
from .responses import BATCH_SIZE


def untrained(model: nn.Module, pixels: Tensor, seed: int = 0) -> nn.Module:
    """A network of the same class and size, with the weights that training starts from, in eval mode.

    Its batch norms know the statistics of `pixels`, uint8 N×3×S×S.
    """
    torch.manual_seed(seed)
    fresh = new_like(model)
    _calibrate(fresh, [layer for layer in fresh.modules() if isinstance(layer, nn.BatchNorm2d)], pixels)
    return fresh


def _calibrate(model: nn.Module, norms: Sequence[nn.BatchNorm2d], pixels: Tensor) -> None:
    """Give `norms`, batch norms of `model`, the mean and variance of `pixels` there, and leave `model` in eval mode.

    A batch norm that never saw an image does nothing, and a network without its batch norms is no fair comparison.
    """
    model.eval()
    weights = next(model.parameters())
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean over all batches
        norm.train()
    with torch.no_grad():
        for batch in pixels.split(BATCH_SIZE):
            # A last batch of one image has no variance, and any smaller batch would count too much.
            if len(batch) == min(BATCH_SIZE, len(pixels)):
                model(to_dtype(batch.to(weights.device), weights.dtype, scale=True))
    model.eval()
