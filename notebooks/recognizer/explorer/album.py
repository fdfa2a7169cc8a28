"""Precomputed maps of the example pictures, for a network that the page cannot compute."""

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from ..maps.activations import as_array
from ..maps.colours import as_maps
from ..maps.hooks import run
from ..maps.layers import is_features_last, layers_by_name
from .pictures import Pictures

Maps = dict[str, np.ndarray]
SIDES = (64, 32, 16)  # limits for the sides of maps, tried in turn if full maps make the file too large


@dataclass(frozen=True)
class Choice:
    """The maps that go into a page: the layers `names`, the numbers of the `pictures`, and the longest `side` of a map.

    `limits` describes the reduction in words; it is '' if all maps go in.
    """

    names: list[str]
    pictures: list[int]
    side: int
    limits: str

    def of(self, maps: Sequence[Maps]) -> list[Maps]:
        """The chosen part of `maps`."""
        return [{name: at_most(maps[number][name], self.side) for name in self.names} for number in self.pictures]

    def num_bytes(self, maps: Sequence[Maps]) -> int:
        """The approximate size of the chosen maps in the page: 1 byte per value, 8 per map, plus a third for base64."""
        sizes = [len(m) * (8 + np.minimum(m.shape[1:], self.side).prod()) for m in map(maps[0].get, self.names)]
        return int(sum(sizes)) * len(self.pictures) * 4 // 3


def choose(model: nn.Module, maps: Sequence[Maps], labels: Sequence[str], room: int) -> Choice:
    """Choose as much of `maps` as fits into `room` bytes. The smallest choice is used even if it does not fit.

    First the maps get smaller, then pictures are left out, then layers.
    """
    for choice in _choices(model, maps, labels):
        if choice.num_bytes(maps) <= room:
            break
    return choice


def _choices(model: nn.Module, maps: Sequence[Maps], labels: Sequence[str]) -> Iterator[Choice]:
    layers, names, all_pictures = layers_by_name(model), list(maps[0]), list(range(len(maps)))
    convolutions = [name for name in names if isinstance(layers[name.partition("#")[0]], nn.Conv2d)] or names
    one_per_class = [labels.index(label) for label in dict.fromkeys(labels)]
    largest = max(max(of_layer.shape[1:], default=1) for of_layer in maps[0].values())
    choices = itertools.product((names, convolutions), (all_pictures, one_per_class), (largest, *SIDES))
    for chosen_names, pictures, side in choices:
        limits = [
            f"maps of at most {side}×{side}" * (side < largest),
            "one picture per class" * (len(pictures) < len(maps)),
            "only convolutions" * (len(chosen_names) < len(names)),
        ]
        yield Choice(chosen_names, pictures, min(side, largest), ", ".join(filter(None, limits)))


def maps_of(model: nn.Module, pictures: Pictures) -> list[Maps]:
    """The outputs of all layers without sublayers: one dictionary per picture, name → float32 C×H×W or float32 D.

    Layers whose output is not a tensor, or does not belong to one picture, are left out.
    """
    layers = layers_by_name(model)
    leaves = [name for name in layers if not any(layers[name].children())]
    of_pictures: list[Maps] = []
    for image in pictures.for_network():
        times: Counter[str] = Counter()
        maps: Maps = {}
        for name, tensors in run(model, leaves, image[None]):
            output = tensors.get("") if isinstance(tensors, dict) else None
            if output is not None and output.ndim > 1 and len(output) == 1:
                times[name] += 1
                key = name if times[name] == 1 else f"{name}#{times[name]}"
                values = as_array(output)[0]
                values = np.abs(values) if np.iscomplexobj(values) else values
                features_last = is_features_last(model, layers[name], values.shape, image.shape[1:])
                maps[key] = as_maps(values, features_last) if values.ndim > 1 else values
        of_pictures.append(maps)
    return of_pictures


def at_most(maps: np.ndarray, side: int) -> np.ndarray:
    """Maps C×H×W, reduced to at most `side`×`side` by averaging neighbours. Values without positions do not change."""
    if maps.ndim != 3 or max(maps.shape[1:]) <= side:
        return maps
    size = [min(length, side) for length in maps.shape[1:]]
    return functional.adaptive_avg_pool2d(torch.from_numpy(np.ascontiguousarray(maps)), size).numpy()
