"""Capture the outputs of layers by name; the hooks are always removed."""

import itertools
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import is_dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ..inputs import Transform
from ..settings import Problem
from .given import Given, as_batch
from .layers import by, input_shape, layer_names, layers_by_name, stated_size, takes_volumes, unknown_layer

# The name of a layer that ran, and what it output: see `hooked`.
Call = tuple[str, dict[str, Tensor] | str]


@contextmanager
def hooked(model: nn.Module, names: Iterable[str]) -> Iterator[list[Call]]:
    """While open, a forward pass appends (name, output) to the list it yields whenever a layer of `names` has run.

    Outputs are copies: each tensor by what follows the layer's name (see `_tensors_of`), '' for an only one; or words
    that say why there is none. The hooks are gone afterwards, also when something raises.
    Raises `Problem`, a ValueError, for an unknown name, with the closest ones.
    """
    layers = layers_by_name(model)
    calls: list[Call] = []
    hooks = []
    try:
        for name in dict.fromkeys(names):
            if name not in layers:
                of_layer = [known for known, layer in layers.items() if layer is name]
                if of_layer:
                    raise Problem(f"layer_name is the layer itself; pass its name, {of_layer[0]!r}.")
                raise Problem(unknown_layer(name, layer_names(model)))

            def keep(layer: nn.Module, inputs: tuple, output: object, name: str = name) -> None:
                # Copies, because an in-place ReLU that follows would write over them. Returning nothing,
                # because what a hook returns takes the place of the layer's output.
                tensors = {part: tensor.detach().clone() for part, tensor in _tensors_of(output).items()}
                calls.append((name, tensors or f"{_kind_of(output)}, not a tensor"))

            hooks.append(_hookable(name, layers[name]).register_forward_hook(keep))
        yield calls
    finally:
        for hook in hooks:
            hook.remove()


