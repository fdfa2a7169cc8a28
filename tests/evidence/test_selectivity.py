"""Class preference and linear probes, compared with scikit-learn and SciPy."""

import numpy as np
import pytest
from scipy import optimize
from sklearn.metrics import roc_auc_score

from recognizer.evidence.selectivity import auroc, linear_probe
from recognizer.settings import Problem


def test_auroc_agrees_with_scikit_learn():
    random = np.random.default_rng(0)
    labels = random.permutation([0] * 30 + [1] * 21)
    means = random.normal(size=(51, 6)).astype(np.float32)
    means[:, 3] = means[:, 3].round()  # ties
    means[:, 4] = 1  # only ties
    means[:, 5] += 9 * labels
    expected = [roc_auc_score(labels, column) for column in means.T]
    np.testing.assert_allclose(auroc(means, labels), expected, atol=1e-12)
    np.testing.assert_allclose(auroc(means, labels.astype(bool)), expected, atol=1e-12)
    with pytest.raises(Problem, match="0 and 1"):
        auroc(means, labels + 1)


def test_a_linear_probe_is_right_only_with_a_planted_direction():
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 400)
    values = random.normal(size=(400, 16)) * 100 + 500
    planted = values + 300 * np.outer(2 * labels - 1, random.normal(size=16))
    correct = linear_probe(planted[:200], labels[:200], planted[200:], labels[200:])
    assert correct.shape == (200,) and correct.dtype == bool and correct.mean() > 0.99
    by_chance = linear_probe(values[:200], labels[:200], values[200:], labels[200:])
    assert 0.4 < by_chance.mean() < 0.6


def test_a_linear_probe_agrees_with_logistic_regression_by_scipy():
    """SciPy minimises the log loss + |w|²/2 of standardised values. The classes overlap, so some answers are wrong."""
    random = np.random.default_rng(1)
    labels = random.integers(0, 2, 300)
    values = random.normal(size=(300, 6)) * [1, 10, 100, 1, 1, 1] + np.outer(labels, [1, 5, 0, 0.5, 0, 0])
    train, test = values[:150], values[150:]
    mean, deviation = train.mean(axis=0), train.std(axis=0)
    x, sign = (train - mean) / deviation, 2 * labels[:150] - 1

    def loss(weights):
        return np.logaddexp(0, -sign * (x @ weights[:-1] + weights[-1])).sum() + weights[:-1] @ weights[:-1] / 2

    best = optimize.minimize(loss, np.zeros(7)).x
    answers = (test - mean) / deviation @ best[:-1] + best[-1] > 0
    correct = linear_probe(train, labels[:150], test, labels[150:])
    assert 0.55 < correct.mean() < 0.9
    np.testing.assert_array_equal(correct, answers == labels[150:])
