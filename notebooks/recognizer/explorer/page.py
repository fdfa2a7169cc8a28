"""One HTML file with a network in it: every map of every layer, and what becomes of the answer when filters are off."""

import html
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
import torch
from torch import nn

from .. import settings
from ..maps.layers import layers_by_name
from ..network.models import load_model
from ..settings import Problem, room_on_disk
from .album import choose, maps_of
from .packing import Packed, picture_address
from .pictures import Picture, Pictures, Transform, answers, pictures_of
from .program import Program, program_of

WEB = Path(__file__).parent / "web"
ENGINE = ("steps.js", "engine.js")  # run in a worker
SCRIPTS = ("state.js", "colours.js", "pictures.js", "answer.js", "chosen.js", "own.js")
SCRIPTS += ("layers.js", "grid.js", "enlarged.js", "page.js")
PALETTES = ("viridis", "RdBu_r", "gray")
MEGABYTES = 4.0
BETWEEN = ("affine", "pointwise", "same", "max_pool", "average_pool")  # what may lie between a kernel and its map
# How saved epochs are kept, best first: the format of their weights, and whether linear layers go in.
EPOCH_FORMATS = (("float16", True), ("int8", True), ("int8", False))


def explore(
    model: nn.Module,
    images: Mapping[str, Sequence[Picture]] | Sequence[Picture],
    labels: Sequence[str] | None = None,
    *,
    path: Path | str | None = None,
    classes: Sequence[str] | None = None,
    transform: Transform | None = None,
    epochs: Path | str | Sequence[Path] | None = None,
    megabytes: float = MEGABYTES,
) -> Path:
    """Write a page in which a network runs, and return its path (default `explorer.html` in the workspace).

    It is one file that needs no server and no connection. `model` is any network for images that answers with a row of
    logits; of one logit, it says how much the second of two classes is preferred. `images` are files, PIL images,
    arrays uint8 H×W×3 or tensors float32 C×H×W in [0, 1], by class ({'Bike': [...], 'Car': [...]}) or in a row with
    `labels`; a file's label is by default the name of its folder, where that is a class. The page keeps pictures in 8
    bits. `classes` are the names of the answers, by default `model.classes`.

    `transform` is what `weights.transforms()` of torchvision returns, or any callable from a PIL image to C×H×W, for a
    network that wants other input than `to_input` gives. The page can do what torchvision's does; with another it takes
    no pictures of its reader.

    `epochs` is the folder of the networks that `save_epochs` left, or their paths: the page gets a slider. They go in
    whole if the file then has at most `megabytes`: in float16, or else in 8 bits. Otherwise as many as fit go in
    without their linear layers: the page has all their maps before those, and their answers to the given images.

    Where the network has an operation that the page cannot compute, one sentence says so and names the layer, and the
    page shows the maps of the given images, computed here: as many, and as fine, as fit in `megabytes`.
    Raises `Problem` for images that cannot be used, or that differ in shape.
    """
    if not layers_by_name(model):
        raise Problem(f"This {type(model).__name__} has no layers with names, so there is nothing to explore.")
    path = Path(path or settings.WORKSPACE / "explorer.html")
    pictures = pictures_of(model, images, labels, transform)
    probabilities, logits = answers(model, pictures)
    about = {
        "model": type(model).__name__,
        "classes": _class_names(model, classes, len(probabilities[0])),
        "input": list(pictures.pixels.shape[1:]),
        "resize": pictures.resize,
        "pictures": [
            {"name": name, "label": label, "address": picture_address(_channels_last(pixels)), "probabilities": answer}
            for name, label, pixels, answer in zip(pictures.names, pictures.labels, pictures.pixels, probabilities)
        ],
        "palettes": {name: _palette(name) for name in PALETTES},
        "cards": _cards(path.parent, model),
        "epochs": [],
    }
    room = int(megabytes * 1e6)
    try:
        program = program_of(model, pictures.pixels.shape[1:], pictures.normalise)
    except Problem as problem:
        print(f"{problem} The page shows maps of the given images, computed here.")
        page = _with_album(about | {"problem": str(problem)}, model, pictures, logits, room)
    else:
        page = _with_network(about, model, program, _saved(model, epochs), pictures, room)
    with room_on_disk("the explorer", path.parent, len(page)):
        path.write_text(page, encoding="utf-8")
    return path


