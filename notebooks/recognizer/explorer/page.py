"""One HTML file with a network in it: every map of every layer, and what becomes of the answer when filters are off."""

import html
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from .. import settings
from ..inputs import decode, to_rgb, without_warnings
from ..maps.activations import as_array, run
from ..maps.colours import as_maps
from ..maps.given import as_given
from ..maps.layers import by, layers_by_name
from ..network.models import load_model
from ..settings import Problem, room_on_disk, shown
from .packing import Packed, png
from .program import Program, program_of

Picture = Path | str | Image.Image | Tensor
HERE = Path(__file__).parent
SCRIPTS = ("colours.js", "pictures.js", "page.js")
MEGABYTES = 4.0
FIRST_STEPS = ("affine", "pointwise", "same", "max_pool", "average_pool")  # what may lie between a kernel and a map
SIDES = (64, 32, 16, 8)  # of maps computed beforehand, where whole ones would make the file too large


@dataclass(frozen=True)
class Inputs:
    """What the pictures of a page are: uint8 N×C×H×W as stored, and how [0, 1] becomes what the network takes.

    `normalise` is a mean and a standard deviation for each channel, or None. `resize` is how the page brings a picture
    of its reader to that size: 'squeeze', (resize side, crop side), or None where only Python can.
    """

    pixels: np.ndarray
    names: list[str]
    labels: list[str]
    normalise: tuple[Tensor, Tensor] | None = None
    resize: str | tuple[int, int] | None = "squeeze"

    def for_network(self) -> Tensor:
        """float32 N×C×H×W, as the network takes it."""
        images = torch.from_numpy(self.pixels).float() / 255
        if self.normalise is None:
            return images
        mean, deviation = (each.reshape(-1, 1, 1) for each in self.normalise)
        return (images - mean) / deviation


def explore(
    model: nn.Module,
    images: Mapping[str, Sequence[Picture]] | Sequence[Picture],
    labels: Sequence[str] | None = None,
    *,
    path: Path | str | None = None,
    classes: Sequence[str] | None = None,
    transform: Callable[[Image.Image], Tensor] | None = None,
    epochs: Path | str | Sequence[Path] | None = None,
    megabytes: float = MEGABYTES,
) -> Path:
    """Write a page in which a network runs, and return its path (default `explorer.html` in the workspace).

    It is one file that needs no server and no connection. `model` is any network for images that answers with a row of
    logits; of one logit, it says how much the second of two classes is preferred. `images` are files, PIL images or
    tensors float32 C×H×W in [0, 1], by class ({'Bike': [...], 'Car': [...]}) or in a row with `labels`; a file's label
    is by default the name of its folder, where that is a class. The page keeps pictures in 8 bits. `classes` are the
    names of the answers, by default `model.classes`. `transform` is what `weights.transforms()` of torchvision returns,
    or any callable from a PIL image to C×H×W, for a network that wants other input than `to_input` gives; the page can
    do what torchvision's does, with another it takes no pictures of its reader.
    `epochs` is the folder of the networks that `save_epochs` left, or their paths: the page gets a slider. As many of
    them go in as fit in `megabytes`, whole in float16, whole in 8 bits, or the convolutions alone in 8 bits; then the
    page knows the earlier answers to the given images only.
    Where the network has an operation that the page cannot compute, one sentence says so and names the layer, and the
    page shows the maps of the given images, computed here, at a resolution that fits in `megabytes` if possible.
    Raises `Problem` for images that cannot be used, or that differ in shape.
    """
    inputs = _inputs(model, images, labels, transform)
    answers, logits = _answers(model, inputs)
    names = _class_names(model, classes, len(answers[0]))
    about = {
        "model": type(model).__name__,
        "classes": names,
        "input": list(inputs.pixels.shape[1:]),
        "resize": inputs.resize,
        "pictures": [
            {"name": name, "label": label, "address": png(_for_png(pixels)), "probabilities": answer}
            for name, label, pixels, answer in zip(inputs.names, inputs.labels, inputs.pixels, answers)
        ],
        "palettes": {name: _palette(name) for name in ("viridis", "RdBu_r", "gray")},
        "cards": {},
    }
    path = Path(path or settings.WORKSPACE / "explorer.html")
    about["cards"] = _cards(path.parent, model)
    room = int(megabytes * 1e6) - len(_joined(about, ""))
    try:
        program = program_of(model, inputs.pixels.shape[1:], inputs.normalise)
        about, weights = _with_network(about, program, room, _epochs(model, epochs), inputs)
    except Problem as problem:
        print(f"{problem} The page shows maps of the given images, computed here.")
        about, weights = _with_album(about | {"problem": str(problem)}, model, inputs, logits, room)
    with room_on_disk("the explorer", path.parent):
        path.write_text(_joined(about, weights), encoding="utf-8")
    return path


