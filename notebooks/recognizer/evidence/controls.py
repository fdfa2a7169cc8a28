"""Networks to compare with: one without training, one trained on shuffled labels, one that forgets layer by layer."""

import copy
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor, nn
from torchvision.transforms.v2.functional import to_dtype

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


def with_shuffled_labels(pictures: Pictures, seed: int = 0) -> Pictures:
    """The same images with their labels shuffled: as many of each class, on other images. `pictures` do not change."""
    shuffled = copy.copy(pictures)
    order = torch.randperm(len(pictures), generator=torch.Generator().manual_seed(seed))
    shuffled.labels = pictures.labels[order]
    return shuffled


def trained_on_shuffled_labels(
    model: nn.Module, train: Pictures, num_epochs: int, path: Path, seed: int = 0
) -> nn.Module:
    """A network like `model`, trained on the same images with shuffled labels, so that there was nothing to learn.

    It is saved to `path` after the last epoch. A file that is already there is loaded if it is newer than the
    `model.pt` beside it; an older one belongs to another network, made by other code or from other images.
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
    """Give one layer after the other random weights, the last first, and compare the maps (Adebayo et al. 2018).

    `pixels` is uint8 N×3×S×S. The steps are the layers with weights, from the last defined to the first. At each step
    that layer and all behind it have random weights, and their batch norms the statistics of what they then receive.
    Returns three things: the names of the steps; for each step, how similar the maps of each of `layer_names` are to
    those of the whole network; and the maps of the first image, name → float32 C×h×w, of the whole network and after
    each step. The similarity, name → float C in [0, 1], is the absolute rank correlation (Spearman) of each filter. It
    is 0 for a filter that has become constant, and NaN for one that was constant in the whole network.
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
            alike.append({n: _alike(whole[n], _ranks(maps[n])) for n in layer_names})
            of_first.append({n: each[0] for n, each in maps.items()})
    return steps, alike, of_first


def once_forgotten(
    model: nn.Module, steps: Sequence[str], alike: Sequence[dict[str, np.ndarray]]
) -> dict[str, np.ndarray]:
    """The similarity of each layer's maps at the step at which it has forgotten, itself and all behind it.

    `steps` and `alike` are what `randomised_from_the_top` returned for `model`. The result is name → float C.
    """
    order = [name for name, _ in model.named_modules()]

    def step_of(layer_name: str) -> int:
        layer = layer_name.partition("#")[0]  # further calls of a layer are 'name#2', …
        end = max(i for i, name in enumerate(order) if f"{name}.".startswith(f"{layer}."))  # of all that is in it
        return next((i for i, step in enumerate(steps) if order.index(step) <= end), len(steps) - 1)

    return {layer_name: alike[step_of(layer_name)][layer_name] for layer_name in alike[0]}


def like_any_other(model: nn.Module, layer_names: Sequence[str], pixels: Tensor) -> dict[str, np.ndarray]:
    """How similar the maps of each filter are to those of the other filters of its layer: name → float C in [0, 1].

    This is the mean absolute rank correlation, as in `randomised_from_the_top`, which two filters have because they
    look at the same pictures. Constant filters are left out; it is NaN for them, and for a filter without any other.
    Arguments and errors as in `map_batches`.
    """
    found = {}
    for name, maps in all_maps(model, layer_names, pixels).items():
        ranks = _ranks(maps)
        varies = ranks.any(axis=1)
        alike = np.abs(ranks[varies] @ ranks[varies].T)
        found[name] = np.full(len(ranks), np.nan)
        if len(alike) > 1:
            found[name][varies] = (alike.sum(axis=1) - alike.diagonal()) / (len(alike) - 1)
    return found


def _alike(whole: np.ndarray, now: np.ndarray) -> np.ndarray:
    """The absolute correlation of each filter with itself, from ranks C×M; NaN where it was constant from the start."""
    return np.where(whole.any(axis=1), np.abs((whole * now).sum(axis=1)), np.nan)


def _ranks(maps: np.ndarray) -> np.ndarray:
    """The ranks of each filter's values, C×M, centred and of length 1; all 0 for a constant filter.

    The products of two filters' ranks sum to their rank correlation (Spearman).
    """
    ranks = rankdata(maps.transpose(1, 0, 2, 3).reshape(maps.shape[1], -1), axis=1)
    ranks -= ranks.mean(axis=1, keepdims=True)
    return ranks / np.linalg.norm(ranks, axis=1, keepdims=True).clip(min=1e-9)