def _class_names(model: nn.Module, classes: Sequence[str] | None, count: int) -> list[str]:
    names = list(classes if classes is not None else getattr(model, "classes", []))
    if names and len(names) != count:
        raise Problem(f"There are {len(names)} class names and {count} answers; give explore(…, classes=…) one each.")
    return [str(name) for name in names] or [f"class {number}" for number in range(count)]


def _cards(folder: Path, model: nn.Module) -> dict[str, list[str]]:
    """The filter cards that notebook 04 left: 'layer/number' → addresses relative to the page."""
    found: dict[str, list[str]] = {}
    for name in getattr(model, "classes", []):
        for card in sorted((folder / f"results_{name}" / "filter_cards").glob("*/filter_*.png")):
            key = f"{card.parent.name}/{int(card.stem.rpartition('_')[2])}"
            found.setdefault(key, []).append(card.relative_to(folder).as_posix())
    return found


# The network, and what it was earlier


def _with_network(
    about: dict, model: nn.Module, program: Program, saved: Mapping[str, nn.Module], pictures: Pictures, room: int
) -> str:
    packed = Packed()
    numbers = [{name: packed.add(tensor) for name, tensor in step.tensors.items()} for step in program.steps]
    steps = [
        {"kind": step.kind, "inputs": [each.number for each in step.inputs], "shape": list(step.shape), "tensors": own}
        | step.options
        for step, own in zip(program.steps, numbers)
    ]
    done = _gives_probabilities(program)
    for picture, answer in zip(about["pictures"], answers(model, pictures, done)[0]):
        picture["probabilities"] = answer
    about = about | {"steps": steps, "gives_probabilities": done, "layers": _layers(program)}
    page = _joined(about, packed)
    earlier = {}
    for label, each in saved.items():
        try:
            earlier[label] = answers(each, pictures, done)[0]
        except Problem as problem:
            print(f"{label} is left out: {problem}")
    saved = {label: saved[label] for label in earlier}
    programs = {label: program_of(each, program.input_shape, pictures.normalise) for label, each in saved.items()}
    for form, with_linear in EPOCH_FORMATS if saved else ():
        with_epochs, entries = packed.copy(), []
        for label, of_epoch in programs.items():
            own = _numbers(with_epochs, of_epoch, program, numbers, form, with_linear)
            rounded = form == "int8" and own != _flat(numbers)
            entry = {"label": label, "tensors": own, "answers": earlier[label], "rounded": rounded}
            trial = _joined(about | {"epochs": [*entries, entry]}, with_epochs)
            if len(trial.encode()) > room:
                break
            entries.append(entry)
            # What only some of the epochs have room for has to be the least that there is.
            if len(entries) == len(programs) or (form, with_linear) == EPOCH_FORMATS[-1]:
                page = trial
        if len(entries) == len(programs):
            return page
    if left_out := list(programs)[len(entries) :] if saved else []:
        print(f"There is no room for {', '.join(left_out)} in {room / 1e6:g} MB; megabytes=… makes some.")
    return page


def _gives_probabilities(program: Program) -> bool:
    """Whether the network ends in a softmax or a sigmoid, however its answer is reshaped afterwards."""
    number = len(program.steps)
    while number and program.steps[number - 1].kind == "same":
        number = program.steps[number - 1].inputs[0].number
    last = program.steps[number - 1] if number else None
    return last is not None and (last.kind == "softmax" or last.options.get("function") == "sigmoid")


def _numbers(
    packed: Packed, saved: Program, trained: Program, trained_numbers: list[dict], form: str, with_linear: bool
) -> list[int | None]:
    """Pack the tensors of a saved epoch; their numbers in the order of the network's own, None for those left out."""
    found: list[int | None] = []
    for step, trained_step, numbers in zip(saved.steps, trained.steps, trained_numbers):
        for name, tensor in step.tensors.items():
            if torch.equal(tensor, trained_step.tensors[name]):  # often the last saved epoch is the trained network
                found.append(numbers[name])
            elif not with_linear and step.kind == "linear":
                found.append(None)
            elif tensor.ndim == 1:
                found.append(packed.add(tensor, "float32"))
            else:
                found.append(packed.add(tensor, form, numbers[name] if form == "int8" else None))
    return found


