"""A run of training: the folder it is kept in, and the newest one of what is in Train now."""

import glob
from pathlib import Path

import torch
from torch import nn

from .. import settings
from ..data import Record
from ..data.dataset import Pictures
from ..settings import Problem, parameter
from .hardware import choose_device
from .models import BikeCarCNN, load_model
from .training import fit, save_epochs


def run_folder(
    record: Record,
    *,
    image_size: int,
    num_epochs: int,
    batch_size: int,
    lr: float,
    seed: int,
    recipe: str = "",
) -> Path:
    """Where a run keeps its logs: the same images and parameters, the same folder; others, another one.

    `recipe` names what else is not as in notebook 02.
    """
    parameters = f"{image_size}px-{num_epochs}epochs-batch{batch_size}-lr{lr:g}-seed{seed}"
    return settings.LOGS / "-".join([record.name, parameters, *([recipe] if recipe else [])])


def new_network(
    network: type[nn.Module], record: Record, train: Pictures, *, recipe: str = "", **chosen: float
) -> tuple[nn.Module, Path]:
    """An untrained `network` for the classes and the size of `train`, on the device to train on, and its `run_folder`.

    `chosen` is what `fit` is told as well: `num_epochs`, `batch_size`, `lr` and `seed`, which gives the weights.
    """
    torch.manual_seed(chosen["seed"])
    model = network(train.classes, train.image_size).to(choose_device())
    return model, run_folder(record, image_size=train.image_size, recipe=recipe, **chosen)


def trained(record: Record) -> Path:
    """The newest `model.pt` of a BikeCarCNN that learned from what is in Train now (`record`).

    Where there is none, what notebook 02 would make; a network of notebook 05 has other layers and does not count.
    """
    for path in sorted(
        settings.LOGS.glob(f"{glob.escape(record.name)}-*/model.pt"),
        key=lambda p: p.stat().st_mtime,
        reverse=True,
    ):
        try:
            if isinstance(load_model(path), BikeCarCNN):
                return path
        except Problem as problem:
            print(problem)
    print("There is no model for these images yet: training one as notebook 02 does, without TensorBoard.")
    chosen = {
        "num_epochs": parameter("EPOCHS", 40),
        "batch_size": parameter("BATCH_SIZE", 32),
        "lr": parameter("LR", 2e-3),
        "seed": parameter("SEED", 0),
    }
    image_size = parameter("IMAGE_SIZE", 128)
    train, val = (Pictures(settings.DATASETS / part, image_size) for part in ("Train", "Val"))
    model, run = new_network(BikeCarCNN, record, train, **chosen)
    path = run / "model.pt"
    fit(model, train, val, **chosen, checkpoint=path, after_epoch=[save_epochs(run / "epochs")])
    return path
