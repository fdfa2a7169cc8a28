"""Figures with text for several notebooks, with the same appearance and readable at 100 %."""

import html
import inspect
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import HTML, Markdown
from IPython.display import Image as Picture
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageOps

from .maps.fonts import PLAIN, draw_text, fonts_of, readable
from .maps.grids import mosaic

WIDTH = 9.6  # inches, at 100 dots each: as wide as a notebook's column
BLUE, ORANGE, GREY, PURPLE, GREEN = "#1f6fb4", "#e07b00", "#888888", "#7b3fa0", "#2a9d5c"

STYLE = {
    "figure.dpi": 100,
    "savefig.dpi": 100,
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.prop_cycle": plt.cycler(color=[BLUE, ORANGE, GREY, PURPLE, GREEN]),
    "legend.frameon": False,
    "image.interpolation": "nearest",
}


def use_style() -> None:
    """Use this project's fonts, colours and sizes in all later matplotlib figures."""
    plt.rcParams.update(STYLE)


def label(text: object) -> str:
    """`text` for matplotlib: only with letters that an installed font has, and with escaped dollar signs.

    A font that is needed for letters outside DejaVu Sans is added to the fonts of all text that is drawn later.
    """
    text = readable(str(text))
    fonts = font_manager.fontManager
    for file in set(fonts_of(text).values()) - {PLAIN}:
        family = font_manager.FontProperties(fname=file).get_name()
        if family not in plt.rcParams["font.family"]:
            fonts.addfont(file)
            # Also use it for bold text; otherwise matplotlib warns about every title.
            fonts.ttflist += [replace(entry, weight="bold") for entry in fonts.ttflist if entry.fname == file]
            plt.rcParams["font.family"] = [*plt.rcParams["font.family"], family]
    return text.replace("$", r"\$")


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> Markdown:
    """A table for notebooks: words are aligned left, and numbers, including numbers in text form, right."""
    rows = [[f"{value:,}" if isinstance(value, int) else str(value) for value in row] for row in rows]
    is_number = [
        all(row[i].replace(",", "").rstrip("%").replace(".", "").isdigit() for row in rows) for i in range(len(header))
    ]
    rows = [[value.replace("|", r"\|") for value in row] for row in rows]  # a class name may contain |
    lines = [header, ["---:" if number else ":---" for number in is_number], *rows]
    return Markdown("\n".join("| " + " | ".join(line) + " |" for line in lines))


def source_of(thing: object) -> Markdown:
    """The source code of a class or function of the package, as it runs."""
    return Markdown(f"```python\n{inspect.getsource(thing)}```")


