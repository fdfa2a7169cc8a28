"""Set each filter to zero in turn, and measure how much the network's answers change."""

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

BATCH = 50  # images; with more, the first layers' outputs would need new memory from the system for every batch
Values = dict[Node, Tensor]


class Change(NamedTuple):
    """A change of one filter: its number, and its new map minus its old map, N×1×H×W."""

    number: int
    delta: Tensor


Step = Callable[[Values, Values, Change | None], Tensor]


@dataclass(frozen=True)
class Ablation:
    """The answers to N images without each of a layer's C filters.

    `log_odds` float32 C×N: the log-odds of the true class without filter c (see `log_odds_of`).
    `correct` bool C×N: whether the answer without filter c is the true class.
    `baseline_log_odds` float32 N and `baseline_correct` bool N: the same for the unchanged network.

    Filters are ranked by log-odds and not by the loss. If a network is confident about nearly all images, a few images
    make up most of its loss, and the loss would rank filters by these few. Log-odds change by the same amount whether
    the network is confident or not, so every image counts.
    """

    log_odds: np.ndarray
    correct: np.ndarray
    baseline_log_odds: np.ndarray
    baseline_correct: np.ndarray

    @property
    def drops(self) -> np.ndarray:
        """How far the log-odds of the true class drop in each image without each filter: float32 N×C."""
        return (self.baseline_log_odds - self.log_odds).T

    @property
    def change(self) -> np.ndarray:
        """How much each filter matters: float C, the mean |change of the log-odds| over the median |log-odds|.

        The changes are absolute. A filter that supports one class opposes the other, so its signed changes would cancel
        over images of both classes.
        """
        return np.abs(self.drops).mean(axis=0) / max(float(np.median(np.abs(self.baseline_log_odds))), 1e-12)

    @property
    def flips(self) -> np.ndarray:
        """The share of images whose answer becomes correct or incorrect without each filter: float C."""
        return (self.correct != self.baseline_correct).mean(axis=1)


def accuracy_without(
    model: nn.Module, layer_name: str, pixels: Tensor, labels: Tensor, order: np.ndarray, counts: Sequence[int]
) -> list[float]:
    """The accuracy of `model` while more and more filters of a layer are set to zero together (Morcos et al. 2018).

    `order` holds numbers of filters. For each count in `counts`, the first that many of them are set to zero. `pixels`
    is uint8 N×3×S×S, `labels` int64 N. An `order` by importance must come from other images. Returns one accuracy per
    count.
    """
    layer, accuracies = model.get_submodule(layer_name), []
    for count in counts:
        numbers = torch.as_tensor(np.ascontiguousarray(order[:count]), device=device_of(model))
        hook = layer.register_forward_hook(partial(_without_filters, numbers))
        try:
            with torch.no_grad():
                logits = torch.cat([model(batch.to(numbers.device).float() / 255) for batch in pixels.split(BATCH)])
        finally:
            hook.remove()
        accuracies.append(float((log_odds_of(logits.cpu(), labels) > 0).float().mean()))
    return accuracies


def _without_filters(numbers: Tensor, layer: nn.Module, inputs: tuple, output: Tensor) -> Tensor:
    return output.index_fill(1, numbers, 0)  # a copy, because other code may still use the output


def ablate(model: nn.Module, layer_name: str, pixels: Tensor, labels: Tensor, to: str = "zero") -> Ablation:
    """Set each filter of `layer_name` in turn to zero, or to its mean over all images, and compute the new answers.

    `pixels` is uint8 N×3×S×S, `labels` int64 N. The whole network runs once, and the outputs of all its steps are kept.
    For each filter, only the steps after the layer run again. Convolutions and linear layers compute only what the
    change in their input adds to their earlier output. The change is small, so bfloat16 is exact enough for it, where
    the hardware supports it: the error is a 250th of the change. In a whole network in bfloat16, it would be a 250th of
    the full values. A convolution directly after the layer reads only the changed filter.
    Raises `Problem` for a network that `torch.fx` cannot trace, for a layer that does not run exactly once, and for any
    other `to`.
    """
    if to not in ("zero", "mean"):
        raise Problem(f"A filter can be set to 'zero' or to its 'mean', not to {to!r}.")
    keep_freed_memory()
    device = device_of(model)
    graph = traced(model).to(memory_format=fastest_memory_format(device))
    layer = node_of(graph, layer_name)
    steps = [(node, _step(graph, node)) for node in following(layer) if node.op != "output"]
    batches = list(zip(pixels.to(device).split(BATCH), labels.to(device).split(BATCH)))
    log_odds, correct = [], []
    with torch.no_grad():
        values = _replacements(graph, layer, [images for images, _ in batches], to)
        for images, truth in batches:
            logits = _logits(graph, steps, layer, images, values)
            log_odds.append(log_odds_of(logits, truth))
            correct.append(logits.argmax(dim=2) == truth)
    log_odds, correct = (torch.cat(results, dim=1).cpu().numpy() for results in (log_odds, correct))
    return Ablation(log_odds[1:], correct[1:], log_odds[0], correct[0])


