"""All maps of a layer on one labelled sheet, assembled as an array: matplotlib would take seconds for 128 of them."""

import math
from functools import lru_cache

import numpy as np
from PIL import Image, ImageColor, ImageDraw
from torch import Tensor
from torchvision.transforms.functional import to_pil_image

from .colours import Coloured
from .fonts import draw_text, font

SHEET_WIDTH, MARGIN, GAP, LABEL = 1000, 14, 6, 16  # pixels
THUMBNAIL, BAR_WIDTH, BAR_HEIGHT = 96, 200, 12
SMALLEST_LABELLED = 26  # below this a number is wider than its map
THINNEST = 6  # pixels of a map that is one value high or wide
INK, QUIET, ALARM = "#222222", "#777777", "#c0392b"


def thumbnail_of(image: Tensor) -> Image.Image:
    """An image, float C×H×W in [0, 1], in the size it has on the sheets; grey unless C is 3 (or 4, with RGB first)."""
    image = image[:3] if len(image) in (3, 4) else image.mean(dim=0, keepdim=True)
    thumbnail = to_pil_image(image.nan_to_num(0).clamp(0, 1)).convert("RGB")
    thumbnail.thumbnail((THUMBNAIL, THUMBNAIL))
    return thumbnail


def draw_grid(coloured: Coloured, thumbnail: Image.Image, layer_name: str, subtitle: str) -> Image.Image:
    """Every map with its number, the image they belong to and the colour scale on top; constant maps are marked.

    `thumbnail` is as `thumbnail_of` makes it. Returns an RGB picture about 1000 pixels wide.
    """
    maps = coloured.rgb
    count, height, width = maps.shape[:3]
    own_scales = len(np.unique(coloured.low)) > 1 or len(np.unique(coloured.high)) > 1
    columns, factor = _layout(count, height, width, own_scales)
    cell_height, cell_width = max(THINNEST, round(height * factor)), max(THINNEST, round(width * factor))
    label = LABEL if cell_width >= SMALLEST_LABELLED else 0
    rows = -(-count // columns)

    top = MARGIN + THUMBNAIL + MARGIN
    sheet_width = max(2 * MARGIN + columns * (cell_width + GAP) - GAP, 560)
    row_height = cell_height + label + GAP
    canvas = np.full((top + rows * row_height + MARGIN - GAP, sheet_width, 3), 255, np.uint8)
    for number in range(count):
        x, y = MARGIN + number % columns * (cell_width + GAP), top + number // columns * row_height
        if label:
            text = _label(number, coloured, own_scales, cell_width)[:, : cell_width + GAP]
            canvas[y : y + label, x : x + text.shape[1]] = text
        y += label
        if (cell_height, cell_width) == (height * round(factor), width * round(factor)):
            cell = maps[number].repeat(round(factor), axis=0).repeat(round(factor), axis=1)
        else:
            cell = Image.fromarray(maps[number]).resize((cell_width, cell_height), Image.Resampling.BOX)
        canvas[y : y + cell_height, x : x + cell_width] = cell
        if coloured.dead[number]:
            frame = canvas[y : y + cell_height, x : x + cell_width]
            frame[[0, -1]] = frame[:, [0, -1]] = ImageColor.getrgb(ALARM)
    sheet = Image.fromarray(canvas)
    shape = f"{count} map{'s' * (count > 1)} of {height}×{width}"
    _draw_header(sheet, ImageDraw.Draw(sheet), coloured, thumbnail, layer_name, shape, subtitle, own_scales)
    return sheet


def draw_strip(
    numbers: np.ndarray, coloured: Coloured, thumbnail: Image.Image, layer_name: str, subtitle: str
) -> Image.Image:
    """The values of a layer without maps as squares, in rows of at most 64, the number of the first before each row.

    `numbers`, float N, are the values; where there is one only, it is written: no colour says anything of it.
    """
    if len(numbers) == 1:
        sheet = Image.new("RGB", (560, MARGIN + THUMBNAIL + MARGIN), "white")
        draw = ImageDraw.Draw(sheet)
        _draw_title(sheet, thumbnail, layer_name, "1 value", subtitle)
        draw.text((MARGIN + THUMBNAIL + MARGIN, MARGIN + 70), f"{numbers[0]:.3g}", INK, font(20))
        return sheet
    values = coloured.rgb[0, 0]
    per_row = min(64, len(values))
    side = 14 if len(values) > 16 else 40
    rows = -(-len(values) // per_row)
    top, left = MARGIN + THUMBNAIL + MARGIN, MARGIN + 40
    sheet = Image.new("RGB", (max(left + per_row * side + MARGIN, 560), top + rows * (side + 2) + MARGIN), "white")
    draw = ImageDraw.Draw(sheet)
    _draw_header(sheet, draw, coloured, thumbnail, layer_name, f"{len(values)} values", subtitle, own_scales=False)
    for number, value in enumerate(values):
        x, y = left + number % per_row * side, top + number // per_row * (side + 2)
        draw.rectangle((x, y, x + side - 1, y + side - 1), fill=tuple(int(v) for v in value))
        if number % per_row == 0:
            draw.text((left - 6, y + side // 2), f"{number}", QUIET, font(11), anchor="rm")
    return sheet


def _label(number: int, coloured: Coloured, own_scales: bool, cell_width: int) -> np.ndarray:
    """What stands above a map: its number, and what is to be said of it where there is room."""
    if coloured.dead[number]:
        return _text(f"{number} † constant" if cell_width >= 80 else f"{number}†", ALARM)
    if own_scales and cell_width >= 80:
        return _text(f"{number}  {coloured.low[number]:.2g} … {coloured.high[number]:.2g}", QUIET)
    return _text(f"{number}", QUIET)


@lru_cache(maxsize=1024)  # drawing the same few hundred numbers again and again would take most of the time
def _text(text: str, colour: str) -> np.ndarray:
    """A line of small text on white, uint8 LABEL×width×3."""
    picture = Image.new("RGB", (math.ceil(font(11).getlength(text)) + 1, LABEL), "white")
    ImageDraw.Draw(picture).text((0, LABEL - 3), text, colour, font(11), anchor="ls")
    return np.asarray(picture)


def _layout(count: int, height: int, width: int, own_scales: bool) -> tuple[int, float]:
    """Columns, and the factor by which maps are drawn larger (a whole number) or smaller."""
    wanted_columns = min(8, max(2, count)) if count <= 32 or own_scales else 16 if count <= 256 else 32
    room = SHEET_WIDTH - 2 * MARGIN + GAP
    factor = (room // wanted_columns - GAP) / max(height, width)
    if factor > 1:
        factor = round(factor) if factor < 3 else int(factor)
    columns = max(1, room // (max(THINNEST, round(width * factor)) + GAP))
    rows = -(-count // columns)
    return -(-count // rows), factor


def _draw_title(sheet: Image.Image, thumbnail: Image.Image, layer_name: str, shape: str, subtitle: str) -> None:
    sheet.paste(thumbnail, (MARGIN, MARGIN))
    draw, x = ImageDraw.Draw(sheet), MARGIN + THUMBNAIL + MARGIN
    width = sheet.width - x - MARGIN
    draw_text(draw, (x, MARGIN - 2), layer_name, INK, 20, bold=True, width=width)
    draw_text(draw, (x, MARGIN + 26), shape, INK, 13, width=width)
    draw_text(draw, (x, MARGIN + 45), subtitle, QUIET, 13, width=width)


def _draw_header(sheet, draw, coloured, thumbnail, layer_name, shape, subtitle, own_scales) -> None:
    dead = int(coloured.dead.sum()) if len(coloured.dead) > 1 else 0
    shape += f", {dead} constant (†)" if dead else ""
    if coloured.broken is not None:
        shape += f", {coloured.broken.sum():,} values NaN or infinite (red)"
    _draw_title(sheet, thumbnail, layer_name, shape, subtitle)
    x, y = MARGIN + THUMBNAIL + MARGIN, MARGIN + 76
    bar = np.broadcast_to(coloured.palette[np.arange(BAR_WIDTH) * 256 // BAR_WIDTH], (BAR_HEIGHT, BAR_WIDTH, 3))
    low, high = ("min", "max of each map") if own_scales else (f"{coloured.low[0]:.3g}", f"{coloured.high[0]:.3g}")
    middle = y + BAR_HEIGHT // 2
    draw.text((x, middle), low, INK, font(12), anchor="lm")
    x += round(draw.textlength(low, font(12))) + 6
    sheet.paste(Image.fromarray(np.ascontiguousarray(bar)), (x, y))
    draw.text((x + BAR_WIDTH + 6, middle), high, INK, font(12), anchor="lm")


def mosaic(images: np.ndarray, columns: int = 3, width: int = 0) -> np.ndarray:
    """uint8 N×H×W×3 as one picture, thin white lines between; pixels repeated until it is about `width` wide."""
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
