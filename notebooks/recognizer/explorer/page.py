"""Write one HTML file in which a network runs: it shows every map of every layer, and filters can be switched off."""

import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from torch import nn

from .. import settings
from ..maps.layers import layers_by_name
from ..settings import Problem, room_on_disk
from .album import choose, maps_of
from .epochs import page_with_epochs, saved_networks
from .packing import Packed, picture_address
from .pictures import Picture, Pictures, Transform, pictures_of, predictions_of
from .program import Program, program_of

WEB = Path(__file__).parent / "web"
ENGINE = ("steps.js", "engine.js")  # these run in a web worker
SCRIPTS = ("state.js", "colours.js", "pictures.js", "answer.js", "chosen.js", "own.js")
SCRIPTS += ("layers.js", "grid.js", "enlarged.js", "page.js")
PALETTES = ("viridis", "RdBu_r", "gray")
MEGABYTES = 4.0
BETWEEN = ("affine", "pointwise", "same", "max_pool", "average_pool")  # steps that may lie between a kernel and its map


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
    """Write a page in which a network runs, and return its path (default: `explorer.html` in the workspace).

    The page is one file that needs no server and no connection. `model` is any network that takes images and outputs
    one row of logits per image. A single logit belongs to the second of two classes. `images` are files, PIL images,
    uint8 H×W×3 arrays or float32 C×H×W tensors in [0, 1]. They come as a dictionary by class, such as {'Bike': [...],
    'Car': [...]}, or as a list with `labels`. The default label of a file is the name of its folder, if that is a
    class. The page stores pictures in 8 bits. `classes` are the names of the classes; the default is `model.classes`.

    `transform` is for networks whose input differs from that of `to_input`: torchvision's `weights.transforms()` or any
    callable from a PIL image to C×H×W. The page can repeat a torchvision transform. With any other transform, users
    cannot add their own pictures to the page.

    `epochs` is a folder of networks that `save_epochs` wrote, or a list of their paths. The page then has a slider for
    them. All epochs are stored completely, in float16 or else in 8 bits, if the file has at most `megabytes`.
    Otherwise as many epochs as fit are stored in 8 bits without their linear layers. Then the page has all maps before
    those layers, and the predictions for `images`.

    If the page cannot compute an operation of the network, a message names the layer. The page then shows precomputed
    maps of `images`, as many and as large as fit into `megabytes`.
    Raises `Problem` for images that cannot be used or that differ in shape.
    """
    if not layers_by_name(model):
        raise Problem(f"This {type(model).__name__} has no named layers, so there is nothing to explore.")
    path = Path(path or settings.WORKSPACE / "explorer.html")
    pictures = pictures_of(model, images, labels, transform)
    probabilities, logits = predictions_of(model, pictures)
    about = {
        "model": type(model).__name__,
        "classes": _class_names(model, classes, len(probabilities[0])),
        "input": list(pictures.pixels.shape[1:]),
        "resize": pictures.resize,
        "pictures": [
            {"name": name, "label": label, "address": picture_address(_channels_last(pixels)), "probabilities": row}
            for name, label, pixels, row in zip(pictures.names, pictures.labels, pictures.pixels, probabilities)
        ],
        "palettes": {name: _palette(name) for name in PALETTES},
        "cards": _cards(path.parent, model),
        "epochs": [],
    }
    room = int(megabytes * 1e6)
    try:
        program = program_of(model, pictures.pixels.shape[1:], pictures.normalise)
    except Problem as problem:
        print(f"{problem} The page shows precomputed maps of these images instead.")
        page = _with_album(about | {"problem": str(problem)}, model, pictures, logits, room)
    else:
        page = _with_network(about, model, program, saved_networks(model, epochs), pictures, room)
    with room_on_disk("the explorer", path.parent, len(page)):
        path.write_text(page, encoding="utf-8")
    return path


def _class_names(model: nn.Module, classes: Sequence[str] | None, count: int) -> list[str]:
    names = list(classes if classes is not None else getattr(model, "classes", []))
    if names and len(names) != count:
        raise Problem(f"There are {count} classes and {len(names)} class names; pass one name per class to explore.")
    return [str(name) for name in names] or [f"class {number}" for number in range(count)]


def _cards(folder: Path, model: nn.Module) -> dict[str, list[str]]:
    """The filter cards that notebook 04 wrote: 'layer/number' → addresses relative to the page."""
    cards: dict[str, list[str]] = {}
    for name in getattr(model, "classes", []):
        for card in sorted((folder / f"results_{name}" / "filter_cards").glob("*/filter_*.png")):
            key = f"{card.parent.name}/{int(card.stem.rpartition('_')[2])}"
            cards.setdefault(key, []).append(card.relative_to(folder).as_posix())
    return cards


# A page in which the network runs