def run(model: nn.Module, names: Iterable[str], images: Tensor) -> list[Call]:
    """One forward pass in eval mode: what `hooked` collects of the layers `names`, in the order in which they ran.

    The images go in as a copy, in the model's own type and on its device. The model is left as it was. Raises `Problem`
    as `hooked` does, and for a model that has no weights yet or stops with an error.
    """
    weights = list(itertools.chain(model.parameters(), model.buffers())) if isinstance(model, nn.Module) else []
    if any(is_lazy(each) for each in weights):
        raise Problem("The model has lazy layers without weights; run it once, model(images), and ask again.")
    # Complex numbers, and floats of one byte, are weights only; no image is given in them.
    dtype = next((w.dtype for w in weights if w.is_floating_point() and w.element_size() > 1), images.dtype)
    device = weights[0].device if weights else images.device
    with hooked(model, names) as calls, _in_use(model):
        inside = model
        while isinstance(inside, nn.DataParallel | nn.parallel.DistributedDataParallel):
            inside = inside.module  # on one device, so that each layer runs once
        try:
            inside(images.detach().to(device, dtype, copy=True))  # some models write over what goes in
        except (Problem, MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # whatever a stranger's forward raises; it stays chained to the sentence
            if "allocat" in str(error):  # PyTorch has no error of its own for a processor without memory
                raise
            raise Problem(_stopped(model, images, error)) from error
    return calls


def capture(
    model: nn.Module,
    layer_names: Iterable[str] | str,
    images: Tensor | Given | Sequence[Given],
    transform: Transform | None = None,
) -> dict[str, np.ndarray]:
    """What layers output for `images`, in one forward pass in eval mode: name → float32 array N×….

    `images` is float32 N×C×H×W, or C×H×W for one image (N = 1); or a file, PIL image or uint8 array, or a list of them,
    which are prepared as `display_image_filtered` does it, with `transform` where one is given. Complex outputs stay
    complex (complex64). Where a layer does not output the image first, as with tokens T×N×D, windows or proposals, the
    array begins with the image all the same: N×T×D, N×windows×…; finding out may take a second forward pass. A layer
    that runs more than once in a forward pass has its further calls under 'name#2', 'name#3', …; a layer that does not
    run is a `Problem`.
    Of several tensors in an output, each has a name: of a tuple or a result object the first is 'name' and others are
    'name[1]', 'name[hidden]', …, if they have values for each image; of a list or a dictionary all are named so.
    The model is left in the mode it was in, without hooks. Raises `Problem` as `run` does, and for a layer whose output
    is not a tensor or cannot be divided among the images.
    """
    single = isinstance(layer_names, str) or not isinstance(layer_names, Iterable)
    names = [layer_names] if single else list(layer_names)
    layers_by_name(model)  # raises what is wrong with the model
    images = as_batch(images, model, transform)
    if not (images.is_floating_point() or images.is_complex()):
        raise Problem(f"The images are {images.dtype}; pass a float32 tensor N×C×H×W in [0, 1], or see to_input.")
    images = images.unsqueeze(0) if images.ndim == 3 + takes_volumes(model) else images
    count = len(images) if images.ndim else 0
    if not count or not images.numel():
        raise Problem(f"The images have the shape {by(images.shape)}; pass at least one.")

    captured = _arrays(model, names, images)
    unclear = {
        key: output
        for key, output in captured.items()
        if output.shape[:1] != (count,) or (count > 1 and count in output.shape[1:])
    }
    if unclear:
        # What grows with the number of images tells where in the output they are.
        fewer_or_more = images[:1] if count > 1 else torch.cat([images, images])
        try:
            probe = _arrays(model, [name for name in names if _calls_of(name, unclear)], fewer_or_more)
        except (Problem, torch.OutOfMemoryError):  # a model for exactly this number of images, or no room for more
            probe = {}
        for key, output in unclear.items():
            try:
                captured[key] = _image_first(key, output, count, probe.get(key), len(fewer_or_more))
            except Problem:
                if not _is_further_part(key, captured):
                    raise
                del captured[key]
    return captured


def as_array(output: Tensor) -> np.ndarray:
    """A tensor of any type and layout as a float32 array; complex numbers stay complex (complex64)."""
    if output.is_quantized:
        output = output.dequantize()
    if output.layout != torch.strided:
        output = output.to_dense()
    dtype = torch.complex64 if output.is_complex() else torch.float32
    return output.to("cpu", dtype).resolve_conj().resolve_neg().numpy()


def layer_table(model: nn.Module) -> list[tuple[str, str, tuple[int, ...], int]]:
    """A row for each layer, in the order they run: name, kind, output shape without the batch, number of parameters.

    A layer that runs several times (a shared pooling layer) has a row each time; its parameters count once.
    """
    layers = layers_by_name(model)
    leaves = {name: layers[name] for name in layer_names(model) if not any(layers[name].children())}
    rows = []
    for name, tensors in run(model, leaves, torch.zeros(1, *input_shape(model))):
        counted = any(name == row[0] for row in rows)
        parameters = 0 if counted else sum(p.numel() for p in leaves[name].parameters())
        first = next(iter(tensors.values())) if isinstance(tensors, dict) else None
        rows.append((name, type(leaves[name]).__name__, () if first is None else tuple(first.shape)[1:], parameters))
    return rows


def _hookable(name: object, layer: nn.Module) -> nn.Module:
    if isinstance(layer, torch.jit.ScriptModule):
        raise Problem(f"torch.jit made layer {name!r}, and nothing can hook it; pass the network before torch.jit.")
    return layer


def _tensors_of(output: object) -> dict[str, Tensor]:
    """The tensors in what a layer outputs, each by what follows the layer's name: '[1]', '[hidden]', '[0][boxes]'.

    An only tensor has the name '', and so has the first one of a tuple (attention, recurrent layers) or of a result
    object (transformers): it is the layer's answer. A list and a dictionary have no first.
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
    """Eval mode, no gradients, compiled parts run layer by layer; afterwards every layer is in the mode it was in."""
    training = [layer for layer in model.modules() if getattr(layer, "training", False)]
    with ExitStack() as stack:
        stack.enter_context(torch.no_grad())
        if "torch._dynamo" in sys.modules:  # else nothing is compiled, and importing it would take seconds
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
        f"the shape it takes{says}; a model that needs more than model(images) needs a wrapper that gives it the rest."
    )


def _arrays(model: nn.Module, names: list[str], images: Tensor) -> dict[str, np.ndarray]:
    """`capture` without a look at where the image is."""
    calls, times, layers = run(model, names, images), Counter(), layers_by_name(model)
    of_layer: dict[str, dict[str, np.ndarray]] = {name: {} for name in names}
    for name, tensors in calls:
        times[name] += 1
        key = name if times[name] == 1 else f"{name}#{times[name]}"
        if key in layers and key != name:
            raise Problem(f"Layer {name!r} runs several times, and another layer is called {key!r}; rename that one.")
        if isinstance(tensors, str):
            raise Problem(f"Layer {key!r} outputs {tensors}; choose another layer_name.")
        for part, tensor in tensors.items():
            why_not = _without_numbers(tensor)
            if not why_not:
                of_layer[name][key + part] = as_array(tensor)
            elif part == "" or "" not in tensors:
                raise Problem(f"Layer {key + part!r} outputs {why_not}.")
    for name, outputs in of_layer.items():
        if not outputs:
            raise Problem(_idle(model, name, layers[name]))
    return {key: output for outputs in of_layer.values() for key, output in outputs.items()}


def _calls_of(name: str, keys: Iterable[str]) -> list[str]:
    """Those of `keys` that are outputs of the layer `name`: 'name', 'name#2', 'name[1]', …"""
    return [key for key in keys if re.fullmatch(re.escape(name) + r"(#\d+)?(\[.*\])?", key, re.DOTALL)]


def layer_of(key: str, names: Iterable[str]) -> str:
    """Of the layers `names`, the one whose output `capture` calls `key`: that of 'lstm#2[1]' is 'lstm'."""
    return max((name for name in names if _calls_of(name, [key])), key=len)


def _is_further_part(key: str, keys: Iterable[str]) -> bool:
    """Whether `key` is a further tensor of an output whose first one is in `keys`: 'lstm[1][0]' beside 'lstm'."""
    return any(key.startswith(f"{first}[") for first in keys if first != key)


def _idle(model: nn.Module, name: str, layer: nn.Module) -> str:
    """The sentence for a layer that does not run."""
    if isinstance(model, torch.fx.GraphModule):
        return (
            f"Layer {name!r} does not run in this model: torch.export or torch.fx made it a graph, with steps in place "
            "of layers; pass the network that it was made from."
        )
    parts = [part for part, _ in layer.named_children()]
    instead = f"one inside it, such as {f'{name}.{parts[0]}'!r}" if parts else "another layer_name"
    return f"Layer {name!r} does not run when the model does, or not as a layer; choose {instead}."


def _without_numbers(output: Tensor) -> str:
    """Why `output` has no values for each image, and what to do; '' where it has some."""
    if output.is_meta:
        return "no numbers, because the model is on the device meta; load its weights"
    if output.is_nested:
        return "a nested tensor; choose another layer_name"
    if output.ndim == 0:
        return "a single number for all images together; choose another layer_name"
    return ""


def _image_first(key: str, output: np.ndarray, count: int, probe: np.ndarray | None, probe_count: int) -> np.ndarray:
    """`output` for `count` images as N×…, told from what the same layer outputs for `probe_count` of them."""
    grew = []
    if probe is not None and probe.ndim == output.ndim:
        grew = [place for place, (one, other) in enumerate(zip(output.shape, probe.shape)) if one != other]
    if len(grew) == 1 and output.shape[grew[0]] * probe_count == probe.shape[grew[0]] * count:
        rows, of_probe = np.moveaxis(output, grew[0], 0), np.moveaxis(probe, grew[0], 0)
        each = len(rows) // count
        if each == 1:
            return rows
        by_image = rows.reshape(count, each, *rows.shape[1:])  # all windows of the first image, all of the second, …
        if count == 1:
            return by_image
        by_part = np.moveaxis(rows.reshape(each, count, *rows.shape[1:]), 1, 0)  # … or each window of all images
        return max(by_image, by_part, key=lambda way: np.isclose(way[0], of_probe, 1e-3, 1e-5, equal_nan=True).sum())
    if count == 1:  # all of it belongs to the only image
        ones = [place for place, length in enumerate(output.shape) if length == 1]
        return np.moveaxis(output, ones[0], 0) if probe is None and len(ones) == 1 else output[np.newaxis]
    if len(output) == count and (probe is None or probe.ndim != output.ndim):
        return output
    raise Problem(
        f"Layer {key!r} outputs {by(output.shape)} for {count} images, and nothing tells which part "
        "belongs to which image; pass one image at a time."
    )
