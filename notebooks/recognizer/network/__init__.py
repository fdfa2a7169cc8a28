"""Notebook 02: the network, its training, and how good it is."""

from pathlib import Path

import torch

from .. import settings
from ..data import prepared
from ..data.loading import Pictures
from ..settings import parameter
from .models import BikeCarCNN, load_model
from .training import choose_device, fit


def run_folder(dataset: str, image_size: int, num_epochs: int, seed: int) -> Path:
    """Where a run with these parameters keeps its logs: the same parameters, the same folder."""
    return settings.LOGS / f"{dataset}-{image_size}px-{num_epochs}epochs-seed{seed}"


def trained() -> Path:
    """The newest `model.pt` for the classes in `datasets/`; where there is none, what notebook 02 would make."""
    record = prepared()
    for path in sorted(settings.LOGS.glob("*/model.pt"), key=lambda path: path.stat().st_mtime, reverse=True):
        if load_model(path).classes == record.classes:
            return path
    print("There is no model for these classes yet: training one as notebook 02 does, without TensorBoard.")
    image_size, num_epochs, seed = parameter("IMAGE_SIZE", 128), parameter("EPOCHS", 25), parameter("SEED", 0)
    path = run_folder(record.dataset, image_size, num_epochs, seed) / "model.pt"
    train, val = (Pictures(settings.DATASETS / part, image_size) for part in ("Train", "Val"))
    torch.manual_seed(seed)
    model = BikeCarCNN(train.classes, image_size).to(choose_device())
    fit(
        model,
        train,
        val,
        num_epochs=num_epochs,
        lr=parameter("LR", 2e-3),
        batch_size=parameter("BATCH_SIZE", 32),
        seed=seed,
        checkpoint=path,
    )
    return path
