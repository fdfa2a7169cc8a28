"""How well single filters, and layers as a whole, tell classes apart."""

import numpy as np
from scipy.stats import rankdata
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ..settings import Problem


def auroc(means: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """How often an image of class 1 gets more of each filter than one of class 0, float C in [0, 1]; ties count half.

    `means` N×C, `labels` N of 0 and 1. It is the area under the ROC curve; 0.5 is chance.
    Raises `Problem` unless the labels are 0 and 1, both of them.
    """
    labels = _binary(labels)
    return 0.5 + _centred_ranks(means).T @ labels / (labels.sum() * (1 - labels).sum())


def linear_probe(
    train_x: np.ndarray, train_labels: np.ndarray, test_x: np.ndarray, test_labels: np.ndarray
) -> np.ndarray:
    """Which of M test images a linear classifier of a layer's values gets right (Alain & Bengio 2016): bool M.

    Values N×D are standardised by the training set; logistic regression with scikit-learn's default penalty.
    """
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(train_x, train_labels)
    return probe.predict(test_x) == test_labels


def _binary(labels: np.ndarray) -> np.ndarray:
    labels = np.asarray(labels).astype(float)
    if set(np.unique(labels)) != {0.0, 1.0}:
        raise Problem("The labels must be 0 and 1, with images of both.")
    return labels


def _centred_ranks(means: np.ndarray) -> np.ndarray:
    """The ranks of each filter's values among the N images, minus their mean: float N×C.

    Their sum over the images of class 1 says how much higher than by chance these rank (Mann & Whitney's U, centred).
    """
    ranks = rankdata(means, axis=0)
    return ranks - ranks.mean(axis=0)
