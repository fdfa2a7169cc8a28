"""The training loop, and the history of its epochs."""

import contextlib
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from ..data.augmentation import augment
from ..data.batches import batches
from ..data.dataset import Pictures
from ..progress import progress_bar
from ..settings import Problem
from .hardware import autocast, device_of, fast_forward, fastest_memory_format, keep_freed_memory, room_for_pixels
from .models import save_model
from .recipe import Recipe, optimizer_and_average

NEITHER = -1  # the label of an image of no class


@dataclass(frozen=True)
class Epoch:
    """What is known after one pass over the training images. Losses are mean cross-entropies, accuracies in [0, 1].

    `is_best` says that validation does not tell it from the best epoch so far (see `as_good_as`).
    `model` is the running average of the network being trained (see `fit`). Validation looks at it, and it is what is
    kept; whoever uses it leaves it in the mode it was in.
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
    """Mean cross-entropy of N×K logits, or of N×1 logits that say how much the second of two classes is preferred.

    The right answer to an image of no class, which has the label `NEITHER`, is the same probability for every class.
    """
    of_class, neither = labels.clamp(min=0), labels == NEITHER
    if logits.shape[1] == 1:
        wanted = torch.where(neither, 0.5, of_class.float())
        return F.binary_cross_entropy_with_logits(logits[:, 0].float(), wanted)
    number = logits.shape[1]
    certain = torch.eye(number, device=logits.device)[of_class]
    return F.cross_entropy(logits.float(), torch.where(neither[:, None], 1 / number, certain))


def probabilities_of(logits: Tensor) -> Tensor:
    """Float32 N×K class probabilities from N×K logits, or N×2 from N×1."""
    logits = logits.float()
    if logits.shape[1] == 1:
        logits = torch.cat([torch.zeros_like(logits), logits], dim=1)
    return logits.softmax(dim=1)


def loss_and_accuracy(logits: Tensor, labels: Tensor) -> tuple[float, float]:
    """The mean loss of logits, N×K or N×1, and the share of images that they are right about."""
    right = probabilities_of(logits).argmax(dim=1) == labels
    return loss_of(logits, labels).item(), right.float().mean().item()


def logits_of(
    model: nn.Module,
    pictures: Pictures,
    batch_size: int = 32,
    look: Callable[[Tensor], Tensor] = lambda images: images,
) -> Tensor:
    """The model's answer to every image, or to what `look` makes of it.

    Returns float32 N×K (or N×1), on the CPU, in the order of `pictures`. `look` takes a batch, float32 B×3×S×S in
    [0, 1], and returns one.
    """
    device = device_of(model)
    was_training = model.training
    model.eval()
    in_order = batches(pictures, batch_size, device=device, room=room_for_pixels(device))
    with torch.no_grad(), autocast(device):
        found = [model(look(images)).float().cpu() for images, _ in in_order]
    model.train(was_training)
    return torch.cat(found)


def train_one_epoch(
    model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], optimizer: torch.optim.Optimizer
) -> tuple[float, float]:
    """One pass over `batches` of images and labels. Returns the mean loss, and the share of right answers.

    Images of no class (see `loss_of`) do not count towards that share.
    """
    model.train()
    losses, answers, asked = [], [], []
    for images, labels in batches:
        logits = model(images)
        loss = loss_of(logits, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
        answers.append(probabilities_of(logits.detach()).argmax(dim=1))
        asked.append(labels)
    answers, asked = torch.cat(answers), torch.cat(asked)
    right = (answers == asked).sum() / (asked != NEITHER).sum()
    return torch.stack(losses).mean().item(), right.item()


def training_batches(
    train: Pictures,
    recipe: Recipe,
    device: torch.device,
    generator: torch.Generator,
    progress: tqdm,
    neither: Tensor | None = None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches of one epoch: shuffled, and augmented if `recipe` says so. `progress` counts their images.

    Each batch also gets images of `neither`, labelled `NEITHER`: one for every five of its own, at least one.
    They are on `device` already.
    """
    shuffled = batches(train, recipe.batch_size, device=device, room=room_for_pixels(device), shuffle=generator)
    for images, labels in shuffled:
        count = len(images)
        if neither is not None:
            chosen = torch.randint(len(neither), (max(1, count // 5),), generator=generator)
            some = neither[chosen.to(neither.device, non_blocking=device.type == "cuda")]
            images = torch.cat([images, some.float().div_(255)])
            labels = F.pad(labels, (0, len(some)), value=NEITHER)
        if recipe.augmented:
            images = augment(images, generator, train.image_size)
        elif images.shape[-1] != train.image_size:
            images = F.interpolate(images, (train.image_size, train.image_size), mode="bilinear", antialias=True)
        yield images.to(memory_format=fastest_memory_format(device)), labels
        progress.update(count)


def training_epochs(
    model: nn.Module, train: Pictures, val: Pictures, recipe: Recipe, neither: Tensor | None = None
) -> Iterator[Epoch]:
    """Train `model` by `recipe`, and look at `val` after each epoch. Arguments and errors as in `fit`."""
    keep_freed_memory()
    device = device_of(model)
    torch.manual_seed(recipe.seed)  # for dropout
    generator = torch.Generator().manual_seed(recipe.seed)  # for the order of images and their augmentation
    model.to(memory_format=fastest_memory_format(device))
    neither = None if neither is None else neither.to(device)  # once, because each copy makes a GPU wait
    batch_size = min(recipe.batch_size, len(train))
    steps = len(train) // batch_size
    optimizer, average = optimizer_and_average(model, recipe, recipe.num_epochs * steps)
    highest, total = 0.0, recipe.num_epochs * steps * batch_size
    with progress_bar("epoch 1", total, "images", leave=True, smoothing=0.05) as progress, fast_forward(model):
        for number in range(1, recipe.num_epochs + 1):
            started = time.perf_counter()
            of_epoch = training_batches(train, recipe, device, generator, progress, neither)
            train_loss, train_accuracy = train_one_epoch(model, of_epoch, optimizer)
            seconds = time.perf_counter() - started
            val_loss, val_accuracy = loss_and_accuracy(logits_of(average, val), val.labels)
            if not math.isfinite(train_loss + val_loss):
                raise Problem(
                    f"Training diverged in epoch {number}: the loss is no longer a number. "
                    f"Take a learning rate below {recipe.lr:g}."
                )
            highest = max(highest, val_accuracy)
            progress.set_description(f"epoch {number}/{recipe.num_epochs}, val accuracy {val_accuracy:.1%}")
            yield Epoch(
                number=number,
                model=average,
                lr=optimizer.param_groups[0]["lr"],
                train_loss=train_loss,
                train_accuracy=train_accuracy,
                val_loss=val_loss,
                val_accuracy=val_accuracy,
                images_per_second=steps * batch_size / seconds,
                is_best=as_good_as(highest, val_accuracy, len(val)),
            )


def fit(
    model: nn.Module,
    train: Pictures,
    val: Pictures,
    recipe: Recipe,
    checkpoint: Path,
    after_epoch: Sequence[Callable[[Epoch], None]] = (),
    neither: Tensor | None = None,
) -> History:
    """Train `model` by `recipe` on the device where it is; keep its best epoch by validation in the file `checkpoint`.

    Of epochs that validation cannot tell apart the last one counts as the best (see `as_good_as`). A running average of
    the weights is what is validated and kept (see `optimizer_and_average`). The loss is the cross-entropy, of one logit
    the binary one. `neither`, uint8 M×3×D×D, as large as `train.pixels`, are images of none of the
    classes: the network learns to be unsure about them.
    After each epoch every function of `after_epoch` is called with what is known of it.
    Ctrl-C (in Jupyter: the stop button) ends the run in good order once an epoch is complete.
    Either way `model` is left in eval mode with the weights of its best epoch.
    Raises `Problem` for fewer than two images, for other classes in `val`, and when the loss is no longer a number.
    """
    if len(train) < 2:
        raise Problem(f"Training takes at least 2 images, not {len(train)}; add some to datasets/Train.")
    if train.classes != val.classes:
        theirs = " and ".join(", ".join(part.classes) for part in (train, val))
        raise Problem(f"The images in Train and in Val are of other classes: {theirs}; run notebook 01.")
    if neither is not None and (not len(neither) or neither.shape[1:] != train.pixels.shape[1:]):
        theirs = " and ".join("×".join(map(str, pixels.shape)) for pixels in (neither, train.pixels))
        raise Problem(f"The images of no class must be as large as those of Train; they are {theirs}.")
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    history = History()
    with contextlib.closing(training_epochs(model, train, val, recipe, neither)) as epochs:
        try:
            for epoch in epochs:
                if epoch.is_best:
                    save_model(epoch.model, checkpoint)
                history.epochs.append(epoch)
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

    The highest of many accuracies on few images is a matter of luck as well, and a later epoch has learned more. One
    image more or less never counts, or a highest accuracy of 100 % would have no error at all.
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