# ---- what goes in ----------------------------------------------------------------------------------------------------


def _inputs(model: nn.Module, images, labels, transform) -> Inputs:
    if isinstance(images, Mapping):
        labels = [label for label, group in images.items() for _ in group]
        images = [image for group in images.values() for image in group]
    images = list(images)
    if not images:
        raise Problem("There are no images; give explore at least one.")
    if labels is not None and len(labels) != len(images):
        raise Problem(f"There are {len(images)} images and {len(labels)} labels; give one label an image.")
    tensors = [as_given(image, model)[0] if transform is None else _through(transform, image) for image in images]
    shapes = {tuple(tensor.shape) for tensor in tensors}
    if len(shapes) > 1 or tensors[0].shape[0] not in (1, 3):
        raise Problem(f"The images have the shapes {', '.join(map(by, shapes))}; give RGB images of one size.")
    stack = torch.stack(tensors).float()
    known = [str(name) for name in getattr(model, "classes", [])]
    labels = [_label(image, known) for image in images] if labels is None else [str(label) for label in labels]
    names = [_name(image, number) for number, image in enumerate(images, 1)]
    if transform is not None:
        normalise, resize = _of_preset(transform, stack)
        mean, deviation = (each.reshape(-1, 1, 1) for each in normalise)
        stack = stack * deviation + mean
    elif stack.min() < 0 or stack.max() > 1:
        raise Problem(
            f"The images have values from {stack.min():.3g} to {stack.max():.3g}; give tensors in [0, 1], or files with "
            "transform=weights.transforms()."
        )
    else:
        normalise, resize = None, "squeeze"
    pixels = (stack.clamp(0, 1) * 255).round().to(torch.uint8).numpy()
    return Inputs(pixels, names, labels, normalise, resize)


@without_warnings()
def _through(transform: Callable, image: Picture) -> Tensor:
    if isinstance(image, Tensor):
        return image
    return transform(to_rgb(image) if isinstance(image, Image.Image) else decode(image))


def _of_preset(transform: object, stack: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[int, int] | None]:
    """How the page does what a transform does: mean and standard deviation, and the sides of resizing and cropping.

    Of a transform that is not torchvision's the page knows nothing; then [0, 1] is what the given images span.
    """
    parts = [getattr(transform, name, None) for name in ("mean", "std", "resize_size", "crop_size")]
    if any(part is None for part in parts):
        low, high = float(stack.min()), float(stack.max())
        return (torch.full((len(stack[0]),), low), torch.full((len(stack[0]),), (high - low) or 1.0)), None
    mean, deviation, resize, crop = parts
    return (torch.tensor(mean), torch.tensor(deviation)), (int(resize[0]), int(crop[0]))


def _name(image: Picture, number: int) -> str:
    name = image if isinstance(image, str | os.PathLike) else getattr(image, "filename", "")
    return Path(name).name or f"image {number}"


def _label(image: Picture, classes: Sequence[str]) -> str:
    file = image if isinstance(image, str | os.PathLike) else getattr(image, "filename", "")
    folder = Path(file).parent.name
    return folder if folder in classes else ""


def _answers(model: nn.Module, inputs: Inputs) -> tuple[list[list[float]], list[list[float]]]:
    """Probabilities and logits for each picture, as `Network.forward` in engine.js gives them."""
    model_mode = model.training
    model.eval()
    weights = next(model.parameters(), torch.zeros(1))
    try:
        with torch.no_grad():
            logits = model(inputs.for_network().to(weights.device, weights.dtype)).float().cpu()
    finally:
        model.train(model_mode)
    if logits.ndim != 2:
        raise Problem(f"The network answers {by(logits.shape)} for {len(logits)} images; explore takes rows of logits.")
    done = bool((logits >= 0).all() and (logits.sum(dim=1) - 1).abs().max() < 1e-4)  # it ends in a softmax
    if logits.shape[1] == 1:
        second = logits.sigmoid()
        probabilities = torch.cat([1 - second, second], dim=1)
    else:
        probabilities = logits if done else logits.softmax(dim=1)
    return probabilities.tolist(), logits.tolist()


