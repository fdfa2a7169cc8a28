"""The network before training, as a control."""

import numpy as np
import pytest
import torch

from recognizer import BikeCarCNN, capture
from recognizer.evidence.controls import untrained


@pytest.mark.parametrize("count", [1, 33])
def test_batch_norm_statistics_are_finite_without_a_full_last_batch(count):
    fresh = untrained(BikeCarCNN(image_size=64), torch.randint(0, 256, (count, 3, 64, 64), dtype=torch.uint8))
    assert torch.isfinite(fresh.bn7.running_var).all()


def test_batch_norms_of_the_untrained_network_normalise_the_images(network, pixels):
    fresh = untrained(network, pixels, seed=0)
    assert not fresh.training
    maps = capture(fresh, "bn1", pixels.float() / 255)["bn1"]
    assert np.abs(maps.mean(axis=(0, 2, 3))).max() < 0.15
    assert np.abs(maps.std(axis=(0, 2, 3)) - 1).max() < 0.15
