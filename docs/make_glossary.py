"""Draws docs/glossary.png: one small picture for each of the twenty words in docs/teaching.md.

Run it from the project's folder: .venv/bin/python docs/make_glossary.py
"""

import io
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from PIL import Image
from scipy.special import softmax

from recognizer import BikeCarCNN
from recognizer.data.duplicates import as_thumbnails, fingerprint
from recognizer.drawings import draw, without
from recognizer.evidence import receptive_fields
from recognizer.figures import BLUE, GREY, ORANGE, use_style

FILE = Path(__file__).with_name("glossary.png")
PIXELS = 128  # width and height of the drawings
COLUMNS, ROWS = 4, 5
WIDTH, HEIGHT = 100, 72  # of a tile, in its own coordinates; the origin is at the lower left
SMALL, TINY = 9, 8  # text sizes in points
KERNEL = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])  # Sobel: positive where it gets brighter from left to right
LOGITS = np.array([2.0, -1.0])  # an example of what the last layer outputs for a bike

BIKE = draw("Bike", 1, size=PIXELS).image
CAR = draw("Car", 10, size=PIXELS).image


def edge_map(image: np.ndarray) -> np.ndarray:
    """What KERNEL outputs at each place of `image`, uint8 H×W×3: float (H-2)×(W-2), for grey values from 0 to 1."""
    grey = image.mean(axis=2) / 255
    windows = np.lib.stride_tricks.sliding_window_view(grey, KERNEL.shape)
    return np.einsum("hwij,ij->hw", windows, KERNEL)