def _flat(numbers: list[dict]) -> list[int]:
    return [number for own in numbers for number in own.values()]


def _saved(model: nn.Module, epochs: Path | str | Sequence[Path] | None) -> dict[str, nn.Module]:
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


def _layers(program: Program) -> list[dict]:
    """What the page is told of each named layer. A block is listed where its output is that of no layer inside it."""
    of_layers = {layer.value for layer in program.layers if not layer.is_block}
    seen: set[int] = set()
    layers = []
    for layer in program.layers:
        listed = not layer.is_block or (layer.value not in of_layers and layer.value not in seen)
        seen |= {layer.value} if listed else set()
        window = {part: [getattr(each, part) for each in layer.windows] for part in ("size", "stride", "start")}
        entry = {"name": layer.name, "kind": layer.kind, "value": layer.value, "shape": list(layer.shape)}
        layers.append(
            entry
            | {
                "window": window,
                "listed": listed,
                "is_block": layer.is_block,
                "kernels": _kernels(program, layer.value),
            }
        )
    return layers


def _kernels(program: Program, value: int) -> int | None:
    """The number of the value that the first convolution makes, where nothing but pooling and the like follows it."""
    channels = program.steps[value - 1].shape[0] if value else 0
    while value and program.steps[value - 1].kind in BETWEEN:
        value = program.steps[value - 1].inputs[0].number
    if not value or program.steps[value - 1].kind != "convolution" or program.steps[value - 1].shape[0] != channels:
        return None  # flattened maps are no longer those of one kernel each
    behind = program.steps[value - 1].inputs[0].number
    while behind and program.steps[behind - 1].kind == "affine":
        behind = program.steps[behind - 1].inputs[0].number
    return None if behind else value


# Without the network


def _with_album(about: dict, model: nn.Module, pictures: Pictures, logits: list[list[float]], room: int) -> str:
    layers, maps, packed = layers_by_name(model), maps_of(model, pictures), Packed()
    choice = choose(model, maps, pictures.labels, room - len(_joined(about, packed)))
    entries = [
        {"name": name, "kind": type(layers[name.partition("#")[0]]).__name__, "shape": list(maps[0][name].shape)}
        | {"value": 0, "window": None, "listed": True, "is_block": False, "kernels": None}
        for name in choice.names
    ]
    album = [
        {"maps": {name: packed.add(found, "uint8") for name, found in of_picture.items()}, "logits": logits[number]}
        | {"probabilities": about["pictures"][number]["probabilities"]}
        for number, of_picture in zip(choice.pictures, choice.of(maps))
    ]
    about = about | {"pictures": [about["pictures"][number] for number in choice.pictures]}
    about |= {"steps": None, "layers": entries, "album": album, "side": choice.side, "left_out": choice.limits}
    return _joined(about, packed)


# The file


def _channels_last(pixels: np.ndarray) -> np.ndarray:
    return pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)


def _palette(name: str) -> list[int]:
    """256 colours as red, green, blue, red, …"""
    return matplotlib.colormaps[name](np.arange(256), bytes=True)[:, :3].ravel().tolist()


def _text(*names: str) -> str:
    return "\n".join((WEB / name).read_text(encoding="utf-8") for name in names)


def _joined(about: dict, packed: Packed) -> str:
    """The whole page as text."""
    text = packed.text()
    data = json.dumps(about | {"tensors": packed.entries}, ensure_ascii=False, separators=(",", ":"))
    parts = {
        "TITLE": html.escape(f"What the filters of {about['model']} see"),
        "STYLE": _text("page.css"),
        "ENGINE": _text(*ENGINE),
        "SCRIPT": _text(*SCRIPTS),
        "DATA": data.replace("<", "\\u003c"),  # no text in it can end the script that it stands in
        "WEIGHTS": text,
    }
    page = _text("page.html")
    for name, part in parts.items():
        page = page.replace(f"<!--{name}-->", part)
    return page
