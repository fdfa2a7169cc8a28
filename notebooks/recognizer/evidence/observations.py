"""Common observations of filters, one per measure, without any change to the pictures."""

from collections.abc import Sequence

import numpy as np
from torch import nn

from ..drawings import PARTS
from .ablation import ablate
from .average_precision import scores_of_maps
from .dissection import dissect_maps
from .experiments import Scenes
from .receptive_field import receptive_fields
from .responses import all_maps
from .selectivity import auroc

TO_ABLATE = 60  # scenes that are classified again without each filter of each layer


def observe_filters(model: nn.Module, layer_names: Sequence[str], scenes: Scenes, part: str) -> dict[str, np.ndarray]:
    """Six observations of the filters of some layers, layer after layer: name of the observation → float C.

    The first three compare maps with the masks of `part` (one of `PARTS`) in the drawn `scenes`: the IoU of network
    dissection, the average precision over chance, and the correlation. The others do not use masks: the mean of the
    filter's maps, its preference for a class (2 |AUROC − 0.5|), and the mean absolute change of the log-odds when it is
    set to zero, in `TO_ABLATE` of the scenes.
    """
    # Masks at half their resolution are enough for the maps of late layers, and four times as fast.
    pixels, where = scenes.pixels, (scenes.masks[:, 1::2, 1::2] == PARTS.index(part)).long()
    some = np.linspace(0, len(pixels) - 1, min(TO_ABLATE, len(pixels))).astype(int)
    side, labels = pixels.shape[-1], scenes.labels.numpy()
    fields, maps = receptive_fields(model, side), all_maps(model, layer_names, pixels)
    means = {name: of_layer.mean(axis=(2, 3)) for name, of_layer in maps.items()}
    iou = [dissect_maps(maps[name], fields[name], side, where, ["background", part]).iou for name in layer_names]
    pixelwise = [scores_of_maps(maps[name], fields[name], side, where.numpy(), 2) for name in layer_names]
    of_layers = {
        f"IoU with the {part}": [of_layer[:, 1] for of_layer in iou],
        f"average precision for the {part}": [of_layer.precision[:, 1] for of_layer in pixelwise],
        f"correlation with the {part}": [of_layer.correlation[:, 1] for of_layer in pixelwise],
        "mean brightness": [means[name].mean(axis=0) for name in layer_names],
        "preference for a class": [2 * np.abs(auroc(means[name], labels) - 0.5) for name in layer_names],
        "change when taken out": [
            np.abs(ablate(model, name, pixels[some], scenes.labels[some]).drops).mean(axis=0) for name in layer_names
        ],
    }
    return {name: np.concatenate(values) for name, values in of_layers.items()}