def contact_sheet(images: Sequence[Image.Image], columns: int = 10, side: int = 92) -> Picture:
    """RGB images side by side on white, fitted into squares of `side` pixels, as a JPEG picture."""
    gap = 4
    rows = -(-len(images) // columns)
    sheet = Image.new("RGB", (columns * (side + gap) - gap, rows * (side + gap) - gap), "white")
    for number, image in enumerate(images):
        row, column = divmod(number, columns)
        tile = ImageOps.pad(image, (side, side), Image.Resampling.LANCZOS, color="white")
        sheet.paste(tile, (column * (side + gap), row * (side + gap)))
    jpeg = io.BytesIO()
    sheet.save(jpeg, "JPEG", quality=90)
    return Picture(jpeg.getvalue())


def framed(page: Path, height: int = 900) -> HTML:
    """A page of `explore` inside a notebook, `height` pixels high.

    The output contains the page itself, because Colab, VS Code and a Jupyter that was started in another folder cannot
    open the file.
    """
    source = html.escape(page.read_text(encoding="utf-8"))
    style = f"width: 100%; height: {height}px; border: 1px solid #ccc"
    return HTML(f'<div><iframe srcdoc="{source}" style="{style}" allow="camera" title="Explorer"></iframe></div>')


def animation(frames: Sequence[np.ndarray], captions: Sequence[str], side: int = 200) -> Picture:
    """A looping GIF of uint8 H×W×3 pictures of the same thing, enlarged to `side` pixels, each with a line of text."""
    drawn = []
    for frame, caption in zip(frames, captions):
        picture = Image.new("RGB", (side, side + 24), "white")
        picture.paste(Image.fromarray(frame).resize((side, side), Image.Resampling.NEAREST))
        draw_text(ImageDraw.Draw(picture), (2, side + 4), caption, "black", 13, width=side - 4)
        drawn.append(picture.quantize(256, dither=Image.Dither.NONE))
    gif = io.BytesIO()
    drawn[0].save(gif, "GIF", save_all=True, append_images=drawn[1:], duration=1200, loop=0)
    return Picture(gif.getvalue(), format="gif")


def captioned_sheet(images: Sequence[np.ndarray], captions: Sequence[str], title: str = "", columns: int = 6) -> Figure:
    """Images (H×W×3, float in [0, 1] or uint8) with captions above them."""
    rows = -(-len(images) // columns)
    captions, title = [label(caption) for caption in captions], label(title)
    lines = sum(max(len(c.splitlines()) for c in captions[i * columns : (i + 1) * columns]) for i in range(rows))
    size = (WIDTH, rows * WIDTH / columns + 0.19 * lines + 0.35 * bool(title))
    figure, axes = plt.subplots(rows, columns, figsize=size, layout="constrained", squeeze=False)
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.01, hspace=0, wspace=0)
    if title:
        figure.suptitle(title, fontsize=11, fontweight="bold", x=0.005, ha="left")
    for axis in axes.flat:
        axis.axis("off")
    longest = max(len(line) for caption in captions for line in caption.splitlines() or [""])
    fontsize = min(9, max(5, 120 * WIDTH / columns / max(longest, 1)))  # so that a line is no wider than its image
    for axis, image, caption in zip(axes.flat, images, captions):
        axis.imshow(image)
        axis.set_title(caption, fontsize=fontsize, fontweight="normal", loc="center", pad=3)
    return figure


def kernels(weights: Mapping[str, np.ndarray], title: str, columns: int = 16) -> Figure:
    """Kernels of a convolution on RGB images, shown in colour: one block of pictures per name in `weights`.

    `weights` maps names to float C×3×k×k. Grey is zero, bright is a positive weight, and dark a negative one. Every
    kernel has its own scale, which is the same for red, green and blue.
    """
    rows = [-(-len(filters) // columns) for filters in weights.values()]
    size = (WIDTH, sum(rows) * (WIDTH - 1) / columns + 0.35)
    figure, axes = plt.subplots(len(weights), 1, figsize=size, layout="constrained", height_ratios=rows, squeeze=False)
    for axis, (name, filters) in zip(axes.flat, weights.items()):
        shades = 0.5 + 0.5 * filters / np.abs(filters).max(axis=(1, 2, 3), keepdims=True).clip(min=1e-12)
        axis.imshow(mosaic((255 * shades.transpose(0, 2, 3, 1)).astype(np.uint8), columns=columns, width=900))
        axis.set(xticks=[], yticks=[])
        axis.set_ylabel(label(name), rotation=0, ha="right", va="center")
        axis.spines[:].set_visible(False)
    figure.suptitle(label(title), fontsize=11, fontweight="bold", x=0.005, ha="left")
    return figure


def outline(axis: Axes, mask: np.ndarray) -> None:
    """Outline the part of the picture on `axis` where `mask`, bool h×w, is True. Their sizes may differ."""
    if not mask.any():
        return
    left, right, bottom, top = axis.images[-1].get_extent()
    x, y = (  # the centres of the mask's pixels, plus one at both ends, so that lines close at the border
        start + (end - start) * (np.arange(-1, count + 1) + 0.5) / count
        for start, end, count in ((left, right, mask.shape[1]), (top, bottom, mask.shape[0]))
    )
    axis.contour(x, y, np.pad(mask, 1).astype(float), [0.5], colors=BLUE, linewidths=1)


def curves(curves: Mapping[str, Mapping[str, Sequence[float]]], kept: int) -> Figure:
    """One panel per quantity, one line per part ('train', 'val') over the epochs 1, 2, …. Epoch `kept` is marked.

    `curves` maps a quantity, such as 'loss in nats', to part → one value per epoch.
    """
    figure, axes = plt.subplots(1, len(curves), figsize=(WIDTH, 3.1), layout="constrained")
    for axis, (quantity, parts) in zip(axes, curves.items()):
        for (part, values), colour in zip(parts.items(), (BLUE, ORANGE)):
            axis.plot(range(1, len(values) + 1), values, color=colour, label=part, marker=".")
        axis.axvline(kept, color=GREY, linewidth=1, linestyle=":", label=f"kept: epoch {kept}")
        axis.set(title=quantity.capitalize(), xlabel="epoch")
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.legend()
    return figure


def confusion_figure(confusion: np.ndarray, classes: Sequence[str], title: str) -> Figure:
    """K×K counts with one row per true class, shaded by their share of that class."""
    classes, title = [label(name) for name in classes], label(title)
    share = confusion / confusion.sum(axis=1, keepdims=True).clip(min=1)
    side = 1.6 + 0.9 * len(classes)
    longest = 0.09 * max(map(len, classes))  # inches
    upright = longest > 0.9
    size = (side + max(0.6, longest), side + longest * upright)
    figure, axis = plt.subplots(figsize=size, layout="constrained")
    axis.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for row in range(len(classes)):
        for column in range(len(classes)):
            ink = "white" if share[row, column] > 0.5 else "black"
            text = f"{confusion[row, column]}\n{share[row, column]:.1%}"
            axis.text(column, row, text, ha="center", va="center", color=ink)
    axis.set_xticks(range(len(classes)), classes, rotation=90 if upright else 0)
    axis.set_yticks(range(len(classes)), classes)
    axis.set(title=title, xlabel="predicted class", ylabel="true class")
    axis.spines[:].set_visible(False)
    axis.tick_params(length=0)
    return figure


Estimates = dict[str, Sequence[tuple[float, float, float]]]  # name → (value, low, high) at each step


def by_step(
    steps: Sequence[object], estimates: Estimates, title: str, ylabel: str, chance: float | None = None
) -> Figure:
    """One line per name over layers or epochs, with its interval as a band. `chance` is a dotted line."""
    return panels(steps, {title: estimates}, ylabel=ylabel, chances={title: chance}, columns=1)


def panels(
    steps: Sequence[object],
    estimates: dict[str, Estimates],
    *,
    title: str = "",
    ylabel: str = "",
    xlabel: str = "",
    chances: dict[str, float | None] | None = None,
    columns: int = 2,
) -> Figure:
    """`by_step` for several quantities (title → its lines), side by side, with one legend."""
    steps = [label(step) for step in steps]
    estimates = {label(name): {label(line): band for line, band in lines.items()} for name, lines in estimates.items()}
    chances = {label(name): chance for name, chance in (chances or {}).items()}
    rows = -(-len(estimates) // columns)
    size = (WIDTH, 0.3 * bool(title) + (3.2 if columns == 1 else 2.7) * rows)
    figure, axes = plt.subplots(rows, columns, figsize=size, layout="constrained", squeeze=False)
    for axis in axes.flat[len(estimates) :]:
        axis.set_visible(False)
    places = np.arange(len(steps))
    # Names such as network.layer1.0 would run into each other.
    is_crowded = sum(map(len, steps)) > 80 / columns
    slanted = {"rotation": 35, "ha": "right", "rotation_mode": "anchor"} if is_crowded else {}
    for axis, (name, lines) in zip(axes.flat, estimates.items()):
        for line_name, values in lines.items():
            value, low, high = np.array(values).T
            (line,) = axis.plot(places, value, marker="o", markersize=4, label=line_name)
            axis.fill_between(places, low, high, color=line.get_color(), alpha=0.15, linewidth=0)
        if (chance := chances.get(name)) is not None:
            axis.axhline(chance, color="black", linewidth=1, linestyle=":", label="by chance")
        axis.set_xticks(places, steps, fontsize=10 if columns == 1 else 8, **slanted)
        axis.set(title=name, ylabel=ylabel, xlabel=xlabel)
    if title:
        figure.suptitle(title, fontsize=11, fontweight="bold", x=0.005, ha="left")
    handles = {text: handle for axis in axes.flat for handle, text in zip(*axis.get_legend_handles_labels())}
    figure.legend(handles.values(), handles, loc="outside lower left", ncols=min(len(handles), 5))
    return figure


def bars(rows: Sequence[str], estimates: dict[str, Estimates], *, title: str = "", xlabel: str = "") -> Figure:
    """Horizontal bars with intervals: one panel per title, one row per name in `rows`, one colour per line of a panel.

    `estimates` maps a panel's title to its lines: name → one (value, low, high) per row. NaN leaves a gap.
    """
    rows = [label(row) for row in rows]
    lines = len(next(iter(estimates.values())))
    size = (WIDTH, 0.9 + 0.3 * bool(title) + 0.24 * lines * len(rows) + 0.1 * len(rows))
    figure, axes = plt.subplots(1, len(estimates), figsize=size, layout="constrained", sharey=True, squeeze=False)
    thick = 0.8 / lines
    for axis, (panel, lines_of_panel) in zip(axes.flat, estimates.items()):
        for number, (name, values) in enumerate(lines_of_panel.items()):
            value, low, high = np.array(values, float).T
            places = np.arange(len(rows)) + (number - (lines - 1) / 2) * thick
            error = np.stack([value - low, high - value])
            axis.barh(places, value, 0.9 * thick, xerr=error, label=label(name), error_kw={"linewidth": 1})
        axis.axvline(0, color="black", linewidth=1)
        axis.set(title=label(panel), xlabel=label(xlabel))
    axes[0, 0].set_yticks(range(len(rows)), rows)
    axes[0, 0].invert_yaxis()
    if title:
        figure.suptitle(label(title), fontsize=11, fontweight="bold", x=0.005, ha="left")
    handles, names = axes[0, 0].get_legend_handles_labels()
    if lines > 1:
        figure.legend(handles, names, loc="outside lower left", ncols=min(lines, 5))
    return figure


def dots(
    places: Mapping[str, np.ndarray], chosen: Mapping[str, np.ndarray], title: str, axes: tuple[str, str], of: str
) -> Figure:
    """One panel per network with one dot per filter at `places`, float 2×C; `chosen` ones, bool C, in another colour.

    `axes` are the labels of x and y, and `of` says what the chosen filters are. All panels have the same limits.
    """
    figure, panels = plt.subplots(1, len(places), figsize=(WIDTH, 4.6), layout="constrained", sharex=True, sharey=True)
    for axis, (name, (x, y)), colour in zip(panels, places.items(), (BLUE, GREY)):
        is_chosen = chosen[name]
        axis.scatter(x[~is_chosen], y[~is_chosen], s=10, alpha=0.35, color=colour)
        axis.scatter(x[is_chosen], y[is_chosen], s=28, color=ORANGE, label=label(of))
        axis.axhline(0, color="black", linewidth=0.8)
        axis.axvline(0, color="black", linewidth=0.8)
        axis.set(title=f"{label(name)}: {is_chosen.sum()} of {len(x)}", xlabel=label(axes[0]))
    panels[0].set_ylabel(label(axes[1]))
    figure.suptitle(label(title), x=0.005, ha="left", fontweight="bold", fontsize=11)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower left")
    return figure


def tuning_curves(curves: Sequence[tuple[str, np.ndarray, np.ndarray, float]], title: str) -> Figure:
    """Responses to orientations around a circle; one panel per (title, degrees K, responses K, number to show)."""
    size, polar = (WIDTH, 3.0), {"projection": "polar"}
    figure, axes = plt.subplots(1, len(curves), figsize=size, layout="constrained", subplot_kw=polar, squeeze=False)
    for axis, (name, angles, responses, number) in zip(axes.flat, curves):
        around = np.deg2rad([*angles, *(angles + 180), 0])  # a bar turned by 180° is the same bar
        responses = responses / max(responses.max(), 1e-9)
        responses = [*responses, *responses, responses[0]]
        axis.plot(around, responses, color=BLUE)
        axis.fill(around, responses, color=BLUE, alpha=0.2)
        axis.set(yticks=[], xticks=np.deg2rad(range(0, 360, 45)))
        axis.set_xticklabels(["0°", "45°", "90°", "135°", *[""] * 4], fontsize=7)
        axis.set_title(f"{label(name)} ({number:.2f})", fontsize=9, fontweight="normal", loc="center")
    figure.suptitle(label(title), fontsize=11, fontweight="bold", x=0.005, ha="left")
    return figure
