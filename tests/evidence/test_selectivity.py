"""Preference for a class against closed forms, scikit-learn and SciPy."""

import tracemalloc
from itertools import combinations

import numpy as np
import pytest
from scipy import optimize, stats
from sklearn.metrics import roc_auc_score

from recognizer.evidence import selectivity
from recognizer.evidence.selectivity import auroc, class_selectivity, linear_probe, permutation_p_values
from recognizer.settings import Problem


def test_class_selectivity_in_closed_form():
    labels = np.array([0, 0, 1, 1, 2, 2])
    means = np.array(
        [[0, 2, 1, 1, 0], [0, 2, 1, 3, 0], [3, 2, 1, 0, 0], [5, 2, 1, 0, 0], [0, 2, 4, 0, 0], [0, 2, 4, 0, 0]]
    )
    # The last but one: class 0 has a mean of 2, the others none. The third: 4 against (1 + 1) / 2.
    np.testing.assert_allclose(class_selectivity(means, labels), [1, 0, 3 / 5, 1, 0])
    with pytest.raises(Problem, match="not negative"):
        class_selectivity(-means, labels)
    with pytest.raises(Problem, match="two classes"):
        class_selectivity(means, np.zeros(6))


def test_auroc_is_scikit_learns():
    random = np.random.default_rng(0)
    labels = random.permutation([0] * 30 + [1] * 21)
    means = random.normal(size=(51, 6)).astype(np.float32)
    means[:, 3] = means[:, 3].round()  # ties
    means[:, 4] = 1  # nothing but ties
    means[:, 5] += 9 * labels
    expected = [roc_auc_score(labels, column) for column in means.T]
    np.testing.assert_allclose(auroc(means, labels), expected, atol=1e-12)
    np.testing.assert_allclose(auroc(means, labels.astype(bool)), expected, atol=1e-12)
    with pytest.raises(Problem, match="0 and 1"):
        auroc(means, labels + 1)


def test_permutation_p_values_approach_the_exact_ones():
    """Of 3 and 4 images there are 35 ways to label; p is the share of those at least as extreme."""
    labels = np.array([1, 1, 1, 0, 0, 0, 0])
    means = np.array([[7, 1, 1], [6, 6, 1], [5, 7, 1], [1, 2, 1], [2, 3, 1], [3, 4, 1], [4, 5, 1]], float)
    exact = []
    for column in means.T:
        areas = []
        for chosen in combinations(range(7), 3):
            areas.append(roc_auc_score(np.isin(np.arange(7), chosen), column))
        extreme = np.abs(np.array(areas) - 0.5)
        exact.append((extreme >= abs(roc_auc_score(labels, column) - 0.5) - 1e-9).mean())
    assert exact[0] == 2 / 35 and exact[2] == 1
    np.testing.assert_allclose(permutation_p_values(means, labels, 8000), exact, atol=0.02)


def test_p_values_in_blocks_are_those_in_one_piece(monkeypatch):
    random = np.random.default_rng(0)
    labels, means = random.permutation(np.arange(60) % 2), random.normal(size=(60, 7)).round(1)
    one_piece = np.random.default_rng(5).permuted(np.repeat(labels[:, None], 1001, axis=1), axis=0)
    ranks = stats.rankdata(means, axis=0) - 30.5
    extreme = np.abs(ranks.T @ one_piece) >= np.abs(ranks.T @ labels)[:, None]
    expected = (extreme.sum(axis=1) + 1) / 1002
    for at_once in (1, 60 * 7, 2**20):
        monkeypatch.setattr(selectivity, "AT_ONCE", at_once)
        np.testing.assert_array_equal(permutation_p_values(means, labels, 1001, seed=5), expected)


def test_p_values_of_many_images_take_little_memory():
    labels, means = np.arange(4000) % 2, np.random.default_rng(0).normal(size=(4000, 4))
    tracemalloc.start()
    permutation_p_values(means, labels, 2000)  # in one piece 64 MB, twice
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 30e6


def test_only_planted_filters_are_significant():
    random = np.random.default_rng(0)
    labels = np.repeat([0, 1], 40)
    means = random.normal(size=(80, 100))
    means[:, 0] += 2 * labels
    means[:, 1] -= 2 * labels
    p = permutation_p_values(means, labels, num_permutations=999)
    assert p[:2].tolist() == [0.001, 0.001] and abs(p[2:].mean() - 0.5) < 0.1
    assert np.flatnonzero(stats.false_discovery_control(p) < 0.06).tolist() == [0, 1]
    np.testing.assert_array_equal(p, permutation_p_values(means, labels, num_permutations=999))


def test_linear_probe_reads_out_a_planted_direction_only():
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 400)
    values = random.normal(size=(400, 16)) * 100 + 500
    planted = values + 300 * np.outer(2 * labels - 1, random.normal(size=16))
    correct = linear_probe(planted[:200], labels[:200], planted[200:], labels[200:])
    assert correct.shape == (200,) and correct.dtype == bool and correct.mean() > 0.99
    by_chance = linear_probe(values[:200], labels[:200], values[200:], labels[200:])
    assert 0.4 < by_chance.mean() < 0.6


def test_linear_probe_is_the_logistic_regression_that_scipy_finds():
    """Log losses + |w|²/2 of standardised values, minimised by SciPy. Classes overlap, so some answers are wrong."""
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
