"""`fit`: the training loop, and what is kept of it."""

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from ..data.augmentation import augment
from ..data.batches import batches
from ..data.dataset import Pictures
from ..progress import progress_bar
from ..settings import Problem
from .hardware import autocast, fastest_memory_format, keep_freed_memory
from .models import save_model


@dataclass(frozen=True)
class Epoch:
    """What is known after one pass over the training images. Losses are mean cross-entropies, accuracies in [0, 1].

    `is_best` says that validation does not tell it from the best epoch so far (see `as_good_as`).
    `model` is the running average of the network being trained (see `fit`), which is what validation looks at and what
    is kept; whoever uses it leaves it in the mode it was in.
    """

    number: int
    model: nn.Module
    lr: float
    train_loss: float
    train_accuracy: float
    val_loss: float
    val_accuracy: float
    images_per_second: float
    is_best: bool


@dataclass
class History:
    """The epochs of a training run, and whether it was stopped before the last."""

    epochs: list[Epoch] = field(default_factory=list)
    interrupted: bool = False

    @property
    def best(self) -> Epoch:
        """The one that is kept."""
        return next(epoch for epoch in reversed(self.epochs) if epoch.is_best)

    def curves(self) -> dict[str, dict[str, list[float]]]:
        """Loss and accuracy of Train and Val, one value per epoch, as `figures.curves` draws them."""
        quantities = {"loss (cross-entropy)": "loss", "accuracy (share of images)": "accuracy"}
        return {
            title: {part: [getattr(e, f"{part}_{name}") for e in self.epochs] for part in ("train", "val")}
            for title, name in quantities.items()
        }


