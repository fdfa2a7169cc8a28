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
from .models import architecture_of
from .recipe import Recipe
from .training import History, logits_of, probabilities_of


@dataclass(frozen=True)
class Evaluation:
    """What a model made of a set of images. Arrays are in the order of the images.

    `probabilities` float32 N×K, `predicted` and `labels` int N, `confusion` int K×K with a row for each true class.
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
        """The 95 % interval of the accuracy (Wilson 1927)."""
        return wilson_interval(int((self.predicted == self.labels).sum()), len(self.labels))

    def by_class(self) -> list[tuple[str, float, float, int]]:
        """One row per class: name, precision, recall, number of images. A precision without predictions is 0."""
        precision, recall, _, count = precision_recall_fscore_support(
            self.labels, self.predicted, labels=range(len(self.classes)), zero_division=0
        )
        return [(name, float(p), float(r), int(n)) for name, p, r, n in zip(self.classes, precision, recall, count)]

    def worst_mistakes(self, count: int) -> list[int]:
        """Indices of the wrong answers, the most confident first, at most `count`."""
        wrong = np.flatnonzero(self.predicted != self.labels)
        confidence = self.probabilities[wrong, self.predicted[wrong]]
        return wrong[np.argsort(-confidence, kind="stable")][:count].tolist()


def wilson_interval(correct: int, total: int) -> tuple[float, float]:
    """The 95 % interval of a share of `correct` in `total` (Wilson 1927), as SciPy computes it."""
    interval = binomtest(correct, total).proportion_ci(0.95, method="wilson")
    return float(interval.low), float(interval.high)


def mirrored(images: Tensor) -> Tensor:
    """The images, left and right exchanged."""
    return images.flip(3)


def closer(images: Tensor) -> Tensor:
    """The middle of the images, 80 % of each side, enlarged to their size."""
    side = images.shape[-1]
    return F.interpolate(center_crop(images, round(0.8 * side)), size=(side, side), mode="bilinear")


def predict(model: nn.Module, pictures: Pictures) -> Tensor:
    """Class probabilities for every image: float32 N×K, on the CPU, in the order of `pictures`.

    They are the mean of four looks: at the image, at its middle from a little closer, and at the mirror images of both.
    Augmentation mostly shows things larger than they are (see Touvron et al. 2019), and a bike seen from its other side
    is one as well.
    """
    looks = (lambda images: images, mirrored, closer, lambda images: mirrored(closer(images)))
    return sum(probabilities_of(logits_of(model, pictures, look=look)) for look in looks) / len(looks)


def evaluate(model: nn.Module, pictures: Pictures) -> Evaluation:
    """Let `model` (with `.classes`) answer for every image of `pictures`. Raises `Problem` for other classes."""
    if model.classes != pictures.classes:
        theirs = ", ".join(pictures.classes)
        raise Problem(f"The model knows {', '.join(model.classes)}, and the images are of {theirs}; run notebook 01.")
    probabilities, labels = predict(model, pictures).numpy(), pictures.labels.numpy()
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
    """What `metrics.json` holds of a run: how good the kept epoch is, how long it took, and what was `chosen` for it.

    Accuracies are in [0, 1], `parameters` is their number, `confusion` has a row for each true class.
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
    """Write `metrics` as JSON that a person can read; half a file is never left behind."""
    unfinished = path.with_suffix(f".{os.getpid()}.part")
    unfinished.write_text(json.dumps(metrics, indent=2) + "\n", "utf-8")
    unfinished.replace(path)