def _with_network(
    about: dict, model: nn.Module, program: Program, saved: Mapping[str, nn.Module], pictures: Pictures, room: int
) -> str:
    packed = Packed()
    numbers = [{name: packed.add(tensor) for name, tensor in step.tensors.items()} for step in program.steps]
    steps = [
        {"kind": step.kind, "inputs": [value.number for value in step.inputs], "shape": list(step.shape)}
        | {"tensors": of_step, **step.options}
        for step, of_step in zip(program.steps, numbers)
    ]
    gives_probabilities = _gives_probabilities(program)
    for picture, probabilities in zip(about["pictures"], predictions_of(model, pictures, gives_probabilities)[0]):
        picture["probabilities"] = probabilities
    about = about | {"steps": steps, "gives_probabilities": gives_probabilities, "layers": _layers(program)}
    epochs = {}
    for label, network in saved.items():
        try:
            predictions = predictions_of(network, pictures, gives_probabilities)[0]
        except Problem as problem:
            print(f"{label} is left out: {problem}")
        else:
            epochs[label] = program_of(network, program.input_shape, pictures.normalise), predictions

    def page_of(packed: Packed, entries: list[dict]) -> str:
        return _joined(about | {"epochs": entries}, packed)

    return page_with_epochs(page_of, packed, program, numbers, epochs, room)


def _gives_probabilities(program: Program) -> bool:
    """Whether the network ends in a softmax or a sigmoid. Reshaping after it does not count."""
    number = len(program.steps)
    while number and program.steps[number - 1].kind == "same":
        number = program.steps[number - 1].inputs[0].number
    last = program.steps[number - 1] if number else None
    return last is not None and (last.kind == "softmax" or last.options.get("function") == "sigmoid")


def _layers(program: Program) -> list[dict]:
    """The description of every named layer for the page.

    A block is listed in the page if its output is not also the output of a layer in it or of a listed block.
    """
    values_of_layers = {layer.value for layer in program.layers if not layer.is_block}
    listed_values: set[int] = set()
    layers = []
    for layer in program.layers:
        listed = not layer.is_block or (layer.value not in values_of_layers and layer.value not in listed_values)
        listed_values |= {layer.value} if listed else set()
        window = {
            key: [getattr(along_axis, key) for along_axis in layer.windows] for key in ("size", "stride", "start")
        }
        entry = {"name": layer.name, "kind": layer.kind, "value": layer.value, "shape": list(layer.shape)}
        entry |= {"window": window, "listed": listed, "is_block": layer.is_block}
        layers.append(entry | {"kernels": _kernels(program, layer.value)})
    return layers


def _kernels(program: Program, value: int) -> int | None:
    """The number of the first convolution's output, if `value` shows the same filters; else None.

    That is so if only pooling, activations and the like lie between the convolution and `value`. The page then shows
    the filters' kernels.
    """
    channels = program.steps[value - 1].shape[0] if value else 0
    while value and program.steps[value - 1].kind in BETWEEN:
        value = program.steps[value - 1].inputs[0].number
    if not value or program.steps[value - 1].kind != "convolution" or program.steps[value - 1].shape[0] != channels:
        return None  # in flattened maps, a row no longer belongs to one kernel
    source = program.steps[value - 1].inputs[0].number
    while source and program.steps[source - 1].kind == "affine":
        source = program.steps[source - 1].inputs[0].number
    return None if source else value


# A page with precomputed maps, without the network


def _with_album(about: dict, model: nn.Module, pictures: Pictures, logits: list[list[float]], room: int) -> str:
    layers, maps, packed = layers_by_name(model), maps_of(model, pictures), Packed()
    choice = choose(model, maps, pictures.labels, room - len(_joined(about, packed)))
    entries = [
        {"name": name, "kind": type(layers[name.partition("#")[0]]).__name__, "shape": list(maps[0][name].shape)}
        | {"value": 0, "window": None, "listed": True, "is_block": False, "kernels": None}
        for name in choice.names
    ]
    album = [
        {
            "maps": {name: packed.add(of_layer, "uint8") for name, of_layer in of_picture.items()},
            "logits": logits[number],
            "probabilities": about["pictures"][number]["probabilities"],
        }
        for number, of_picture in zip(choice.pictures, choice.of(maps))
    ]
    about = about | {"pictures": [about["pictures"][number] for number in choice.pictures]}
    about |= {"steps": None, "layers": entries, "album": album, "side": choice.side, "left_out": choice.limits}
    return _joined(about, packed)


# The text of the page


def _channels_last(pixels: np.ndarray) -> np.ndarray:
    return pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)


def _palette(name: str) -> list[int]:
    """256 colours as a flat list: red, green, blue, red, …"""
    return matplotlib.colormaps[name](np.arange(256), bytes=True)[:, :3].ravel().tolist()


def _text(*names: str) -> str:
    return "\n".join((WEB / name).read_text(encoding="utf-8") for name in names)


def _joined(about: dict, packed: Packed) -> str:
    """The complete page as HTML."""
    text = packed.text()
    data = json.dumps(about | {"tensors": packed.entries}, ensure_ascii=False, separators=(",", ":"))
    parts = {
        "TITLE": html.escape(f"What the filters of {about['model']} see"),
        "STYLE": _text("page.css"),
        "ENGINE": _text(*ENGINE),
        "SCRIPT": _text(*SCRIPTS),
        "DATA": data.replace("<", "\\u003c"),  # so that no text in it can close its <script> element
        "WEIGHTS": text,
    }
    page = _text("page.html")
    for name, part in parts.items():
        page = page.replace(f"<!--{name}-->", part)
    return page