def loss_of(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy of N×K logits, or of N×1 logits that say how much the second of two classes is preferred."""
    if logits.shape[1] == 1:
        return F.binary_cross_entropy_with_logits(logits[:, 0].float(), labels.float())
    return F.cross_entropy(logits.float(), labels)


def probabilities_of(logits: Tensor) -> Tensor:
    """Float32 N×K class probabilities from N×K logits, or N×2 from N×1."""
    logits = logits.float()
    if logits.shape[1] == 1:
        logits = torch.cat([torch.zeros_like(logits), logits], dim=1)
    return logits.softmax(dim=1)


def logits_of(
    model: nn.Module,
    pictures: Pictures,
    batch_size: int = 32,
    look: Callable[[Tensor], Tensor] = lambda images: images,
) -> Tensor:
    """The model's answer to every image, or to what `look` makes of it: float32 N×K (or N×1), on the CPU, in their order.

    `look` takes a batch, float32 B×3×S×S in [0, 1], and returns one.
    """
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    with torch.no_grad(), autocast(device):
        found = [model(look(images)).float().cpu() for images, _ in batches(pictures, batch_size, device=device)]
    model.train(was_training)
    return torch.cat(found)


NewOptimizer = Callable[[Iterable[nn.Parameter], float], torch.optim.Optimizer]


def adamw(parameters: Iterable[nn.Parameter], lr: float) -> torch.optim.Optimizer:
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019), of 0.05."""
    return torch.optim.AdamW(parameters, lr=lr, weight_decay=0.05, fused=True)


def rmsprop(parameters: Iterable[nn.Parameter], lr: float) -> torch.optim.Optimizer:
    """RMSprop (Hinton 2012) with the numbers of Keras 2, which differ from PyTorch's: it remembers ten steps, not a hundred."""
    return torch.optim.RMSprop(parameters, lr=lr, alpha=0.9, eps=1e-7)


def fit(
    model: nn.Module,
    train: Pictures,
    val: Pictures,
    *,
    num_epochs: int,
    lr: float = 2e-3,
    batch_size: int = 32,
    new_optimizer: NewOptimizer = adamw,
    augmented: bool = True,
    seed: int = 0,
    checkpoint: Path,
    after_epoch: Sequence[Callable[[Epoch], None]] = (),
) -> History:
    """Train `model` on the device where it is; keep its best epoch by validation in the file `checkpoint`.

    Of epochs that validation cannot tell apart the last one counts as the best (see `as_good_as`).
    The loss is the cross-entropy, of one logit the binary one. `new_optimizer` is called with the parameters and `lr`;
    the learning rate then goes through one cycle: up to `lr` over the first twentieth of the steps, down to zero over the
    rest (Smith & Topin 2018). At a high learning rate the weights jump about from batch to batch, and validation with them;
    so a running average of them is what is validated and kept (Polyak & Juditsky 1992; `AveragedModel` of PyTorch).
    With `augmented=False` the network sees the images as they are, the same ones in every epoch.
    After each epoch every function of `after_epoch` is called with what is known of it.
    Ctrl-C (in Jupyter: the stop button) ends the run in good order once an epoch is complete.
    Either way `model` is left in eval mode with the weights of its best epoch.
    Raises `Problem` for fewer images than make a batch of two, or fewer epochs than one.
    """
    if num_epochs < 1 or batch_size < 2 or len(train) < 2:
        raise Problem(
            f"Training takes at least 1 epoch and 2 images a batch, not {num_epochs} and {min(batch_size, len(train))}."
        )
    keep_freed_memory()
    torch.manual_seed(seed)  # for dropout
    generator = torch.Generator().manual_seed(seed)  # for the order of images and their augmentation
    model.to(memory_format=fastest_memory_format())
    batch_size = min(batch_size, len(train))
    steps = len(train) // batch_size
    optimizer, schedule, average = new_run(model, new_optimizer, lr=lr, total_steps=num_epochs * steps)
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    history = History()
    highest = 0.0

    total = num_epochs * steps * batch_size
    with progress_bar("epoch 1", total, "images", leave=True, smoothing=0.05) as progress:
        try:
            for number in range(1, num_epochs + 1):
                train_loss, train_accuracy, speed = train_one_epoch(
                    model, average, train, batch_size, optimizer, schedule, generator, progress, augmented
                )
                logits = logits_of(average.module, val)
                val_loss = loss_of(logits, val.labels).item()
                val_accuracy = (probabilities_of(logits).argmax(dim=1) == val.labels).float().mean().item()
                highest = max(highest, val_accuracy)
                is_best = as_good_as(highest, val_accuracy, len(val))
                lr_now = schedule.get_last_lr()[0]
                epoch = Epoch(
                    number,
                    average.module,
                    lr_now,
                    train_loss,
                    train_accuracy,
                    val_loss,
                    val_accuracy,
                    speed,
                    is_best,
                )
                if is_best:
                    save_model(average.module, checkpoint)
                history.epochs.append(epoch)
                progress.set_description(f"epoch {number}/{num_epochs}, val accuracy {val_accuracy:.1%}")
                for function in after_epoch:
                    function(epoch)
        except KeyboardInterrupt:
            if not history.epochs:
                raise
            history.interrupted = True
    model.load_state_dict(torch.load(checkpoint, weights_only=True)["weights"])
    model.eval()
    return history


def as_good_as(highest: float, accuracy: float, count: int) -> bool:
    """Whether an accuracy on `count` images is within one standard error of the highest one (Breiman et al. 1984).

    The highest of many accuracies on few images is a matter of luck as well; and a later epoch has learned more. One image
    more or less never counts, or a highest accuracy of 100 % would have no error at all.
    """
    standard_error = math.sqrt(highest * (1 - highest) / count)
    return accuracy >= highest - max(standard_error, 1 / count) - 1e-6  # rounding


def save_epochs(folder: Path) -> Callable[[Epoch], None]:
    """After epochs 1, 2, 4, 8, …: the network as it is then, in `folder/epoch_<NNN>.pt`. At first it learns fastest.

    Those of an earlier run are removed.
    """
    for old in folder.glob("epoch_*.pt"):
        old.unlink()
    folder.mkdir(parents=True, exist_ok=True)

    def save(epoch: Epoch) -> None:
        if epoch.number.bit_count() == 1:
            save_model(epoch.model, folder / f"epoch_{epoch.number:03d}.pt")

    return save


def new_run(
    model: nn.Module, new_optimizer: NewOptimizer, *, lr: float, total_steps: int
) -> tuple[torch.optim.Optimizer, LRScheduler, AveragedModel]:
    """What goes with the model through its training: the optimizer, the learning rate's schedule, the running average."""
    optimizer = new_optimizer(model.parameters(), lr)
    # Two steps at least, where there are as many: OneCycleLR divides by the steps of the rise less one.
    rise = max(0.05, min(2 / total_steps, 0.6))
    moves = "betas" in optimizer.defaults  # Adam's momentum as well; RMSprop has none, and would be given one
    schedule = OneCycleLR(optimizer, lr, total_steps=total_steps, pct_start=rise, cycle_momentum=moves)
    return optimizer, schedule, AveragedModel(model, multi_avg_fn=_running_average, use_buffers=True)


def _running_average(average: list[Tensor], new: list[Tensor], steps: int) -> None:
    """Forgets what is more than about 100 steps old; at the start sooner, or the untrained weights would linger."""
    decay = min(0.99, (1 + int(steps)) / (10 + int(steps)))
    get_ema_multi_avg_fn(decay)(average, new, steps)


def train_one_epoch(
    model: nn.Module,
    average: AveragedModel,
    train: Pictures,
    batch_size: int,
    optimizer: torch.optim.Optimizer,
    schedule: LRScheduler,
    generator: torch.Generator,
    progress: tqdm,
    augmented: bool = True,
) -> tuple[float, float, float]:
    """One pass over the training images: their mean loss, accuracy (both of what the network saw), images a second."""
    device = next(model.parameters()).device
    started, count = time.perf_counter(), 0
    loss_sum, correct = torch.zeros(2, device=device)
    model.train()
    for images, labels in batches(train, batch_size, device=device, shuffle=generator):
        images = augment(images, generator) if augmented else images
        with autocast(device):
            logits = model(images.to(memory_format=fastest_memory_format()))
        loss = loss_of(logits, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        average.update_parameters(model)

        count += len(images)
        loss_sum += loss.detach() * len(images)
        correct += (probabilities_of(logits.detach()).argmax(dim=1) == labels).sum()
        progress.update(len(images))
    return loss_sum.item() / count, correct.item() / count, count / (time.perf_counter() - started)
