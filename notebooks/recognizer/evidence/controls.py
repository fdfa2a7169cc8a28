"""Networks to compare with: one that was never trained, one that was trained on nonsense, one taken apart from the top."""

import copy
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor, nn

from ..data.dataset import Pictures
from ..network.hardware import choose_device
from ..network.models import load_model, save_model
from ..network.recipe import Recipe
from ..network.training import fit
from .responses import BATCH_SIZE, all_maps


def untrained(model: nn.Module, pixels: Tensor, seed: int = 0) -> nn.Module:
    """A network of the same class and size, with the weights that training starts from, in eval mode.

    Its batch norms know the statistics of `pixels`, uint8 N×3×S×S.
    """
    fresh = _fresh(model, seed)
    _calibrate(fresh, [layer for layer in fresh.modules() if isinstance(layer, nn.BatchNorm2d)], pixels)
    return fresh


def _fresh(model: nn.Module, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return type(model)(model.classes, model.image_size)


def _calibrate(model: nn.Module, norms: Sequence[nn.BatchNorm2d], pixels: Tensor) -> None:
    """Give `norms`, batch norms of `model`, the mean and variance that `pixels` have there; `model` is left in eval mode.

    A batch norm that never saw an image does nothing, and a network without its batch norms is no fair comparison.
    """
    model.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean over all batches
        norm.train()
    with torch.no_grad():
        for batch in pixels.split(BATCH_SIZE):
            if len(batch) == min(
                BATCH_SIZE, len(pixels)
            ):  # a rest of one image has no variance, and any rest too much weight
                model(batch.to(next(model.parameters()).device).float() / 255)
    model.eval()


def with_shuffled_labels(pictures: Pictures, seed: int = 0) -> Pictures:
    """The same images, their labels dealt anew: as many of each class, on other images. `pictures` stay as they are."""
    shuffled = copy.copy(pictures)
    order = torch.randperm(len(pictures), generator=torch.Generator().manual_seed(seed))
    shuffled.labels = pictures.labels[order]
    return shuffled


def trained_on_shuffled_labels(
    model: nn.Module, train: Pictures, num_epochs: int, path: Path, seed: int = 0
) -> nn.Module:
    """A network like `model` that learned the same images with their labels dealt anew, so that there was nothing to learn.

    Kept in the file `path`, as it is after the last epoch; where the file is there already, it is loaded, if it is newer
    than the `model.pt` beside it: it would else be compared with a network that other code or other images made.
    """
    beside = path.with_name("model.pt")
    if not path.exists() or (beside.exists() and beside.stat().st_mtime > path.stat().st_mtime):
        shuffled = with_shuffled_labels(train, seed)
        best = path.with_suffix(".best.pt")  # the best of epochs that learned nothing is of no interest
        last = path.with_suffix(".last.pt")
        try:
            history = fit(
                _fresh(model, seed).to(choose_device()),
                shuffled,
                shuffled,
                Recipe(num_epochs, seed=seed),
                best,
                after_epoch=[lambda epoch: save_model(epoch.model, last)],
            )
            if history.interrupted:
                raise KeyboardInterrupt
            last.replace(path)
        finally:
            best.unlink(missing_ok=True)
            last.unlink(missing_ok=True)
    return load_model(path)


def randomised_from_the_top(
    model: nn.Module, layer_names: Sequence[str], pixels: Tensor, seed: int = 0
) -> tuple[list[str], list[dict[str, np.ndarray]], list[dict[str, np.ndarray]]]:
    """Forget one layer after the other, the last first, and see how much of the maps stays (Adebayo et al. 2018).

    `pixels` is uint8 N×3×S×S. Returns the names of the layers with weights, from the last to the first; for each, how like
    the maps of each of `layer_names` are to those of the whole network, once that layer and all behind it have random
    weights (and its batch norms the statistics of what they then get): name → float C in [0, 1], the absolute rank
    correlation (Spearman) of each filter, 0 where it is constant; and the maps of the first image, name → float32 C×h×w, of
    the whole network and after each step. "Behind" is the order in which the layers are defined.
    """
    torch.manual_seed(seed)
    model = copy.deepcopy(model).eval()
    maps = all_maps(model, layer_names, pixels)
    whole = {name: _ranks(each) for name, each in maps.items()}
    steps, alike, norms = [], [], []
    of_first = [{name: each[0] for name, each in maps.items()}]
    for name, layer in reversed(list(model.named_modules())):
        if hasattr(layer, "reset_parameters"):
            layer.reset_parameters()
        if isinstance(layer, nn.BatchNorm2d):
            norms.append(layer)
        if isinstance(layer, nn.Conv2d | nn.Linear):
            _calibrate(model, norms, pixels)
            maps = all_maps(model, layer_names, pixels)
            steps.append(name)
            alike.append({n: np.abs((whole[n] * _ranks(maps[n])).sum(axis=1)) for n in layer_names})
            of_first.append({n: each[0] for n, each in maps.items()})
    return steps, alike, of_first


def like_any_other(model: nn.Module, layer_names: Sequence[str], pixels: Tensor) -> dict[str, np.ndarray]:
    """How like the maps of each filter are to those of the other filters of its layer: name → float C in [0, 1].

    The mean absolute rank correlation, as in `randomised_from_the_top`: what two filters share because they look at the same
    pictures. Arguments and errors as in `map_batches`.
    """
    found = {}
    for name, maps in all_maps(model, layer_names, pixels).items():
        ranks = _ranks(maps)
        alike = np.abs(ranks @ ranks.T)
        found[name] = (alike.sum(axis=1) - alike.diagonal()) / max(1, len(alike) - 1)
    return found


def _ranks(maps: np.ndarray) -> np.ndarray:
    """The ranks of each filter's values, centred and of length 1, so that their products sum to Spearman's correlation."""
    ranks = rankdata(maps.transpose(1, 0, 2, 3).reshape(maps.shape[1], -1), axis=1)
    ranks -= ranks.mean(axis=1, keepdims=True)
    return ranks / np.linalg.norm(ranks, axis=1, keepdims=True).clip(min=1e-9)
