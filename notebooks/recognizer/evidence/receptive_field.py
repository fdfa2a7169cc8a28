"""The part of an image that a position of a map sees (Araujo, Norris & Sim 2019, «Computing receptive fields»)."""

import operator
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from ..maps.tracing import trace

BEYOND = 225  # the light grey of whatever a position does not see
WINDOWS = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)
WINDOW_FUNCTIONS = (functional.max_pool2d, functional.avg_pool2d)
CONVOLUTION_ARGUMENTS = ["input", "weight", "bias", "stride", "padding", "dilation", "groups"]

# Layers whose output at a position depends on the input at that same position alone.
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
POINTWISE_METHODS = {"add", "add_", "sub", "mul", "mul_", "div", "relu", "relu_", "sigmoid", "tanh", "contiguous"}


@dataclass(frozen=True)
class ReceptiveField:
    """The input pixels that the positions of a map see, the same downwards and across.

    Position 0 sees `size` pixels from pixel `start` on, which is negative where padding takes part. Each further
    position sees as many, `stride` pixels on. With a stride of 0 every position sees the whole image.
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

    def middles(self, count: int, image_size: int) -> np.ndarray:
        """The pixel in the middle of what each of `count` positions sees, 0 for the middle of the first: float `count`.

        Positions that all see the whole image are taken to be spread evenly over it.
        """
        if self.stride == 0:
            return (np.arange(count) + 0.5) * image_size / count - 0.5
        return self.start + (self.size - 1) / 2 + self.stride * np.arange(count)

    def nearest(self, pixel: tuple[float, float], shape: tuple[int, int], image_size: int) -> tuple[int, int]:
        """(row, column), in a map of `shape` (h, w), of the position whose middle is nearest to `pixel` (y, x)."""
        row, column = (
            int(np.abs(self.middles(count, image_size) - place).argmin()) for count, place in zip(shape, pixel)
        )
        return row, column

    def crop(self, image: Tensor, row: int, column: int) -> np.ndarray:
        """The part of an `image`, uint8 3×S×S, that a position sees: uint8, `size`×`size`×3 or S×S×3.

        A field smaller than the image is cut out of it, with light grey for what lies beyond the image. Of a larger
        field the whole image is returned, with light grey for what lies outside of the field.
        """
        top, left, bottom, right = self.box(row, column)
        rows, columns = slice(max(top, 0), max(bottom, 0)), slice(max(left, 0), max(right, 0))
        seen = np.full((*image.shape[1:], 3), BEYOND, np.uint8)
        seen[rows, columns] = image[:, rows, columns].permute(1, 2, 0).cpu().numpy()
        if self.size >= image.shape[1]:
            return seen
        margin = self.size + abs(self.start)  # no position sees anything further out
        wide = np.pad(seen, ((margin, margin), (margin, margin), (0, 0)), constant_values=BEYOND)
        return wide[top + margin : bottom + margin, left + margin : right + margin]


def receptive_fields(model: nn.Module, image_size: int) -> dict[str, ReceptiveField]:
    """The receptive field of every module that runs, in order, for images of `image_size`×`image_size`.

    Names are those of `model.named_modules()`, blocks of several layers included; further calls of a module are
    'name#2', 'name#3', …, as in `capture`. Where branches meet, the field is the union of theirs; a field that is not
    square counts as the square around it. Whatever is neither a window nor known to work position by position
    (flattening, linear layers, adaptive pooling, attention) sees the whole image.
    The model is traced, not run. Raises `Problem` for a model that `torch.fx` cannot trace.
    """
    graph = trace(model, fx.Tracer())
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
        # The last node traced inside a block is the output of the block. fx writes the second call as 'name@1'.
        for name in node.meta.get("nn_module_stack", ()):
            name, _, repeat = name.partition("@")
            of_module[f"{name}#{int(repeat) + 1}" if repeat else name] = field
    return of_module


def _window(model: nn.Module, node: fx.Node) -> nn.Module | SimpleNamespace | None:
    """An object with the kernel_size, stride, padding and dilation of `node`; None for a node that is no window."""
    if node.op == "call_module":
        layer = model.get_submodule(node.target)
        return layer if isinstance(layer, WINDOWS) else None
    if node.target is functional.conv2d:  # also inside a layer of one's own, such as a convolution with its ReLU
        return _convolution(model, node)
    if node.op == "call_function" and node.target in WINDOW_FUNCTIONS:
        return SimpleNamespace(**node.normalized_arguments(model, normalize_to_only_use_kwargs=True).kwargs)
    return None


def _convolution(model: nn.Module, node: fx.Node) -> SimpleNamespace | None:
    """The same as `_window` for a call of `conv2d`; None where its weights are computed and their size is unknown."""
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
    """The field, along one axis, of a window over positions with `field`."""

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
