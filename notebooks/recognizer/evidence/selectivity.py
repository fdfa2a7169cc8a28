"""How well single filters, and whole layers, tell classes apart."""

import numpy as np
from scipy.stats import rankdata
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ..settings import Problem


def auroc(means: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The area under the ROC curve of each filter: float C in [0, 1].

    It is the probability that a random image of class 1 has a higher mean than a random image of class 0; ties count
    half. 0.5 is chance. `means` N×C, `labels` N of 0 and 1. Raises `Problem` unless the labels are 0 and 1, and both
    occur.
    """
    labels = _binary(labels)
    return 0.5 + _centred_ranks(means).T @ labels / (labels.sum() * (1 - labels).sum())


def linear_probe(
    train_x: np.ndarray, train_labels: np.ndarray, test_x: np.ndarray, test_labels: np.ndarray
) -> np.ndarray:
    """Which of M test images a linear classifier of a layer's values gets right (Alain & Bengio 2016): bool M.

    Values N×D are standardised with the mean and standard deviation of the training set. The classifier is logistic
    regression with scikit-learn's default penalty.
    """
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(train_x, train_labels)
    return probe.predict(test_x) == test_labels


def _binary(labels: np.ndarray) -> np.ndarray:
    labels = np.asarray(labels).astype(float)
    if set(np.unique(labels)) != {0.0, 1.0}:
        raise Problem("The labels must be 0 and 1, with images of both.")
    return labels


def _centred_ranks(means: np.ndarray) -> np.ndarray:
    """The ranks of each filter's values among the N images, minus the mean rank: float N×C.

    Their sum over the images of class 1 says how far these images rank above chance (Mann & Whitney's U, centred).
    """
    ranks = rankdata(means, axis=0)
    return ranks - ranks.mean(axis=0)
