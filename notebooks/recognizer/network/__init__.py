"""Notebook 02: the network, its training, and how good it is."""

import glob
from pathlib import Path

import torch

from .. import settings
from ..data import Record
from ..data.loading import Pictures
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
    image_size, num_epochs, seed = parameter("IMAGE_SIZE", 128), parameter("EPOCHS", 40), parameter("SEED", 0)
    batch_size, lr = parameter("BATCH_SIZE", 32), parameter("LR", 2e-3)
    run = run_folder(
        record, image_size=image_size, num_epochs=num_epochs, batch_size=batch_size, lr=lr, seed=seed
    )
    train, val = (Pictures(settings.DATASETS / part, image_size) for part in ("Train", "Val"))
    torch.manual_seed(seed)
    model = BikeCarCNN(train.classes, image_size).to(choose_device())
    path = run / "model.pt"
    fit(
        model,
        train,
        val,
        num_epochs=num_epochs,
        lr=lr,
        batch_size=batch_size,
        seed=seed,
        checkpoint=path,
        after_epoch=[save_epochs(run / "epochs")],
    )
    return path