def _class_names(model: nn.Module, classes: Sequence[str] | None, count: int) -> list[str]:
    names = list(classes if classes is not None else getattr(model, "classes", []))
    if names and len(names) != count:
        raise Problem(f"There are {len(names)} class names and {count} answers; give explore(…, classes=…) one each.")
    return [str(name) for name in names] or [f"class {number}" for number in range(count)]


def _epochs(model: nn.Module, epochs: Path | str | Sequence[Path] | None) -> dict[str, nn.Module]:
    """The networks of saved epochs by what they are called; those that cannot be read or differ are left out."""
    if epochs is None:
        return {}
    files = sorted(Path(epochs).glob("epoch_*.pt")) if isinstance(epochs, str | os.PathLike) else map(Path, epochs)
    shapes = {name: weight.shape for name, weight in model.state_dict().items()}
    found = {}
    for file in files:
        try:
            network = load_model(file)
        except Problem as problem:
            print(problem)
            continue
        if {name: weight.shape for name, weight in network.state_dict().items()} == shapes:
            digits = file.stem.rpartition("_")[2]
            found[f"epoch {int(digits)}" if digits.isdecimal() else file.stem] = network
    return found


# ---- what is in the page ---------------------------------------------------------------------------------------------


def _with_network(
    about: dict, program: Program, room: int, epochs: Mapping[str, nn.Module], inputs: Inputs
) -> tuple[dict, str]:
    """The page with its network, and with the saved epochs as far as they fit."""
    packed = Packed()
    numbers = [{name: packed.add(tensor) for name, tensor in step.tensors.items()} for step in program.steps]
    about = about | {
        "steps": [
            {"kind": step.kind, "inputs": [v.number for v in step.inputs], "shape": list(step.shape), "tensors": own}
            | step.options
            for step, own in zip(program.steps, numbers)
        ],
        "layers": _layers(program),
    }
    alone = about | {"tensors": packed.entries, "epochs": []}, packed.text()
    if not epochs:
        return alone
    programs = {label: program_of(network, program.input_shape, inputs.normalise) for label, network in epochs.items()}
    answers = {label: _answers(network, inputs)[0] for label, network in epochs.items()}
    for kind, without_linear in (("float16", False), ("int8", False), ("int8", True)):
        found = _and_epochs(about, program, numbers, programs, answers, kind, without_linear)
        if len(found[1]) + len(json.dumps(found[0])) - len(json.dumps(about)) < room:
            return found
    print(f"The saved epochs do not fit in {MEGABYTES} MB and are left out; explore(…, megabytes=…) makes room.")
    return alone


def _and_epochs(about, program, numbers, programs, answers, kind, without_linear) -> tuple[dict, str]:
    packed, entries = Packed(), []
    for step in program.steps:
        for tensor in step.tensors.values():
            packed.add(tensor)
    for label, of_epoch in programs.items():
        own: list[int | None] = [None] * sum(map(len, numbers))
        for step, places in zip(of_epoch.steps, numbers):
            for name, place in places.items():
                weighs = step.tensors[name].ndim > 1
                if not (without_linear and step.kind == "linear"):
                    own[place] = packed.add(step.tensors[name], kind if weighs else "float32")
        entries.append({"label": label, "tensors": own, "answers": answers[label], "rounded": kind == "int8"})
    return about | {"tensors": packed.entries, "epochs": entries}, packed.text()


def _layers(program: Program) -> list[dict]:
    """What the page is told of each named layer. A block is listed where its output is that of no layer inside it."""
    of_layers = {layer.value for layer in program.layers if not layer.is_block}
    seen: set[int] = set()
    layers = []
    for layer in program.layers:
        listed = not layer.is_block or (layer.value not in of_layers and layer.value not in seen)
        seen |= {layer.value} if listed else set()
        window = {part: list(getattr(layer.window, part)) for part in ("size", "stride", "start")}
        entry = {"name": layer.name, "kind": layer.kind, "value": layer.value, "shape": list(layer.shape)}
        layers.append(entry | {"window": window, "listed": listed, "kernels": _kernels(program, layer.value)})
    return layers


