"""All maps of a layer on one labelled sheet, assembled as an array: matplotlib would take seconds for 128 of them."""

from functools import cache

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torchvision.transforms.functional import to_pil_image

from .colours import Coloured

SHEET_WIDTH, MARGIN, GAP, LABEL = 1000, 14, 6, 16  # pixels
THUMBNAIL, BAR_WIDTH, BAR_HEIGHT = 96, 200, 12
SMALLEST_LABELLED = 26  # below this a number is wider than its map
INK, QUIET, ALARM = "#222222", "#777777", "#c0392b"


def draw_grid(coloured: Coloured, image: Tensor, layer_name: str, subtitle: str) -> Image.Image:
    """Every map with its number, the image they belong to and the colour scale on top; constant maps are marked dead.

    `image` is float 3×S×S in [0, 1]. Returns an RGB picture about 1000 pixels wide.
    """
    maps = coloured.rgb
    count, height, width = maps.shape[:3]
    own_scales = bool(np.ptp(coloured.low) or np.ptp(coloured.high))
    columns, factor = _layout(count, height, width, own_scales)
    cell_height, cell_width = max(1, round(height * factor)), max(1, round(width * factor))
    label = LABEL if cell_width >= SMALLEST_LABELLED else 0
    rows = -(-count // columns)

    top = MARGIN + THUMBNAIL + MARGIN
    sheet_width = max(2 * MARGIN + columns * (cell_width + GAP) - GAP, 560)
    row_height = cell_height + label + GAP
    canvas = np.full((top + rows * row_height + MARGIN - GAP, sheet_width, 3), 255, np.uint8)
    for number in range(count):
        x, y = MARGIN + number % columns * (cell_width + GAP), top + number // columns * row_height + label
        if factor >= 1:
            cell = maps[number].repeat(round(factor), axis=0).repeat(round(factor), axis=1)
        else:
            cell = Image.fromarray(maps[number]).resize((cell_width, cell_height), Image.Resampling.BOX)
        canvas[y : y + cell_height, x : x + cell_width] = cell
    sheet = Image.fromarray(canvas)
    draw = ImageDraw.Draw(sheet)
    _draw_header(
        sheet, draw, coloured, image, layer_name, f"{count} maps of {height}×{width}", subtitle, own_scales
    )
    for number in range(count):
        x, y = MARGIN + number % columns * (cell_width + GAP), top + number // columns * row_height
        dead = bool(coloured.dead[number])
        if dead:
            draw.rectangle((x, y + label, x + cell_width - 1, y + label + cell_height - 1), outline=ALARM)
        if label:
            text = f"{number}"
            if dead:
                text += " dead" if cell_width >= 50 else "†"
            elif own_scales and cell_width >= 80:
                text += f"  {coloured.low[number]:.2g} … {coloured.high[number]:.2g}"
            draw.text((x, y + label - 3), text, ALARM if dead else QUIET, font(11), anchor="ls")
    return sheet


def draw_strip(coloured: Coloured, image: Tensor, layer_name: str, subtitle: str) -> Image.Image:
    """The values of a layer without maps as squares, in rows of at most 64, the number of the first before each row."""
    values = coloured.rgb[0, 0]
    per_row = min(64, len(values))
    side = 14 if len(values) > 16 else 40
    rows = -(-len(values) // per_row)
    top, left = MARGIN + THUMBNAIL + MARGIN, MARGIN + 40
    sheet = Image.new(
        "RGB", (max(left + per_row * side + MARGIN, 560), top + rows * (side + 2) + MARGIN), "white"
    )
    draw = ImageDraw.Draw(sheet)
    _draw_header(
        sheet, draw, coloured, image, layer_name, f"{len(values)} values", subtitle, own_scales=False
    )
    for number, value in enumerate(values):
        x, y = left + number % per_row * side, top + number // per_row * (side + 2)
        draw.rectangle((x, y, x + side - 1, y + side - 1), fill=tuple(int(v) for v in value))
        if number % per_row == 0:
            draw.text((left - 6, y + side // 2), f"{number}", QUIET, font(11), anchor="rm")
    return sheet


def _layout(count: int, height: int, width: int, own_scales: bool) -> tuple[int, float]:
    """Columns, and the factor by which maps are drawn larger (a whole number) or smaller."""
    wanted_columns = min(8, max(2, count)) if count <= 32 or own_scales else 16 if count <= 256 else 32
    room = SHEET_WIDTH - 2 * MARGIN + GAP
    factor = (room // wanted_columns - GAP) / max(height, width)
    if factor > 1:
        factor = round(factor) if factor < 3 else int(factor)
    columns = max(1, room // (round(width * factor) + GAP))
    rows = -(-count // columns)
    return -(-count // rows), factor


def _draw_header(sheet, draw, coloured, image, layer_name, shape, subtitle, own_scales) -> None:
    thumbnail = to_pil_image(image.clamp(0, 1))
    thumbnail.thumbnail((THUMBNAIL, THUMBNAIL))
    sheet.paste(thumbnail, (MARGIN, MARGIN))
    x = MARGIN + THUMBNAIL + MARGIN
    draw.text((x, MARGIN - 2), layer_name, INK, font(20, bold=True))
    dead = int(coloured.dead.sum()) if len(coloured.dead) > 1 else 0
    draw.text((x, MARGIN + 26), shape + (f", {dead} dead (constant)" if dead else ""), INK, font(13))
    draw.text((x, MARGIN + 45), subtitle, QUIET, font(13))
    y = MARGIN + 76
    bar = np.broadcast_to(
        coloured.palette[np.arange(BAR_WIDTH) * 256 // BAR_WIDTH], (BAR_HEIGHT, BAR_WIDTH, 3)
    )
    low, high = (
        ("min", "max of each map") if own_scales else (f"{coloured.low[0]:.3g}", f"{coloured.high[0]:.3g}")
    )
    middle = y + BAR_HEIGHT // 2
    draw.text((x, middle), low, INK, font(12), anchor="lm")
    x += round(draw.textlength(low, font(12))) + 6
    sheet.paste(Image.fromarray(np.ascontiguousarray(bar)), (x, y))
    draw.text((x + BAR_WIDTH + 6, middle), high, INK, font(12), anchor="lm")


@cache
def font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib, so that sheets and figures look alike on every machine."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(f"{matplotlib.get_data_path()}/fonts/ttf/{name}", size)
