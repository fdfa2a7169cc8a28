"""For a network that the page cannot compute: the maps of the given pictures, computed here."""

from collections import Counter

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ..maps.activations import as_array, run
from ..maps.colours import as_maps
from ..maps.layers import layers_by_name
from .pictures import Pictures

SIDES = (64, 32, 16, 8)  # of maps, tried in turn where whole ones would make the file too large


def maps_of(model: nn.Module, pictures: Pictures) -> list[dict[str, np.ndarray]]:
    """What each layer without parts outputs, for each picture: name → float32 C×H×W, or a row of numbers.

    Layers whose output is not a tensor, or has more than the picture's values, are left out.
    """
    layers = layers_by_name(model)
    leaves = [name for name in layers if not any(layers[name].children())]
    found: list[dict[str, np.ndarray]] = []
    for image in pictures.for_network():
        times: Counter[str] = Counter()
        found.append({})
        for name, output in run(model, leaves, image[None]):
            if isinstance(output, Tensor) and output.ndim > 1 and len(output) == 1:
                times[name] += 1
                key = name if times[name] == 1 else f"{name}#{times[name]}"
                found[-1][key] = _as_shown(layers[name], as_array(output)[0])
    return found


def _as_shown(layer: nn.Module, output: np.ndarray) -> np.ndarray:
    output = np.abs(output) if np.iscomplexobj(output) else output
    if output.ndim < 2:
        return output
    # Swin, ConvNeXt and others have layers that output H×W×C, between two permutations.
    features_last = output.ndim == 3 and output.shape[0] == output.shape[1] != output.shape[2]
    return as_maps(output, features_last and not type(layer).__name__.endswith("2d"))


def at_most(maps: np.ndarray, side: int) -> np.ndarray:
    """Maps C×H×W with at most `side` positions a side, by the mean of neighbours; a row of numbers as it is."""
    if maps.ndim != 3 or max(maps.shape[1:]) <= side:
        return maps
    size = [min(length, side) for length in maps.shape[1:]]
    return functional.adaptive_avg_pool2d(torch.from_numpy(np.ascontiguousarray(maps)), size).numpy()
