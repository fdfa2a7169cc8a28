"""Translate a network into a list of steps that the page can compute, and describe its layers."""

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
    """A named layer: its type, the number and the shape of its output value, and its (vertical, horizontal) windows.

    Value 0 is the picture. `is_block` says whether the layer consists of other layers.
    """

    name: str
    kind: str
    value: int
    shape: tuple[int, ...]
    windows: tuple[Window, Window]
    is_block: bool


@dataclass
class Program:
    """The steps of a network. Step i computes value i + 1 from earlier values. The last value is the output."""

    input_shape: tuple[int, int, int]
    steps: list[Step] = field(default_factory=list)
    layers: list[Layer] = field(default_factory=list)


def program_of(
    model: nn.Module, input_shape: tuple[int, int, int], normalise: tuple[Tensor, Tensor] | None = None
) -> Program:
    """Translate `model` for one image of `input_shape` (channels, height, width).

    With `normalise`, a mean and a standard deviation per channel, the first step normalises the image. Layers have the
    names of `model.named_modules()`. Later calls are 'name#2', 'name#3', …, as in `capture`.
    Raises `Problem` for a network that `torch.fx` cannot trace, and for an operation that the page cannot compute. The
    message names the layer.
    """
    model = copy.deepcopy(model).cpu().float().eval()
    return _Translation(model, trace(model, fx.Tracer()), input_shape, normalise).program


class _Observed(fx.Interpreter):
    """Runs a graph, keeps all values, and records which earlier values a node overwrites."""

    def __init__(self, model: nn.Module, graph: fx.Graph) -> None:
        super().__init__(model, garbage_collect_values=False, graph=graph)
        self.overwritten: dict[fx.Node, list[fx.Node]] = {}

    def run_node(self, node: fx.Node) -> object:
        # PyTorch counts the in-place changes of a tensor, and the views of a tensor share its count.
        counts = {other: value._version for other, value in self.env.items() if isinstance(value, Tensor)}
        result = super().run_node(node)
        self.overwritten[node] = [other for other, count in counts.items() if self.env[other]._version != count]
        return result


class _Translation:
    """Translates the graph of `torch.fx`. Shapes and constants come from a run of the graph."""

    def __init__(self, model: nn.Module, graph: fx.Graph, input_shape: tuple[int, ...], normalise) -> None:
        self.model, self.program = model, Program(input_shape)
        run = _Observed(model, graph)
        with torch.no_grad():
            run.run(torch.full((2, *input_shape), 0.5))  # two images, to distinguish the batch from other dimensions
        self.computed = run.env
        self.values: dict[fx.Node, Value] = {}
        of_module: dict[str, Value] = {}
        for node in graph.nodes:
            if node.op == "placeholder":
                self.values[node] = self._picture(normalise)
            elif node.op == "output":
                self._end(node)
            elif isinstance(self.computed[node], Tensor) and any(
                source in self.values for source in node.all_input_nodes
            ):
                self.values[node] = self._add(self._step(node), tuple(self.computed[node].shape))
                for other in run.overwritten[node]:
                    self._overwrite(other, node)
                # A block outputs the value of its last step. torch.fx writes its second call as 'name@1'.
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
        mean, deviation = (values.double() for values in normalise)
        return self._add(by_channel(picture, 1 / deviation, -mean / deviation), (2, *picture.shape))

    def _step(self, node: fx.Node) -> Step:
        """The step that a node performs. Raises `Problem` for an operation that the page cannot compute."""
        layer = self.model.get_submodule(node.target) if node.op == "call_module" else None
        operation = type(layer).__name__ if layer is not None else getattr(node.target, "__name__", str(node.target))
        convert: Callable[..., Step] | None = FUNCTIONS.get(operation) if layer is None else LAYERS.get(type(layer))
        arguments, options = fx.node.map_arg((node.args, node.kwargs), self._argument)
        try:
            if convert is None:
                raise Unknown(f"the operation {operation}")
            step = convert(*([] if layer is None else [layer]), *arguments, **options)
            if not all(isinstance(value, Value) for value in step.inputs):
                raise Unknown(f"{operation} of weights only")
            if len(self.computed[node].shape) < 2 or self.computed[node].shape[0] != 2:
                raise Unknown(f"{operation} across the images of a batch")
            return step
        except (Unknown, TypeError, AttributeError, IndexError) as error:
            reason = str(error) if isinstance(error, Unknown) else f"{operation} with these arguments ({error})"
            raise Problem(f"{_where(node)} uses something that the page cannot compute: {reason}.") from error

    def _argument(self, node: fx.Node) -> object:
        return self.values.get(node, self.computed[node])

    def _overwrite(self, other: fx.Node, node: fx.Node) -> None:
        """Record that `node` overwrote the value of `other`. Later steps that use `other` get the new value."""
        if other not in self.values:
            return
        if self.values[other].shape == self.values[node].shape:
            self.values[other] = self.values[node]
        elif any(user > node for user in other.users):
            raise Problem(f"{_where(node)} uses something that the page cannot compute: an in-place change of a slice.")

    def _add(self, step: Step, shape: tuple[int, ...]) -> Value:
        step.shape = shape[1:]
        self.program.steps.append(step)
        return Value(len(self.program.steps), step.shape)

    def _end(self, node: fx.Node) -> None:
        output = self.values.get(node.args[0]) if isinstance(node.args[0], fx.Node) else None
        if output is None or len(output.shape) != 1:
            raise Problem(f"The output of this {type(self.model).__name__} is not one row of numbers per image.")
        del self.program.steps[output.number :]  # later steps do not influence the output

    def _layer(self, name: str, value: Value, windows: tuple[Window, Window]) -> Layer:
        module = self.model.get_submodule(name.partition("#")[0])
        is_block = any(module.children())
        return Layer(name, type(module).__name__, value.number, value.shape, windows, is_block)


def _where(node: fx.Node) -> str:
    """The layer of a node, as the subject of a sentence."""
    names = [name.partition("@")[0] for name in node.meta.get("nn_module_stack", ()) if name]
    return f"Layer {names[-1]!r}" if names else "The forward method of the network"
