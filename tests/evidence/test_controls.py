"""Networks to compare with, and forgetting layer by layer."""

import os
from unittest import mock

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from recognizer import BikeCarCNN, capture
from recognizer.data import prepare
from recognizer.data.dataset import Pictures
from recognizer.evidence import controls
from recognizer.evidence.controls import like_any_other, once_forgotten, randomised_from_the_top, untrained


def test_forgetting_from_the_top_leaves_the_layers_below_alone(network, pixels):
    layers = ["relu1", "relu4", "relu7"]
    steps, alike, of_first = randomised_from_the_top(network, layers, pixels[:6])
    assert steps == ["fc2", "fc1", "conv7", "conv6", "conv5", "conv4", "conv3", "conv2", "conv1"]
    for name, step in (("relu1", "conv1"), ("relu4", "conv4"), ("relu7", "conv7")):
        row = steps.index(step)
        for each in alike[:row]:
            assert np.allclose(each[name], alike[0][name], equal_nan=True)  # nothing has changed yet
        assert np.nanmean(alike[row][name]) < 0.7 * np.nanmean(alike[0][name])
    assert len(of_first) == 1 + len(steps) and of_first[0]["relu1"].shape == (16, 32, 32)


@pytest.fixture
def dying(pixels):
    """A network of which the last filter of conv4 is dead."""
    model = untrained(BikeCarCNN(image_size=64), pixels)
    model.bn4.weight.data[-1], model.bn4.bias.data[-1] = 0, -1
    return model


def test_a_dead_filter_does_not_tell_when_its_layer_forgets(dying, pixels):
    layers = ["bn2", "relu4", "relu7", "fc1"]
    steps, alike, _ = randomised_from_the_top(dying, layers, pixels[:6])
    found = once_forgotten(dying, steps, alike)
    for name, step in {"bn2": "conv2", "relu4": "conv4", "relu7": "conv7", "fc1": "fc1"}.items():
        np.testing.assert_array_equal(found[name], alike[steps.index(step)][name])
    assert np.flatnonzero(np.isnan(found["relu4"])).tolist() == [len(found["relu4"]) - 1]  # it had nothing to forget
    assert np.nanmean(alike[0]["relu4"]) == pytest.approx(1) and np.nanmean(found["relu4"]) < 0.7
    shared = like_any_other(dying, ["relu4"], pixels[:6])["relu4"]
    assert np.isnan(shared[-1]) and (shared[:-1] > 0).all()


def test_a_filter_that_dies_of_forgetting_has_nothing_left():
    whole, now = (controls._ranks(np.array(maps, float).reshape(1, 3, 2, 2)) for maps in (
        [[1, 2, 3, 4], [1, 2, 3, 4], [5, 5, 5, 5]], [[9, 7, 5, 1], [0, 0, 0, 0], [1, 2, 3, 4]]
    ))  # fmt: skip
    np.testing.assert_allclose(controls._alike(whole, now), [1, 0, np.nan])


def test_blocks_and_further_calls_of_a_layer_forget_with_what_is_in_them():
    block = nn.Sequential(nn.Conv2d(4, 4, 1), nn.ReLU(), nn.Conv2d(4, 4, 1))
    model = nn.Sequential(nn.Identity(), nn.Conv2d(3, 4, 1), block, nn.ReLU(), nn.Conv2d(4, 2, 1))
    steps = ["4", "2.2", "2.0", "1"]
    alike = [dict.fromkeys(("0", "1", "2", "2.1", "3", "3#2"), np.array([float(i)])) for i in range(4)]
    found = once_forgotten(model, steps, alike)
    assert {name: steps[int(i[0])] for name, i in found.items()} == {
        "0": "1",
        "1": "1",
        "2": "2.2",
        "2.1": "2.0",
        "3": "2.2",
        "3#2": "2.2",
    }


def test_a_filter_without_another_shares_nothing(pixels):
    assert np.isnan(like_any_other(nn.Sequential(nn.Conv2d(3, 1, 3)), ["0"], pixels[:3])["0"]).all()


def test_what_any_two_filters_share_is_spearmans_correlation(network, pixels):
    found = like_any_other(network, ["relu1"], pixels[:3])["relu1"]
    maps = capture(network, "relu1", pixels[:3].float() / 255)["relu1"].transpose(0, 2, 3, 1).reshape(-1, 16)
    expected = np.abs(stats.spearmanr(maps).statistic)
    np.testing.assert_allclose(found, (expected.sum(axis=0) - 1) / 15, atol=1e-4)


@pytest.mark.parametrize("count", [1, 33])
def test_statistics_of_batch_norms_need_no_whole_batch_in_the_end(count):
    fresh = untrained(BikeCarCNN(image_size=64), torch.randint(0, 256, (count, 3, 64, 64), dtype=torch.uint8))
    assert torch.isfinite(fresh.bn7.running_var).all()


def test_ranks_are_those_of_spearman():
    random = np.random.default_rng(0)
    one, other = random.integers(0, 9, (2, 5, 3, 4, 4)).astype(float)
    expected = [stats.spearmanr(one[:, c].ravel(), other[:, c].ravel()).statistic for c in range(3)]
    assert np.allclose((controls._ranks(one) * controls._ranks(other)).sum(axis=1), expected)


def test_shuffled_labels_are_as_many_of_each_and_the_images_are_untouched(workspace, own_zips):
    prepare(str(own_zips), sample_images=0, val_share=0.2, test_share=0.2, seed=0)
    train = Pictures(workspace / "datasets" / "Train", 32)
    before = train.labels.clone()
    model = BikeCarCNN(train.classes, 32)
    path = workspace / "shuffled.pt"
    with mock.patch.object(controls, "fit", wraps=controls.fit) as fit:
        first = controls.trained_on_shuffled_labels(model, train, 1, path)
        labels = fit.call_args.args[1].labels
        again = controls.trained_on_shuffled_labels(model, train, 1, path)
        assert fit.call_count == 1  # the second time it is loaded
        (workspace / "model.pt").touch()  # trained again, with whatever code
        os.utime(path, (0, 0))
        controls.trained_on_shuffled_labels(model, train, 1, path)
        assert fit.call_count == 2
    assert not torch.equal(labels, before) and torch.equal(labels.bincount(), before.bincount())
    assert torch.equal(train.labels, before)
    assert torch.equal(first.conv1.weight, again.conv1.weight) and not first.training
    assert [p.name for p in workspace.glob("*.pt") if p.name != "model.pt"] == ["shuffled.pt"]


def test_batch_norms_of_the_untrained_network_have_seen_images(network, pixels):
    fresh = untrained(network, pixels, seed=0)
    assert not fresh.training
    maps = capture(fresh, "bn1", pixels.float() / 255)["bn1"]
    assert np.abs(maps.mean(axis=(0, 2, 3))).max() < 0.15
    assert np.abs(maps.std(axis=(0, 2, 3)) - 1).max() < 0.15
