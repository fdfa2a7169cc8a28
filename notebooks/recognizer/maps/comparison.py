"""Which images activate which filter: one picture of the same filters on several images."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from torch import nn

from ..settings import Problem, results_folder
from .activations import capture
from .colours import colour
from .files import file_name, save_png, written_below
from .fonts import draw_text
from .given import Given, Transform, as_given, as_seen, transform_of
from .grids import FAINT, GAP, INK, LABEL, MARGIN, QUIET, SHEET_WIDTH, THINNEST, picture_of
from .layers import layers_by_name
from .pictures import maps_of, show_sheet

LARGEST, SMALLEST, NUMBERS = 110, 28, 74  # pixels: limits for the side of a map, width of the column of filter numbers


def compare_images(
    model: nn.Module,
    layer_name: str,
    images: Mapping[str, Sequence[Given]],
    *,
    transform: Transform | None = None,
    filters: Sequence[int] | None = None,
    count: int = 8,
    show: bool = True,
) -> Path:
    """Draw one row per filter and one column per image, grouped by class: which images activate a filter?

    `images` maps each class to its images, such as {'Bike': [...], 'Car': [...]}. The images and the `transform` are
    those that `display_image_filtered` accepts.

    `filters` are the numbers of the filters to draw. By default, these are the `count` filters that best distinguish
    one class from the others. The measure is the difference between the mean activations, divided by the standard
    deviation over all images. If there is one class, the filters that vary most between the images are drawn.
    All maps of a row share a scale, whose ends stand to the left of the row (see `colours.colour`).

    Writes `results_all/<layer_name>.png` and returns its path. Raises `Problem` as `display_image_filtered` does, and
    for filters that the layer does not have, for more images than fit, and for images of different sizes.
    """
    if not isinstance(images, Mapping):
        raise Problem("Pass the images to compare by class: {'Bike': [...], 'Car': [...]}.")
    labels = [name for name, of_class in images.items() for _ in of_class]
    if not labels or len(labels) > (SHEET_WIDTH - NUMBERS) // (SMALLEST + GAP):
        most = (SHEET_WIDTH - NUMBERS) // (SMALLEST + GAP)
        raise Problem(f"Pass 1 to {most} images to compare, by class: {{'Bike': [...]}}; there are {len(labels)}.")
    inputs = [as_given(image, model, transform)[0] for of_class in images.values() for image in of_class]
    layer = layers_by_name(model).get(layer_name)
    maps = []
    for pixels in inputs:
        (key, output), *_ = capture(model, layer_name, pixels).items()
        maps.append(maps_of(key, model, layer, output[0], pixels)[0])
    if len({of_image.shape for of_image in maps}) > 1:
        raise Problem("The images differ in size, and so do their maps; pass images of one size.")
    maps = np.stack(maps)
    if maps.shape[1:3] == (1, 1):
        raise Problem(f"Layer {layer_name!r} has no maps to compare; choose an earlier layer.")
    numbers = _most_distinguishing(maps, labels)[:count] if filters is None else list(filters)
    if unknown := [number for number in numbers if not 0 <= number < maps.shape[1]]:
        raise Problem(f"Layer {layer_name!r} has filters 0 to {maps.shape[1] - 1}, not {unknown[0]}.")
    pictures = [picture_of(as_seen(pixels, transform or transform_of(model))) for pixels in inputs]
    sheet = _draw(maps, numbers, pictures, labels, layer_name)
    path = results_folder("all") / f"{file_name(layer_name, layers_by_name(model))}.png"
    with written_below(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        save_png(path, np.asarray(sheet))
    if show:
        show_sheet(f"{layer_name}: {len(numbers)} filters, {len(labels)} images", sheet, path)
    return path


def _most_distinguishing(maps: np.ndarray, labels: Sequence[str]) -> list[int]:
    """All filter numbers. Filters whose mean activation best distinguishes one class from the others come first.

    `maps` is float N×C×H×W: image, filter, height, width. `labels` are the classes of the N images.
    """
    means = np.nan_to_num(np.where(np.isfinite(maps), np.abs(maps) if np.iscomplexobj(maps) else maps, 0)).mean((2, 3))
    classes = np.array(labels)
    if len(set(labels)) == 1:
        scores = means.std(axis=0)
    else:
        members = [classes == name for name in dict.fromkeys(labels)]
        differences = [np.abs(means[inside].mean(axis=0) - means[~inside].mean(axis=0)) for inside in members]
        scores = np.max(differences, axis=0) / np.maximum(means.std(axis=0), 1e-12)
    return np.argsort(-scores, kind="stable").tolist()


def _draw(
    maps: np.ndarray, numbers: Sequence[int], pictures: Sequence[Image.Image], labels: Sequence[str], layer_name: str
) -> Image.Image:
    side = min(LARGEST, (SHEET_WIDTH - NUMBERS - 2 * MARGIN) // len(labels) - GAP)
    height = max(THINNEST, round(side * maps.shape[2] / maps.shape[3]))
    tall = max(round(side * picture.height / picture.width) for picture in pictures)
    first = NUMBERS + MARGIN
    top = MARGIN + 54 + LABEL + tall + 2 * GAP
    width = max(first + len(labels) * (side + GAP) - GAP + MARGIN, 520)
    sheet = Image.new("RGB", (width, top + len(numbers) * (height + GAP) + MARGIN), "white")
    draw = ImageDraw.Draw(sheet)
    draw_text(draw, (MARGIN, MARGIN - 2), layer_name, INK, 20, bold=True, width=width - 2 * MARGIN)
    text = f"{len(numbers)} of {maps.shape[1]} filters: one filter per row with its scale, one image per column"
    draw_text(draw, (MARGIN, MARGIN + 26), text, QUIET, 13, width=width - 2 * MARGIN)
    for column, (picture, label) in enumerate(zip(pictures, labels)):
        x = first + column * (side + GAP)
        if column == 0 or label != labels[column - 1]:
            of_class = labels.count(label)
            draw_text(draw, (x, MARGIN + 50), label, INK, 14, bold=True, width=of_class * (side + GAP) - GAP)
        thumbnail = picture.resize((side, round(side * picture.height / picture.width)), Image.Resampling.LANCZOS)
        sheet.paste(thumbnail, (x, MARGIN + 54 + LABEL))
    for row, number in enumerate(numbers):
        coloured, y = colour(maps[:, number]), top + row * (height + GAP)
        draw_text(draw, (MARGIN, y), str(number), INK, 14, bold=True, width=NUMBERS)
        if height >= 40:
            ends = f"{coloured.low[0]:.2g} … {coloured.high[0]:.2g}"
            draw_text(draw, (MARGIN, y + 20), ends, QUIET, 11, width=NUMBERS - 4)
        for column, rgb in enumerate(coloured.rgb):
            x = first + column * (side + GAP)
            resampling = Image.Resampling.NEAREST if side >= rgb.shape[1] else Image.Resampling.BOX
            sheet.paste(Image.fromarray(rgb).resize((side, height), resampling), (x, y))
            if coloured.centred:
                draw.rectangle((x, y, x + side - 1, y + height - 1), outline=FAINT)
    return sheet
