"""Hooks that record the outputs of layers during a forward pass and are always removed afterwards."""

import itertools
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import is_dataclass

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ..settings import Problem
from .layers import by, layer_names, layers_by_name, stated_size, unknown_layer

# One call of a layer: its name and its output (see `hooked`).
Call = tuple[str, dict[str, Tensor] | str]


@contextmanager
def hooked(model: nn.Module, names: Iterable[str]) -> Iterator[list[Call]]:
    """Record the outputs of the layers `names` while the context is open.

    The context yields a list. Whenever one of these layers has run, (name, output) is appended to it. The output is a
    dictionary of tensors, with the key '' for a single tensor (see `_tensors_of`). If a layer outputs no tensor, it is
    a string that describes the output. Later layers cannot change the recorded tensors. The hooks are removed at the
    end, even after an error.
    Raises `Problem`, a ValueError, for an unknown name. The message lists the closest names.
    """
    layers = layers_by_name(model)
    calls: list[Call] = []
    hooks = []
    with KeepValues(model) as values:
        try:
            for name in dict.fromkeys(names):

                def record(layer: nn.Module, inputs: tuple, output: object, name: str = name) -> None:
                    # A hook must not return anything: a returned value would replace the layer's output.
                    tensors = values.keep(_tensors_of(output))
                    calls.append((name, tensors or f"{_kind_of(output)}, not a tensor"))

                hooks.append(_layer(model, layers, name).register_forward_hook(record))
            yield calls
        finally:
            for hook in hooks:
                hook.remove()


