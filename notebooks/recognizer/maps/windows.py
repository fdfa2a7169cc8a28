"""Receptive fields: the part of the image that each position of a map depends on.

Source: Araujo, Norris & Sim 2019, «Computing Receptive Fields of Convolutional Neural Networks».
"""

import operator
from collections.abc import Iterable
from dataclasses import dataclass
from types import SimpleNamespace

import torch
from torch import fx, nn
from torch.nn import functional
from torchvision.ops import stochastic_depth

KERNELS = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)
KERNEL_FUNCTIONS = (functional.max_pool2d, functional.avg_pool2d)
CONVOLUTION_ARGUMENTS = ["input", "weight", "bias", "stride", "padding", "dilation", "groups"]

# Layers whose output at a position depends only on the input at the same position.
POINTWISE = (
    *(nn.Identity, nn.BatchNorm2d, nn.Dropout, nn.Dropout2d),
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish),
    *(nn.Sigmoid, nn.Tanh, nn.Softplus, nn.Hardsigmoid, nn.Hardswish, nn.Hardtanh),
)
POINTWISE_FUNCTIONS = {
    *(operator.add, operator.iadd, operator.sub, operator.mul, operator.imul, operator.truediv, operator.neg),
    *(torch.add, torch.sub, torch.mul, torch.div, torch.cat, torch.relu, torch.sigmoid, torch.tanh),
    *(functional.relu, functional.relu6, functional.leaky_relu, functional.elu, functional.gelu),
    *(functional.silu, functional.hardswish, functional.hardsigmoid, functional.hardtanh, functional.batch_norm),
    *(functional.dropout, functional.dropout2d, stochastic_depth, torch.clamp, operator.isub, operator.itruediv),
}
POINTWISE_METHODS = {"add", "add_", "sub", "sub_", "mul", "mul_", "div", "div_", "relu", "relu_", "clamp", "clamp_"}
POINTWISE_METHODS |= {"sigmoid", "tanh", "contiguous", "clone", "detach"}


@dataclass(frozen=True)
class Window:
    """The receptive fields of all positions of a map along one axis, in pixels of the image.

    Position i sees `size` pixels, and the first of them is `start` + i × `stride`. `start` is negative if padding is
    included. If `stride` is 0, every position sees the whole image.
    """

    size: int
    stride: int
    start: int


def windows_of(model: nn.Module, graph: fx.Graph, image_size: tuple[int, int]) -> dict[str, tuple[Window, Window]]:
    """The receptive fields of every module that runs, in order: name → (vertical window, horizontal window).

    `image_size` is the (height, width) of the images, and `graph` is what `trace(model, fx.Tracer())` returns. The
    names are those of `model.named_modules()`, with '' for the model itself. Later calls of a module are 'name#2',
    'name#3', …, as in `capture`. If branches meet, the window is the union of their windows. Operations other than
    convolutions, pooling and known pointwise operations (flattening, linear layers, adaptive pooling, attention) see
    the whole image.
    """
    vertical, horizontal = (_along(model, graph, axis, Window(side, 0, 0)) for axis, side in enumerate(image_size))
    return {name: (vertical[name], horizontal[name]) for name in vertical}


def union(windows: Iterable[Window], whole: Window) -> Window:
    """The smallest window that contains all `windows`. It is `whole` if their strides differ."""
    windows = list(windows)
    if len({window.stride for window in windows}) > 1:
        return whole
    start = min(window.start for window in windows)
    end = max(window.start + window.size for window in windows)
    return Window(end - start, windows[0].stride, start)


def _along(model: nn.Module, graph: fx.Graph, axis: int, whole: Window) -> dict[str, Window]:
    """The windows along one axis, by the recursion of Araujo et al.: name → window."""
    of_node: dict[fx.Node, Window] = {}
    of_module: dict[str, Window] = {}
    for node in graph.nodes:
        if node.op == "placeholder":
            of_node[node] = Window(1, 1, 0)
        # Weights have no window, and neither has a value that is computed from weights alone.
        sources = [of_node[source] for source in node.all_input_nodes if source in of_node]
        if not sources or node.op == "output":
            continue
        if (kernel := _kernel(model, node)) is not None:
            of_node[node] = _through(kernel, sources[0], axis)
        else:
            of_node[node] = union(sources, whole) if _is_pointwise(model, node) else whole
        # The last node traced inside a block is the block's output. fx writes the second call as 'name@1'.
        for name in node.meta.get("nn_module_stack", ()):
            name, _, repeat = name.partition("@")
            of_module[f"{name}#{int(repeat) + 1}" if repeat else name] = of_node[node]
    return of_module


def _kernel(model: nn.Module, node: fx.Node) -> nn.Module | SimpleNamespace | None:
    """An object with the kernel_size, stride, padding and dilation of `node`; None for a node without a kernel."""
    if node.op == "call_module":
        layer = model.get_submodule(node.target)
        return layer if isinstance(layer, KERNELS) else None
    if node.target is functional.conv2d:  # custom layers call it, for example a convolution that includes its ReLU
        return _convolution(model, node)
    if node.op == "call_function" and node.target in KERNEL_FUNCTIONS:
        return SimpleNamespace(**node.normalized_arguments(model, normalize_to_only_use_kwargs=True).kwargs)
    return None


def _convolution(model: nn.Module, node: fx.Node) -> SimpleNamespace | None:
    """As `_kernel`, for a call of `conv2d`. None if its weights are computed, since their size is then unknown."""
    arguments = {"stride": 1, "padding": 0, "dilation": 1}
    arguments |= dict(zip(CONVOLUTION_ARGUMENTS, node.args)) | node.kwargs
    if arguments["weight"].op != "get_attr":
        return None
    kernel_size = tuple(model.get_parameter(arguments["weight"].target).shape[2:])
    return SimpleNamespace(kernel_size=kernel_size, **arguments)


def _is_pointwise(model: nn.Module, node: fx.Node) -> bool:
    if node.op == "call_module":
        return isinstance(model.get_submodule(node.target), POINTWISE)
    return node.target in (POINTWISE_METHODS if node.op == "call_method" else POINTWISE_FUNCTIONS)


def _through(layer: nn.Module | SimpleNamespace, window: Window, axis: int) -> Window:
    """The window along one axis after the kernel of `layer`, if its input positions have the window `window`."""

    def along(value: int | tuple[int, ...]) -> int:
        return value[axis] if isinstance(value, tuple | list) else value

    kernel = along(layer.kernel_size)
    stride = along(layer.stride or kernel)
    reach = along(getattr(layer, "dilation", 1)) * (kernel - 1)
    # The padding of a convolution may be a word: 'valid' means 0; 'same' pads half the reach in front, rounded down.
    padding = layer.padding
    if isinstance(padding, str):
        padding = reach // 2 if padding == "same" else 0
    return Window(
        size=window.size + reach * window.stride,
        stride=window.stride * stride,
        start=window.start - along(padding) * window.stride,
    )
