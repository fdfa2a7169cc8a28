"""Orientation tuning, compared with closed forms and planted Gabor filters."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from recognizer.evidence.orientation import OrientationTuning, gratings, orientation_tuning
from recognizer.settings import Problem

from .networks import conv


def test_gratings_have_the_right_orientations_and_phases():
    images = gratings(33, period=8, num_orientations=4, num_phases=6).reshape(4, 6, 3, 33, 33)
    assert images.dtype == torch.float32 and images.min() >= 0 and images.max() <= 1
    horizontal, rising, vertical, falling = images.numpy()
    np.testing.assert_allclose(horizontal, horizontal[..., :1].repeat(33, axis=-1), atol=1e-5)
    np.testing.assert_allclose(vertical, vertical[..., :1, :].repeat(33, axis=-2), atol=1e-5)
    np.testing.assert_allclose(rising[..., 1:, :-1], rising[..., :-1, 1:], atol=1e-5)  # /
    np.testing.assert_allclose(falling[..., 1:, 1:], falling[..., :-1, :-1], atol=1e-5)  # \
    np.testing.assert_allclose(horizontal[..., 8:, :], horizontal[..., :-8, :], atol=1e-5)
    np.testing.assert_allclose(images.numpy().mean(axis=1), 0.5, atol=1e-5)  # the mean over all phases


def test_circular_variance_and_selectivity_in_closed_form():
    angles = np.deg2rad(np.arange(12) * 15)
    responses = np.stack([np.eye(12)[4], np.ones(12), 1 + np.cos(2 * (angles - angles[9])), np.zeros(12)])
    tuning = OrientationTuning(responses, np.array([8, 8, 8, np.nan]))
    np.testing.assert_allclose(tuning.circular_variance, [0, 1, 0.5, np.nan], atol=1e-12)
    np.testing.assert_allclose(tuning.selectivity, [1, 0, 1, np.nan], atol=1e-12)
    np.testing.assert_allclose(tuning.preferred[[0, 2, 3]], [60, 135, np.nan])
    np.testing.assert_allclose(tuning.strength + tuning.circular_variance, [1, 1, 1, np.nan])


def test_planted_orientations_are_recovered():
    """A Gabor filter with horizontal bars, turned counterclockwise by Pillow; a blob; a dead filter."""
    distance = np.arange(25) - 12
    envelope = np.exp(-(distance[:, None] ** 2 + distance**2) / (2 * 5.0**2))
    gabor = envelope * np.cos(2 * np.pi / 8 * distance)[:, None]
    planted = [0, 30, 45, 75, 90, 120, 165]
    turned = [
        np.asarray(Image.fromarray(gabor.astype(np.float32)).rotate(angle, Image.Resampling.BICUBIC))
        for angle in planted
    ]
    kernels = np.stack([*(kernel - kernel.mean() for kernel in turned), envelope, 0 * envelope])
    weights = kernels[:, None].repeat(3, axis=1)
    model = nn.Sequential(conv(weights, bias=[0] * 8 + [-1], padding=12), nn.ReLU())
    tunings = orientation_tuning(model, ["0", "1"], 64, periods=(6, 8, 12, 24), num_phases=4)
    for name in ("0", "1"):
        tuning = tunings[name]
        error = (tuning.preferred[:7] - planted + 90) % 180 - 90
        assert np.abs(error).max() <= 15
        assert tuning.period[:7].tolist() == [8] * 7
        assert tuning.circular_variance[:7].max() < 0.35 and tuning.selectivity[:7].min() > 0.9
        assert tuning.circular_variance[7] > 0.95 and tuning.selectivity[7] < 0.1
        for values in (tuning.circular_variance, tuning.selectivity, tuning.preferred, tuning.period):
            assert np.isnan(values[8]) and not np.isnan(values[:8]).any()


def test_periods_longer_than_the_image_are_left_out():
    network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU())
    tuning, expected = (
        orientation_tuning(network, ["1"], 20, periods=periods)["1"] for periods in ((4, 8, 24), (4, 8))
    )
    np.testing.assert_array_equal(tuning.responses, expected.responses)
    with pytest.raises(Problem, match="No grating fits into an image of 20 pixels"):
        orientation_tuning(network, ["1"], 20, periods=(24, 32))


def test_any_layer_can_be_measured(network, recwarn):
    tunings = orientation_tuning(network, ["relu1", "relu7"], 64, periods=(8,), num_orientations=4, num_phases=2)
    assert tunings["relu1"].responses.shape == (16, 4) and tunings["relu7"].responses.shape == (128, 4)
    assert not recwarn.list
    with pytest.raises(Problem, match="must be even"):
        orientation_tuning(network, ["relu1"], 64, num_orientations=5)


def test_a_bias_matters_only_after_a_relu():
    """A linear filter responds to bars with a sine wave around its bias. Its response is 2/π of the amplitude."""
    place = np.arange(13) - 6
    wave = np.exp(-(place[:, None] ** 2 + place**2) / 18) * np.cos(2 * np.pi / 6 * place)
    weights = np.tile(wave - wave.mean(), (4, 3, 1, 1)) / 10
    model = nn.Sequential(conv(weights, bias=[0, 0.5, 100, -100], padding=6), nn.ReLU())
    tunings = orientation_tuning(model, ["0", "1"], 48, periods=(6, 12), num_orientations=8)
    before, after = tunings["0"], tunings["1"]
    np.testing.assert_allclose(before.responses, before.responses[:1].repeat(4, axis=0), rtol=1e-3, atol=1e-4)
    assert before.preferred.tolist() == [90] * 4 and before.strength.min() > 0.8
    amplitude = np.abs((weights[0, 0] * np.exp(2j * np.pi / 6 * place)).sum()) * 3 / 2
    assert before.responses[0].max() == pytest.approx(2 / np.pi * amplitude, rel=0.03)
    assert after.responses[0].max() == pytest.approx(amplitude / np.pi, rel=0.03)
    assert np.isnan(after.strength[3]) and after.strength[0] > 0.8 > after.strength[2]


@pytest.mark.parametrize("period", [2, 2.5, 3])
def test_a_filter_for_fine_bars_is_measured_correctly(period):
    """At the shortest period, 2 pixels, bars along the pixels are black and white or, at other phases, plain grey."""
    place = np.arange(9) - 4
    wave = np.exp(-(place[:, None] ** 2 + place**2) / 18) * np.cos(2 * np.pi / period * place)[:, None]
    kernel = np.tile(wave - wave.mean(), (1, 3, 1, 1))
    tuning = orientation_tuning(nn.Sequential(conv(kernel, padding=4)), ["0"], 32)["0"]
    assert tuning.period[0] == period and tuning.preferred[0] == 0 and tuning.strength[0] > 0.5
