"""`Recipe`: how a network is trained. Its optimizers, and the running average that each step updates."""

import copy
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from numbers import Integral, Real

import torch
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR
from torch.optim.swa_utils import get_ema_multi_avg_fn

from ..settings import Problem
from .hardware import has_fused_optimizers

NewOptimizer = Callable[[Iterable[nn.Parameter], float], torch.optim.Optimizer]


def adamw(parameters: Iterable[nn.Parameter], lr: float) -> torch.optim.Optimizer:
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019): 1 for the first parameter, 0.05 for all others.

    The first parameter holds the kernels of the first layer. Adam's steps have one size, whatever the gradient. So
    weights that hardly affect the loss drift at random, and the kernels look like noise. With more decay such weights
    fade, and the kernels show what was learned. Where batch norm follows, it makes up for most of their smaller size.
    """
    first, *others = parameters
    fused = all(has_fused_optimizers(weight.device) for weight in (first, *others))
    groups = [{"params": [first], "weight_decay": 1.0}, {"params": others}] if others else [{"params": [first]}]
    return torch.optim.AdamW(groups, lr=lr, weight_decay=0.05, fused=fused)


def even_adamw(parameters: Iterable[nn.Parameter], lr: float) -> torch.optim.Optimizer:
    """Adam with the same decoupled weight decay, 0.05, for all parameters, so that pretrained weights do not fade."""
    weights = list(parameters)
    return torch.optim.AdamW(
        weights, lr=lr, weight_decay=0.05, fused=all(has_fused_optimizers(weight.device) for weight in weights)
    )


def rmsprop(parameters: Iterable[nn.Parameter], lr: float) -> torch.optim.Optimizer:
    """RMSprop (Hinton 2012) with the defaults of Keras 2. It averages over ten steps; PyTorch's over a hundred."""
    return torch.optim.RMSprop(parameters, lr=lr, alpha=0.9, eps=1e-7)


@dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    It makes `num_epochs` passes over the training images, in batches of `batch_size`. `lr` is the highest learning
    rate. `seed` decides the order of images, their augmentation and dropout. With `augmented=False` the network sees
    the images as they are, the same ones in every epoch. `new_optimizer` is called with the network's parameters and
    `lr`.
    Raises `Problem` for values that make training impossible.
    """

    num_epochs: int
    batch_size: int = 16
    lr: float = 2e-3
    seed: int = 0
    augmented: bool = True
    new_optimizer: NewOptimizer = adamw

    def __post_init__(self) -> None:
        for name, kind, low, high, needed in (
            ("num_epochs", Integral, 1, math.inf, "at least 1 epoch"),
            ("batch_size", Integral, 2, math.inf, "at least 2 images a batch"),
            ("lr", Real, 1e-8, 1, "a learning rate above 0 and at most 1"),
            ("seed", Integral, 0, 2**32 - 1, "a seed from 0 to 2³² - 1"),
        ):
            value = getattr(self, name)
            if not (isinstance(value, kind) and low <= value <= high):
                raise Problem(f"Training takes {needed}, not {name}={value!r}.")

    def described(self) -> dict[str, int | float | bool | str]:
        """Its values by name, as JSON and TensorBoard can hold them."""
        return {
            "num_epochs": int(self.num_epochs),
            "batch_size": int(self.batch_size),
            "lr": float(self.lr),
            "seed": int(self.seed),
            "augmented": bool(self.augmented),
            "optimizer": getattr(self.new_optimizer, "__name__", str(self.new_optimizer)),
        }


def optimizer_and_average(
    model: nn.Module, recipe: Recipe, total_steps: int, steps_done: int = 0
) -> tuple[torch.optim.Optimizer, nn.Module]:
    """The optimizer of `recipe` for `model`, and a running average of `model`, which each optimizer step updates.

    The learning rate goes through one cycle of `total_steps`: up to `recipe.lr` over the first twentieth of them, down
    to zero over the rest (Smith & Topin 2018). At a high learning rate the weights fluctuate from batch to batch; their
    average does so much less (Polyak & Juditsky 1992). `steps_done` of these steps are already done.
    """
    optimizer = recipe.new_optimizer(model.parameters(), recipe.lr)
    # The rise has at least two steps if there are as many, because OneCycleLR divides by its steps minus one.
    rise = max(0.05, min(2 / total_steps, 0.6))
    moves = "betas" in optimizer.defaults  # Adam's momentum goes through the cycle too; RMSprop has none
    schedule = OneCycleLR(optimizer, recipe.lr, total_steps=total_steps, pct_start=rise, cycle_momentum=moves)
    schedule.last_epoch = steps_done
    average = copy.deepcopy(model)

    def after_step(*_) -> None:
        schedule.step()
        update_average(average, model, schedule.last_epoch)

    optimizer.register_step_post_hook(after_step)
    return optimizer, average


def update_average(average: nn.Module, model: nn.Module, steps: int) -> None:
    """Move the weights of `average` towards the weights of `model`, which has been trained for `steps` steps.

    The average covers about the last 100 steps. At the start it covers fewer, so that the untrained weights vanish.
    (PyTorch's `AveragedModel` counts the steps on the GPU. Reading that count would make every step wait.)
    """
    decay = min(0.99, steps / (9 + steps)) if steps > 1 else 0.0
    pairs = [*zip(average.parameters(), model.parameters()), *zip(average.buffers(), model.buffers())]
    for are_floats in (True, False):
        if some := [pair for pair in pairs if pair[0].is_floating_point() == are_floats]:
            get_ema_multi_avg_fn(decay)(*map(list, zip(*some)), steps)
