"""For a network that the page cannot compute: the maps of the given pictures, computed here."""

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
SIDES = (64, 32, 16)  # of maps, tried in turn where whole ones would make the file too large


@dataclass(frozen=True)
class Choice:
    """What of all maps goes into a page: the layers `names`, the numbers of the `pictures`, at most so many positions a
    `side`. `sentence` says what is left out."""

    names: list[str]
    pictures: list[int]
    side: int
    sentence: str

    def of(self, maps: Sequence[Maps]) -> list[Maps]:
        """These maps alone."""
        return [{name: at_most(maps[number][name], self.side) for name in self.names} for number in self.pictures]

    def num_bytes(self, maps: Sequence[Maps]) -> int:
        """How much text they come to, about: a byte a value and eight a map, a third more in base64."""
        sizes = [len(m) * (8 + np.minimum(m.shape[1:], self.side).prod()) for m in map(maps[0].get, self.names)]
        return int(sum(sizes)) * len(self.pictures) * 4 // 3


def choose(model: nn.Module, maps: Sequence[Maps], labels: Sequence[str], room: int) -> Choice:
    """The most of `maps` that fits into `room` bytes: first they get coarser, then there are fewer pictures, then fewer
    layers. What is smallest of all is taken even if it does not fit."""
    for choice in _choices(model, maps, labels):
        if choice.num_bytes(maps) <= room:
            break
    return choice


def _choices(model: nn.Module, maps: Sequence[Maps], labels: Sequence[str]) -> Iterator[Choice]:
    layers, names, everything = layers_by_name(model), list(maps[0]), list(range(len(maps)))
    convolutions = [name for name in names if isinstance(layers[name.partition("#")[0]], nn.Conv2d)] or names
    one_each = [labels.index(label) for label in dict.fromkeys(labels)]
    largest = max(max(found.shape[1:], default=1) for found in maps[0].values())
    for kept, pictures, side in itertools.product((names, convolutions), (everything, one_each), (largest, *SIDES)):
        left_out = [
            f"at most {side} positions a side" * (side < largest),
            "one picture a class" * (len(pictures) < len(maps)),
            "convolutions alone" * (len(kept) < len(names)),
        ]
        yield Choice(kept, pictures, min(side, largest), ", ".join(filter(None, left_out)))


def maps_of(model: nn.Module, pictures: Pictures) -> list[Maps]:
    """What each layer without parts outputs, for each picture: name → float32 C×H×W, or a row of numbers.

    Layers whose output is not a tensor, or has more than the picture's values, are left out.
    """
    layers = layers_by_name(model)
    leaves = [name for name in layers if not any(layers[name].children())]
    found: list[Maps] = []
    for image in pictures.for_network():
        times: Counter[str] = Counter()
        found.append({})
        for name, tensors in run(model, leaves, image[None]):
            output = tensors.get("") if isinstance(tensors, dict) else None
            if output is not None and output.ndim > 1 and len(output) == 1:
                times[name] += 1
                key = name if times[name] == 1 else f"{name}#{times[name]}"
                of_image = as_array(output)[0]
                of_image = np.abs(of_image) if np.iscomplexobj(of_image) else of_image
                features_last = is_features_last(model, layers[name], of_image.shape, image.shape[1:])
                found[-1][key] = as_maps(of_image, features_last) if of_image.ndim > 1 else of_image
    return found


def at_most(maps: np.ndarray, side: int) -> np.ndarray:
    """Maps C×H×W with at most `side` positions a side, by the mean of neighbours; a row of numbers as it is."""
    if maps.ndim != 3 or max(maps.shape[1:]) <= side:
        return maps
    size = [min(length, side) for length in maps.shape[1:]]
    return functional.adaptive_avg_pool2d(torch.from_numpy(np.ascontiguousarray(maps)), size).numpy()
