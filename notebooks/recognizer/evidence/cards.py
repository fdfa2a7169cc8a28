"""Filter cards: what is known about each filter, in pictures and a few lines of text."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor, nn

from ..maps.files import save_png
from ..maps.fonts import draw_text
from ..maps.grids import INK, QUIET, mosaic, painted
from ..settings import results_folder
from .dissection import enlarged
from .measures import LayerEvidence
from .probes import KINDS, preferred_kinds
from .receptive_field import BEYOND, ReceptiveField, receptive_fields
from .responses import Strongest, all_maps, strongest

PANEL, GAP, MARGIN, HEADER = 172, 12, 14, 141  # pixels
PATCH = 56  # side of a patch in pixels; a panel shows nine patches


def save_cards(
    model: nn.Module,
    twin: nn.Module,
    chosen: Mapping[str, Mapping[str, Sequence[int]]],
    evidence: Mapping[str, LayerEvidence],
    twin_evidence: Mapping[str, LayerEvidence],
    pixels: Tensor,
    examples: Sequence[int],
    parts: Sequence[str] = (),
) -> dict[str, dict[str, Path]]:
    """Draw a card for each of the filters `chosen` (layer → class → numbers), and a page for each layer and class.

    `twin` is the network to compare with, usually `model` before training. `evidence` and `twin_evidence` are the
    measures of both networks (layer → `LayerEvidence`). The strongest patches come from `pixels`, uint8 N×3×S×S.
    `examples` holds the index of one image for each class, and `parts` the names of the parts that were measured.
    Writes `results_<Class>/filter_cards/<layer_name>/filter_<NNN>.png` and the page
    `results_<Class>/filter_cards/<layer_name>.png`. The page begins with facts about the whole layer. Cards of an
    earlier run are removed. Returns the paths of the pages: layer → class → path.
    """
    layers = list(chosen)
    fields = receptive_fields(model, pixels.shape[-1])
    maps = all_maps(model, layers, pixels[list(examples)])
    positions = [strongest(network, layers, pixels) for network in (model, twin)]
    pages: dict[str, dict[str, Path]] = {}
    for name in layers:
        sources = (model, [by_layer[name] for by_layer in positions], fields[name], pixels, examples, maps[name])
        summary = _sheet(name, layer_facts(evidence[name], twin_evidence[name], fields[name], pixels.shape[-1]), {}, 5)
        measured = evidence[name], twin_evidence[name]
        pages[name] = {}
        for class_name, numbers in chosen[name].items():
            folder = results_folder(class_name) / "filter_cards" / name
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            cards = []
            for number in numbers:
                lines = facts(*measured, number, model.classes, fields[name], pixels.shape[-1], parts)
                cards.append(_sheet(f"{name} · filter {number}", lines, _panels(name, number, *sources)))
                save_png(folder / f"filter_{number:03d}.png", cards[-1])
            page = folder.with_name(f"{name}.png")
            page.unlink(missing_ok=True)
            if cards:
                save_png(page, np.concatenate([summary, *cards]))
                pages[name][class_name] = page
    return pages


def _panels(
    name: str,
    number: int,
    model: nn.Module,
    patches: Sequence[Strongest],
    field: ReceptiveField,
    pixels: Tensor,
    examples: Sequence[int],
    maps: np.ndarray,
) -> dict[str, np.ndarray]:
    """A card's pictures by caption: kernel or strongest patch, maps of the examples, and patches of both networks."""
    own, of_twin = (_patches(positions, number, pixels, field) for positions in patches)
    kernel = _visible_kernels(model, name)
    panels = {"what excites it most": own[0]} if kernel is None else {"its kernel": _kernel_picture(kernel[number])}
    most = max(float(patches[0].values[number, 0]), 1e-9)  # in all images
    scale = max(float(maps[:, number].max()), 1e-9)  # in the examples
    for class_name, image, image_maps in zip(model.classes, pixels[list(examples)], maps):
        response = torch.from_numpy(image_maps[[number]])[None]
        strength = enlarged(response / scale, field, image.shape[-1], image.shape[1:])[0, 0].numpy()
        panels[f"in a {class_name}: up to {float(response.max()) / most:.0%}"] = painted(
            _channels_last(image), strength
        )
    return panels | {"its strongest patches": mosaic(own), "those of its untrained twin": mosaic(of_twin)}


