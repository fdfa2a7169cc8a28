"""What makes a filter respond more in one scene than in another: the vehicle, or where, how and in what light it is."""

from collections.abc import Mapping, Sequence

import numpy as np

from .verdict import Estimate, bootstrap


def total_effect(values: np.ndarray, redrawn: np.ndarray) -> np.ndarray:
    """The share of each filter's variance that one factor takes part in (Jansen 1999): float C, 0 or more.

    `values` float N×C are C filters' responses to N scenes, `redrawn` those to the same scenes with this factor alone
    replaced by that of another scene. It is the mean square of the change over twice the variance: 0 where the factor
    makes no difference, 1 where it makes all of it. NaN for a filter that responds to all scenes alike.
    """
    variance = values.var(axis=0)
    return np.nanmean((values - redrawn) ** 2, axis=0) / np.where(variance > 0, 2 * variance, np.nan)


def share_of_classes(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The share of each filter's variance that lies between the classes (η², Fisher 1925): float C in [0, 1].

    `values` float N×C, `labels` int N. NaN for a filter that responds to all scenes alike.
    """
    of_class = {label: values[labels == label] for label in np.unique(labels)}
    between = sum(len(each) * (each.mean(axis=0) - values.mean(axis=0)) ** 2 for each in of_class.values())
    variance = values.var(axis=0)
    return between / len(values) / np.where(variance > 0, variance, np.nan)


def effects_by_layer(
    answers: Mapping[str, np.ndarray], sizes: Sequence[int], labels: np.ndarray, names: Sequence[str]
) -> dict[str, dict[str, list[Estimate]]]:
    """The mean over each layer's filters of both shares, for `figures.panels`: factor → network → one per layer.

    `answers` are those of `ask`, float networks×N×C with the filters of all layers side by side, `sizes` of them in
    each: first those to the scenes as they are, then those to scenes with another light, place, …, one per factor.
    `labels` int N, `names` of the networks. A single filter counts as at most 2, so that one that hardly varies does
    not outweigh all others.
    """
    by_layer = {name: np.split(values, np.cumsum(sizes)[:-1], axis=2) for name, values in answers.items()}
    whole, *factors = by_layer
    effects = {
        "the class": {
            name: [bootstrap(share_of_classes(of[k], labels)) for of in by_layer[whole]] for k, name in enumerate(names)
        }
    }
    for factor in factors:
        pairs = list(zip(by_layer[whole], by_layer[factor]))
        effects[f"the {factor}"] = {
            name: [bootstrap(total_effect(of[k], redrawn[k]).clip(max=2)) for of, redrawn in pairs]
            for k, name in enumerate(names)
        }
    return effects
