"""Networks of more than two classes, asked about one class against the rest."""

import copy

import torch
from torch import Tensor, nn

from ..settings import Problem
from .experiments import Scenes

REST = "other"  # the name of all other classes together


class _OneAgainstRest:
    """In front of a network's class: its logits become N×2. Layers and weights stay what they are."""

    label: int
    others: list[int]

    def forward(self, x: Tensor) -> Tensor:
        logits = super().forward(x)
        return torch.stack([logits[:, self.others].logsumexp(dim=1), logits[:, self.label]], dim=1)


def one_against_rest(model: nn.Module, class_name: str = "") -> nn.Module:
    """A copy of `model` that answers whether an image is of one class: N×2 logits, of `REST` and of `class_name`.

    The probability of `class_name` stays what it was, and so do the names of all layers. Without a `class_name` it is
    the last class. A network of two classes is returned as it is.
    Raises `Problem` for a class that the network does not know.
    """
    if class_name and class_name not in model.classes:
        raise Problem(f"CLASS={class_name!r} is none of the network's classes: {', '.join(model.classes)}.")
    if len(model.classes) <= 2:
        return model
    label = model.classes.index(class_name) if class_name else len(model.classes) - 1
    others = [i for i in range(len(model.classes)) if i != label]
    kind, asked = type(model), copy.deepcopy(model)
    asked.__class__ = type(kind.__name__, (_OneAgainstRest, kind), {"label": label, "others": others})
    asked.classes = [REST, model.classes[label]]
    return asked


def scenes_of_two(scenes: Scenes, classes: list[str], class_name: str = "") -> Scenes:
    """`scenes` labelled 1 for `class_name` (by default the last class) and 0 for all others, as many of both.

    The others are taken evenly from all other classes. With two `classes` the scenes stay as they are.
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
