"""Networks built by hand, with known answers."""

import numpy as np
import torch
from torch import nn


def conv(weights, bias=0.0, **options) -> nn.Conv2d:
    """A convolution with the given weights, C×3×k×k."""
    weights = torch.as_tensor(np.asarray(weights), dtype=torch.float32)
    layer = nn.Conv2d(weights.shape[1], len(weights), weights.shape[2:], **options)
    with torch.no_grad():
        layer.weight.copy_(weights)
        layer.bias.copy_(torch.as_tensor(bias, dtype=torch.float32))
    return layer


def planted() -> nn.Module:
    """Four filters of one pixel: red, green, blue, and a dead one. Only the red filter decides the class."""
    colours = np.zeros((4, 3, 1, 1))
    colours[[0, 1, 2], [0, 1, 2]] = 1
    last = conv(np.zeros((2, 4, 1, 1)))
    last.weight.data[1, 0] = 20.0
    last.bias.data[0] = 10.0
    layers = {"conv": conv(colours), "relu": nn.ReLU(), "last": last, "pool": nn.AdaptiveAvgPool2d(1)}
    model = nn.Sequential()
    for name, layer in layers.items():
        model.add_module(name, layer)
    model.add_module("flatten", nn.Flatten())
    model.classes, model.image_size = ["Bike", "Car"], 16
    return model.eval()