def _replacements(graph: GraphModule, layer: Node, batches: Sequence[Tensor], to: str) -> Tensor:
    """What each filter's map is set to: 0, or its mean over all images, which come in `batches`. float C."""
    means = torch.zeros(_run(graph, batches[0][:1])[layer].shape[1], device=batches[0].device)
    if to == "mean":
        num_images = sum(map(len, batches))
        for images in batches:
            maps = _run(graph, images)[layer].float()
            means += maps.transpose(0, 1).flatten(1).mean(dim=1) * len(images) / num_images
    return means


def _logits(graph: GraphModule, steps: list[tuple[Node, Step]], layer: Node, images: Tensor, values: Tensor) -> Tensor:
    """The logits of the unchanged network, and then those with each filter of `layer` set to its value: (1+C)×n×K."""
    baseline = _run(graph, images)
    maps = baseline[layer].transpose(0, 1).unsqueeze(2).contiguous()  # one contiguous block per filter
    answers = [_answer(graph, baseline)]
    for number, value in enumerate(values):
        change = Change(number, value - maps[number])
        answers.append(_without(graph, steps, baseline, layer, change, value))
    return _two_logits(torch.stack(answers).float())


def _two_logits(logits: Tensor) -> Tensor:
    """…×N×K logits; a single logit, K = 1, says how far the second of two classes is preferred and becomes two."""
    return torch.cat([torch.zeros_like(logits), logits], dim=-1) if logits.shape[-1] == 1 else logits


def _run(graph: GraphModule, pixels: Tensor) -> Values:
    """The output of every step for `pixels`, uint8 n×3×S×S."""
    run = Interpreter(graph, garbage_collect_values=False)
    images = to_dtype(pixels, next(graph.parameters()).dtype, scale=True)
    run.run(images.contiguous(memory_format=fastest_memory_format(images.device)))
    return run.env


def _answer(graph: GraphModule, values: Values) -> Tensor:
    return values[graph.graph.output_node().args[0]]


def _without(
    graph: GraphModule, steps: list[tuple[Node, Step]], baseline: Values, layer: Node, change: Change, value: Tensor
) -> Tensor:
    """The logits after one filter of `layer` is set to `value`. `steps` are the steps after the layer."""
    values = dict(baseline)
    if not all(_reads_filters_alone(_linear_layer(graph, user)) for user in layer.users):
        values[layer] = baseline[layer].clone()
        values[layer][:, change.number] = value
    for node, step in steps:
        values[node] = step(values, baseline, change if layer in node.all_input_nodes else None)
    return _answer(graph, values)


def _step(graph: GraphModule, node: Node) -> Step:
    """A function that computes the output of `node` from the new values and those of the unchanged network.

    Its third argument is the change if `node` directly follows the layer, else None.
    """
    if linear := _linear_layer(graph, node):
        return _linear_step(linear, node)
    layer = graph.get_submodule(node.target) if node.op == "call_module" else None

    def run_again(values: Values, baseline: Values, change: Change | None) -> Tensor:
        arguments, options = map_arg((node.args, node.kwargs), values.__getitem__)
        if layer is not None:
            return layer(*arguments, **options)
        if node.op == "call_method":
            return getattr(arguments[0], node.target)(*arguments[1:], **options)
        return node.target(*arguments, **options)

    return run_again


def _linear_step(layer: nn.Conv2d | nn.Linear, node: Node) -> Step:
    """The step of a linear layer: its earlier output plus what the change in its input adds to it."""
    dtype = fastest_dtype(layer.weight.device)
    weight = layer.weight.to(dtype)
    (source,) = node.all_input_nodes

    def add(values: Values, baseline: Values, change: Change | None) -> Tensor:
        if change is not None and _reads_filters_alone(layer):
            delta, weight_of_delta = change.delta, weight[:, change.number : change.number + 1]
        else:
            delta, weight_of_delta = values[source] - baseline[source], weight
        if isinstance(layer, nn.Linear):
            return baseline[node] + F.linear(delta.to(dtype), weight_of_delta)
        options = layer.stride, layer.padding, layer.dilation, layer.groups
        return baseline[node] + F.conv2d(delta.to(dtype), weight_of_delta, None, *options)

    return add


def _linear_layer(graph: GraphModule, node: Node) -> nn.Conv2d | nn.Linear | None:
    """The layer at `node` if its output is a linear function of its input plus a bias, else None."""
    layer = graph.get_submodule(node.target) if node.op == "call_module" else None
    is_linear = type(layer) in (nn.Conv2d, nn.Linear) and getattr(layer, "padding_mode", "zeros") == "zeros"
    return layer if is_linear else None


def _reads_filters_alone(layer: nn.Module | None) -> bool:
    """Whether the layer can process a change of one input filter without the other filters."""
    return isinstance(layer, nn.Conv2d) and layer.groups == 1


def log_odds_of(logits: Tensor, labels: Tensor) -> Tensor:
    """The log-odds of the true class, in nats: of …×N×K logits and N labels, …×N.

    They are the logit of the true class minus the log-sum-exp of all other logits, that is log(p / (1 − p)) for the
    probability p of the true class. A single logit, K = 1, says how far the second of two classes is preferred.
    """
    logits = _two_logits(logits)
    is_true = F.one_hot(labels, logits.shape[-1]).bool().expand_as(logits)
    others = logits.masked_fill(is_true, -torch.inf).logsumexp(dim=-1)
    return logits[is_true].view(others.shape) - others
