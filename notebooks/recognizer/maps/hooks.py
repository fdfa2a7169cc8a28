"""Hooks on layers: they keep what the layers output and are always removed."""

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

# The name of a layer that ran and its output (see `hooked`).
Call = tuple[str, dict[str, Tensor] | str]


@contextmanager
def hooked(model: nn.Module, names: Iterable[str]) -> Iterator[list[Call]]:
    """While open, a forward pass appends (name, output) to the list it yields whenever a layer of `names` has run.

    An output is a dictionary of its tensors. The keys are what follows the layer's name (see `_tensors_of`), '' for an
    only tensor. If there is no tensor, words say so instead. No later layer changes these tensors. In the end, and also
    if something raises, the hooks are removed.
    Raises `Problem`, a ValueError, for an unknown name. It lists the closest names.
    """
    layers = layers_by_name(model)
    calls: list[Call] = []
    hooks = []
    with KeepValues(model) as values:
        try:
            for name in dict.fromkeys(names):

                def keep(layer: nn.Module, inputs: tuple, output: object, name: str = name) -> None:
                    # It returns nothing, because what a hook returns takes the place of the layer's output.
                    tensors = values.keep(_tensors_of(output))
                    calls.append((name, tensors or f"{_kind_of(output)}, not a tensor"))

                hooks.append(_layer(model, layers, name).register_forward_hook(keep))
            yield calls
        finally:
            for hook in hooks:
                hook.remove()


class KeepValues(TorchDispatchMode):
    """While open, tensors given to `keep` keep their values: one that is about to be overwritten is copied first.

    Copying every output would take as long as many a layer does. An in-place ReLU overwrites few of them.
    """

    supports_higher_order_operators = True

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        # A layer may return its weights. Whoever keeps them must not see a later change, or cause one.
        weights = itertools.chain(model.parameters(), model.buffers())
        self._memory_of_weights = {_memory_of(weight) for weight in weights if _has_memory_of_its_own(weight)}
        self._kept = defaultdict(list)  # where the values are → the dictionaries and keys that hold them

    def keep(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """The same tensors, detached. They may share memory with one another, but not with weights."""
        kept = {}
        for key, tensor in tensors.items():
            kept[key] = tensor.detach()
            if not _has_memory_of_its_own(tensor) or _memory_of(tensor) in self._memory_of_weights:
                kept[key] = kept[key].clone()
            else:
                self._kept[_memory_of(tensor)].append((kept, key))
        return kept

    def __torch_dispatch__(self, function, types, arguments=(), named=None):
        named = named or {}
        schema = getattr(function, "_schema", None)
        if schema is not None and schema.is_mutable:
            for written in _written(schema, arguments, named):
                for tensors, key in self._kept.pop(_memory_of(written), ()):
                    tensors[key] = tensors[key].clone()
        return function(*arguments, **named)


def _written(schema: torch.FunctionSchema, arguments: tuple, named: dict) -> list[Tensor]:
    """The tensors that an operation with these arguments writes to."""
    of_name = dict(zip((argument.name for argument in schema.arguments), arguments)) | named
    written = [
        of_name.get(argument.name)
        for argument in schema.arguments
        if argument.alias_info is not None and argument.alias_info.is_write
    ]
    return [tensor for tensor in tree_leaves(written) if isinstance(tensor, Tensor) and _has_storage(tensor)]


def _has_storage(tensor: Tensor) -> bool:
    try:
        return tensor.layout == torch.strided and not tensor.is_meta and tensor.untyped_storage() is not None
    except (RuntimeError, NotImplementedError):  # nested tensors, batches of functorch, and other types without storage
        return False


def _has_memory_of_its_own(tensor: Tensor) -> bool:
    """Whether nothing but the values of `tensor` is in its memory. A part of a larger tensor would keep all of it."""
    if tensor.is_quantized or tensor.is_nested or not _has_storage(tensor):
        return False
    return tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()


def _memory_of(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def run(model: nn.Module, names: Iterable[str], images: Tensor) -> list[Call]:
    """One forward pass in eval mode. Returns what `hooked` collects of the layers `names`, in the order they ran.

    The model gets a copy of the images, in its own type and on its device. The model is left as it was. Raises
    `Problem` as `hooked` does, and for a model that has no weights yet or stops with an error.
    """
    weights = list(itertools.chain(model.parameters(), model.buffers())) if isinstance(model, nn.Module) else []
    if any(is_lazy(weight) for weight in weights):
        raise Problem("The model has lazy layers without weights; run it once, model(images), and ask again.")
    # Complex numbers and floats of one byte are used for weights only. No model takes images of these types.
    dtype = next((w.dtype for w in weights if w.is_floating_point() and w.element_size() > 1), images.dtype)
    device = weights[0].device if weights else images.device
    with hooked(model, names) as calls, _in_use(model):
        inside = model
        while isinstance(inside, nn.DataParallel | nn.parallel.DistributedDataParallel):
            inside = inside.module  # on one device, so that each layer runs once
        try:
            inside(images.detach().to(device, dtype, copy=True))  # some models overwrite their input
        except (Problem, MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # a stranger's forward may raise anything; the sentence keeps it as its cause
            if "allocat" in str(error):  # PyTorch has no error of its own for a CPU without memory
                raise
            raise Problem(_stopped(model, images, error)) from error
    return calls


def _layer(model: nn.Module, layers: dict[str, nn.Module], name: object) -> nn.Module:
    """The layer called `name`, which a hook can be set on. Raises `Problem` if there is none."""
    if name not in layers:
        of_layer = [known for known, layer in layers.items() if layer is name]
        if of_layer:
            raise Problem(f"layer_name is the layer itself; pass its name, {of_layer[0]!r}.")
        raise Problem(unknown_layer(name, layer_names(model)))
    if isinstance(layers[name], torch.jit.ScriptModule):
        raise Problem(f"torch.jit made layer {name!r}, and nothing can hook it; pass the network before torch.jit.")
    return layers[name]


def _tensors_of(output: object) -> dict[str, Tensor]:
    """The tensors in a layer's output. The keys are what follows the layer's name: '[1]', '[hidden]', '[0][boxes]'.

    An only tensor has the key '', and so has the first one of a tuple (attention, recurrent layers) or of a result
    object (transformers): it is the layer's answer. In a list or a dictionary, none comes before the others.
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
    """Eval mode, no gradients, compiled parts run layer by layer. Afterwards each layer is in its earlier mode."""
    training = [layer for layer in model.modules() if getattr(layer, "training", False)]
    with ExitStack() as stack:
        stack.enter_context(torch.no_grad())
        if "torch._dynamo" in sys.modules:  # otherwise nothing is compiled, and importing it would take seconds
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        try:
            for layer in training:  # not model.eval(): exported models refuse it, and some models do more in theirs
                layer.training = False
            yield
        finally:
            for layer in training:
                layer.training = True


def _stopped(model: nn.Module, images: Tensor, error: Exception) -> str:
    """The sentence for a forward pass that raised `error`."""
    why = (str(error).strip().splitlines() or [""])[0][:200]
    size = stated_size(model)
    says = f" (it says that it takes {size[0]}×{size[1]} pixels)" if size else ""
    return (
        f"The model stopped on images of {by(images.shape)} with {type(error).__name__}: {why}. Pass a float tensor of "
        f"the shape it takes{says}; if the model needs more than model(images), write a wrapper that adds the rest."
    )
