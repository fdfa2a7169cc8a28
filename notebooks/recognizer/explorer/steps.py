"""The operations that the page can compute. Every supported PyTorch function is converted to a step.

The functions here have the signatures of the PyTorch functions that they convert. So Python itself handles positional
arguments, keyword arguments and defaults.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Value:
    """The value that a step computes: its number (0 is the picture) and its shape without the batch dimension."""

    number: int
    shape: tuple[int, ...]


@dataclass
class Step:
    """One step: its kind, input values, options and tensors. The shape of its output is added later."""

    kind: str
    inputs: list[Value]
    options: dict = field(default_factory=dict)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    shape: tuple[int, ...] = ()


class Unknown(Exception):
    """An operation that the page cannot compute. The text completes «the page cannot compute: …»."""


def pair(value: int | Sequence[int]) -> list[int]:
    """The vertical and the horizontal number. A single number counts for both."""
    numbers = list(value) if isinstance(value, tuple | list) else [value]
    return [int(number) for number in (numbers * 2 if len(numbers) == 1 else numbers)]


def per_channel(constant: float | Tensor, shape: Sequence[int]) -> Tensor:
    """A constant as float32 of shape 1 or C, where C is the number of channels of a value of `shape`."""
    constant = torch.as_tensor(constant, dtype=torch.float32)
    if constant.numel() == 1:
        return constant.reshape(1)
    sides = [1] * (len(shape) + 1 - constant.ndim) + list(constant.shape)  # as in broadcasting, with the batch
    if len(sides) != len(shape) + 1 or sides[0] != 1 or any(side != 1 for side in sides[2:]) or sides[1] != shape[0]:
        raise Unknown("arithmetic with a constant other than one number, or one number per channel")
    return constant.reshape(-1)


def convolution(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    kernel, dilation = list(weight.shape[2:]), pair(dilation)
    reach = [d * (k - 1) for d, k in zip(dilation, kernel)]
    if isinstance(padding, str):  # 'same' puts an odd pixel of padding at the end
        before = [r // 2 if padding == "same" else 0 for r in reach]
        after = [r - b if padding == "same" else 0 for r, b in zip(reach, before)]
    else:
        before = after = pair(padding)
    tensors = {"weight": weight} | ({} if bias is None else {"bias": bias})
    options = {"kernel": kernel, "stride": pair(stride), "dilation": dilation, "groups": groups}
    return Step("convolution", [x], options | {"before": before, "after": after}, tensors)


def _convolution_layer(layer: nn.Conv2d, x: Value) -> Step:
    if layer.padding_mode != "zeros":
        raise Unknown(f"a convolution with padding_mode={layer.padding_mode!r}")
    return convolution(x, layer.weight, layer.bias, layer.stride, layer.padding, layer.dilation, layer.groups)


def linear(x, weight, bias=None):
    if len(x.shape) != 1:
        raise Unknown("a linear layer whose input is not one row of numbers per image")
    return Step("linear", [x], {}, {"weight": weight} | ({} if bias is None else {"bias": bias}))


def batch_norm(x, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5):
    if running_mean is None or training:
        raise Unknown("batch norm without a running mean")
    scale = (running_var.double() + eps).rsqrt()
    scale = scale if weight is None else scale * weight
    shift = -running_mean * scale
    return by_channel(x, scale, shift if bias is None else shift + bias)


def _batch_norm_layer(layer: nn.Module, x: Value) -> Step:
    return batch_norm(x, layer.running_mean, layer.running_var, layer.weight, layer.bias, False, 0.1, layer.eps)


def affine(x: Value, scale: float | Tensor, shift: float | Tensor) -> Step:
    """scale · x + shift. Both constants are one number, or broadcast to one number per channel."""
    return Step("affine", [x], {}, {"scale": per_channel(scale, x.shape), "shift": per_channel(shift, x.shape)})


def by_channel(x: Value, scale: Tensor, shift: Tensor) -> Step:
    """scale · x + shift, with tensors of shape C."""
    sides = (-1, *[1] * (len(x.shape) - 1))
    return affine(x, scale.reshape(sides), shift.reshape(sides))


def max_pool(x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False):
    if return_indices:
        raise Unknown("pooling that also returns the indices of the largest values")
    return _pool("max_pool", x, kernel_size, stride, padding, dilation=pair(dilation))


def average_pool(
    x, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None
):
    divisor = {"count_padding": count_include_pad, "divisor": divisor_override}
    return _pool("average_pool", x, kernel_size, stride, padding, dilation=[1, 1], **divisor)


def _pool(kind: str, x: Value, kernel_size, stride, padding, **options) -> Step:
    # ceil_mode is not needed: the shape of the output shows whether PyTorch rounded up.
    options = {"kernel": pair(kernel_size), "stride": pair(stride or kernel_size), "before": pair(padding)} | options
    return Step(kind, [x], options)


def adaptive_average_pool(x, output_size):
    return Step("adaptive_average_pool", [x])


def adaptive_max_pool(x, output_size, return_indices=False):
    if return_indices:
        raise Unknown("pooling that also returns the indices of the largest values")
    return Step("adaptive_max_pool", [x])


def mean(x, dim=None, keepdim=False):
    dims = sorted(d % (len(x.shape) + 1) for d in ([dim] if isinstance(dim, int) else dim or []))
    if len(x.shape) != 3 or dims != [2, 3]:
        raise Unknown("a mean over dimensions other than the height and width of maps")
    return Step("adaptive_average_pool", [x])


def softmax(x, dim=None, *_, **__):
    if dim not in (1, -len(x.shape)):
        raise Unknown("a softmax over a dimension other than the channels")
    return Step("softmax", [x])


def concatenate(tensors, dim=0):
    rank = len(tensors[0].shape) + 1
    if dim % rank != 1 or not all(isinstance(tensor, Value) for tensor in tensors):
        raise Unknown("concatenation along a dimension other than the channels")
    return Step("concatenate", list(tensors))


def same(x, *_, **__):
    """An operation that does not change the values, such as a copy."""
    return Step("same", [x])


def dropout(x, p=0.5, training=True, inplace=False):
    return _only_in_training(x, p, training)


def stochastic_depth(input, p, mode, training=True):
    return _only_in_training(input, p, training)


def _only_in_training(x: Value, p: float, training: bool) -> Step:
    if training and p > 0:
        raise Unknown("dropout that is active (training=True)")
    return Step("same", [x])


def reshaped(x, *_, **__):
    """The same values in the same order with another shape. `program` checks that the batch stays first."""
    return Step("same", [x])


def pointwise(name: str, **defaults: float) -> Callable[..., Step]:
    """A converter for a function that is applied to every value alone.

    `defaults` are the parameters of the function and their default values, in the order of PyTorch's arguments.
    """

    def convert(x, *arguments, inplace=False, **options):
        parameters = defaults | dict(zip(defaults, arguments)) | {k: v for k, v in options.items() if k in defaults}
        return Step("pointwise", [x], {"function": name} | {k: v for k, v in parameters.items() if v is not None})

    return convert


def gelu(x, approximate="none"):
    return Step("pointwise", [x], {"function": "gelu_tanh" if approximate == "tanh" else "gelu"})


def _arithmetic(kind: str, with_constant: Callable[[Value, float | Tensor], Step]) -> Callable[..., Step]:
    """A converter for arithmetic with two values, or with a value and a constant."""

    def convert(a, b, *, alpha=1, out=None):
        if alpha != 1:
            raise Unknown("addition with alpha")
        if isinstance(a, Value) and isinstance(b, Value):
            if len(a.shape) != len(b.shape):
                raise Unknown("arithmetic with values of different numbers of dimensions")
            if len(a.shape) > 3 and a.shape != b.shape:
                raise Unknown("broadcasting of values with more dimensions than maps have")
            return Step(kind, [a, b])
        if isinstance(a, Value):
            return with_constant(a, b)
        if kind in ("add", "multiply"):
            return with_constant(b, a)
        if kind == "subtract":
            return affine(b, -1.0, a)
        raise Unknown("a constant divided by a value")

    return convert


add = _arithmetic("add", lambda x, c: affine(x, 1.0, c))
subtract = _arithmetic("subtract", lambda x, c: affine(x, 1.0, -c))
multiply = _arithmetic("multiply", lambda x, c: affine(x, c, 0.0))
divide = _arithmetic("divide", lambda x, c: affine(x, 1 / torch.as_tensor(c, dtype=torch.float64), 0.0))

relu, relu6 = pointwise("relu"), pointwise("clamp", min=0.0, max=6.0)
leaky_relu = pointwise("leaky_relu", negative_slope=0.01)
elu, clamp = pointwise("elu", alpha=1.0), pointwise("clamp", min=None, max=None)
silu, hardswish, hardsigmoid = pointwise("silu"), pointwise("hardswish"), pointwise("hardsigmoid")
sigmoid, tanh = pointwise("sigmoid"), pointwise("tanh")

LAYERS: dict[type[nn.Module], Callable[[nn.Module, Value], Step]] = {
    nn.Conv2d: _convolution_layer,
    nn.BatchNorm2d: _batch_norm_layer,
    nn.BatchNorm1d: _batch_norm_layer,
    nn.Linear: lambda layer, x: linear(x, layer.weight, layer.bias),
    nn.MaxPool2d: lambda layer, x: max_pool(
        x, layer.kernel_size, layer.stride, layer.padding, layer.dilation, layer.ceil_mode, layer.return_indices
    ),
    nn.AvgPool2d: lambda layer, x: average_pool(
        *(x, layer.kernel_size, layer.stride, layer.padding, layer.ceil_mode),
        *(layer.count_include_pad, layer.divisor_override),
    ),
    nn.AdaptiveAvgPool2d: lambda layer, x: adaptive_average_pool(x, layer.output_size),
    nn.AdaptiveMaxPool2d: lambda layer, x: adaptive_max_pool(x, layer.output_size, layer.return_indices),
    nn.Flatten: lambda layer, x: reshaped(x),
    nn.Unflatten: lambda layer, x: reshaped(x),
    nn.Softmax: lambda layer, x: softmax(x, layer.dim),
    nn.LeakyReLU: lambda layer, x: leaky_relu(x, layer.negative_slope),
    nn.ELU: lambda layer, x: elu(x, layer.alpha),
    nn.Hardtanh: lambda layer, x: clamp(x, layer.min_val, layer.max_val),
    nn.GELU: lambda layer, x: gelu(x, layer.approximate),
}
LAYERS |= {kind: lambda layer, x: same(x) for kind in (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d)}
for kind, convert in (
    *((nn.ReLU, relu), (nn.ReLU6, relu6), (nn.SiLU, silu), (nn.Sigmoid, sigmoid), (nn.Tanh, tanh)),
    *((nn.Hardswish, hardswish), (nn.Hardsigmoid, hardsigmoid)),
):
    LAYERS[kind] = lambda layer, x, convert=convert: convert(x)

# The converters of functions and methods, by their name in PyTorch or in Python's operator module.
FUNCTIONS: dict[str, Callable[..., Step]] = {
    "conv2d": convolution,
    "linear": linear,
    "batch_norm": batch_norm,
    "max_pool2d": max_pool,
    "avg_pool2d": average_pool,
    "adaptive_avg_pool2d": adaptive_average_pool,
    "adaptive_max_pool2d": adaptive_max_pool,
    "mean": mean,
    "softmax": softmax,
    "neg": lambda x: affine(x, -1.0, 0.0),
    "leaky_relu": leaky_relu,
    "relu6": relu6,
    "elu": elu,
    "gelu": gelu,
    "silu": silu,
    "sigmoid": sigmoid,
    "tanh": tanh,
    "hardsigmoid": hardsigmoid,
    "hardswish": hardswish,
    "hardtanh": lambda x, min_val=-1.0, max_val=1.0, inplace=False: clamp(x, min_val, max_val),
}
for names, convert in (
    (("cat", "concat", "concatenate"), concatenate),
    (("add", "add_", "iadd"), add),
    (("sub", "sub_", "isub", "subtract"), subtract),
    (("mul", "mul_", "imul", "multiply"), multiply),
    (("div", "div_", "truediv", "itruediv", "true_divide"), divide),
    (("relu", "relu_"), relu),
    (("clamp", "clamp_"), clamp),
    (("flatten", "view", "reshape", "squeeze", "unsqueeze", "unflatten"), reshaped),
    (("dropout", "dropout1d", "dropout2d"), dropout),
    (("stochastic_depth",), stochastic_depth),
    (("contiguous", "clone", "detach", "to", "float"), same),
):
    FUNCTIONS |= dict.fromkeys(names, convert)
