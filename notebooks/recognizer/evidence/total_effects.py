"""What makes a filter respond more in one scene than in another: the vehicle, or where, how and in what light it is."""

import numpy as np


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
