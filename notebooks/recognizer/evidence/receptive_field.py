"""Which part of the image a position of a feature map sees (Araujo, Norris & Sim 2019, «Computing receptive fields»)."""

import operator
from dataclasses import dataclass
from types import SimpleNamespace

import torch
from torch import fx, nn
from torch.nn import functional

from ..settings import Problem

WINDOWS = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)
WINDOW_FUNCTIONS = (functional.max_pool2d, functional.avg_pool2d)
CONVOLUTION_ARGUMENTS = ["input", "weight", "bias", "stride", "padding", "dilation", "groups"]

# What puts out, at every position, something made of the values at that same position alone.
POINTWISE = (
    *(nn.Identity, nn.BatchNorm2d, nn.Dropout, nn.Dropout2d),
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish),
    *(nn.Sigmoid, nn.Tanh, nn.Softplus, nn.Hardsigmoid, nn.Hardswish, nn.Hardtanh),
)
POINTWISE_FUNCTIONS = {
    *(operator.add, operator.iadd, operator.sub, operator.mul, operator.imul, operator.truediv, operator.neg),
    *(torch.add, torch.sub, torch.mul, torch.div, torch.cat, torch.relu, torch.sigmoid, torch.tanh),
    *(functional.relu, functional.relu6, functional.leaky_relu, functional.elu, functional.gelu),
    *(functional.silu, functional.hardswish, functional.dropout, functional.dropout2d),
}
POINTWISE_METHODS = set(["add", "add_", "sub", "mul", "mul_", "div", "relu", "relu_", "sigmoid", "tanh", "contiguous"])


@dataclass(frozen=True)
class ReceptiveField:
    """What the positions of a map see, in input pixels, downwards and across alike.

    Position 0 sees `size` pixels from pixel `start` on, which is negative where padding takes part; each further
    position sees as many, `stride` pixels on. A stride of 0: every position sees the whole image.
    """

    size: int
    stride: int
    start: int

    def box(self, row: int, column: int) -> tuple[int, int, int, int]:
        """(top, left, bottom, right) in pixels, the last two exclusive, that position (`row`, `column`) sees.

        It may lie partly beyond the image: there it sees padding.
        """
        top, left = self.start + row * self.stride, self.start + column * self.stride
        return top, left, top + self.size, left + self.size


def receptive_fields(model: nn.Module, image_size: int) -> dict[str, ReceptiveField]:
    """The receptive field of every module that runs, in order, for images of `image_size`×`image_size`.

    Names are those of `model.named_modules()`, blocks of several layers included; further calls of a module are
    'name#2', 'name#3', …, as in `capture`. Where branches meet, the field is the union of theirs; a field that is not
    square counts as the square around it. Whatever is neither a window nor known to work position by position
    (flattening, linear layers, adaptive pooling, attention) sees the whole image.
    The model is traced, not run. Raises `Problem` for a model that `torch.fx` cannot trace.
    """
    try:
        graph = fx.Tracer().trace(model)
    except Exception as error:
        raise Problem(
            f"The receptive fields of this {type(model).__name__} cannot be found, because torch.fx cannot trace "
            f"it ({str(error).splitlines()[0] if str(error) else type(error).__name__})."
        ) from error
    whole = ReceptiveField(image_size, 0, 0)
    vertical, horizontal = (_along(model, graph, axis, whole) for axis in (0, 1))
    return {name: _union([vertical[name], horizontal[name]], whole) for name in vertical}


def _along(model: nn.Module, graph: fx.Graph, axis: int, whole: ReceptiveField) -> dict[str, ReceptiveField]:
    """The fields along one axis, by the recursion of Araujo et al.: name → field."""
    of_node: dict[fx.Node, ReceptiveField] = {}
    of_module: dict[str, ReceptiveField] = {}
    for node in graph.nodes:
        if node.op == "placeholder":
            of_node[node] = ReceptiveField(1, 1, 0)
        # Weights have no field, and what is made of weights alone has none either.
        sources = [of_node[source] for source in node.all_input_nodes if source in of_node]
        if not sources or node.op == "output":
            continue
        if (window := _window(model, node)) is not None:
            field = _through(window, sources[0], axis)
        elif _is_pointwise(model, node):
            field = _union(sources, whole)
        else:
            field = whole
        of_node[node] = field
        # The last node traced inside a block is what the block puts out. fx writes the second call as 'name@1'.
        for name in node.meta.get("nn_module_stack", ()):
            name, _, repeat = name.partition("@")
            of_module[f"{name}#{int(repeat) + 1}" if repeat else name] = field
    return of_module


def _window(model: nn.Module, node: fx.Node) -> nn.Module | SimpleNamespace | None:
    """Whatever has the kernel_size, stride, padding and dilation of `node`; None for a node that is no window."""
    if node.op == "call_module":
        layer = model.get_submodule(node.target)
        return layer if isinstance(layer, WINDOWS) else None
    if node.target is functional.conv2d:  # also inside a layer of one's own, such as a convolution with its ReLU
        return _convolution(model, node)
    if node.op == "call_function" and node.target in WINDOW_FUNCTIONS:
        return SimpleNamespace(**node.normalized_arguments(model, normalize_to_only_use_kwargs=True).kwargs)
    return None


def _convolution(model: nn.Module, node: fx.Node) -> SimpleNamespace | None:
    """What `_window` gives for a call of `conv2d`; None where its weights are computed, so that their size is not known."""
    given = {"stride": 1, "padding": 0, "dilation": 1}
    given |= dict(zip(CONVOLUTION_ARGUMENTS, node.args)) | node.kwargs
    if given["weight"].op != "get_attr":
        return None
    kernel_size = tuple(model.get_parameter(given["weight"].target).shape[2:])
    return SimpleNamespace(kernel_size=kernel_size, **given)


def _is_pointwise(model: nn.Module, node: fx.Node) -> bool:
    if node.op == "call_module":
        return isinstance(model.get_submodule(node.target), POINTWISE)
    return node.target in (POINTWISE_METHODS if node.op == "call_method" else POINTWISE_FUNCTIONS)


def _through(window: nn.Module | SimpleNamespace, field: ReceptiveField, axis: int) -> ReceptiveField:
    """What a window over positions with `field` sees, along one axis."""

    def along(value: int | tuple[int, ...]) -> int:
        return value[axis] if isinstance(value, tuple | list) else value

    kernel = along(window.kernel_size)
    stride = along(window.stride or kernel)
    reach = along(getattr(window, "dilation", 1)) * (kernel - 1)
    # A convolution may have its padding as a word: 'valid' is none, 'same' half of the reach, in front rounded down.
    padding = window.padding
    if isinstance(padding, str):
        padding = reach // 2 if padding == "same" else 0
    return ReceptiveField(
        size=field.size + reach * field.stride,
        stride=field.stride * stride,
        start=field.start - along(padding) * field.stride,
    )


def _union(fields: list[ReceptiveField], whole: ReceptiveField) -> ReceptiveField:
    """The smallest field around `fields`: the whole image where their positions do not go along together."""
    if len({field.stride for field in fields}) > 1:
        return whole
    start = min(field.start for field in fields)
    end = max(field.start + field.size for field in fields)
    return ReceptiveField(end - start, fields[0].stride, start)
