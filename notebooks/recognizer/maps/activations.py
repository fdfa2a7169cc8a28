"""Capture the outputs of layers by name, as arrays that begin with the image."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from ..inputs import Transform
from ..settings import Problem
from .given import Given, as_batch
from .hooks import run
from .layers import by, input_shape, layer_names, layers_by_name, takes_volumes


def capture(
    model: nn.Module,
    layer_names: Iterable[str] | str,
    images: Tensor | Given | Sequence[Given],
    transform: Transform | None = None,
) -> dict[str, np.ndarray]:
    """The outputs of layers for `images`, in one forward pass in eval mode: name → float32 array N×….

    `images` is float32 N×C×H×W, or C×H×W for one image (N = 1). It may also be a file, a PIL image, a uint8 array, or
    a list of them. They are prepared as in `display_image_filtered`, with `transform` if it is given. Complex outputs
    stay complex (complex64). Every array begins with the image. Some layers output something else first, such as
    tokens T×N×D, windows or proposals. They become N×T×D or N×windows×…, which may take a second forward pass.

    If a layer runs several times in a forward pass, its further calls are 'name#2', 'name#3', …. If an output is a
    tuple or a result object, its first tensor is 'name', and the others are 'name[1]', 'name[hidden]', …, provided they
    have values for each image. In a list or a dictionary, all tensors have names of this kind.

    The model stays in its mode and keeps no hooks. Raises `Problem` as `run` does, for a layer that does not run, and
    for an output that is not a tensor or cannot be divided among the images.
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
        # The images are in the dimension that grows with their number.
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
    """One row per layer, in the order they run: name, kind, output shape without the batch, number of parameters.

    A layer that runs several times, such as a shared pooling layer, has one row per call. Its parameters count once.
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


def _arrays(model: nn.Module, names: list[str], images: Tensor) -> dict[str, np.ndarray]:
    """As `capture`, but wherever in the output the images are. No two arrays share memory."""
    calls, times, layers = run(model, names, images), Counter(), layers_by_name(model)
    memory = set()
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
                array = as_array(tensor)
                of_layer[name][key + part] = array.copy() if array.ctypes.data in memory else array
                memory.add(array.ctypes.data)
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
    """What to say about a layer that does not run."""
    if isinstance(model, torch.fx.GraphModule):
        return (
            f"Layer {name!r} does not run in this model: torch.export or torch.fx made it a graph, with steps in place "
            "of layers; pass the network that it was made from."
        )
    parts = [part for part, _ in layer.named_children()]
    instead = f"one inside it, such as {f'{name}.{parts[0]}'!r}" if parts else "another layer_name"
    return f"Layer {name!r} does not run when the model does, or not as a layer; choose {instead}."


def _without_numbers(output: Tensor) -> str:
    """Why `output` has no values for each image, and what to do. '' if it has some."""
    if output.is_meta:
        return "no numbers, because the model is on the device meta; load its weights"
    if output.is_nested:
        return "a nested tensor; choose another layer_name"
    if output.ndim == 0:
        return "a single number for all images together; choose another layer_name"
    return ""


def _image_first(key: str, output: np.ndarray, count: int, probe: np.ndarray | None, probe_count: int) -> np.ndarray:
    """`output` for `count` images as N×…. `probe` is the same layer's output for `probe_count` images, if known."""
    grew = []
    if probe is not None and probe.ndim == output.ndim:
        grew = [place for place, (one, other) in enumerate(zip(output.shape, probe.shape)) if one != other]
    if len(grew) == 1 and output.shape[grew[0]] * probe_count == probe.shape[grew[0]] * count:
        rows, of_probe = np.moveaxis(output, grew[0], 0), np.moveaxis(probe, grew[0], 0)
        per_image = len(rows) // count
        if per_image == 1:
            return rows
        by_image = rows.reshape(count, per_image, *rows.shape[1:])  # all windows of the first image, then of the second
        if count == 1:
            return by_image
        by_window = np.moveaxis(rows.reshape(per_image, count, *rows.shape[1:]), 1, 0)  # the first window of all images
        return max(by_image, by_window, key=lambda way: np.isclose(way[0], of_probe, 1e-3, 1e-5, equal_nan=True).sum())
    if count == 1:  # all of it belongs to the only image
        ones = [place for place, length in enumerate(output.shape) if length == 1]
        return np.moveaxis(output, ones[0], 0) if probe is None and len(ones) == 1 else output[np.newaxis]
    if len(output) == count and (probe is None or probe.ndim != output.ndim):
        return output
    raise Problem(
        f"Layer {key!r} outputs {by(output.shape)} for {count} images, and it is not clear which part belongs to which "
        "image; pass one image at a time."
    )
