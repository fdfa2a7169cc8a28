"""Take out each filter in turn and measure by how much the answers get worse."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.fx import GraphModule, Interpreter, Node
from torch.fx.node import map_arg
from torchvision.transforms.v2.functional import to_dtype

from ..network.hardware import device_of, fastest_dtype, fastest_memory_format, keep_freed_memory
from ..settings import Problem
from .graph import following, node_of, traced

BATCH = 50  # images at once; with more, the outputs of the first layers need new pages from the system each time
Values = dict[Node, Tensor]


class Change(NamedTuple):
    """The change of one filter: its number, and its new map minus its old one, N×1×H×W."""

    number: int
    new: Tensor


Step = Callable[[Values, Values, Change | None], Tensor]


@dataclass(frozen=True)
class Ablation:
    """The answers to N images without each of a layer's C filters.

    `log_odds` float32 C×N: without filter c, the logarithm of how much likelier the true class is than all others
    together (of two classes, the difference of their logits). `correct` bool C×N: whether the answer is the true class.
    `whole` float32 N and `right` bool N: the same of the whole network.

    The loss of a network that is sure of nearly all its answers lies in a few images, so that it ranks filters by these
    few. Log-odds change by as much whether the network is sure or not, so that every image counts.
    """

    log_odds: np.ndarray
    correct: np.ndarray
    whole: np.ndarray
    right: np.ndarray

    @property
    def drops(self) -> np.ndarray:
        """The drop of the log-odds of the true class in each image without each filter: float32 N×C."""
        return (self.whole - self.log_odds).T

    @property
    def change(self) -> np.ndarray:
        """How much each filter matters: float C, the mean |change of the log-odds| over the median |log-odds|.

        Without the sign, because a filter that speaks for one class speaks against the other: over as many images of
        both, its signed changes cancel.
        """
        return np.abs(self.drops).mean(axis=0) / max(float(np.median(np.abs(self.whole))), 1e-12)

    @property
    def flips(self) -> np.ndarray:
        """The share of images whose answer becomes right or wrong without each filter: float C."""
        return (self.correct != self.right).mean(axis=1)


def accuracy_without(
    model: nn.Module, layer_name: str, pixels: Tensor, labels: Tensor, order: np.ndarray, counts: Sequence[int]
) -> list[float]:
    """The accuracy of `model` when more and more filters of a layer are set to zero together (Morcos et al. 2018).

    `order` holds numbers of filters; for each of `counts`, the first so many of them are taken out. `pixels` is uint8
    N×3×S×S, `labels` int64 N. Whoever orders filters by how much they matter does so on other images.
    """
    layer, found = model.get_submodule(layer_name), []
    for count in counts:
        gone = torch.as_tensor(np.ascontiguousarray(order[:count]), device=device_of(model))
        hook = layer.register_forward_hook(partial(_without_filters, gone))
        try:
            with torch.no_grad():
                logits = torch.cat([model(part.to(gone.device).float() / 255) for part in pixels.split(BATCH)])
        finally:
            hook.remove()
        found.append(float((log_odds_of(logits.cpu(), labels) > 0).float().mean()))
    return found


def _without_filters(gone: Tensor, layer: nn.Module, inputs: tuple, output: Tensor) -> Tensor:
    return output.index_fill(1, gone, 0)  # a copy: something else may hold the output too


def ablate(model: nn.Module, layer_name: str, pixels: Tensor, labels: Tensor, to: str = "zero") -> Ablation:
    """Set each filter of `layer_name` in turn to zero, or to its mean over all images, and ask the network again.

    `pixels` is uint8 N×3×S×S, `labels` int64 N. The network runs once and its outputs are kept. For each filter only
    the steps that follow the layer run again. Convolutions and linear layers compute only what the change in their
    input adds to their earlier output. As the change is small, bfloat16 is exact enough for it where the hardware has
    it (the error is a 250th of the change, while that of a whole network in bfloat16 is a 250th of everything). A
    convolution right after the layer reads the changed filter alone. Raises `Problem` for a network that `torch.fx`
    cannot trace, a layer that does not run exactly once, another `to`.
    """
    if to not in ("zero", "mean"):
        raise Problem(f"A filter can be set to 'zero' or to its 'mean', not to {to!r}.")
    keep_freed_memory()
    device = device_of(model)
    graph = traced(model).to(memory_format=fastest_memory_format(device))
    layer = node_of(graph, layer_name)
    steps = [(node, _step(graph, node)) for node in following(layer) if node.op != "output"]
    pixels, labels = pixels.to(device), labels.to(device)
    batches = list(zip(pixels.split(BATCH), labels.split(BATCH)))
    log_odds, correct = [], []
    with torch.no_grad():
        value = torch.zeros(_run(graph, pixels[:1])[layer].shape[1], device=device)
        if to == "mean":
            for images, _ in batches:
                maps = _run(graph, images)[layer].float()
                value += maps.transpose(0, 1).flatten(1).mean(dim=1) * len(images) / len(pixels)
        for images, truth in batches:
            whole = _run(graph, images)
            maps = whole[layer].transpose(0, 1).unsqueeze(2).contiguous()  # filter by filter, each in one piece
            answers = [_answer(graph, whole)]
            for number, in_its_place in enumerate(value):
                change = Change(number, in_its_place - maps[number])
                answers.append(_without(graph, steps, whole, layer, change, in_its_place))
            logits = torch.stack(answers).float()
            if logits.shape[2] == 1:  # one logit: how much the second of two classes is preferred
                logits = torch.cat([torch.zeros_like(logits), logits], dim=2)
            log_odds.append(log_odds_of(logits, truth))
            correct.append(logits.argmax(dim=2) == truth)
    odds, hits = (torch.cat(each, dim=1).cpu().numpy() for each in (log_odds, correct))
    return Ablation(odds[1:], hits[1:], odds[0], hits[0])


def _run(graph: GraphModule, pixels: Tensor) -> Values:
    """What every step outputs for `pixels`, uint8 n×3×S×S."""
    run = Interpreter(graph, garbage_collect_values=False)
    images = to_dtype(pixels, next(graph.parameters()).dtype, scale=True)
    run.run(images.contiguous(memory_format=fastest_memory_format(images.device)))
    return run.env


def _answer(graph: GraphModule, values: Values) -> Tensor:
    return values[graph.graph.output_node().args[0]]


def _without(
    graph: GraphModule, steps: list[tuple[Node, Step]], whole: Values, layer: Node, change: Change, value: Tensor
) -> Tensor:
    """The logits after a change of one filter of `layer` to `value`; `steps` are those that follow the layer."""
    values = dict(whole)
    if not all(_of_one_filter(_linear_layer(graph, user)) for user in layer.users):
        values[layer] = whole[layer].clone()
        values[layer][:, change.number] = value
    for node, step in steps:
        values[node] = step(values, whole, change if layer in node.all_input_nodes else None)
    return _answer(graph, values)


def _step(graph: GraphModule, node: Node) -> Step:
    """A function that computes the output of `node` from the values so far and those of the whole network.

    It is also given the change, where `node` directly follows the layer.
    """
    if linear := _linear_layer(graph, node):
        return _add_what_changes(linear, node)
    layer = graph.get_submodule(node.target) if node.op == "call_module" else None

    def run_again(values: Values, whole: Values, change: Change | None) -> Tensor:
        arguments, options = map_arg((node.args, node.kwargs), values.__getitem__)
        if layer is not None:
            return layer(*arguments, **options)
        if node.op == "call_method":
            return getattr(arguments[0], node.target)(*arguments[1:], **options)
        return node.target(*arguments, **options)

    return run_again


def _add_what_changes(layer: nn.Conv2d | nn.Linear, node: Node) -> Step:
    """The step of a layer that is linear in its input: its earlier output plus what the change adds to it."""
    dtype = fastest_dtype(layer.weight.device)
    weight = layer.weight.to(dtype)
    (source,) = node.all_input_nodes

    def add(values: Values, whole: Values, change: Change | None) -> Tensor:
        if change is not None and _of_one_filter(layer):
            new, of_new = change.new, weight[:, change.number : change.number + 1]
        else:
            new, of_new = values[source] - whole[source], weight
        if isinstance(layer, nn.Linear):
            return whole[node] + F.linear(new.to(dtype), of_new)
        options = layer.stride, layer.padding, layer.dilation, layer.groups
        return whole[node] + F.conv2d(new.to(dtype), of_new, None, *options)

    return add


def _linear_layer(graph: GraphModule, node: Node) -> nn.Conv2d | nn.Linear | None:
    """The layer that runs at `node`, if it is linear in its input but for a bias, else None."""
    layer = graph.get_submodule(node.target) if node.op == "call_module" else None
    is_linear = type(layer) in (nn.Conv2d, nn.Linear) and getattr(layer, "padding_mode", "zeros") == "zeros"
    return layer if is_linear else None


def _of_one_filter(layer: nn.Module | None) -> bool:
    """Whether a change of one input filter can be followed through the layer without the other filters."""
    return isinstance(layer, nn.Conv2d) and layer.groups == 1


def log_odds_of(logits: Tensor, labels: Tensor) -> Tensor:
    """The logit of the true class minus the log-sum-exp of all others: of …×N×K logits and N labels, …×N.

    It is the logarithm of how much likelier the true class is than all others together. Of one logit, K = 1, which says
    how much the second of two classes is preferred, it is that logit or its negative.
    """
    if logits.shape[-1] == 1:
        logits = torch.cat([torch.zeros_like(logits), logits], dim=-1)
    is_true = F.one_hot(labels, logits.shape[-1]).bool().expand_as(logits)
    others = logits.masked_fill(is_true, -torch.inf).logsumexp(dim=-1)
    return logits[is_true].view(others.shape) - others
