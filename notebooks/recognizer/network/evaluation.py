"""How good is it, how sure can one be of that, and where is it wrong?"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support
from torch import nn

from ..data.loading import Pictures
from .training import predict


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
        """A row a class: name, precision, recall, number of images. A precision without predictions is 0."""
        precision, recall, _, count = precision_recall_fscore_support(
            self.labels, self.predicted, labels=range(len(self.classes)), zero_division=0
        )
        return [
            (name, float(p), float(r), int(n))
            for name, p, r, n in zip(self.classes, precision, recall, count)
        ]

    def worst_mistakes(self, count: int) -> list[int]:
        """Indices of the wrong answers, the most confident first, at most `count`."""
        wrong = np.flatnonzero(self.predicted != self.labels)
        confidence = self.probabilities[wrong, self.predicted[wrong]]
        return wrong[np.argsort(-confidence, kind="stable")][:count].tolist()


def wilson_interval(correct: int, total: int) -> tuple[float, float]:
    """The 95 % interval of a share of `correct` in `total` (Wilson 1927), as SciPy computes it."""
    interval = binomtest(correct, total).proportion_ci(0.95, method="wilson")
    return float(interval.low), float(interval.high)


def evaluate(model: nn.Module, pictures: Pictures) -> Evaluation:
    """Let `model` (with `.classes`) answer for every image of `pictures`."""
    probabilities, labels = predict(model, pictures).numpy(), pictures.labels.numpy()
    predicted = probabilities.argmax(axis=1)
    confusion = confusion_matrix(labels, predicted, labels=range(len(model.classes)))
    return Evaluation(model.classes, probabilities, predicted, labels, confusion)


def save_metrics(path: Path, metrics: dict) -> None:
    """Write `metrics` as JSON that a person can read; half a file is never left behind."""
    unfinished = path.with_suffix(".part")
    unfinished.write_text(json.dumps(metrics, indent=2) + "\n", "utf-8")
    unfinished.replace(path)
