"""Outputs of layers for many images, compared with plain PyTorch and planted pixels."""

import numpy as np
import pytest
import torch
from torch import nn

from recognizer import BikeCarCNN, capture
from recognizer.evidence.graph import start_of
from recognizer.evidence.responses import pooled, spatial_means, strongest
from recognizer.settings import Problem

from .networks import conv


def test_spatial_means_are_means_of_the_layers_output(network, pixels):
    means = spatial_means(network, ["relu1", "conv5", "fc1"], pixels)
    with torch.no_grad():
        first = network.relu1(network.bn1(network.pool1(network.conv1((pixels / 255 - 0.5) / 0.25))))
    np.testing.assert_allclose(means["relu1"], first.mean(dim=(2, 3)), atol=1e-5)
    assert {name: values.shape for name, values in means.items()} == {
        "relu1": (40, 16),
        "conv5": (40, 64),
        "fc1": (40, 128),
    }
    assert all(values.dtype == np.float32 for values in means.values())
    of_floats = spatial_means(network, ["conv5"], pixels / 255)
    np.testing.assert_allclose(of_floats["conv5"], means["conv5"], atol=1e-6)


def test_pooling_gives_each_layer_the_same_number_of_values(network, pixels):
    names = ["relu1", "relu2", "relu3", "relu4", "relu7", "fc1"]
    results = pooled(network, names, pixels)
    assert {name: values.shape for name, values in results.items()} == dict.fromkeys(names, (40, 128))
    # 32 filters with 2×2 cells: the mean of each quarter, filter after filter.
    quarters = nn.Sequential(nn.Conv2d(3, 32, 1))
    with torch.no_grad():
        maps = quarters(pixels / 255).numpy()
    expected = maps.reshape(40, 32, 2, 32, 2, 32).mean(axis=(3, 5)).reshape(40, 128)
    np.testing.assert_allclose(pooled(quarters, ["0"], pixels)["0"], expected, atol=1e-5)


def test_pooling_of_small_maps_and_of_too_many_filters(network, pixels):
    assert pooled(network, ["fc2"], pixels)["fc2"].shape == (40, 2)
    assert pooled(network, ["relu7"], pixels, dimension=1000)["relu7"].shape == (40, 768)
    with pytest.raises(Problem, match="'relu7' has 128 filters"):
        pooled(network, ["relu7"], pixels, dimension=64)


def test_strongest_finds_planted_pixels():
    """Filter c is colour c. Each image has one bright pixel per colour, and its brightness varies across images."""
    places = np.random.default_rng(0).integers(0, 20, (40, 3, 2))
    images = torch.zeros(40, 3, 20, 20, dtype=torch.uint8)
    for image, of_colours in enumerate(places):
        for colour, (row, column) in enumerate(of_colours):
            images[image, colour, row, column] = 100 + (image if colour < 2 else -image)
    identity = nn.Sequential(conv(np.eye(3)[:, :, None, None]))
    top = strongest(identity, ["0"], images, count=4)["0"]
    assert top.images.tolist() == [[39, 38, 37, 36], [39, 38, 37, 36], [0, 1, 2, 3]]
    for colour in range(3):
        planted = places[top.images[colour], colour]
        np.testing.assert_array_equal(top.rows[colour], planted[:, 0])
        np.testing.assert_array_equal(top.columns[colour], planted[:, 1])
    np.testing.assert_allclose(top.values[0], np.array([139, 138, 137, 136]) / 255, rtol=1e-6)
    assert top.values.dtype == np.float32
    assert strongest(identity, ["0"], images, count=99)["0"].images.shape == (3, 40)


def test_a_layer_without_maps_is_an_error():
    flat = nn.Sequential(nn.Flatten(2))
    with pytest.raises(Problem, match="neither a map nor"):
        spatial_means(flat, ["0"], torch.zeros(2, 3, 8, 8))


def test_the_start_of_a_network_gives_the_same_maps_and_takes_small_images():
    torch.manual_seed(0)
    model = BikeCarCNN(image_size=96).eval()
    start, side = start_of(model, ["relu1", "relu2"], 96)
    assert side == 64 and "conv3" not in dict(start.named_modules())
    images = torch.rand(2, 3, 96, 96)
    expected, maps = (capture(network, ["relu1", "relu2"], images) for network in (model, start))
    for name in expected:
        np.testing.assert_array_equal(maps[name], expected[name])


@pytest.mark.parametrize("size", [48, 96])
def test_a_network_of_fixed_size_or_without_trace_is_used_whole(size):
    class Branching(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 2, 3)

        def forward(self, x):
            return self.conv(x) if x.sum() > -1 else x

    class OneSize(nn.Module):
        def __init__(self):
            super().__init__()
            self.place = nn.Parameter(torch.zeros(3, size, size))
            self.conv = nn.Conv2d(3, 2, 3)

        def forward(self, x):
            return self.conv(x + self.place)

    for model in (Branching(), OneSize()):
        assert start_of(model, ["conv"], size) == (model, size)
