"""The choice of layers that notebook 04 measures."""

from collections.abc import Mapping

import numpy as np
from torch import Tensor, nn

from ..maps.activations import capture
from ..maps.layers import is_features_last, layer_names
from ..settings import Problem
from .receptive_field import ReceptiveField

ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Mish, nn.Hardswish)
MOST = 9  # layers; a figure has no room for more


def layers_to_measure(model: nn.Module, fields: Mapping[str, ReceptiveField], pixels: Tensor) -> list[str]:
    """The names of at most `MOST` layers, from first to last, whose maps show where a pattern is.

    These are activation functions that run once, and blocks of layers that end in an activation function, as in a
    ResNet. The maps of such a block are never negative for `pixels`, a few images uint8 N×3×S×S. A layer is left out if
    each of its positions sees the whole image (`fields`, see `receptive_fields`). If there are more than `MOST` layers,
    evenly spaced ones are chosen.
    Raises `Problem` if there is no such layer, as in a transformer.
    """
    layers = dict(model.named_modules())
    names = [
        name
        for name in layer_names(model)
        if name in fields and f"{name}#2" not in fields and fields[name].stride
        if isinstance(layers[name], ACTIVATIONS) or any(layers[name].children())
        if not isinstance(layers[name], nn.Sequential)  # its output is that of its last layer
    ]
    outputs = capture(model, names, pixels.float() / 255)
    chosen = []
    for name in sorted(names, key=list(fields).index):
        maps = outputs[name]
        is_activation = isinstance(layers[name], ACTIVATIONS) or (maps.min() >= 0 and maps.max() > 0)
        if (
            maps.ndim == 4
            and is_activation
            and not is_features_last(model, layers[name], maps.shape[1:], maps.shape[2:])
        ):
            chosen.append(name)
    if not chosen:
        raise Problem(
            f"No layer of this {type(model).__name__} has maps after an activation function, so notebook 04 cannot "
            "measure it: choose a NETWORK made of convolutions, such as BikeCarCNN or resnet18."
        )
    evenly_spaced = np.linspace(0, len(chosen) - 1, min(MOST, len(chosen))).round().astype(int)
    return [chosen[i] for i in evenly_spaced]