def pooled(values: np.ndarray, side: int) -> np.ndarray:
    """The largest value of each square of `side`×`side` values: H×W → (H//side)×(W//side)."""
    height, width = (length // side for length in values.shape)
    return values[: height * side, : width * side].reshape(height, side, width, side).max(axis=(1, 3))


def show(tile: Axes, image: np.ndarray, x: float, y: float, side: float, **look) -> None:
    """Show `image` with its lower left corner at (x, y), `side` wide and high."""
    tile.imshow(image, extent=(x, x + side, y, y + side), **look)
    frame(tile, x, y, side, GREY, 0.8)


def show_signed(tile: Axes, values: np.ndarray, x: float, y: float, side: float) -> None:
    """Show a map: blue below 0, white at 0, red above 0."""
    end = np.quantile(np.abs(values), 0.99)
    show(tile, values, x, y, side, cmap="RdBu_r", vmin=-end, vmax=end)


def frame(tile: Axes, x: float, y: float, side: float, edge: str = ORANGE, width: float = 2.5) -> None:
    tile.add_patch(Rectangle((x, y), side, side, fill=False, edgecolor=edge, linewidth=width, zorder=5))


def cells(
    tile: Axes,
    values: list[list[object]],
    x: float,
    y: float,
    cell: float,
    fills: object = "white",
    size: float = SMALL,
) -> None:
    """Write `values` into a grid of cells with its lower left corner at (x, y); `fills`: one colour, or one each."""
    for row, of_row in enumerate(values):
        for column, value in enumerate(of_row):
            left, bottom = x + column * cell, y + (len(values) - 1 - row) * cell
            fill = fills if isinstance(fills, str) else fills[row][column]
            tile.add_patch(Rectangle((left, bottom), cell, cell, facecolor=fill, edgecolor=GREY, linewidth=0.8))
            write(tile, str(value).replace("-", "−"), left + cell / 2, bottom + cell / 2 - 0.3, size)


def write(tile: Axes, text: str, x: float, y: float, size: float = SMALL, **look) -> None:
    tile.text(x, y, text, **{"fontsize": size, "ha": "center", "va": "center", "linespacing": 1.1, "zorder": 6, **look})


def arrow(
    tile: Axes, start: tuple[float, float], end: tuple[float, float], edge: str = "black", bend: float = 0
) -> None:
    look = {"arrowstyle": "-|>", "color": edge, "linewidth": 1.6, "connectionstyle": f"arc3,rad={bend}"}
    tile.annotate("", end, start, arrowprops={**look, "shrinkA": 0, "shrinkB": 0}, zorder=6)


def plot(tile: Axes, x: float = 14, y: float = 14, width: float = 78, height: float = 52) -> Axes:
    """An empty plot inside the tile."""
    inside = tile.inset_axes((x, y, width, height), transform=tile.transData)
    inside.set(xticks=[], yticks=[])
    inside.tick_params(labelsize=TINY, length=2)
    return inside


def image_tensor(tile: Axes) -> None:
    show(tile, BIKE, 2, 20, 46)
    arrow(tile, (50, 43), (57, 43))
    for channel, name in enumerate(("red", "green", "blue")):
        y = 48 - 23.5 * channel
        show(tile, BIKE[..., channel], 60, y, 22, cmap="gray", vmin=0, vmax=255)
        write(tile, name, 84, y + 11, ha="left")
    write(tile, "3 × 128 × 128\nnumbers", 25, 9)


def convolution(tile: Axes) -> None:
    image = [[0, 0, 1, 1, 1]] * 5
    products = np.array(image)[1:4, 0:3] * KERNEL
    cells(tile, image, 1, 26, 7.6, size=TINY)
    frame(tile, 1, 33.6, 22.8)
    write(tile, "×", 43.2, 45, 12)
    cells(tile, KERNEL.tolist(), 47, 33.6, 7.6, size=TINY)
    write(tile, "=", 73.5, 45, 12)
    cells(tile, [["", "", ""], [products.sum(), "", ""], ["", "", ""]], 77, 33.6, 7.6)
    frame(tile, 77, 41.2, 7.6)
    for x, name in ((20, "image"), (58.4, "kernel"), (88.4, "map")):
        write(tile, name, x, 20)
    write(tile, "Multiply and add up;\nthen move the window on.", 50, 8)


def kernel(tile: Axes) -> None:
    tints = {-2: "#67a9cf", -1: "#bcd9ea", 0: "white", 1: "#f9cdb9", 2: "#ef8a62"}
    cells(tile, KERNEL.tolist(), 4, 18, 15, [[tints[value] for value in row] for row in KERNEL.tolist()])
    arrow(tile, (52, 40), (62, 40))
    show(tile, [[0, 0.5, 1]] * 3, 65, 25, 30, cmap="gray", interpolation="bilinear")
    write(tile, "fits this edge:\ndark to light", 80, 16, TINY)
    write(tile, "3 × 3 weights, to be learned", 50, 4)


def feature_map(tile: Axes) -> None:
    show(tile, BIKE, 2, 20, 44)
    arrow(tile, (47.5, 42), (53.5, 42))
    show_signed(tile, edge_map(BIKE), 55, 20, 44)
    write(tile, "image", 24, 14)
    write(tile, "one filter's map", 77, 14)
    write(tile, "red: above 0 · blue: below 0", 50, 4)


def activation(tile: Axes) -> None:
    values, side = edge_map(BIKE), 3
    row, column = np.subtract(np.unravel_index(values.argmax(), values.shape), side // 2)
    part = values[row : row + side, column : column + side]
    show_signed(tile, values, 2, 20, 44)
    scale = 44 / len(values)
    right, top = 2 + (column + side) * scale, 64 - row * scale
    frame(tile, right - side * scale, top - side * scale, side * scale, "black", 1.5)
    tile.plot([right, 54], [top, 64], color="black", linewidth=0.8)
    tile.plot([right, 54], [top - side * scale, 20], color="black", linewidth=0.8)
    fills = plt.get_cmap("RdBu_r")(0.5 + part / values.max() / 4).tolist()
    cells(tile, [[f"{value:.1f}" for value in of_row] for of_row in part], 54, 20, 14.6, fills)
    frame(tile, 54 + 14.6, 20 + 14.6, 14.6, "black", 2.5)
    write(tile, f"the activation at this place: {values.max():.1f}", 50, 10)


def relu(tile: Axes) -> None:
    inside = plot(tile, 10, 22, 36, 42)
    x = np.array([-3, 0, 3])
    inside.plot(x, x, color=GREY, linestyle=":")
    inside.plot(x, np.maximum(x, 0), color=BLUE, linewidth=2.5)
    inside.set(xticks=[0], yticks=[0])
    values = np.array([[-2, 3], [1, -4]])
    cells(tile, values.tolist(), 56, 47, 10)
    arrow(tile, (66, 44), (66, 37))
    cells(tile, np.maximum(values, 0).tolist(), 56, 14, 10)
    write(tile, "before", 87, 57, TINY)
    write(tile, "after", 87, 24, TINY)
    write(tile, "Negative values become 0.", 50, 4)


def pooling(tile: Axes) -> None:
    values = np.array([[1, 3, 0, 2], [5, 0, 1, 1], [0, 2, 4, 0], [1, 0, 6, 3]])
    tints = ["#d6e6f4", "#fde3c4", "#e6e6e6", "#f7c58a"]
    fills = [[tints[2 * (row // 2) + column // 2] for column in range(4)] for row in range(4)]
    cells(tile, values.tolist(), 3, 20, 11, fills)
    arrow(tile, (51, 42), (62, 42))
    cells(tile, pooled(values, 2).tolist(), 66, 31, 11, [tints[:2], tints[2:]])
    write(tile, "The largest of each 2 × 2 stays.", 50, 10)


def batch_norm(tile: Axes) -> None:
    x = np.linspace(-6, 10, 300)
    for y, title, curves in ((46, "before", ((-2, 0.6), (5, 2))), (19, "after", ((-0.15, 1), (0.15, 1)))):
        inside = plot(tile, 5, y, 90, 20)
        for (middle, spread), line in zip(curves, ((BLUE, "-"), (ORANGE, "--"))):
            density = np.exp(-(((x - middle) / spread) ** 2) / 2) / spread
            inside.plot(x, density, color=line[0], linestyle=line[1], linewidth=2)
        inside.spines["left"].set_visible(False)
        inside.text(9.8, inside.get_ylim()[1] * 0.8, title, ha="right", fontsize=TINY)
        inside.set_xticks([0])
        if title == "before":
            inside.set_xticklabels([])
    write(tile, "The values of two filters\nget one mean and one spread.", 50, 4)


def receptive_field(tile: Axes) -> None:
    fields = receptive_fields(BikeCarCNN(), PIXELS)
    side = 60
    show(tile, BIKE, 2, 8, side)
    row, column = 82, 92  # a place on the front wheel
    for name, edge, y in (("relu1", "black", 55), ("relu3", BLUE, 38), ("relu5", ORANGE, 21)):
        size = fields[name].size
        left, top = column - size / 2, row - size / 2
        frame(tile, 2 + left * side / PIXELS, 8 + (PIXELS - top - size) * side / PIXELS, size * side / PIXELS, edge)
        write(tile, f"{name}\n{size} × {size}", 82, y, color=edge)


def logits(tile: Axes) -> None:
    inside = plot(tile, 22, 20, 68, 44)
    inside.barh([1, 0], LOGITS, color=[BLUE, ORANGE], height=0.6)
    inside.axvline(0, color="black", linewidth=1)
    inside.set(xlim=(-3, 3.4), yticks=[1, 0], yticklabels=["Bike", "Car"], xticks=[])
    inside.spines[["bottom", "left"]].set_visible(False)
    inside.tick_params(length=0)
    for y, value in zip((1, 0), LOGITS):
        inside.text(
            value + 0.15 * np.sign(value),
            y,
            f"{value:+.1f}".replace("-", "−"),
            va="center",
            fontsize=SMALL,
            ha="left" if value > 0 else "right",
        )
    write(tile, "the last layer's raw numbers", 50, 8)


def log_odds(tile: Axes) -> None:
    tile.plot([6, 94], [42, 42], color="black", linewidth=1.5)
    difference = LOGITS[0] - LOGITS[1]
    for value, text in ((-3, "20 to 1\nfor Car"), (0, "1 to 1\nundecided"), (3, "20 to 1\nfor Bike")):
        x = 50 + 11.5 * value
        tile.plot([x, x], [39, 45], color="black", linewidth=1.5)
        write(tile, f"{value:+d}".replace("-", "−") if value else "0", x, 34)
        write(tile, text, x, 23, TINY)
    x = 50 + 11.5 * difference
    arrow(tile, (x, 58), (x, 45), BLUE)
    write(tile, f"2.0 − (−1.0) = {difference:+.1f}", 68, 63, color=BLUE)
    write(tile, "the difference of the two logits", 50, 6)


def probability(tile: Axes) -> None:
    inside = plot(tile, 22, 20, 60, 44)
    shares = softmax(LOGITS)
    inside.barh([1, 0], [1, 1], color="#eeeeee", height=0.6)
    inside.barh([1, 0], shares, color=[BLUE, ORANGE], height=0.6)
    inside.set(xlim=(0, 1), yticks=[1, 0], yticklabels=["Bike", "Car"], xticks=[0, 1], xticklabels=["0", "1"])
    for y, value in zip((1, 0), shares):
        inside.text(1.03, y, f"{value:.2f}", va="center", fontsize=SMALL)
    write(tile, "softmax of the logits: they add up to 1", 50, 4, TINY)


def loss(tile: Axes) -> None:
    inside = plot(tile, 14, 22, 80, 44)
    p = np.linspace(0.01, 1, 200)
    inside.plot(p, -np.log(p), color=BLUE, linewidth=2.5)
    inside.plot([0.05, 0.95], -np.log([0.05, 0.95]), "o", color=ORANGE, markersize=6)
    inside.text(0.1, -np.log(0.05) + 0.1, "sure and wrong", fontsize=TINY)
    inside.text(0.98, 0.6, "sure and right", fontsize=TINY, ha="right")
    inside.set(xlim=(0, 1.02), ylim=(0, 4.6), xticks=[0, 1], yticks=[0])
    inside.set_ylabel("loss", fontsize=TINY, labelpad=1)
    write(tile, "probability of the right class", 54, 8, TINY)


def learning_rate(tile: Axes) -> None:
    for x, title, rate in ((4, "small: slow", 0.05), (37, "suits", 0.3), (70, "too large", 1.06)):
        inside = plot(tile, x, 22, 27, 36)
        w = np.linspace(-2.4, 2.4, 100)
        inside.plot(w, w**2, color=GREY, linewidth=1)
        steps = [-1.7]
        for _ in range(5):
            steps.append(steps[-1] - rate * 2 * steps[-1])  # the gradient of w² is 2w
        inside.plot(steps, np.square(steps), "o-", color=ORANGE, markersize=3.5, linewidth=1.2)
        inside.set(xlim=(-3.2, 3.2), ylim=(-0.4, 9))
        inside.axis("off")
        write(tile, title, x + 13.5, 63, SMALL)
    write(tile, "height: loss · across: a weight", 50, 14, TINY)
    write(tile, "How large is a step?", 50, 4)


def epoch(tile: Axes) -> None:
    for number in range(12):
        x, y = 16 + 17 * (number % 4), 47 - 17 * (number // 4)
        index = 20 + number // 2
        picture = draw(("Bike", "Car")[number % 2], index, size=PIXELS).image
        show(tile, picture, x, y, 16, interpolation="antialiased")
    arrow(tile, (86, 58), (86, 20), BLUE, -0.25)
    arrow(tile, (13, 20), (13, 58), BLUE, -0.25)
    write(tile, "once through all of Train", 50, 5)


def split(tile: Axes) -> None:
    left = 3
    parts = (
        ("Train", 70, BLUE, "learn from it"),
        ("Val", 10, ORANGE, "choose the epoch"),
        ("Test", 20, GREY, "opened once"),
    )
    for number, (name, share, fill, purpose) in enumerate(parts):
        width = share * 0.94
        tile.add_patch(Rectangle((left, 50), width, 14, facecolor=fill, edgecolor="white", linewidth=2))
        write(tile, f"{share}", left + width / 2, 56.5, color="white", weight="bold")
        y = 39 - 12 * number
        tile.add_patch(Rectangle((5, y - 3), 6, 6, facecolor=fill))
        write(tile, f"{name}, {share} %", 14, y, ha="left", weight="bold")
        write(tile, purpose, 56, y, TINY, ha="left")
        left += width
    write(tile, "No picture is in two parts.", 50, 3)


def near_copy(tile: Axes) -> None:
    original = Image.fromarray(BIKE)
    copy = original.crop((2, 2, PIXELS - 2, PIXELS - 2)).transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    one, other = as_thumbnails([fingerprint(original), fingerprint(copy)]).astype(float)
    correlation = np.corrcoef(one.ravel(), other[:, ::-1].ravel())[0, 1]
    show(tile, BIKE, 2, 14, 40)
    show(tile, np.asarray(copy), 58, 14, 40)
    arrow(tile, (43.5, 37), (56.5, 37), ORANGE)
    write(tile, "leak", 50, 43, color=ORANGE, weight="bold")
    write(tile, "in Train", 22, 60)
    write(tile, "in Test: mirrored", 77, 60)
    write(tile, f"thumbnails correlate by {correlation:.2f}", 50, 6)


def hook(tile: Axes) -> None:
    for number, name in enumerate(("conv1", "pool1", "bn1", "relu1")):
        x = 1 + 25.5 * number
        chosen = name == "bn1"
        fill, edge = ("#fde3c4", ORANGE) if chosen else ("#eeeeee", GREY)
        tile.add_patch(Rectangle((x, 50), 21, 14, facecolor=fill, edgecolor=edge, linewidth=2 if chosen else 1))
        write(tile, name, x + 10.5, 57)
        if number:
            arrow(tile, (x - 4.5, 57), (x, 57))
    arrow(tile, (62.5, 50), (62.5, 43), ORANGE)
    write(tile, "hook", 67, 46.5, color=ORANGE, ha="left")
    show_signed(tile, edge_map(BIKE), 48, 13, 29)
    write(tile, 'capture(\n  model,\n  "bn1",\n  image)', 22, 28, TINY, family="monospace")
    write(tile, "hands you the layer's output", 50, 5)


def ablation(tile: Axes) -> None:
    edges = edge_map(BIKE)
    maps = (np.maximum(edges, 0), np.maximum(-edges, 0), np.maximum(edge_map(BIKE.swapaxes(0, 1)).T, 0))
    for number, values in enumerate(maps):
        x = 3 + 33 * number
        off = number == 1
        show(tile, np.zeros_like(values) if off else pooled(values, 3), x, 27, 28, cmap="viridis", vmin=0, vmax=1.5)
        write(tile, f"filter {number}", x + 14, 60)
        if off:
            write(tile, "0", x + 14, 41, 20, color="white", weight="bold")
            frame(tile, x, 27, 28)
    write(tile, "Filter 1 is switched off.", 50, 19)
    write(tile, "Does the answer change?", 50, 8)


def control(tile: Axes) -> None:
    pictures = {
        "as it is": BIKE,
        "no wheels": draw("Bike", 1, size=PIXELS, edit=without("wheel")).image,
        "control": draw("Bike", 1, size=PIXELS, edit=without("wheel"), control=True).image,
    }
    for number, (name, picture) in enumerate(pictures.items()):
        show(tile, picture, 1 + 33.5 * number, 23, 31.5)
        write(tile, name, 16.75 + 33.5 * number, 60, weight="bold" if name == "control" else "normal")
    write(tile, "control: as many pixels erased,\nbut of other parts", 50, 11)


TILES = {
    "image tensor": image_tensor,
    "convolution": convolution,
    "kernel (filter)": kernel,
    "feature map": feature_map,
    "activation": activation,
    "ReLU": relu,
    "pooling": pooling,
    "batch norm": batch_norm,
    "receptive field": receptive_field,
    "logits": logits,
    "log-odds": log_odds,
    "probability": probability,
    "loss": loss,
    "learning rate": learning_rate,
    "epoch": epoch,
    "train / val / test split": split,
    "near-copy (leakage)": near_copy,
    "layer name, hook": hook,
    "ablation": ablation,
    "control": control,
}


def main() -> None:
    use_style()
    figure, axes = plt.subplots(ROWS, COLUMNS, figsize=(10, 10.2))
    figure.subplots_adjust(left=0.012, right=0.988, bottom=0.008, top=0.975, wspace=0.09, hspace=0.17)
    for number, (tile, (word, drawn)) in enumerate(zip(axes.flat, TILES.items()), start=1):
        tile.axis("off")
        drawn(tile)
        tile.set(xlim=(0, WIDTH), ylim=(0, HEIGHT), aspect="equal")
        tile.set_title(f"{number}  {word}", fontsize=12)
    with io.BytesIO() as file:
        figure.savefig(file, format="png")
        picture = Image.open(file).convert("RGB")
    picture.quantize(128, dither=Image.Dither.NONE).save(FILE, optimize=True)
    print(f"{FILE.name}: {picture.width}×{picture.height} pixels, {FILE.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
