"""What people observe of filters, measure by measure, without changing a picture."""

from collections.abc import Sequence

import numpy as np
from torch import nn

from ..drawings import PARTS
from .ablation import ablate
from .average_precision import part_scores
from .dissection import dissect
from .experiments import Scenes
from .responses import spatial_means
from .selectivity import auroc

TO_ABLATE = 60  # scenes: each filter of each layer is taken out for all of them


def observe_filters(model: nn.Module, layer_names: Sequence[str], scenes: Scenes, part: str) -> dict[str, np.ndarray]:
    """Six observations of the filters of some layers, side by side: name of the observation → float C.

    The first three compare maps with where `part` (one of `PARTS`) is in the drawn `scenes`: the IoU of network
    dissection, the average precision over chance, the correlation. The others look at the filter alone: the mean of its
    maps, how far it prefers a class (2 |AUROC − 0.5|), and the mean absolute change of the log-odds when it is set to
    zero, in `TO_ABLATE` of the scenes.
    """
    # Half the resolution of the masks is enough for maps of late layers, and four times as fast.
    pixels, masks, index = scenes.pixels, scenes.masks[:, 1::2, 1::2].numpy(), PARTS.index(part)
    some = np.linspace(0, len(pixels) - 1, min(TO_ABLATE, len(pixels))).astype(int)
    means = spatial_means(model, layer_names, pixels)
    iou = dissect(model, layer_names, pixels, masks, PARTS)
    pixelwise = part_scores(model, layer_names, pixels, masks, len(PARTS))
    labels = scenes.labels.numpy()
    of_layers = {
        f"IoU with the {part}": [iou[name].iou[:, index] for name in layer_names],
        f"average precision for the {part}": [pixelwise[name].precision[:, index] for name in layer_names],
        f"correlation with the {part}": [pixelwise[name].correlation[:, index] for name in layer_names],
        "mean brightness": [means[name].mean(axis=0) for name in layer_names],
        "preference for a class": [2 * np.abs(auroc(means[name], labels) - 0.5) for name in layer_names],
        "change when taken out": [
            np.abs(ablate(model, name, pixels[some], scenes.labels[some]).drops).mean(axis=0) for name in layer_names
        ],
    }
    return {name: np.concatenate(values) for name, values in of_layers.items()}
