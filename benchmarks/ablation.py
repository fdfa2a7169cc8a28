"""What each ingredient of the recipe brings: the default training, and the same with one thing left out.

    python benchmarks/ablation.py DATASET --seeds 2

DATASET is what notebooks take: a name, or a folder with one zip or folder per class (relative to the project). With one
seed every variant sees the same split. What bfloat16 brings is speed: compare `make bench` with
`BFLOAT16=0 make bench`. Everything is written to a temporary folder; downloads are kept.
"""

import argparse
import contextlib
import time
from collections.abc import Iterable
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

import temporary_workspace  # before the package, because it says where that works
from recognizer import BikeCarCNN, settings
from recognizer.data import prepare, split_images
from recognizer.data.dataset import Pictures
from recognizer.network import DETAIL, recipe, training
from recognizer.network.evaluation import predict
from recognizer.network.hardware import choose_device
from recognizer.network.recipe import Recipe
from recognizer.network.training import fit, logits_of


def five_convolutions(model: BikeCarCNN) -> None:
    for number in (5, 6):
        for kind in ("conv", "bn", "relu"):
            setattr(model, f"{kind}{number}", nn.Identity())


def no_batch_norm(model: BikeCarCNN) -> None:
    for number in range(1, 8):
        setattr(model, f"bn{number}", nn.Identity())


def without_decay(parameters: Iterable[nn.Parameter], lr: float) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, lr=lr, fused=True)


def keep_only_the_newest(average: nn.Module, model: nn.Module, steps: int) -> None:
    average.load_state_dict(model.state_dict())


def pooling_last(model: BikeCarCNN, x: torch.Tensor) -> torch.Tensor:
    x = (x - 0.5) / 0.25
    for number in range(1, 8):
        for kind in ("conv", "bn", "relu", "pool"):
            x = getattr(model, f"{kind}{number}", nn.Identity())(x)
    return model.fc2(model.relu8(model.fc1(model.dropout(x.flatten(1)))))


def constant_rate(optimizer: torch.optim.Optimizer, lr: float, **_) -> LRScheduler:
    for group in optimizer.param_groups:
        group["lr"] = lr / 2  # about what one cycle comes to on average
    return LambdaLR(optimizer, lambda step: 1.0)


UNCHANGED = contextlib.nullcontext()
VARIANTS = {
    "default": UNCHANGED,
    "no augmentation": UNCHANGED,
    "no running average": mock.patch.object(recipe, "update_average", keep_only_the_newest),
    "no dropout": mock.patch.object(nn.Dropout, "forward", lambda self, x: x),
    "no weight decay": UNCHANGED,
    "no batch norm": UNCHANGED,
    "five convolutions": UNCHANGED,
    "pooling after ReLU": mock.patch.object(BikeCarCNN, "forward", pooling_last),
    "a constant learning rate": mock.patch.object(recipe, "OneCycleLR", constant_rate),
    "the highest epoch kept": mock.patch.object(training, "as_good_as", lambda highest, a, count: a >= highest),
}
RECIPES = {"no augmentation": {"augmented": False}, "no weight decay": {"new_optimizer": without_decay}}
REBUILT = {"five convolutions": five_convolutions, "no batch norm": no_batch_norm}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=40)
    args = parser.parse_args()
    shares = {"val_share": 0.1, "test_share": 0.4}  # many to test on, as the differences are small
    prepare(args.dataset, sample_images=400, **shares, seed=0)
    checkpoint = Path(temporary_workspace.FOLDER.name) / "model.pt"
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in VARIANTS}
    for seed in range(args.seeds):
        split_images(**shares, seed=seed)
        train = Pictures(settings.DATASETS / "Train", 128, DETAIL)
        val, test = (Pictures(settings.DATASETS / split, 128) for split in ("Val", "Test"))
        for name, change in VARIANTS.items():
            with change:
                torch.manual_seed(seed)
                model = BikeCarCNN(train.classes, 128)
                REBUILT.get(name, lambda model: None)(model)
                started = time.perf_counter()
                of_variant = Recipe(args.epochs, seed=seed, **RECIPES.get(name, {}))
                fit(model.to(choose_device()), train, val, of_variant, checkpoint)
                seconds = time.perf_counter() - started
                four_versions, one_version = (
                    answers.argmax(dim=1) for answers in (predict(model, test), logits_of(model, test))
                )
            right = [(answers == test.labels).float().mean().item() for answers in (four_versions, one_version)]
            found[name].append((*right, seconds))
            print(f"\nseed {seed}, {name}: {right[0]:.2%}, {seconds:.0f} s", flush=True)
    print(f"\n| {args.epochs} epochs, {args.seeds} seed(s) | test accuracy | with one version | seconds |")
    print("| :--- | ---: | ---: | ---: |")
    for name, values in found.items():
        accuracy, one_version, seconds = np.mean(values, axis=0)
        print(f"| {name} | {accuracy:.1%} | {one_version:.1%} | {seconds:.0f} |")


if __name__ == "__main__":
    main()
