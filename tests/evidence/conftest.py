"""A network, images for it, and images with two classes that differ in one colour."""

import numpy as np
import pytest
import torch

from recognizer import BikeCarCNN


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return BikeCarCNN(image_size=64).eval()


@pytest.fixture(scope="module")
def pixels():
    """More images than fit in a batch."""
    return torch.randint(0, 256, (40, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def red_or_not():
    """Sixty noisy images. Every second one is red."""
    random = np.random.default_rng(0)
    images = random.integers(0, 100, (60, 3, 16, 16))
    labels = np.arange(60) % 2
    images[labels == 1, 0] += 150
    return torch.tensor(images, dtype=torch.uint8), torch.tensor(labels)
