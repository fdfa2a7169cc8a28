"""Draw all maps of a layer on one labelled sheet. The sheet is a NumPy array, since matplotlib takes much longer."""

import math
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

import cv2
import numpy as np
from PIL import Image, ImageColor, ImageDraw, ImageOps
from torch import Tensor
from torchvision.transforms.functional import to_pil_image

from .colours import Coloured
from .fonts import draw_text, font

SHEET_WIDTH, MARGIN, GAP, LABEL = 1000, 14, 6, 16  # pixels
THUMBNAIL, BAR_WIDTH, BAR_HEIGHT = 96, 200, 12
SMALLEST_LABELLED = 26  # a number is wider than a map below this width
THINNEST = 6  # the least width and height of a map on the sheet, in pixels
HEADER = 122
INK, QUIET, FAINT, ALARM = "#222222", "#777777", "#cccccc", "#c0392b"
ORANGE, BLUE = np.array([240, 90, 0]), np.array([0, 110, 230])


def picture_of(image: Tensor) -> Image.Image:
    """An image, float C×H×W in [0, 1], as an RGB picture. It is grey unless C is 3, or 4 with RGB first.

    A volume C×D×H×W is shown by its middle slice.
    """
    image = image[:, image.shape[1] // 2] if image.ndim == 4 else image
    image = image[:3] if len(image) in (3, 4) else image.mean(dim=0, keepdim=True)
    return to_pil_image(image.nan_to_num(0).clamp(0, 1)).convert("RGB")


def draw_grid(
    coloured: Coloured,
    picture: Image.Image,
    layer_name: str,
    subtitle: str,
    *,
    numbers: Sequence[int] | None = None,
    overlay: bool = False,
    columns: int = 0,
) -> Image.Image:
    """Draw maps with their numbers. The picture stands on their left in the same size, and the scale above them.

    `numbers` are the maps to draw, in this order; by default all of them. With `overlay`, each map is drawn over the
    picture. Constant maps are marked. By default there are as many `columns` as fit. Returns an RGB picture about 1000
    pixels wide.
    """
    numbers = range(len(coloured.indices)) if numbers is None else numbers
    count, (height, width) = len(numbers), coloured.indices.shape[1:]
    own_scales = len(np.unique(coloured.low)) > 1 or len(np.unique(coloured.high)) > 1
    columns, factor = _layout(count, height, width, own_scales, columns)
    cell = max(THINNEST, round(height * factor)), max(THINNEST, round(width * factor))
    cells = _over_picture(coloured, numbers, picture, cell) if overlay else _as_cells(coloured.rgb, numbers, cell)
    label = LABEL if cell[1] >= SMALLEST_LABELLED else 0
    thumbnail = picture.copy()
    thumbnail.thumbnail((max(cell[1], THUMBNAIL),) * 2)
    if max(thumbnail.size) < max(cell):
        thumbnail = ImageOps.contain(thumbnail, cell[::-1], Image.Resampling.NEAREST)

    top, left = HEADER, MARGIN + thumbnail.width + 2 * GAP
    row_height, rows = cell[0] + label + GAP, -(-count // columns)
    sheet_width = max(left + columns * (cell[1] + GAP) - GAP + MARGIN, 640)
    body_height = max(rows * row_height, thumbnail.height + LABEL + GAP)
    canvas = np.full((top + body_height + MARGIN - GAP, sheet_width, 3), 255, np.uint8)
    for position, (number, pixels) in enumerate(zip(numbers, cells)):
        x, y = left + position % columns * (cell[1] + GAP), top + position // columns * row_height
        if label:
            text = _label(number, coloured, own_scales, cell[1])[:, : cell[1] + GAP]
            canvas[y : y + label, x : x + text.shape[1]] = text
        frame = canvas[y + label : y + label + cell[0], x : x + cell[1]]
        frame[:] = pixels
        if coloured.dead[number]:
            frame[[0, -1]] = frame[:, [0, -1]] = ImageColor.getrgb(ALARM)
        elif coloured.centred:  # zero may be as white as the sheet, so the map needs a frame
            frame[[0, -1]] = frame[:, [0, -1]] = ImageColor.getrgb(FAINT)
    sheet = Image.fromarray(canvas)
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, top + LABEL - 3), "the picture", QUIET, font(11), anchor="ls")
    sheet.paste(thumbnail, (MARGIN, top + LABEL))
    shape = f"{len(coloured.indices)} map{'s' * (len(coloured.indices) > 1)} of {height}×{width}"
    shape += "" if count == len(coloured.indices) else f", the {count} that vary most"
    _draw_header(sheet, draw, coloured, MARGIN, layer_name, shape, subtitle, own_scales, overlay)
    return sheet


