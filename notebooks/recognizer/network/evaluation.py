"""Accuracy on the test images, its confidence interval, and the worst mistakes."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch.nn.functional as F
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support
from torch import Tensor, nn
from torchvision.transforms.functional import center_crop

from ..data.dataset import Pictures
from ..settings import Problem
from . import processes
from .history import History
from .models import architecture_of
from .recipe import Recipe
from .training import logits_of, probabilities_of


@dataclass(frozen=True)
class Evaluation:
    """A model's predictions for a set of images. Arrays are in the order of the images.

    `probabilities` is float32 N×K, `predicted` and `labels` are int N, and `confusion` is int K×K with one row per true
    class.
    """

    classes: list[str]
    probabilities: np.ndarray
    predicted: np.ndarray
    labels: np.ndarray
    confusion: np.ndarray

    @property
    def accuracy(self) -> float:
        return float((self.predicted == self.labels).mean())

    def interval(self) -> tuple[float, float]:
        """The 95 % confidence interval of the accuracy (Wilson 1927)."""
        return wilson_interval(int((self.predicted == self.labels).sum()), len(self.labels))

    def by_class(self) -> list[tuple[str, float, float, int]]:
        """One row per class: name, precision (0 if the class was never predicted), recall, number of images."""
        precision, recall, _, count = precision_recall_fscore_support(
            self.labels, self.predicted, labels=range(len(self.classes)), zero_division=0
        )
        return [(name, float(p), float(r), int(n)) for name, p, r, n in zip(self.classes, precision, recall, count)]

    def worst_mistakes(self, count: int) -> list[int]:
        """Indices of at most `count` wrong predictions, the most confident first."""
        wrong = np.flatnonzero(self.predicted != self.labels)
        confidence = self.probabilities[wrong, self.predicted[wrong]]
        return wrong[np.argsort(-confidence, kind="stable")][:count].tolist()


def wilson_interval(correct: int, total: int) -> tuple[float, float]:
    """The 95 % confidence interval of the share `correct` / `total` (Wilson 1927), as SciPy computes it."""
    interval = binomtest(correct, total).proportion_ci(0.95, method="wilson")
    return float(interval.low), float(interval.high)


def mirrored(images: Tensor) -> Tensor:
    """The images with left and right exchanged."""
    return images.flip(3)


def closer(images: Tensor) -> Tensor:
    """The centre of the images, 80 % of each side, enlarged to their size."""
    side = images.shape[-1]
    return F.interpolate(center_crop(images, round(0.8 * side)), size=(side, side), mode="bilinear")


def predict(model: nn.Module, pictures: Pictures) -> Tensor:
    """Class probabilities for every image: float32 N×K, on the CPU, in the order of `pictures`.

    They are the mean over four views: the image, its enlarged centre, and the mirror images of both. Augmentation
    mostly shows things larger than they are (see Touvron et al. 2019), and a mirrored bike is still a bike.
    """
    views = (lambda images: images, mirrored, closer, lambda images: mirrored(closer(images)))
    return sum(probabilities_of(logits_of(model, pictures, look=view)) for view in views) / len(views)


def evaluate(model: nn.Module, pictures: Pictures) -> Evaluation:
    """Evaluate `model` (with `.classes`) on every image of `pictures`. Raises `Problem` if the classes differ.

    If several processes train together, all must call this, and each evaluates a part of the images.
    """
    if model.classes != pictures.classes:
        trained, shown = ", ".join(model.classes), ", ".join(pictures.classes)
        raise Problem(f"The model was trained for {trained}, but the images are of {shown}; run notebook 01.")
    probabilities = processes.gathered(predict(model, processes.own_part(pictures)), len(pictures)).numpy()
    labels = pictures.labels.numpy()
    predicted = probabilities.argmax(axis=1)
    confusion = confusion_matrix(labels, predicted, labels=range(len(model.classes)))
    return Evaluation(
        classes=model.classes, probabilities=probabilities, predicted=predicted, labels=labels, confusion=confusion
    )


def metrics_of(
    evaluation: Evaluation,
    history: History,
    model: nn.Module,
    recipe: Recipe,
    *,
    dataset: str,
    train_seconds: float,
) -> dict:
    """The content of a run's `metrics.json`: accuracy of the kept epoch, training time, and the `chosen` settings.

    Accuracies are in [0, 1], `parameters` is the number of parameters, and `confusion` has one row per true class.
    """
    low, high = evaluation.interval()
    speeds = [epoch.images_per_second for epoch in history.epochs]
    return {
        "dataset": dataset,
        "seed": recipe.seed,
        "parameters": sum(p.numel() for p in model.parameters()),
        "epochs": len(history.epochs),
        "train_seconds": round(train_seconds, 1),
        "images_per_second": round(float(np.mean(speeds)), 1),
        "val_accuracy": history.best.val_accuracy,
        "test_accuracy": evaluation.accuracy,
        "test_accuracy_low": low,
        "test_accuracy_high": high,
        "confusion": evaluation.confusion.tolist(),
        "classes": evaluation.classes,
        "best_epoch": history.best.number,
        "interrupted": history.interrupted,
        "chosen": {"network": architecture_of(model), "image_size": model.image_size} | recipe.described(),
    }


def save_metrics(path: Path, metrics: dict) -> None:
    """Write `metrics` as readable JSON. An interrupted call never leaves an incomplete file under this name."""
    unfinished = path.with_suffix(f".{os.getpid()}.part")
    unfinished.write_text(json.dumps(metrics, indent=2) + "\n", "utf-8")
    unfinished.replace(path)
