"""Hooks: capture what any layer puts out, by name, and always let go."""

import difflib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from ..settings import Problem


def layer_names(model: nn.Module, kind: type[nn.Module] | tuple[type[nn.Module], ...] = nn.Module) -> list[str]:
    """The names that `model.named_modules()` gives its layers, in order; with `kind`, only layers of that type."""
    return [name for name, layer in model.named_modules() if name and isinstance(layer, kind)]


@contextmanager
def hooked(model: nn.Module, names: Sequence[str]) -> Iterator[dict[str, list[Tensor]]]:
    """While open, every forward pass appends what the layers `names` put out to the lists it yields.

    The hooks are gone afterwards, also when something raises. Raises `Problem`, a ValueError, for an
    unknown name, with the closest ones, and for a layer that puts out no tensor.
    """
    layers = dict(model.named_modules())
    outputs: dict[str, list[Tensor]] = {}
    hooks = []
    try:
        for name in dict.fromkeys(names):
            if not name or name not in layers:
                raise Problem(unknown_layer(name, layer_names(model)))
            outputs[name] = []

            def keep(layer: nn.Module, inputs: tuple, output: object, name: str = name) -> None:
                # Attention and recurrent layers put out a tuple, the first of which is what they say.
                first = output[0] if isinstance(output, tuple | list) else output
                if not isinstance(first, Tensor):
                    kind = type(output).__name__
                    raise Problem(f"Layer {name!r} puts out a {kind}, not a tensor; choose another layer_name.")
                # A copy, because an in-place ReLU that follows would write over it. Returning nothing,
                # because what a hook returns takes the place of the layer's output.
                outputs[name].append(first.detach().clone())

            hooks.append(layers[name].register_forward_hook(keep))
        yield outputs
    finally:
        for hook in hooks:
            hook.remove()


def capture(model: nn.Module, layer_names: Sequence[str] | str, images: Tensor) -> dict[str, np.ndarray]:
    """What layers put out for `images`, in one forward pass in eval mode: name → float32 array N×….

    `images` is float32 N×3×S×S, or 3×S×S for one image (N = 1). A layer that runs more than once in a forward pass
    has its further calls under 'name#2', 'name#3', …; a layer that does not run is a `Problem`.
    The model is left in the mode it was in, without hooks. Raises `Problem` as `hooked` does.
    """
    names = [layer_names] if isinstance(layer_names, str) else layer_names
    images = images.unsqueeze(0) if images.ndim == 3 else images
    weights = next(model.parameters(), images)
    training = {layer for layer in model.modules() if layer.training}
    try:
        with hooked(model, names) as outputs, torch.no_grad():
            model.eval()(images.to(weights.device, weights.dtype))
    finally:
        for layer in model.modules():
            layer.training = layer in training
    captured: dict[str, np.ndarray] = {}
    for name, calls in outputs.items():
        if not calls:
            raise Problem(f"Layer {name!r} does not run when the model does; choose another layer_name.")
        for number, output in enumerate(calls, start=1):
            captured[name if number == 1 else f"{name}#{number}"] = output.float().cpu().numpy()
    return captured


def unknown_layer(name: str, known: list[str]) -> str:
    closest = difflib.get_close_matches(name, known, n=3, cutoff=0.4) or known[:8]
    return f"There is no layer {name!r} in this model; the closest names are {', '.join(map(repr, closest))}."