def layer_facts(
    evidence: LayerEvidence, twin_evidence: LayerEvidence, field: ReceptiveField, image_size: int
) -> list[str]:
    """Three lines of text about a whole layer and its untrained twin."""
    side = min(field.size, image_size)
    dead = f"{evidence.dead.sum()} of them dead" if evidence.dead.any() else "none of them dead"
    shares = [preferred_kinds(measured.kinds) for measured in (evidence, twin_evidence)]
    kinds = ", ".join(f"{name} {own:.0%} ({of_twin:.0%})" for name, own, of_twin in zip(KINDS, *shares))
    preference = [f"{measured.preference.mean():.2f}" for measured in (evidence, twin_evidence)]
    return [
        f"{len(evidence.auroc)} filters, {dead} · a position sees {side}×{side} of {image_size}×{image_size} pixels",
        f"respond most to (untrained in brackets): {kinds}",
        f"preference for a class, mean of the filters: {preference[0]} (untrained {preference[1]})",
    ]


def facts(
    evidence: LayerEvidence,
    twin_evidence: LayerEvidence,
    number: int,
    classes: Sequence[str],
    field: ReceptiveField,
    image_size: int,
    parts: Sequence[str],
) -> list[str]:
    """Five facts about a filter, one line per fact, with the values of its untrained twin in brackets.

    Without `parts` there are four.
    """
    side = min(field.size, image_size)
    own, of_twin = (_preferred_pattern(measured, number) for measured in (evidence, twin_evidence))
    lines = [f"sees {side}×{side} of {image_size}×{image_size} pixels", f"responds most to {own} (twin: {of_twin})"]
    if parts and evidence.precision is not None:
        scores = np.nan_to_num(evidence.precision[:, number, 1:])
        label, best = np.unravel_index(scores.argmax(), scores.shape)
        twin_score = np.nan_to_num(twin_evidence.precision[label, number, best + 1])
        lines.append(
            f"finds the {parts[best + 1]} of a {classes[label]} best: "
            f"{scores[label, best]:.1f} times as well as chance (twin: {twin_score:.1f})"
        )
    own, of_twin = (_preferred_class(measured, number, classes) for measured in (evidence, twin_evidence))
    lines.append(f"prefers {own} (twin: {of_twin})")
    changes = [f"{measured.ablation.change[number]:.1%}" for measured in (evidence, twin_evidence)]
    flips = round(evidence.ablation.flips[number] * len(evidence.ablation.baseline_correct))
    lines.append(
        f"without it, log-odds change by {changes[0]} of their median (twin: {changes[1]}); "
        f"{flips} of {len(evidence.ablation.baseline_correct)} answers flip"
    )
    return lines


def _preferred_pattern(evidence: LayerEvidence, number: int) -> str:
    """The kind of pattern with the strongest response, and the orientation of bars with the strongest response."""
    responses, angle = evidence.kinds[number], evidence.tuning.preferred[number]
    kind = list(KINDS)[responses.argmax()] if responses.max() > 0 else "none of the patterns"
    return kind if np.isnan(angle) else f"{kind}, and to bars at {angle:.0f}°"


def _preferred_class(evidence: LayerEvidence, number: int, classes: Sequence[str]) -> str:
    """The class for which a filter responds more, and how well its mean tells the classes apart."""
    area = evidence.auroc[number]
    return "no class" if area == 0.5 else f"{classes[int(area > 0.5)]} by AUROC {max(area, 1 - area):.2f}"


