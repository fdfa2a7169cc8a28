"""Capture the outputs of layers by name, as arrays whose first dimension is the image."""

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
    """The outputs of layers for `images`, from one forward pass in eval mode: name → float32 array N×….

    `images` is float32 N×C×H×W, or C×H×W for one image (N = 1). It may also be a file, a PIL image, a uint8 array, or
    a list of them; these are prepared as in `display_image_filtered`, with `transform` if there is one. Complex outputs
    stay complex (complex64). The first dimension of every array is the image. Some layers put another dimension first,
    such as tokens T×N×D, windows or proposals. Their outputs become N×T×D or N×windows×…; this may take a second
    forward pass.

    If a layer runs several times in a forward pass, its later calls are named 'name#2', 'name#3', …. If an output is a
    tuple or a result object, its first tensor is 'name'. The other tensors are 'name[1]', 'name[hidden]', …; those
    without values for every image are left out. In a list or a dictionary, all tensors have such a suffix.

    The model keeps its mode and has no hooks afterwards. Raises `Problem` as `run` does, for a layer that does not run,
    and for an output that is not a tensor or cannot be divided among the images.
    """
    single = isinstance(layer_names, str) or not isinstance(layer_names, Iterable)
    names = [layer_names] if single else list(layer_names)
    layers_by_name(model)  # raises Problem if the model cannot be used
    images = as_batch(images, model, transform)
    if not (images.is_floating_point() or images.is_complex()):
        raise Problem(f"The images are {images.dtype}; pass a float32 tensor N×C×H×W in [0, 1], or see to_input.")
    images = images.unsqueeze(0) if images.ndim == 3 + takes_volumes(model) else images
    count = len(images) if images.ndim else 0
    if not count or not images.numel():
        raise Problem(f"The images have the shape {by(images.shape)}; pass at least one image.")

    captured = _arrays(model, names, images)
    unclear = {
        key: output
        for key, output in captured.items()
        if output.shape[:1] != (count,) or (count > 1 and count in output.shape[1:])
    }
    if unclear:
        # Run a batch of another size. The images lie along the dimension whose length changes.
        other_batch = images[:1] if count > 1 else torch.cat([images, images])
        try:
            probe = _arrays(model, [name for name in names if _calls_of(name, unclear)], other_batch)
        except (Problem, torch.OutOfMemoryError):  # the model takes only this batch size, or memory is short
            probe = {}
        for key, output in unclear.items():
            try:
                captured[key] = _image_first(key, output, count, probe.get(key), len(other_batch))
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

    A layer that runs several times, such as a shared pooling layer, has one row per call. Its parameters are counted
    only once.
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
    """As `capture`, but the images may lie along any dimension of an output. No two arrays share memory."""
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
            unusable = _why_unusable(tensor)
            if not unusable:
                array = as_array(tensor)
                of_layer[name][key + part] = array.copy() if array.ctypes.data in memory else array
                memory.add(array.ctypes.data)
            elif part == "" or "" not in tensors:
                raise Problem(f"Layer {key + part!r} outputs {unusable}.")
    for name, outputs in of_layer.items():
        if not outputs:
            raise Problem(_does_not_run(model, name, layers[name]))
    return {key: output for outputs in of_layer.values() for key, output in outputs.items()}


def _calls_of(name: str, keys: Iterable[str]) -> list[str]:
    """Those of `keys` that are outputs of the layer `name`: 'name', 'name#2', 'name[1]', …"""
    return [key for key in keys if re.fullmatch(re.escape(name) + r"(#\d+)?(\[.*\])?", key, re.DOTALL)]


def layer_of(key: str, names: Iterable[str]) -> str:
    """The layer, one of `names`, whose output `capture` calls `key`: 'lstm' for the key 'lstm#2[1]'."""
    return max((name for name in names if _calls_of(name, [key])), key=len)


def _is_further_part(key: str, keys: Iterable[str]) -> bool:
    """Whether `key` is another tensor of an output whose first tensor is in `keys`: 'lstm[1][0]' next to 'lstm'."""
    return any(key.startswith(f"{first}[") for first in keys if first != key)


def _does_not_run(model: nn.Module, name: str, layer: nn.Module) -> str:
    """The error message for a layer that does not run."""
    if isinstance(model, torch.fx.GraphModule):
        return (
            f"Layer {name!r} does not run in this model: torch.export or torch.fx turned the model into a graph of "
            "operations without layers; pass the original network."
        )
    parts = [part for part, _ in layer.named_children()]
    instead = f"a layer inside it, such as {f'{name}.{parts[0]}'!r}" if parts else "another layer_name"
    return f"The model does not call layer {name!r} in its forward pass; choose {instead}."


def _why_unusable(output: Tensor) -> str:
    """Why `output` has no values per image, and what to do about it; '' if it has values per image."""
    if output.is_meta:
        return "no values, because the model is on the device meta; load its weights"
    if output.is_nested:
        return "a nested tensor; choose another layer_name"
    if output.ndim == 0:
        return "a single number for all images together; choose another layer_name"
    return ""


def _image_first(key: str, output: np.ndarray, count: int, probe: np.ndarray | None, probe_count: int) -> np.ndarray:
    """`output` for `count` images as N×…. `probe` is the same layer's output for `probe_count` images, if known."""
    changed = []  # the dimensions whose length depends on the number of images
    if probe is not None and probe.ndim == output.ndim:
        changed = [axis for axis, (one, other) in enumerate(zip(output.shape, probe.shape)) if one != other]
    if len(changed) == 1 and output.shape[changed[0]] * probe_count == probe.shape[changed[0]] * count:
        rows, probe_rows = np.moveaxis(output, changed[0], 0), np.moveaxis(probe, changed[0], 0)
        per_image = len(rows) // count
        if per_image == 1:
            return rows
        by_image = rows.reshape(count, per_image, *rows.shape[1:])  # all windows of image 1, then all of image 2
        if count == 1:
            return by_image
        by_window = np.moveaxis(rows.reshape(per_image, count, *rows.shape[1:]), 1, 0)  # window 1 of all images first
        # The order is right if the first image has the values that it has alone, in the probe.
        return max(by_image, by_window, key=lambda x: np.isclose(x[0], probe_rows, 1e-3, 1e-5, equal_nan=True).sum())
    if count == 1:  # the whole output belongs to the only image
        ones = [axis for axis, length in enumerate(output.shape) if length == 1]
        return np.moveaxis(output, ones[0], 0) if probe is None and len(ones) == 1 else output[np.newaxis]
    if len(output) == count and (probe is None or probe.ndim != output.ndim):
        return output
    raise Problem(
        f"Layer {key!r} outputs shape {by(output.shape)} for {count} images, so it is unclear which values belong to "
        "which image; pass one image at a time."
    )
