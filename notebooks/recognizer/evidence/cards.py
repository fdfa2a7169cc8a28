"""Filter cards: a picture of each filter with all that is known of it."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor, nn

from ..maps.fonts import draw_text
from ..maps.grids import INK, QUIET, mosaic, painted
from ..maps.pictures import save_png
from ..settings import results_folder
from .dissection import enlarged
from .measures import LayerEvidence
from .probes import KINDS, preferred_kinds
from .receptive_field import BEYOND, ReceptiveField, receptive_fields
from .responses import Strongest, all_maps, strongest

PANEL, GAP, MARGIN, HEADER = 172, 12, 14, 141  # pixels
PATCH = 56  # a patch is drawn in so many pixels, nine of them in a panel


def save_cards(
    model: nn.Module,
    twin: nn.Module,
    chosen: Mapping[str, Mapping[str, Sequence[int]]],
    evidence: Mapping[str, LayerEvidence],
    of_twin: Mapping[str, LayerEvidence],
    pixels: Tensor,
    examples: Sequence[int],
    parts: Sequence[str] = (),
) -> dict[str, dict[str, Path]]:
    """Draw a card for each of the filters `chosen` (layer → class → numbers), and a page for each layer and class.

    `twin` is the network to compare with; `evidence` and `of_twin` are the measures of both (layer → `LayerEvidence`).
    Strong patches are looked for in `pixels`, uint8 N×3×S×S; `examples` holds the index of one image for each class,
    and `parts` the names of the parts that were looked for. Writes
    `results_<Class>/filter_cards/<layer_name>/filter_<NNN>.png` and the page, `…/filter_cards/<layer_name>.png`, which
    begins with the facts of the whole layer. Cards of an earlier run are removed. Returns the paths of the pages:
    layer → class → path.
    """
    layers = list(chosen)
    fields = receptive_fields(model, pixels.shape[-1])
    maps = all_maps(model, layers, pixels[list(examples)])
    patches = [strongest(each, layers, pixels) for each in (model, twin)]
    pages: dict[str, dict[str, Path]] = {}
    for name in layers:
        sources = (model, [found[name] for found in patches], fields[name], pixels, examples, maps[name])
        about = _sheet(name, layer_facts(evidence[name], of_twin[name], fields[name], pixels.shape[-1]), {}, 5)
        both = evidence[name], of_twin[name]
        pages[name] = {}
        for class_name, numbers in chosen[name].items():
            folder = results_folder(class_name) / "filter_cards" / name
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            cards = []
            for number in numbers:
                lines = facts(*both, number, model.classes, fields[name], pixels.shape[-1], parts)
                cards.append(_sheet(f"{name} · filter {number}", lines, _panels(name, number, *sources)))
                save_png(folder / f"filter_{number:03d}.png", cards[-1])
            page = folder.with_name(f"{name}.png")
            page.unlink(missing_ok=True)
            if cards:
                save_png(page, np.concatenate([about, *cards]))
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
    """The pictures of a card by caption: the kernel or the strongest patch, the maps of the examples, all patches."""
    own, of_twin = (_patches(found, number, pixels, field) for found in patches)
    kernel = _kernel_behind(model, name)
    panels = {"what excites it most": own[0]} if kernel is None else {"its kernel": _kernel_picture(kernel[number])}
    most = max(float(patches[0].values[number, 0]), 1e-9)  # in all the images
    highest = max(float(maps[:, number].max()), 1e-9)  # in the examples
    for class_name, image, image_maps in zip(model.classes, pixels[list(examples)], maps):
        response = torch.from_numpy(image_maps[[number]])[None]
        strength = enlarged(response / highest, field, image.shape[-1], image.shape[1:])[0, 0].numpy()
        panels[f"in a {class_name}: up to {float(response.max()) / most:.0%}"] = painted(_rows(image), strength)
    return panels | {"its strongest patches": mosaic(own), "those of its untrained twin": mosaic(of_twin)}


def layer_facts(evidence: LayerEvidence, of_twin: LayerEvidence, field: ReceptiveField, image_size: int) -> list[str]:
    """What is known of a whole layer, in three lines of text, beside its untrained twin."""
    side = min(field.size, image_size)
    dead = f"{evidence.dead.sum()} of them dead" if evidence.dead.any() else "none of them dead"
    prefer = [preferred_kinds(each.kinds) for each in (evidence, of_twin)]
    kinds = ", ".join(f"{name} {own:.0%} ({theirs:.0%})" for name, own, theirs in zip(KINDS, *prefer))
    preference = [f"{each.preference.mean():.2f}" for each in (evidence, of_twin)]
    return [
        f"{len(evidence.auroc)} filters, {dead} · a position sees {side}×{side} of {image_size}×{image_size} pixels",
        f"respond most to (untrained in brackets): {kinds}",
        f"preference for a class, mean of the filters: {preference[0]} (untrained {preference[1]})",
    ]


def facts(
    evidence: LayerEvidence,
    of_twin: LayerEvidence,
    number: int,
    classes: Sequence[str],
    field: ReceptiveField,
    image_size: int,
    parts: Sequence[str],
) -> list[str]:
    """Five facts about a filter, a line each, and in brackets what its untrained twin has; four without `parts`."""
    side = min(field.size, image_size)
    own, theirs = (_likes(each, number) for each in (evidence, of_twin))
    lines = [f"sees {side}×{side} of {image_size}×{image_size} pixels", f"responds most to {own} (twin: {theirs})"]
    if parts and evidence.precision is not None:
        scores = np.nan_to_num(evidence.precision[:, number, 1:])
        label, best = np.unravel_index(scores.argmax(), scores.shape)
        of_twin_there = np.nan_to_num(of_twin.precision[label, number, best + 1])
        lines.append(
            f"finds the {parts[best + 1]} of a {classes[label]} best: "
            f"{scores[label, best]:.1f} times as well as chance (twin: {of_twin_there:.1f})"
        )
    lines.append(f"prefers {_prefers(evidence, number, classes)} (twin: {_prefers(of_twin, number, classes)})")
    changes = [f"{each.ablation.change[number]:.1%}" for each in (evidence, of_twin)]
    flips = round(evidence.ablation.flips[number] * len(evidence.ablation.baseline_correct))
    lines.append(
        f"without it, answers change by {changes[0]} of a typical one (twin: {changes[1]}); "
        f"{flips} of {len(evidence.ablation.baseline_correct)} turn over"
    )
    return lines


def _likes(evidence: LayerEvidence, number: int) -> str:
    """The kind of pattern that excites a filter most, and the orientation of bars that does."""
    responses, angle = evidence.kinds[number], evidence.tuning.preferred[number]
    kind = list(KINDS)[responses.argmax()] if responses.max() > 0 else "none of the patterns"
    return kind if np.isnan(angle) else f"{kind}, and to bars at {angle:.0f}°"


def _prefers(evidence: LayerEvidence, number: int, classes: Sequence[str]) -> str:
    area = evidence.auroc[number]
    return "no class" if area == 0.5 else f"{classes[int(area > 0.5)]} by AUROC {max(area, 1 - area):.2f}"


def painted_maps(model: nn.Module, layer_name: str, number: int, pixels: Tensor) -> list[np.ndarray]:
    """The maps of one filter, each `painted` over its picture, all on one scale: N pictures, uint8 S×S×3.

    `pixels` is uint8 N×3×S×S. The scale goes from 0 to the largest value in all of them.
    """
    side = pixels.shape[-1]
    maps = torch.from_numpy(all_maps(model, [layer_name], pixels)[layer_name][:, [number]])
    field = receptive_fields(model, side)[layer_name]
    strength = enlarged(maps / maps.amax().clamp(min=1e-9), field, side, (side, side))[:, 0]
    return [painted(_rows(picture), each.numpy()) for picture, each in zip(pixels, strength)]


def _rows(image: Tensor) -> np.ndarray:
    """A picture, uint8 3×S×S, as uint8 S×S×3."""
    return image.permute(1, 2, 0).cpu().numpy()


def _kernel_behind(model: nn.Module, layer_name: str) -> Tensor | None:
    """The kernels of the first convolution, C×3×k×k, which can be seen as colours; None unless the layer is the first
    one of its kind."""
    kind = type(model.get_submodule(layer_name))
    of_kind = [name for name, layer in model.named_modules() if isinstance(layer, kind)]
    first = next((layer for layer in model.modules() if isinstance(layer, nn.Conv2d)), None)
    return first.weight.detach().cpu() if first is not None and of_kind[0] == layer_name else None


def _kernel_picture(kernel: Tensor) -> np.ndarray:
    """3×k×k weights as colours, zero as middle grey: uint8 k×k×3."""
    shades = 0.5 + 0.5 * kernel / kernel.abs().max().clamp(min=1e-9)
    return (255 * shades).round().byte().permute(1, 2, 0).numpy()


def _patches(found: Strongest, number: int, pixels: Tensor, field: ReceptiveField) -> np.ndarray:
    """What the strongest positions of a filter see, as `ReceptiveField.crop` has it: uint8 count×PATCH×PATCH×3.

    The patch of an image in which the filter does not respond, and so has no strongest position, is light grey.
    """
    crops = np.full((len(found.images[number]), PATCH, PATCH, 3), BEYOND, np.uint8)
    places = zip(found.images[number], found.rows[number], found.columns[number], found.values[number])
    for crop, (image, row, column, value) in zip(crops, places):
        if value > 0:
            crop[:] = _resized(field.crop(pixels[int(image)], int(row), int(column)), PATCH)
    return crops


def _resized(picture: np.ndarray, side: int) -> np.ndarray:
    """uint8 H×W×3 as side×side×3. Pixels stay squares when the picture grows."""
    way = Image.Resampling.NEAREST if len(picture) < side else Image.Resampling.BOX
    return np.asarray(Image.fromarray(picture).resize((side, side), way))


def _sheet(title: str, lines: Sequence[str], panels: dict[str, np.ndarray], num_panels: int = 0) -> np.ndarray:
    """Title, lines of text and pictures with captions side by side, as wide as `num_panels` or more: uint8 H×W×3."""
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
