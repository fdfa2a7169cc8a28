"""How well single filters, and layers as a whole, tell two or more classes apart."""

import numpy as np
from scipy.stats import rankdata
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ..settings import Problem

AT_ONCE = 2**20  # shuffled labels in memory


def class_selectivity(means: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Morcos et al. 2018: (μ_max − μ_others) / (μ_max + μ_others) of each filter, float C in [0, 1].

    `means` N×C are what filters say about images, not negative (after a ReLU); `labels` N the classes. μ_max is the
    mean of the class a filter responds to most, μ_others the mean of the other classes' means. 0: the filter treats
    all classes alike, or never responds; 1: it responds to one class only.
    Raises `Problem` for negative means, for which the index says nothing, and for fewer than two classes.
    """
    if means.min() < 0:
        raise Problem("Class selectivity needs responses that are not negative; take a layer after a ReLU.")
    classes = np.unique(labels)
    if len(classes) < 2:
        raise Problem("Class selectivity needs images of two classes or more.")
    by_class = np.stack([means[labels == each].mean(axis=0, dtype=float) for each in classes])
    highest = by_class.max(axis=0)
    others = (by_class.sum(axis=0) - highest) / (len(classes) - 1)
    total = highest + others
    return np.divide(highest - others, total, out=np.zeros_like(total), where=total > 0)


def auroc(means: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """How often an image of class 1 gets more of each filter than one of class 0, float C in [0, 1]; ties count half.

    `means` N×C, `labels` N of 0 and 1. It is the area under the ROC curve; 0.5 is chance.
    Raises `Problem` unless the labels are 0 and 1, both of them.
    """
    labels = _binary(labels)
    return 0.5 + _centred_ranks(means).T @ labels / (labels.sum() * (1 - labels).sum())


def permutation_p_values(
    means: np.ndarray, labels: np.ndarray, num_permutations: int = 10_000, seed: int = 0
) -> np.ndarray:
    """How often shuffled labels give a filter an AUROC at least as far from 0.5 as the true ones: float C in (0, 1].

    Arguments and errors as in `auroc`. (b + 1) / (n + 1), because the true labels are a permutation as well (Phipson &
    Smyth 2010). For many filters at once give the result to `scipy.stats.false_discovery_control`.
    """
    labels = _binary(labels)
    random = np.random.default_rng(seed)
    ranks = _centred_ranks(means)
    found = np.abs(ranks.T @ labels)[:, None]
    # There are so many permutations because a correction for 128 filters multiplies the smallest p by up to that
    # number. They are made in blocks because all of them would take gigabytes where there are thousands of images.
    at_once = max(1, AT_ONCE // len(labels))
    extreme = np.zeros(ranks.shape[1], int)
    for start in range(0, num_permutations, at_once):
        shape = min(at_once, num_permutations - start), len(labels)
        shuffled = random.permuted(np.broadcast_to(labels, shape), axis=1)
        extreme += (np.abs(ranks.T @ shuffled.T) >= found).sum(axis=1)  # ranks are halves: this comparison is exact
    return (extreme + 1) / (num_permutations + 1)


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