def painted_maps(model: nn.Module, layer_name: str, number: int, pixels: Tensor) -> list[np.ndarray]:
    """The maps of one filter, `painted` over the pictures: N pictures, uint8 S×S×3.

    `pixels` is uint8 N×3×S×S. All maps share one colour scale, from 0 to the largest value in any of them.
    """
    side = pixels.shape[-1]
    maps = torch.from_numpy(all_maps(model, [layer_name], pixels)[layer_name][:, [number]])
    field = receptive_fields(model, side)[layer_name]
    strength = enlarged(maps / maps.amax().clamp(min=1e-9), field, side, (side, side))[:, 0]
    return [painted(_channels_last(picture), of_picture.numpy()) for picture, of_picture in zip(pixels, strength)]


def _channels_last(image: Tensor) -> np.ndarray:
    """A picture, uint8 3×S×S, as uint8 S×S×3."""
    return image.permute(1, 2, 0).cpu().numpy()


def _visible_kernels(model: nn.Module, layer_name: str) -> Tensor | None:
    """The kernels of the first convolution, C×3×k×k, if `layer_name` is the first layer of its type, else None.

    Only these kernels can be shown as colours.
    """
    kind = type(model.get_submodule(layer_name))
    same_kind = [name for name, layer in model.named_modules() if isinstance(layer, kind)]
    first = next((layer for layer in model.modules() if isinstance(layer, nn.Conv2d)), None)
    return first.weight.detach().cpu() if first is not None and same_kind[0] == layer_name else None


def _kernel_picture(kernel: Tensor) -> np.ndarray:
    """Weights, 3×k×k, as colours with zero as mid-grey: uint8 k×k×3."""
    shades = 0.5 + 0.5 * kernel / kernel.abs().max().clamp(min=1e-9)
    return (255 * shades).round().byte().permute(1, 2, 0).numpy()


def _patches(top: Strongest, number: int, pixels: Tensor, field: ReceptiveField) -> np.ndarray:
    """What a filter sees at its strongest positions, as cut out by `ReceptiveField.crop`: uint8 count×PATCH×PATCH×3.

    If a filter does not respond in an image, the patch of that image is light grey.
    """
    crops = np.full((len(top.images[number]), PATCH, PATCH, 3), BEYOND, np.uint8)
    places = zip(top.images[number], top.rows[number], top.columns[number], top.values[number])
    for crop, (image, row, column, value) in zip(crops, places):
        if value > 0:
            crop[:] = _resized(field.crop(pixels[int(image)], int(row), int(column)), PATCH)
    return crops


def _resized(picture: np.ndarray, side: int) -> np.ndarray:
    """A picture, uint8 H×W×3, resized to side×side×3. Enlarged pixels remain squares."""
    resampling = Image.Resampling.NEAREST if len(picture) < side else Image.Resampling.BOX
    return np.asarray(Image.fromarray(picture).resize((side, side), resampling))


def _sheet(title: str, lines: Sequence[str], panels: dict[str, np.ndarray], num_panels: int = 0) -> np.ndarray:
    """Title, lines of text, and pictures with captions side by side, at least `num_panels` wide: uint8 H×W×3."""
    width = 2 * MARGIN + max(len(panels), num_panels) * (PANEL + GAP) - GAP
    height = HEADER + 18 + PANEL + MARGIN if panels else 48 + 19 * len(lines)
    sheet = Image.new("RGB", (width, height), "white" if panels else "#f2f2f2")
    draw = ImageDraw.Draw(sheet)
    draw.line((0, 0, width, 0), "#dddddd")
    draw_text(draw, (MARGIN, 10), title, INK, 18, bold=True)
    for number, line in enumerate(lines):
        draw_text(draw, (MARGIN, 38 + 19 * number), line, INK, 13)
    for number, (caption, picture) in enumerate(panels.items()):
        x = MARGIN + number * (PANEL + GAP)
        draw_text(draw, (x, HEADER), caption, QUIET, 12)
        sheet.paste(Image.fromarray(_resized(picture, PANEL)), (x, HEADER + 18))
    return np.asarray(sheet)
