"""Filters of two networks: reordered, mixed, unrelated and dead."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from recognizer.evidence.matching import best_matches


def network(seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 6, 3, bias=False))


@pytest.fixture(scope="module")
def pixels():
    return torch.from_numpy(np.random.default_rng(0).integers(0, 255, (4, 3, 24, 24)).astype(np.uint8))


def changed(model: nn.Sequential, matrix: np.ndarray) -> nn.Sequential:
    """The network with each filter replaced by a weighted sum of its filters. The weights are the rows of `matrix`."""
    other = copy.deepcopy(model)
    other[0].weight.data = torch.einsum("ij,jklm->iklm", torch.tensor(matrix).float(), model[0].weight.data)
    return other


def test_the_same_filters_in_another_order_and_scale_match_perfectly(pixels):
    model = network(0)
    shuffled = changed(model, np.eye(6)[[3, 0, 5, 1, 4, 2]] * -2)
    np.testing.assert_allclose(best_matches(model, shuffled, "0", pixels), 1, atol=1e-6)


def test_matches_are_the_highest_correlations_that_numpy_computes(pixels):
    one, other = network(0), network(1)
    maps = [model(pixels.float() / 255).detach().numpy().transpose(1, 0, 2, 3).reshape(6, -1) for model in (one, other)]
    expected = np.abs(np.corrcoef(*maps)[:6, 6:]).max(axis=1)
    np.testing.assert_allclose(best_matches(one, other, "0", pixels), expected, rtol=1e-4)
    assert expected.max() < 0.99


def test_dead_filters_match_nothing_and_do_not_affect_others(pixels):
    model = network(0)
    some_dead = changed(model, np.diag([1.0, 0, 1, 0, 1, 0]))
    matches = best_matches(some_dead, model, "0", pixels)
    np.testing.assert_allclose(matches[[0, 2, 4]], 1, atol=1e-6)
    assert np.isnan(matches[[1, 3, 5]]).all()
    assert (best_matches(model, some_dead, "0", pixels)[[1, 3, 5]] < 0.99).all()
