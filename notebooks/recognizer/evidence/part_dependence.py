"""How far a filter depends on a part: its response when the part goes, beside its response when as much else goes."""

from collections.abc import Mapping, Sequence

import numpy as np
from torch import nn

from ..drawings import without
from .experiments import ask, responses


def dependence(whole: np.ndarray, gone: np.ndarray, control: np.ndarray) -> np.ndarray:
    """How much more a filter's response changes without a part than without as much of the rest: float C in [-1, 1].

    `whole`, `gone` and `control` float N×C are the responses of C filters to N scenes: as they are, without the part,
    and with as many pixels of other parts removed. From each change, p and c, the score is Σ(p − c) / Σ(|p| + |c|),
    with a fall as a positive change. 1: the response falls with the part and stays without the rest. 0: both cost it as
    much, as in a filter that sees the silhouette. -1: it falls with the rest alone, or rises without the part.
    Scenes in which a value is NaN are left out. NaN for a filter that never changes.
    """
    known = ~np.isnan(whole + gone + control).any(axis=1)
    falls, of_control = (whole[known] - other[known] for other in (gone, control))
    total = (np.abs(falls) + np.abs(of_control)).sum(axis=0)
    return (falls - of_control).sum(axis=0) / np.where(total > 0, total, np.nan)


def dependence_on(
    part: str, networks: Mapping[str, nn.Module], layer_names: Sequence[str], per_class: int, first: int
) -> dict[str, np.ndarray]:
    """The `dependence` of each filter of some layers on `part`, class by class: name of the network → float classes×C.

    The filters of all layers stand side by side. `per_class` drawings of each class are used, from number `first` on.
    """
    gone = {"edit": without(part)}
    questions = {"whole": {}, "gone": gone, "control": gone | {"control": True}}
    answers = ask([*networks.values()], questions, responses(layer_names), per_class, first)
    return {
        name: np.stack(
            [
                dependence(*(each[k, start : start + per_class] for each in answers.values()))
                for start in range(0, answers["whole"].shape[1], per_class)
            ]
        )
        for k, name in enumerate(networks)
    }
