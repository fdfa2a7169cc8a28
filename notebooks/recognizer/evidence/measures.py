"""Every measure of a network's layers in one call, so that networks can be compared."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import false_discovery_control
from torch import Tensor, nn

from .ablation import Ablation, ablate
from .dissection import Dissection, dissect
from .orientation import OrientationTuning, orientation_tuning
from .responses import pooled, spatial_means
from .selectivity import auroc, class_selectivity, linear_probe, permutation_p_values


@dataclass(frozen=True)
class LayerEvidence:
    """The measures of one layer's C filters on N test images.

    `means` float32 N×C: the mean of each map. `auroc` C: how well each mean tells the second class from the first.
    `p_values` C: of the AUROCs, corrected for the number of filters (Benjamini & Hochberg 1995). `class_selectivity` C.
    `probe` bool N: which images a linear classifier of the whole layer gets right. `ablation`: the answers without each
    filter. `dissection` only where there are masks.
    """

    means: np.ndarray
    auroc: np.ndarray
    p_values: np.ndarray
    class_selectivity: np.ndarray
    probe: np.ndarray
    tuning: OrientationTuning
    ablation: Ablation
    dissection: Dissection | None = None

    @property
    def preference(self) -> np.ndarray:
        """The distance of each AUROC from chance, 2 |AUROC − 0.5|: float C in [0, 1]."""
        return 2 * np.abs(self.auroc - 0.5)

    @property
    def dead(self) -> np.ndarray:
        """Filters that are 0 everywhere in every image: bool C. (Values are not negative, so a mean of 0 says so.)"""
        return (self.means == 0).all(axis=0)


def measure(
    model: nn.Module,
    layer_names: Sequence[str],
    train: tuple[Tensor, Tensor],
    test: tuple[Tensor, Tensor],
    masks: np.ndarray | None = None,
    parts: Sequence[str] = (),
) -> dict[str, LayerEvidence]:
    """Measure layers that are not negative (after a ReLU): name → `LayerEvidence`.

    `train` and `test` are pixels, uint8 N×3×S×S, and labels, int64 N of 0 and 1. Probes learn from `train`, all else is
    measured on `test`; `masks` N×H×W belong to `test` and hold indices into `parts`, as in `dissect`.
    """
    (train_pixels, train_labels), (pixels, labels) = train, test
    train_labels, truth = train_labels.numpy(), labels.numpy()
    means = spatial_means(model, layer_names, pixels)
    learned, asked = (pooled(model, layer_names, each) for each in (train_pixels, pixels))
    tuning = orientation_tuning(model, layer_names, pixels.shape[-1])
    dissections = {} if masks is None else dissect(model, layer_names, pixels, masks, parts)
    return {
        name: LayerEvidence(
            means[name],
            auroc(means[name], truth),
            false_discovery_control(permutation_p_values(means[name], truth)),
            class_selectivity(means[name], truth),
            linear_probe(learned[name], train_labels, asked[name], truth),
            tuning[name],
            ablate(model, name, pixels, labels),
            dissections.get(name),
        )
        for name in layer_names
    }
