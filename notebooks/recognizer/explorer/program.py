"""A network as a list of steps that a page can compute, each with its shape, its layer's name and its window."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, fx, nn

from ..maps.tracing import trace
from ..maps.windows import Window, windows_of
from ..settings import Problem
from .steps import FUNCTIONS, LAYERS, Step, Unknown, Value, by_channel


@dataclass(frozen=True)
class Layer:
    """A named layer: its type, the number of the value it makes (0 is the picture), that value's shape, and the
    windows of its positions downwards and across.

    `is_block`: it consists of other layers.
    """

    name: str
    kind: str
    value: int
    shape: tuple[int, ...]
    windows: tuple[Window, Window]
    is_block: bool


@dataclass
class Program:
    """The steps of a network: step i makes value i + 1 out of earlier ones, the last step its answer."""

    input_shape: tuple[int, int, int]
    steps: list[Step] = field(default_factory=list)
    layers: list[Layer] = field(default_factory=list)


def program_of(
    model: nn.Module, input_shape: tuple[int, int, int], normalise: tuple[Tensor, Tensor] | None = None
) -> Program:
    """The steps of `model` for one image of `input_shape` (channels, height, width).

    `normalise`, a mean and a standard deviation for each channel, is done to the image first. Layers have the names of
    `model.named_modules()`; further calls are 'name#2', 'name#3', …, as in `capture`.
    Raises `Problem` for a network that `torch.fx` cannot trace, and for an operation that the page does not know: the
    sentence names its layer.
    """
    model = copy.deepcopy(model).cpu().float().eval()
    return _Translation(model, trace(model, fx.Tracer()), input_shape, normalise).program


class _Translation:
    """Goes through the steps of `torch.fx`, with real values beside them: they tell shapes, and what is constant."""

    def __init__(self, model: nn.Module, graph: fx.Graph, input_shape: tuple[int, ...], normalise) -> None:
        self.model, self.program = model, Program(input_shape)
        run = fx.Interpreter(fx.GraphModule(model, graph), garbage_collect_values=False)
        with torch.no_grad():
            run.run(torch.full((2, *input_shape), 0.5))  # two images, so that the batch can be told from a channel
        self.real = run.env
        self.values: dict[fx.Node, Value] = {}
        of_module: dict[str, Value] = {}
        for node in graph.nodes:
            if node.op == "placeholder":
                self.values[node] = self._picture(normalise)
            elif node.op == "output":
                self._end(node)
            elif isinstance(self.real[node], Tensor) and any(each in self.values for each in node.all_input_nodes):
                self.values[node] = self._add(self._step(node), tuple(self.real[node].shape))
                # The last step inside a block is what the block makes. torch.fx writes its second call as 'name@1'.
                for name in node.meta.get("nn_module_stack", ()):
                    name, _, repeat = name.partition("@")
                    of_module[f"{name}#{int(repeat) + 1}" if repeat else name] = self.values[node]
        windows = windows_of(model, graph, input_shape[1:])
        self.program.layers = [self._layer(name, value, windows[name]) for name, value in of_module.items() if name]
        self.program.layers.sort(key=lambda layer: (layer.value, -layer.name.count(".")))

    def _picture(self, normalise) -> Value:
        picture = Value(0, self.program.input_shape)
        if normalise is None:
            return picture
        mean, deviation = (each.double() for each in normalise)
        return self._add(by_channel(picture, 1 / deviation, -mean / deviation), (2, *picture.shape))

    def _step(self, node: fx.Node) -> Step:
        """The step of one node. Raises `Problem` for one that the page does not know."""
        layer = self.model.get_submodule(node.target) if node.op == "call_module" else None
        what = type(layer).__name__ if layer is not None else getattr(node.target, "__name__", str(node.target))
        known: Callable[..., Step] | None = FUNCTIONS.get(what) if layer is None else LAYERS.get(type(layer))
        arguments, options = fx.node.map_arg((node.args, node.kwargs), self._argument)
        try:
            if known is None:
                raise Unknown(f"the operation {what}")
            step = known(*([] if layer is None else [layer]), *arguments, **options)
            if not all(isinstance(each, Value) for each in step.inputs):
                raise Unknown(f"{what} of weights alone")
            if len(self.real[node].shape) < 2 or self.real[node].shape[0] != 2:
                raise Unknown(f"{what} that mixes the images of a batch")
            return step
        except (Unknown, TypeError, AttributeError, IndexError) as error:
            reason = str(error) if isinstance(error, Unknown) else f"{what} with these arguments ({error})"
            where = _where(node)
            raise Problem(f"{where} needs what the page does not know: {reason}.") from error

    def _argument(self, node: fx.Node) -> object:
        return self.values.get(node, self.real[node])

    def _add(self, step: Step, shape: tuple[int, ...]) -> Value:
        step.shape = shape[1:]
        self.program.steps.append(step)
        return Value(len(self.program.steps), step.shape)

    def _end(self, node: fx.Node) -> None:
        answer = self.values.get(node.args[0]) if isinstance(node.args[0], fx.Node) else None
        if answer is None or len(answer.shape) != 1:
            raise Problem(f"This {type(self.model).__name__} answers with other than a row of numbers for an image.")
        del self.program.steps[answer.number :]  # whatever follows has no part in the answer

    def _layer(self, name: str, value: Value, windows: tuple[Window, Window]) -> Layer:
        module = self.model.get_submodule(name.partition("#")[0])
        is_block = any(module.children())
        return Layer(name, type(module).__name__, value.number, value.shape, windows, is_block)


def _where(node: fx.Node) -> str:
    """The layer that a node belongs to, in words."""
    names = [name.partition("@")[0] for name in node.meta.get("nn_module_stack", ()) if name]
    return f"Layer {names[-1]!r}" if names else "The forward of the network"