def _as_cells(rgb: np.ndarray, numbers: Iterable[int], size: tuple[int, int]) -> Iterator[np.ndarray]:
    """Maps, uint8 H×W×3 each, resized to a cell. If they are enlarged by whole factors, each value becomes a square."""
    factors = size[0] / rgb.shape[1], size[1] / rgb.shape[2]
    for number in numbers:
        if factors[0] == factors[1] == int(factors[0]):
            yield rgb[number].repeat(int(factors[0]), axis=0).repeat(int(factors[0]), axis=1)
        else:
            yield np.asarray(Image.fromarray(rgb[number]).resize(size[::-1], Image.Resampling.BOX))


def _over_picture(
    coloured: Coloured, numbers: Iterable[int], picture: Image.Image, size: tuple[int, int]
) -> Iterator[np.ndarray]:
    pixels = np.asarray(picture.resize(size[::-1], Image.Resampling.LANCZOS))
    for number in numbers:
        yield painted(pixels, coloured.strength(number))


def painted(picture: np.ndarray, strength: np.ndarray) -> np.ndarray:
    """A picture, uint8 H×W×3, in grey, with paint where a map is strong: uint8 H×W×3.

    `strength` is float h×w in [-1, 1]. Paint is orange above 0 and blue below 0. The map is enlarged to the size of the
    picture by bilinear interpolation, as if it covered the picture evenly. This is right for convolutions with padding;
    enlarge other maps beforehand.
    """
    height, width = picture.shape[:2]
    strength = cv2.resize(np.ascontiguousarray(strength, np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    paint = 0.85 * np.abs(strength).clip(0, 1)[..., None]
    # Reduced contrast, so that paint is visible on black and on white.
    grey = 60 + 0.6 * picture.astype(np.float32).mean(axis=2, keepdims=True)
    colours = np.where(strength[..., None] >= 0, ORANGE, BLUE)
    return (grey * (1 - paint) + colours * paint).astype(np.uint8)


def draw_strip(
    values: np.ndarray, coloured: Coloured, picture: Image.Image, layer_name: str, subtitle: str
) -> Image.Image:
    """Draw the values of a layer without maps as squares, at most 64 per row. The first number of a row precedes it.

    `values` is float N. A single value is written as a number, because one colour alone says nothing.
    """
    thumbnail = picture.copy()
    thumbnail.thumbnail((THUMBNAIL, THUMBNAIL))
    text_left = MARGIN + THUMBNAIL + MARGIN
    if len(values) == 1:
        sheet = Image.new("RGB", (560, MARGIN + THUMBNAIL + MARGIN), "white")
        draw = ImageDraw.Draw(sheet)
        sheet.paste(thumbnail, (MARGIN, MARGIN))
        _draw_title(sheet, text_left, layer_name, "1 value", subtitle)
        draw.text((text_left, MARGIN + 70), f"{values[0]:.3g}", INK, font(20))
        return sheet
    per_row = min(64, len(values))
    side = 14 if len(values) > 16 else 40
    rows = -(-len(values) // per_row)
    top, left = MARGIN + THUMBNAIL + MARGIN, MARGIN + 40
    sheet = Image.new("RGB", (max(left + per_row * side + MARGIN, 640), top + rows * (side + 2) + MARGIN), "white")
    draw = ImageDraw.Draw(sheet)
    sheet.paste(thumbnail, (MARGIN, MARGIN))
    _draw_header(sheet, draw, coloured, text_left, layer_name, f"{len(values)} values", subtitle, own_scales=False)
    for number, rgb in enumerate(coloured.rgb[0, 0].tolist()):
        x, y = left + number % per_row * side, top + number // per_row * (side + 2)
        draw.rectangle((x, y, x + side - 1, y + side - 1), fill=tuple(rgb))
        if number % per_row == 0:
            draw.text((left - 6, y + side // 2), f"{number}", QUIET, font(11), anchor="rm")
    return sheet


def _label(number: int, coloured: Coloured, own_scales: bool, cell_width: int) -> np.ndarray:
    """The label above a map: its number and, if there is room, its scale or a note that it is constant."""
    if coloured.dead[number]:
        return _text(f"{number} † constant" if cell_width >= 80 else f"{number}†", ALARM)
    if own_scales and cell_width >= 80:
        return _text(f"{number}  {coloured.low[number]:.2g} … {coloured.high[number]:.2g}", QUIET)
    return _text(f"{number}", QUIET)


@lru_cache(maxsize=1024)  # the same few hundred numbers occur again and again, and drawing them would dominate the time
def _text(text: str, colour: str) -> np.ndarray:
    """One line of small text on white, uint8 LABEL×width×3."""
    picture = Image.new("RGB", (math.ceil(font(11).getlength(text)) + 1, LABEL), "white")
    ImageDraw.Draw(picture).text((0, LABEL - 3), text, colour, font(11), anchor="ls")
    return np.asarray(picture)


def _layout(count: int, height: int, width: int, own_scales: bool, columns: int = 0) -> tuple[int, float]:
    """The number of columns, and the factor by which maps are enlarged (a whole number) or reduced."""
    wanted = columns or (min(8, max(2, count)) if count <= 32 or own_scales else 16 if count <= 256 else 32)
    room = SHEET_WIDTH - 2 * MARGIN - GAP
    # One more column is for the picture, which is never smaller than a thumbnail.
    factor = min(room // (wanted + 1) - GAP, (room - THUMBNAIL - GAP) // wanted - GAP) / max(height, width)
    if factor > 1:
        factor = round(factor) if factor < 3 else int(factor)
    if columns:
        return columns, factor
    cell = max(THINNEST, round(width * factor))
    columns = max(1, (room - max(cell, THUMBNAIL) - GAP) // (cell + GAP))
    rows = -(-count // columns)
    return -(-count // rows), factor


def _draw_title(sheet: Image.Image, x: int, layer_name: str, shape: str, subtitle: str) -> None:
    draw, width = ImageDraw.Draw(sheet), sheet.width - x - MARGIN
    draw_text(draw, (x, MARGIN - 2), layer_name, INK, 20, bold=True, width=width)
    draw_text(draw, (x, MARGIN + 26), shape, INK, 13, width=width)
    draw_text(draw, (x, MARGIN + 45), subtitle, QUIET, 13, width=width)


def _draw_header(sheet, draw, coloured, x, layer_name, shape, subtitle, own_scales, overlay=False) -> None:
    """Draw the title, and the scale: its colours, the values at its ends, and how many values lie beyond them."""
    dead = int(coloured.dead.sum()) if len(coloured.dead) > 1 else 0
    shape += f", {dead} constant (†)" if dead else ""
    if coloured.broken is not None:
        shape += f", {coloured.broken.sum():,} values are NaN or infinite ({coloured.mark})"
    _draw_title(sheet, x, layer_name, shape, subtitle)
    y = MARGIN + 76
    bar = np.broadcast_to(coloured.palette[np.arange(BAR_WIDTH) * 256 // BAR_WIDTH], (BAR_HEIGHT, BAR_WIDTH, 3))
    if overlay:
        strength = np.linspace(-1 if coloured.centred else 0, 1, BAR_WIDTH)
        bar = painted(np.full_like(bar, 128), np.broadcast_to(strength, (BAR_HEIGHT, BAR_WIDTH)))
    low, high = (f"{coloured.low[0]:.3g}", f"{coloured.high[0]:.3g}")
    if own_scales:
        low, high = ("–max", "max of each map") if coloured.centred else ("min", "max of each map")
    middle = y + BAR_HEIGHT // 2
    draw.text((x, middle), low, INK, font(12), anchor="lm")
    x += round(draw.textlength(low, font(12))) + 6
    sheet.paste(Image.fromarray(np.ascontiguousarray(bar)), (x, y))
    if coloured.centred:
        draw.text((x + BAR_WIDTH // 2, y + BAR_HEIGHT + 8), "0", INK, font(11), anchor="mm")
    beyond, count = int(coloured.beyond.sum()), coloured.indices.size
    high += f"     {beyond:,} of {count:,} values lie beyond" if beyond else ""
    draw.text((x + BAR_WIDTH + 6, middle), high, INK, font(12), anchor="lm")


def mosaic(images: np.ndarray, columns: int = 3, width: int = 0) -> np.ndarray:
    """Images, uint8 N×H×W×3, as one picture with thin white lines between them, uint8.

    Pixels are repeated until the picture is about `width` pixels wide.
    """
    repeat = max(1, width // (columns * images.shape[2]))
    images = images.repeat(repeat, axis=1).repeat(repeat, axis=2)
    count, cell_height, cell_width = images.shape[:3]
    gap = max(1, cell_width // 24)
    rows = -(-count // columns)
    shape = (rows * (cell_height + gap) - gap, columns * (cell_width + gap) - gap, 3)
    picture = np.full(shape, 255, np.uint8)
    for number, image in enumerate(images):
        y, x = number // columns * (cell_height + gap), number % columns * (cell_width + gap)
        picture[y : y + cell_height, x : x + cell_width] = image
    return picture
