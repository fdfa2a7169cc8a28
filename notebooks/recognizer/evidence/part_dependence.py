"""How far a filter depends on a part: its change without the part, compared with its change in a control."""

from collections.abc import Mapping, Sequence

import numpy as np
from torch import nn

from ..drawings import without
from .experiments import ask, responses


def dependence(whole: np.ndarray, gone: np.ndarray, control: np.ndarray) -> np.ndarray:
    """How much more a filter's response falls without a part than in the control: float C in [-1, 1].

    `whole`, `gone` and `control` float N×C are the responses of C filters to N scenes: unchanged, without the part, and
    with as many pixels of other parts removed. The response falls by p without the part and by c in the control. The
    score is Σ(p − c) / Σ(|p| + |c|). It is 1 if the response falls without the part and is unchanged in the control. It
    is 0 if both falls are equal, as in a filter that sees the silhouette. It is -1 if the response falls only in the
    control, or rises without the part.
    Scenes with a NaN are left out. The score is NaN for a filter that never changes.
    """
    known = ~np.isnan(whole + gone + control).any(axis=1)
    falls, control_falls = (whole[known] - other[known] for other in (gone, control))
    total = (np.abs(falls) + np.abs(control_falls)).sum(axis=0)
    return (falls - control_falls).sum(axis=0) / np.where(total > 0, total, np.nan)


def dependence_on(
    part: str, networks: Mapping[str, nn.Module], layer_names: Sequence[str], per_class: int, first: int
) -> dict[str, np.ndarray]:
    """The `dependence` of the filters of some layers on `part`, by class: name of the network → float classes×C.

    C counts the filters of all layers, layer after layer. `per_class` drawings of each class are used, from number
    `first` on.
    """
    gone = {"edit": without(part)}
    questions = {"whole": {}, "gone": gone, "control": gone | {"control": True}}
    answers = ask([*networks.values()], questions, responses(layer_names), per_class, first)
    return {
        name: np.stack(
            [
                dependence(*(of_networks[k, start : start + per_class] for of_networks in answers.values()))
                for start in range(0, answers["whole"].shape[1], per_class)
            ]
        )
        for k, name in enumerate(networks)
    }
