"""The history of a training run: the results of its epochs, and the file that keeps them."""

import json
from dataclasses import dataclass, field
from pathlib import Path

from torch import nn

from ..settings import Problem, shown


@dataclass(frozen=True)
class Epoch:
    """The results of one pass over the training images. Losses are mean cross-entropies, and accuracies are in [0, 1].

    `seconds` is the time for training and validation. `is_best` says that validation cannot tell this epoch from the
    best one so far (see `as_good_as`).
    `model` is the running average of the network being trained (see `fit`). It is what validation uses and what is
    kept. Code that uses it must leave it in the mode it was in.
    """

    number: int
    model: nn.Module
    lr: float
    train_loss: float
    train_accuracy: float
    val_loss: float
    val_accuracy: float
    images_per_second: float
    seconds: float
    is_best: bool

    def results(self) -> dict[str, int | float | bool]:
        """All but the model."""
        return {name: value for name, value in vars(self).items() if name != "model"}


@dataclass
class History:
    """The epochs of a training run, and whether it was stopped before the last epoch."""

    epochs: list[Epoch] = field(default_factory=list)
    interrupted: bool = False

    @property
    def best(self) -> Epoch:
        """The epoch that is kept."""
        return next(epoch for epoch in reversed(self.epochs) if epoch.is_best)

    @property
    def seconds(self) -> float:
        """How long training and validation took, without interruptions."""
        return sum(epoch.seconds for epoch in self.epochs)

    def curves(self) -> dict[str, dict[str, list[float]]]:
        """Loss and accuracy of Train and Val, one value per epoch, as `figures.curves` draws them."""
        quantities = {"loss (cross-entropy)": "loss", "accuracy (share of images)": "accuracy"}
        return {
            title: {part: [getattr(e, f"{part}_{name}") for e in self.epochs] for part in ("train", "val")}
            for title, name in quantities.items()
        }


def save_history(path: Path, history: History) -> None:
    """Write the results of all epochs as readable JSON. An interrupted call leaves no incomplete file of this name."""
    unfinished = path.with_suffix(".part")
    content = {"interrupted": history.interrupted, "epochs": [epoch.results() for epoch in history.epochs]}
    unfinished.write_text(json.dumps(content, indent=2) + "\n", "utf-8")
    unfinished.replace(path)


def load_history(path: Path, model: nn.Module) -> History:
    """What `save_history` wrote. Every epoch gets `model`, the network that was kept.

    Raises `Problem` if the file cannot be read.
    """
    try:
        content = json.loads(path.read_bytes())
        return History([Epoch(model=model, **results) for results in content["epochs"]], content["interrupted"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise Problem(f"{shown(path)} cannot be read; another version may have written it. Delete it.") from error