class KeepValues(TorchDispatchMode):
    """Protects recorded tensors while the context is open: it copies a tensor just before an operation overwrites it.

    Copying every output at once would be slow, since a copy can take as long as a layer. In-place operations such as
    nn.ReLU(inplace=True) overwrite only a few of the outputs.
    """

    supports_higher_order_operators = True

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        # A layer may return its weights. These are copied at once, so that the copy and the weights stay independent.
        weights = itertools.chain(model.parameters(), model.buffers())
        self._memory_of_weights = {_memory_of(weight) for weight in weights if _has_memory_of_its_own(weight)}
        self._kept = defaultdict(list)  # memory address → the (dictionary, key) pairs whose tensors lie there

    def keep(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """The same tensors, detached. They may share memory with each other but never with weights."""
        kept = {}
        for key, tensor in tensors.items():
            kept[key] = tensor.detach()
            if not _has_memory_of_its_own(tensor) or _memory_of(tensor) in self._memory_of_weights:
                kept[key] = kept[key].clone()
            else:
                self._kept[_memory_of(tensor)].append((kept, key))
        return kept

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        schema = getattr(function, "_schema", None)
        if schema is not None and schema.is_mutable:
            for target in _write_targets(schema, args, kwargs):
                for tensors, key in self._kept.pop(_memory_of(target), ()):
                    tensors[key] = tensors[key].clone()
        return function(*args, **kwargs)


def _write_targets(schema: torch.FunctionSchema, args: tuple, kwargs: dict) -> list[Tensor]:
    """The tensors that an operation overwrites when it is called with these arguments."""
    values = dict(zip((argument.name for argument in schema.arguments), args)) | kwargs
    targets = [
        values.get(argument.name)
        for argument in schema.arguments
        if argument.alias_info is not None and argument.alias_info.is_write
    ]
    return [tensor for tensor in tree_leaves(targets) if isinstance(tensor, Tensor) and _has_storage(tensor)]


def _has_storage(tensor: Tensor) -> bool:
    try:
        return tensor.layout == torch.strided and not tensor.is_meta and tensor.untyped_storage() is not None
    except (
        RuntimeError,
        NotImplementedError,
    ):  # nested tensors and functorch's batched tensors, for example
        return False


def _has_memory_of_its_own(tensor: Tensor) -> bool:
    """Whether the memory holds this tensor alone. Keeping a slice would keep the whole larger tensor in memory."""
    if tensor.is_quantized or tensor.is_nested or not _has_storage(tensor):
        return False
    return tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()


def _memory_of(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def run(model: nn.Module, names: Iterable[str], images: Tensor) -> list[Call]:
    """Run one forward pass in eval mode and return what `hooked` records of the layers `names`, in the order they ran.

    The model gets a copy of the images with the dtype and on the device of its weights. Afterwards the model is in the
    same state as before. Raises `Problem` as `hooked` does, and if the model is not initialised yet or its forward pass
    fails.
    """
    weights = list(itertools.chain(model.parameters(), model.buffers())) if isinstance(model, nn.Module) else []
    if any(is_lazy(weight) for weight in weights):
        raise Problem("The model has lazy layers without weights; run it once, model(images), and then try again.")
    # Some weights are complex or 8-bit floats, but no model takes images of these types.
    dtype = next((w.dtype for w in weights if w.is_floating_point() and w.element_size() > 1), images.dtype)
    device = weights[0].device if weights else images.device
    with hooked(model, names) as calls, _in_use(model):
        network = model
        while isinstance(network, nn.DataParallel | nn.parallel.DistributedDataParallel):
            network = network.module  # use one device only, so that each layer runs once
        try:
            network(images.detach().to(device, dtype, copy=True))  # a copy, because some models overwrite their input
        except (Problem, MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # the forward pass of an unknown model may raise any exception
            if "alloc" in str(error):  # PyTorch has no exception class for a CPU that runs out of memory
                raise
            raise Problem(_failed(model, images, error)) from error
    return calls


def _layer(model: nn.Module, layers: dict[str, nn.Module], name: object) -> nn.Module:
    """The layer called `name`. Raises `Problem` if there is none or if it cannot have hooks."""
    if name not in layers:
        names = [known for known, layer in layers.items() if layer is name]
        if names:
            raise Problem(f"layer_name is the layer itself; pass its name, {names[0]!r}.")
        raise Problem(unknown_layer(name, layer_names(model)))
    if isinstance(layers[name], torch.jit.ScriptModule):
        raise Problem(f"torch.jit made layer {name!r}, and it cannot be hooked; pass the network before torch.jit.")
    return layers[name]


def _tensors_of(output: object) -> dict[str, Tensor]:
    """The tensors in a layer's output: key → tensor. Keys are suffixes of the layer's name: '[1]', '[hidden]', ….

    The main output has the key ''. It is a single tensor, the first tensor of a tuple (attention, recurrent layers) or
    the first of a result object (transformers). Lists and dictionaries of several tensors have no main output.
    """
    tensors = _parts_of(output)
    has_first = len(tensors) == 1 or isinstance(output, tuple) or is_dataclass(output)
    if tensors and has_first:
        first, *others = tensors.items()
        return {"": first[1], **dict(others)}
    return tensors


def _parts_of(output: object) -> dict[str, Tensor]:
    if isinstance(output, Tensor):
        return {"": output}
    if isinstance(output, Mapping):
        parts = output.items()
    elif is_dataclass(output):
        parts = vars(output).items()
    else:
        parts = enumerate(output) if isinstance(output, tuple | list) else ()
    return {f"[{key}]{inner}": tensor for key, part in parts for inner, tensor in _parts_of(part).items()}


def _kind_of(output: object) -> str:
    return "nothing (None)" if output is None else f"a {type(output).__name__}"


@contextmanager
def _in_use(model: nn.Module) -> Iterator[None]:
    """Eval mode without gradients. Compiled parts run layer by layer. Each layer's mode is restored at the end."""
    training = [layer for layer in model.modules() if getattr(layer, "training", False)]
    with ExitStack() as stack:
        stack.enter_context(torch.no_grad())
        if "torch._dynamo" in sys.modules:  # otherwise nothing is compiled, and the import would take seconds
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        try:
            for layer in training:  # not model.eval(): exported models refuse it, and some models override it
                layer.training = False
            yield
        finally:
            for layer in training:
                layer.training = True


def _failed(model: nn.Module, images: Tensor, error: Exception) -> str:
    """The error message for a forward pass that raised `error`."""
    reason = (str(error).strip().splitlines() or [""])[0][:200]
    size = stated_size(model)
    hint = f" (it says that it takes {size[0]}×{size[1]} pixels)" if size else ""
    return (
        f"The model failed on images of shape {by(images.shape)} with {type(error).__name__}: {reason}. Pass a float "
        f"tensor of the shape it takes{hint}; if the model needs more than model(images), write a wrapper that adds "
        "the other arguments."
    )
