"""The training loop."""

import contextlib
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
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
from . import processes
from .hardware import autocast, device_of, fast_forward, fastest_memory_format, keep_freed_memory, room_for_pixels
from .history import Epoch, History
from .models import save_model
from .recipe import Recipe, optimizer_and_average
from .unfinished import Unfinished

NEITHER = -1  # the label of an image of no class


def loss_of(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy of N×K logits, or of N×1 logits for the second of two classes.

    The target for an image of no class, which has the label `NEITHER`, is the same probability for every class.
    """
    indices, neither = labels.clamp(min=0), labels == NEITHER
    if logits.shape[1] == 1:
        targets = torch.where(neither, 0.5, indices.float())
        return F.binary_cross_entropy_with_logits(logits[:, 0].float(), targets)
    num_classes = logits.shape[1]
    one_hot = torch.eye(num_classes, device=logits.device)[indices]
    return F.cross_entropy(logits.float(), torch.where(neither[:, None], 1 / num_classes, one_hot))


def probabilities_of(logits: Tensor) -> Tensor:
    """Float32 N×K class probabilities from N×K logits, or N×2 from N×1."""
    logits = logits.float()
    if logits.shape[1] == 1:
        logits = torch.cat([torch.zeros_like(logits), logits], dim=1)
    return logits.softmax(dim=1)


def loss_and_accuracy(logits: Tensor, labels: Tensor) -> tuple[float, float]:
    """The mean loss of logits, N×K or N×1, and their accuracy."""
    correct = probabilities_of(logits).argmax(dim=1) == labels
    return loss_of(logits, labels).item(), correct.float().mean().item()


def logits_of(
    model: nn.Module,
    pictures: Pictures,
    batch_size: int = 32,
    look: Callable[[Tensor], Tensor] = lambda images: images,
) -> Tensor:
    """The model's logits for every image, or for what the function `look` makes of it.

    Returns float32 N×K (or N×1), on the CPU, in the order of `pictures`. `look` takes a batch, float32 B×3×S×S in
    [0, 1], and returns another one.
    """
    device = device_of(model)
    was_training = model.training
    model.eval()
    in_order = batches(pictures, batch_size, device=device, room=room_for_pixels(device))
    with torch.no_grad(), autocast(device):
        logits = [model(look(images)).float().cpu() for images, _ in in_order]
    model.train(was_training)
    return torch.cat(logits)


def train_one_epoch(
    model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], optimizer: torch.optim.Optimizer
) -> tuple[float, float]:
    """One pass over `batches` of images and labels. Returns the mean loss and the accuracy.

    Images of no class (see `loss_of`) do not count towards the accuracy.
    """
    model.train()
    losses, predictions, targets = [], [], []
    for images, labels in batches:
        logits = model(images)
        loss = loss_of(logits, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
        predictions.append(probabilities_of(logits.detach()).argmax(dim=1))
        targets.append(labels)
    predictions, targets = torch.cat(predictions), torch.cat(targets)
    accuracy = (predictions == targets).sum() / (targets != NEITHER).sum()
    return torch.stack(losses).mean().item(), accuracy.item()


def count_of_neither(batch_size: int) -> int:
    """How many images of no class a batch gets in addition: one for every five of its own, at least one."""
    return max(1, batch_size // 5)


def training_batches(
    train: Pictures,
    recipe: Recipe,
    device: torch.device,
    generator: torch.Generator,
    progress: tqdm,
    neither: Tensor | None = None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches of one epoch: shuffled, and augmented if `recipe` says so. `progress` counts their images.

    If `neither` is given, each batch also gets some of its images (see `count_of_neither`), labelled `NEITHER`.
    `neither` must already be on `device`. Of several processes, each gets its own share of each batch.
    """
    own, size = processes.own_share(), min(recipe.batch_size, len(train))
    room = room_for_pixels(device)
    for images, labels in batches(train, size, device=device, room=room, shuffle=generator, share=own):
        processes.stop_if_asked()
        count = size
        if neither is not None:
            indices = torch.randint(len(neither), (count_of_neither(size),), generator=generator)
            count += len(indices)
            extra = neither[indices[own].to(neither.device, non_blocking=device.type == "cuda")]
            images = torch.cat([images, extra.float().div_(255)])
            labels = F.pad(labels, (0, len(extra)), value=NEITHER)
        if recipe.augmented:
            images = augment(images, generator, train.image_size, batch_size=count, share=own)
        elif images.shape[-1] != train.image_size:
            images = F.interpolate(images, (train.image_size, train.image_size), mode="bilinear", antialias=True)
        yield images.to(memory_format=fastest_memory_format(device)), labels
        progress.update(size)


def training_epochs(
    model: nn.Module,
    train: Pictures,
    val: Pictures,
    recipe: Recipe,
    neither: Tensor | None = None,
    unfinished: Unfinished | None = None,
) -> Iterator[Epoch]:
    """Train `model` by `recipe`, and validate it on `val` after each epoch. Arguments and errors are as in `fit`."""
    keep_freed_memory()
    device = device_of(model)
    torch.manual_seed(recipe.seed + processes.rank())  # for dropout
    generator = torch.Generator().manual_seed(recipe.seed)  # for the order of images and their augmentation
    model.to(memory_format=fastest_memory_format(device))
    neither = None if neither is None else neither.to(device)  # once, because each copy makes a GPU wait
    batch_size = min(recipe.batch_size, len(train))
    steps = len(train) // batch_size
    unfinished = unfinished or Unfinished()
    done, images = len(unfinished.epochs), steps * batch_size
    weight = processes.weight_of_share(batch_size + (0 if neither is None else count_of_neither(batch_size)))
    replica, own_val = processes.averaging_gradients(model, weight), processes.own_part(val)
    optimizer, average = optimizer_and_average(model, recipe, recipe.num_epochs * steps, done * steps)
    unfinished.restore(model, average, optimizer, generator)
    bar = progress_bar(
        f"epoch {done + 1}", recipe.num_epochs * images, "images", leave=True, smoothing=0.05, initial=done * images
    )
    with bar as progress, fast_forward(model):
        for number in range(done + 1, recipe.num_epochs + 1):
            started = time.perf_counter()
            epoch_batches = training_batches(train, recipe, device, generator, progress, neither)
            own_loss, own_accuracy = train_one_epoch(replica, epoch_batches, optimizer)
            train_loss, train_accuracy = processes.mean([weight * own_loss, own_accuracy])
            seconds = time.perf_counter() - started
            processes.copy_from_first(average)  # the statistics of batch norm differ
            logits = processes.gathered(logits_of(average, own_val), len(val))
            val_loss, val_accuracy = loss_and_accuracy(logits, val.labels)
            if not math.isfinite(train_loss + val_loss):
                raise Problem(
                    f"Training diverged in epoch {number}: the loss is no longer a number. "
                    f"Use a learning rate below {recipe.lr:g}."
                )
            best_accuracy = max([val_accuracy, *(earlier["val_accuracy"] for earlier in unfinished.epochs)])
            progress.set_description(f"epoch {number}/{recipe.num_epochs}, val accuracy {val_accuracy:.1%}")
            epoch = Epoch(
                number=number,
                model=average,
                lr=optimizer.param_groups[0]["lr"],
                train_loss=train_loss,
                train_accuracy=train_accuracy,
                val_loss=val_loss,
                val_accuracy=val_accuracy,
                images_per_second=images / seconds,
                seconds=time.perf_counter() - started,
                is_best=as_good_as(best_accuracy, val_accuracy, len(val)),
            )
            yield epoch
            unfinished.save(epoch, model, average, optimizer, generator)


def fit(
    model: nn.Module,
    train: Pictures,
    val: Pictures,
    recipe: Recipe,
    checkpoint: Path,
    after_epoch: Sequence[Callable[[Epoch], None]] = (),
    neither: Tensor | None = None,
    unfinished: Unfinished | None = None,
) -> History:
    """Train `model` by `recipe` on the device where it is; save its best epoch by validation in the file `checkpoint`.

    Among epochs that validation cannot tell apart, the last one counts as the best (see `as_good_as`). A running
    average of the weights is validated and kept (see `optimizer_and_average`). The loss is the cross-entropy, or for
    one logit the binary cross-entropy. `neither`, uint8 M×3×D×D and as large as `train.pixels`, are images of none of
    the classes: the network learns to be uncertain about them.
    After each epoch, every function of `after_epoch` is called with the `Epoch`.
    Ctrl-C (in Jupyter: the stop button) ends the run normally if an epoch is complete.
    In both cases, `model` is left in eval mode with the weights of its best epoch.
    With `unfinished`, the state of the run is kept after each epoch. A run that was killed goes on after that epoch.
    If several processes train together (see `processes`), all call this with the same arguments. Only process 0 saves
    the best epoch, and `after_epoch` of the others must not write anything.
    Raises `Problem` for fewer than two images, for other classes in `val`, and if the loss is no longer a number.
    """
    if len(train) < 2:
        raise Problem(f"Training needs at least 2 images, not {len(train)}; add images to datasets/Train.")
    if train.classes != val.classes:
        classes = " and ".join(", ".join(part.classes) for part in (train, val))
        raise Problem(f"The images in Train and Val have different classes: {classes}; run notebook 01.")
    if neither is not None and (not len(neither) or neither.shape[1:] != train.pixels.shape[1:]):
        shapes = " and ".join("×".join(map(str, pixels.shape)) for pixels in (neither, train.pixels))
        raise Problem(f"The images of no class must be as large as those of Train, but their shapes are {shapes}.")
    processes.check_shares(min(recipe.batch_size, len(train)), processes.count())
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    history = History([Epoch(model=model, **results) for results in unfinished.epochs] if unfinished else [])
    with contextlib.closing(training_epochs(model, train, val, recipe, neither, unfinished)) as epochs:
        try:
            for epoch in epochs:
                if epoch.is_best and processes.is_first():
                    save_model(epoch.model, checkpoint)
                history.epochs.append(epoch)
                for function in after_epoch:
                    function(epoch)
        except KeyboardInterrupt:
            if not history.epochs:
                raise
            history.interrupted = True
    best = processes.from_first(lambda: torch.load(checkpoint, map_location="cpu", weights_only=True))
    model.load_state_dict(best["weights"])
    model.eval()
    return history


def as_good_as(highest: float, accuracy: float, count: int) -> bool:
    """Whether an accuracy on `count` images is within one standard error of the highest one (Breiman et al. 1984).

    The highest of many accuracies on few images is partly luck, and a later epoch has learned more. A difference of one
    image never counts; otherwise a highest accuracy of 100 % would have a standard error of 0.
    """
    standard_error = math.sqrt(highest * (1 - highest) / count)
    return accuracy >= highest - max(standard_error, 1 / count) - 1e-6  # allows for rounding


def save_epochs(folder: Path) -> Callable[[Epoch], None]:
    """Save the network after epochs 1, 2, 4, 8, … in `folder/epoch_<NNN>.pt`. It learns fastest at first.

    Files of an earlier run are removed when the first epoch is saved.
    """
    folder.mkdir(parents=True, exist_ok=True)

    def save(epoch: Epoch) -> None:
        for old in folder.glob("epoch_*.pt") if epoch.number == 1 else ():
            old.unlink()
        if epoch.number.bit_count() == 1:
            save_model(epoch.model, folder / f"epoch_{epoch.number:03d}.pt")

    return save
