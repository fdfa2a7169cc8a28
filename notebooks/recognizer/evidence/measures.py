"""All observations of a layer's filters in one call."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from .ablation import Ablation, ablate
from .average_precision import part_scores_within
from .experiments import Scenes
from .orientation import OrientationTuning, orientation_tuning
from .probes import best_responses
from .responses import spatial_means
from .selectivity import auroc

TO_ABLATE = 60  # pictures that are classified again without each filter of each layer
RAREST = 0.005  # share of a class's pixels; for rarer parts, the best score would be mostly chance


@dataclass(frozen=True)
class LayerEvidence:
    """Measures of one layer's C filters in N pictures of two classes.

    `means` float32 N×C: the mean of each map.
    `auroc` C: how well each mean tells the second class from the first.
    `kinds` C×5: the strongest response to each of `probes.KINDS`.
    `tuning`: the responses to gratings.
    `ablation`: the answers without each filter.
    `precision` 2×C×P: within each class, the average precision over chance with which a filter's maps locate each part.
    NaN for parts that cover less than `RAREST`. None without masks.
    """

    means: np.ndarray
    auroc: np.ndarray
    kinds: np.ndarray
    tuning: OrientationTuning
    ablation: Ablation
    precision: np.ndarray | None = None

    @property
    def preference(self) -> np.ndarray:
        """The distance of each AUROC from chance, 2 |AUROC − 0.5|: float C in [0, 1]."""
        return 2 * np.abs(self.auroc - 0.5)

    @property
    def dead(self) -> np.ndarray:
        """Filters that are 0 everywhere in every picture: bool C. Values are never negative, so means of 0 suffice."""
        return (self.means == 0).all(axis=0)


def measure(
    model: nn.Module, layer_names: Sequence[str], scenes: Scenes, parts: Sequence[str] = ()
) -> dict[str, LayerEvidence]:
    """Measure layers with non-negative maps (after a ReLU), in pictures of two classes: name → `LayerEvidence`.

    `parts` are the names of the parts in the masks of `scenes`. Without names, no parts are measured.
    """
    labels, size = scenes.labels.numpy(), scenes.pixels.shape[-1]
    some = torch.linspace(0, len(labels) - 1, min(TO_ABLATE, len(labels))).long()
    means = spatial_means(model, layer_names, scenes.pixels)
    tuning = orientation_tuning(model, layer_names, size)
    kinds = best_responses(model, layer_names, size)
    precision = precision_within_classes(model, layer_names, scenes, len(parts)) if parts else {}
    return {
        name: LayerEvidence(
            means[name],
            auroc(means[name], labels),
            kinds[name],
            tuning[name],
            ablate(model, name, scenes.pixels[some], scenes.labels[some]),
            precision.get(name),
        )
        for name in layer_names
    }


def precision_within_classes(
    model: nn.Module, layer_names: Sequence[str], scenes: Scenes, num_parts: int
) -> dict[str, np.ndarray]:
    """The average precision over chance for each part within the pictures of each class: name → float 2×C×P.

    It is NaN for parts that cover less than `RAREST`. Over both classes together, a filter that marks whole bikes would
    look like a filter that marks the wheels of bikes. Masks are used at half their resolution. This is enough for the
    maps of late layers, and four times as fast.
    """
    masks, labels = scenes.masks[:, 1::2, 1::2].numpy(), scenes.labels.numpy()
    scores = part_scores_within(model, layer_names, scenes.pixels, masks, num_parts, labels)
    common = [
        np.bincount(masks[labels == c].flatten(), minlength=num_parts) >= RAREST * masks[labels == c].size
        for c in range(2)
    ]
    return {
        name: np.stack([np.where(common[c], scores[c][name].precision, np.nan) for c in range(2)])
        for name in layer_names
    }