def _kernels(program: Program, value: int) -> int | None:
    """The number of the value that the first convolution makes, where nothing but pooling and the like follows it."""
    while value and program.steps[value - 1].kind in FIRST_STEPS:
        value = program.steps[value - 1].inputs[0].number
    if not value or program.steps[value - 1].kind != "convolution":
        return None
    behind = program.steps[value - 1].inputs[0].number
    while behind and program.steps[behind - 1].kind == "affine":
        behind = program.steps[behind - 1].inputs[0].number
    return None if behind else value


def _with_album(about: dict, model: nn.Module, inputs: Inputs, logits: list[list[float]], room: int):
    """The page with maps that are computed here, for the given images alone."""
    layers = layers_by_name(model)
    leaves = [name for name in layers if not any(layers[name].children())]
    maps: list[dict[str, np.ndarray]] = []
    for image in inputs.for_network():
        times: dict[str, int] = {}
        maps.append({})
        for name, output in run(model, leaves, image[None]):
            if isinstance(output, Tensor) and output.ndim > 1 and output.shape[0] == 1:
                times[name] = times.get(name, 0) + 1
                found = as_array(output)[0]
                found = np.abs(found) if np.iscomplexobj(found) else found
                maps[-1][name if times[name] == 1 else f"{name}#{times[name]}"] = (
                    as_maps(found, _features_last(layers[name], found)) if found.ndim > 1 else found
                )
    entries = [
        {"name": name, "kind": type(layers[name.partition("#")[0]]).__name__, "shape": list(found.shape)}
        | {"value": 0, "window": None, "listed": True, "kernels": None}
        for name, found in maps[0].items()
    ]
    about = about | {"steps": None, "layers": entries, "epochs": []}
    for side in (max(inputs.pixels.shape), *SIDES):
        packed = Packed()
        album = [
            {"maps": {name: packed.add(_at_most(found, side), "uint8") for name, found in of_picture.items()}}
            | {"logits": own, "probabilities": picture["probabilities"]}
            for of_picture, own, picture in zip(maps, logits, about["pictures"])
        ]
        text = packed.text()
        found = about | {"tensors": packed.entries, "album": album, "side": side}, text
        if len(text) + len(json.dumps(packed.entries)) < room:
            break
    return found


def _features_last(layer: nn.Module, output: np.ndarray) -> bool:
    """Whether a layer outputs H×W×C, as those of Swin and ConvNeXt do between two permutations."""
    return output.ndim == 3 and output.shape[0] == output.shape[1] != output.shape[2] and "2d" not in type(layer).__name__


def _at_most(maps: np.ndarray, side: int) -> np.ndarray:
    """Maps C×H×W with at most `side` positions a side, by the mean of neighbours; a row of numbers as it is."""
    if maps.ndim != 3 or max(maps.shape[1:]) <= side:
        return maps
    size = [min(length, side) for length in maps.shape[1:]]
    return functional.adaptive_avg_pool2d(torch.from_numpy(np.ascontiguousarray(maps)), size).numpy()


def _cards(folder: Path, model: nn.Module) -> dict[str, list[str]]:
    """The filter cards that notebook 04 left: 'layer/number' → addresses relative to the page."""
    found: dict[str, list[str]] = {}
    for name in getattr(model, "classes", []):
        for card in sorted(folder.glob(f"results_{name}/filter_cards/*/filter_*.png")):
            key = f"{card.parent.name}/{int(card.stem.rpartition('_')[2])}"
            found.setdefault(key, []).append(card.relative_to(folder).as_posix())
    return found


# ---- the file --------------------------------------------------------------------------------------------------------


def _for_png(pixels: np.ndarray) -> np.ndarray:
    return pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)


def _palette(name: str) -> list[int]:
    """256 colours as red, green, blue, red, …"""
    return matplotlib.colormaps[name](np.arange(256), bytes=True)[:, :3].ravel().tolist()


def _joined(about: dict, weights: str) -> str:
    """The whole page as text."""
    data = json.dumps(about, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    page = (HERE / "page.html").read_text(encoding="utf-8")
    parts = {
        "TITLE": html.escape(f"What the filters of {about['model']} see"),
        "STYLE": (HERE / "page.css").read_text(encoding="utf-8"),
        "ENGINE": (HERE / "engine.js").read_text(encoding="utf-8"),
        "SCRIPT": "\n".join((HERE / name).read_text(encoding="utf-8") for name in SCRIPTS),
        "DATA": data,
        "WEIGHTS": weights,
    }
    for name, text in parts.items():
        page = page.replace(f"<!--{name}-->", text)
    return page
