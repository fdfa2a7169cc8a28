"""Networks of more than two classes, reduced to one class against the rest."""

import copy

import torch
from torch import Tensor, nn

from ..settings import Problem
from .experiments import Scenes

REST = "other"  # the name of the class that joins all others


class _OneAgainstRest:
    """A mixin in front of a network's class. Its logits become N×2; layers and weights stay the same."""

    label: int
    others: list[int]

    def forward(self, x: Tensor) -> Tensor:
        logits = super().forward(x)
        return torch.stack([logits[:, self.others].logsumexp(dim=1), logits[:, self.label]], dim=1)


def one_against_rest(model: nn.Module, class_name: str = "") -> nn.Module:
    """A copy of `model` that tells one class from all others: N×2 logits, of `REST` and of `class_name`.

    The probability of `class_name` and the names of all layers do not change. Without a `class_name`, it is the last
    class. A network of two classes is returned unchanged.
    Raises `Problem` for a class that the network does not know.
    """
    if class_name and class_name not in model.classes:
        raise Problem(f"CLASS={class_name!r} is none of the network's classes: {', '.join(model.classes)}.")
    if len(model.classes) <= 2:
        return model
    label = model.classes.index(class_name) if class_name else len(model.classes) - 1
    others = [i for i in range(len(model.classes)) if i != label]
    kind, reduced = type(model), copy.deepcopy(model)
    reduced.__class__ = type(kind.__name__, (_OneAgainstRest, kind), {"label": label, "others": others})
    reduced.classes = [REST, model.classes[label]]
    return reduced


def scenes_of_two(scenes: Scenes, classes: list[str], class_name: str = "") -> Scenes:
    """`scenes` with the label 1 for `class_name` (by default the last class) and 0 for all others.

    Both labels are equally frequent, and the others are taken evenly from all other classes. With two `classes`, the
    scenes stay the same.
    """
    if len(classes) <= 2:
        return scenes
    label = classes.index(class_name) if class_name else len(classes) - 1
    of_class, of_rest = ((scenes.labels == label) == is_class for is_class in (True, False))
    of_class, of_rest = of_class.nonzero()[:, 0], of_rest.nonzero()[:, 0]
    count = min(len(of_class), len(of_rest))
    places = torch.linspace(0, len(of_rest) - 1, count).round().long()
    chosen = torch.cat([of_rest[places], of_class[:count]])
    of_two = Scenes(*(values[chosen] for values in scenes))
    return of_two._replace(labels=(of_two.labels == label).long())
