"""Which filters matter? Take one out, and see by how much the answers get worse."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.fx import GraphModule, Interpreter, Node
from torch.fx.node import map_arg

from ..network.hardware import keep_freed_memory
from ..network.training import probabilities_of
from ..settings import Problem
from .graph import following, node_of, traced

BATCH = 64  # images at once
Step = Callable[[dict[Node, Tensor]], Tensor]


@dataclass(frozen=True)
class Ablation:
    """What became of each image without each filter of a layer.

    `losses` float32 C×N (cross-entropy) and `correct` bool C×N without filter c; `loss` float32 N and `right` bool N of
    the whole network; `labels` int N.
    """

    losses: np.ndarray
    correct: np.ndarray
    loss: np.ndarray
    right: np.ndarray
    labels: np.ndarray

    @property
    def loss_rises(self) -> np.ndarray:
        """By how much each image's loss rises without each filter: float32 N×C."""
        return (self.losses - self.loss).T

    def loss_change(self, label: int | None = None) -> np.ndarray:
        """By how much the mean loss rises without each filter, over all images or those of one class: float C."""
        chosen = slice(None) if label is None else self.labels == label
        return self.loss_rises[chosen].mean(axis=0)

    def accuracy_change(self, label: int | None = None) -> np.ndarray:
        """By how much the accuracy rises (mostly it falls) without each filter: float C in [-1, 1]."""
        chosen = slice(None) if label is None else self.labels == label
        return (self.correct.astype(float) - self.right)[:, chosen].mean(axis=1)


def ablate(model: nn.Module, layer_name: str, pixels: Tensor, labels: Tensor, to: str = "zero") -> Ablation:
    """Set one filter of `layer_name` after the other to zero, or to its mean over all images, and ask the network again.

    `pixels` is uint8 N×3×S×S, `labels` int64 N. The network runs once, and is remembered; for each filter only what
    follows the layer is run again. Where a convolution follows at once, not even that is: it is linear, so without a
    filter it puts out what it did, minus what it makes of that filter alone.
    Raises `Problem` for a network that `torch.fx` cannot trace, a layer that does not run exactly once, another `to`.
    """
    if to not in ("zero", "mean"):
        raise Problem(f"A filter can be set to 'zero' or to its 'mean', not to {to!r}.")
    keep_freed_memory()
    graph = traced(model).to(memory_format=torch.channels_last)  # which convolutions on a CPU like best
    layer = node_of(graph, layer_name)
    steps = _steps_after(graph, layer)
    device = next(model.parameters()).device
    pixels, labels = pixels.to(device), labels.to(device)
    batches = list(zip(pixels.split(BATCH), labels.split(BATCH)))
    losses, correct = [], []
    with torch.no_grad():
        value = torch.zeros(1, device=device)
        if to == "mean":
            maps = [_run(graph, images)[layer].float() for images, _ in batches]
            value = sum(m.transpose(0, 1).flatten(1).sum(dim=1) for m in maps)
            value = value / sum(m[:, 0].numel() for m in maps)
        for images, truth in batches:
            whole = _run(graph, images)
            answers = [_answer(graph, whole)]
            for number in range(whole[layer].shape[1]):
                answers.append(_without(graph, steps, whole, layer, number, value[number % len(value)]))
            losses.append(torch.stack([_losses(logits, truth) for logits in answers]))
            correct.append(torch.stack([probabilities_of(x).argmax(dim=1) == truth for x in answers]))
    every_loss, every_answer = (torch.cat(each, dim=1).cpu().numpy() for each in (losses, correct))
    return Ablation(every_loss[1:], every_answer[1:], every_loss[0], every_answer[0], labels.cpu().numpy())


def _run(graph: GraphModule, images: Tensor) -> dict[Node, Tensor]:
    """What every step puts out."""
    run = Interpreter(graph, garbage_collect_values=False)
    run.run((images.float() / 255).contiguous(memory_format=torch.channels_last))
    return run.env


def _answer(graph: GraphModule, values: dict[Node, Tensor]) -> Tensor:
    return values[graph.graph.output_node().args[0]]


def _without(
    graph: GraphModule,
    steps: list[tuple[Node, Step]],
    whole: dict[Node, Tensor],
    layer: Node,
    number: int,
    value: Tensor,
) -> Tensor:
    """The logits when filter `number` of `layer` says `value` everywhere; `steps` are what follows the layer."""
    taken_away = whole[layer][:, number : number + 1] - value
    values = dict(whole)
    if not all(_plain_convolution(graph, user) for user in layer.users):
        values[layer] = whole[layer].clone()
        values[layer][:, number] = value
    for node, step in steps:
        if node in layer.users and (convolution := _plain_convolution(graph, node)):
            values[node] = whole[node] - _part(convolution, number, taken_away)
        else:
            values[node] = step(values)
    return _answer(graph, values)


def _steps_after(graph: GraphModule, layer: Node) -> list[tuple[Node, Step]]:
    """What follows `layer`, each step as a function of the values so far. (`Interpreter` takes longer than a small layer.)"""
    return [(node, partial(_run_step, graph, node)) for node in following(layer) if node.op != "output"]


def _run_step(graph: GraphModule, node: Node, values: dict[Node, Tensor]) -> Tensor:
    arguments, options = map_arg((node.args, node.kwargs), values.__getitem__)
    if node.op == "call_module":
        return graph.get_submodule(node.target)(*arguments, **options)
    if node.op == "call_method":
        return getattr(arguments[0], node.target)(*arguments[1:], **options)
    return node.target(*arguments, **options)


def _plain_convolution(graph: GraphModule, node: Node) -> nn.Conv2d | None:
    """The layer that runs at `node`, where it is linear in each of its input's filters."""
    layer = graph.get_submodule(node.target) if node.op == "call_module" else None
    return layer if type(layer) is nn.Conv2d and layer.groups == 1 and layer.padding_mode == "zeros" else None


def _part(convolution: nn.Conv2d, number: int, maps: Tensor) -> Tensor:
    """What a convolution makes of one of the filters before it, N×1×H×W, without its bias."""
    weight = convolution.weight[:, number : number + 1]
    return F.conv2d(maps, weight, None, convolution.stride, convolution.padding, convolution.dilation)


def _losses(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of each image: float32 N."""
    return F.nll_loss(probabilities_of(logits).clamp(min=1e-12).log(), labels, reduction="none")
