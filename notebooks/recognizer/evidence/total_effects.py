"""Which factors change a filter's response: the class of the vehicle, or light, background and viewing direction."""

from collections.abc import Mapping, Sequence

import numpy as np

from .verdict import Estimate, bootstrap


def total_effect(values: np.ndarray, redrawn: np.ndarray) -> np.ndarray:
    """The share of each filter's variance that involves one factor (Jansen 1999): float C, 0 or more.

    `values` float N×C are the responses of C filters to N scenes. `redrawn` are the responses to the same scenes with
    only this factor replaced by that of another scene. The share is the mean squared change over twice the variance. It
    is 0 if the factor makes no difference, and 1 if it is involved in all of the variance. NaN for a filter with the
    same response to all scenes.
    """
    variance = values.var(axis=0)
    return np.nanmean((values - redrawn) ** 2, axis=0) / np.where(variance > 0, 2 * variance, np.nan)


def share_of_classes(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The share of each filter's variance that lies between the classes (η², Fisher 1925): float C in [0, 1].

    `values` float N×C, `labels` int N. NaN for a filter with the same response to all scenes.
    """
    of_class = {label: values[labels == label] for label in np.unique(labels)}
    between = sum(len(members) * (members.mean(axis=0) - values.mean(axis=0)) ** 2 for members in of_class.values())
    variance = values.var(axis=0)
    return between / len(values) / np.where(variance > 0, variance, np.nan)


def effects_by_layer(
    answers: Mapping[str, np.ndarray], sizes: Sequence[int], labels: np.ndarray, names: Sequence[str]
) -> dict[str, dict[str, list[Estimate]]]:
    """Both shares as means over each layer's filters, for `figures.panels`: factor → network → one estimate per layer.

    `answers` are the result of `ask`, float networks×N×C, with the filters of all layers, layer after layer. `sizes`
    are the numbers of filters in the layers. The first entry of `answers` is for the unchanged scenes, and the others
    are for scenes with another light, place, …, one entry per factor. `labels` int N, `names` of the networks. The
    effect for one filter counts as at most 2, so that a filter that hardly varies does not outweigh the others.
    """
    by_layer = {name: np.split(values, np.cumsum(sizes)[:-1], axis=2) for name, values in answers.items()}
    whole, *factors = by_layer
    effects = {
        "the class": {
            name: [bootstrap(share_of_classes(values[k], labels)) for values in by_layer[whole]]
            for k, name in enumerate(names)
        }
    }
    for factor in factors:
        pairs = list(zip(by_layer[whole], by_layer[factor]))
        effects[f"the {factor}"] = {
            name: [bootstrap(total_effect(values[k], redrawn[k]).clip(max=2)) for values, redrawn in pairs]
            for k, name in enumerate(names)
        }
    return effects
