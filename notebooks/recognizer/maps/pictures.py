"""Feature maps as pictures: `display_image_filtered`, colour scales, and PNG files."""

import itertools
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from IPython import get_ipython
from IPython.display import display
from PIL import Image
from torch import Tensor, nn

from ..settings import Problem, results_folder, shown
from .activations import as_array, capture, layer_of
from .colours import CLIP, Coloured, Scale, as_maps, colormap_for, colour, ends_of, most_varying
from .files import ALL_LAYERS, ending_of, file_name, remove_further_outputs, save_pictures, save_png, written_below
from .given import Given, Transform, as_given, as_seen, transform_of
from .grids import draw_grid, draw_strip, picture_of
from .hooks import run
from .layers import by, is_features_last, layer_names, layers_by_name, takes_volumes, token_grid

ORDERS = ("number", "variation")


def display_image_filtered(
    name_image: str,
    model: nn.Module,
    layer_name: str | Sequence[str],
    image: Given,
    *,
    transform: Transform | None = None,
    scale: Scale = "layer",
    colormap: str | None = None,
    clip: float = CLIP,
    order: str = "number",
    overlay: bool = False,
    show: bool = True,
) -> list[Path]:
    """Save the map of every filter of a layer for an image, and show all maps in one grid. Returns the grid's path.

    `model` is any module. `layer_name` is the layer's name in `model.named_modules()` (see `layer_names`), or a list of
    such names. All of them are captured in one forward pass, and each layer gets its own grid.

    `image` is a file, a PIL image or a uint8 H×W×3 array, which is converted to the size and the channels that the
    model takes (see `input_shape`), or a float32 C×H×W tensor, which stays as it is. A network of 3-D convolutions
    takes C×D×H×W, and its maps are drawn slice by slice. An array N×H×W×3 or a tensor N×C×H×W holds N images; each gets
    its own folder. Pretrained weights need images that are prepared in a certain way. Pass a `transform` for it:
    torchvision's `weights.transforms()` or any callable from a PIL image to C×H×W. The default is `model.transform`, if
    the model has one.

    `scale` sets the range of the colours: the values of each map ('map'), of the layer ('layer'), of all layers of its
    type in the model ('global'), or a pair (low, high). Up to `clip` per cent of the values may lie beyond each end;
    with 0, the ends are the minimum and the maximum. The grid shows the ends and the number of values beyond them.
    Without a `colormap`, values that are never negative get viridis. Others get RdBu_r, with zero in the middle. Values
    that are NaN or infinite get a colour that is not in the colour map, and the grid shows how many there are.
    `order` is 'number' or 'variation' (the maps that vary most come first). With `overlay`, the grid shows each map on
    top of the image. The files of single filters do not change.

    The function writes `results_<name_image>/<image>/<layer_name>/filter_<NNN>.png`, lossless, one pixel per value, and
    the grid `results_<name_image>/<image>/<layer_name>.png`. `<image>` is the file's name with the start of its digest,
    so that two images never overwrite each other. A layer name that is not a valid file name is replaced. Files of an
    earlier call are replaced too.
    Tokens of a transformer become maps of their patches. A layer without maps, such as a linear layer, becomes a strip
    of values without files of single filters. If a layer runs several times in a forward pass, its second grid is
    `<layer_name>#2.png`, and so on. If a layer outputs several tensors, each tensor gets a grid, such as
    `<layer_name>[1].png` (see `capture`). Then the function returns several paths.

    Raises `Problem`, a ValueError, for an unknown layer (the message lists the closest names), scale, colour map or
    order, for something that is not an image or not a network, for a layer without values to draw, and if the files
    cannot be written.
    """
    if count := _count_of(image, model):
        options = {"transform": transform, "scale": scale, "colormap": colormap, "clip": clip}
        options |= {"order": order, "overlay": overlay, "show": show}
        paths = (display_image_filtered(name_image, model, layer_name, image[i], **options) for i in range(count))
        return list(itertools.chain.from_iterable(paths))
    if order not in ORDERS:
        raise Problem(f"order={order!r} is not valid; use one of {', '.join(map(repr, ORDERS))}.")
    pixels, image_name = as_given(image, model, transform)
    folder, subtitle = results_folder(name_image) / image_name, f"{name_image} · {image_name}"
    activations, layers = capture(model, layer_name, pixels), layers_by_name(model)
    if not activations:
        raise Problem("layer_name is empty; pass one or several of the names that layer_names(model) lists.")
    names = {key: layer_of(key, layers) for key in activations}
    files = {key: folder / f"{file_name(name, layers)}{ending_of(key, name)}.png" for key, name in names.items()}
    maps_and_notes = {
        key: maps_of(key, model, layers[names[key]], output[0], pixels) for key, output in activations.items()
    }
    types = {type(layers[name]) for name in names.values()} if isinstance(scale, str) and scale == "global" else ()
    options = {"scale": scale, "colormap": colormap, "clip": clip}
    options_of_type = {kind: _global_scale(model, kind, pixels, clip, colormap) for kind in types}
    grids, picture = {}, picture_of(as_seen(pixels, transform or transform_of(model)))
    with ThreadPoolExecutor() as pool, written_below(folder):  # threads save pictures while the next layer is drawn
        saving = []
        remove_further_outputs(files.values())
        for key, (maps, note) in maps_and_notes.items():
            coloured = colour(maps, **options | options_of_type.get(type(layers[names[key]]), {}))
            grids[key] = _sheet(maps, coloured, picture, key, subtitle + note, order, overlay)
            saving += save_pictures(pool, files[key], grids[key], coloured.rgb[:0] if _is_row(maps) else coloured.rgb)
        for future in saving:
            future.result()  # raises the error of a thread
    if show:
        for key, grid in grids.items():
            show_sheet(f"{key}: {' × '.join(map(str, activations[key].shape[1:]))}", grid, files[key])
    return list(files.values())


def _sheet(
    maps: np.ndarray,
    coloured: Coloured,
    picture: Image.Image,
    title: str,
    subtitle: str,
    order: str,
    overlay: bool,
) -> Image.Image:
    """All maps of a layer in a grid, or the values of a layer without maps in a strip."""
    if _is_row(maps):
        return draw_strip(maps[0, 0], coloured, picture, title, subtitle)
    if order == "number":
        return draw_grid(coloured, picture, title, subtitle, overlay=overlay)
    subtitle += " · those that vary most come first"
    return draw_grid(coloured, picture, title, subtitle, numbers=most_varying(maps), overlay=overlay)


def _is_row(maps: np.ndarray) -> bool:
    """Whether maps C×H×W are a single row of values, as a layer without maps has them (see `as_maps`)."""
    return maps.shape[:2] == (1, 1)


def display_summary(
    name_image: str,
    model: nn.Module,
    layer_name: str,
    image: Given,
    *,
    transform: Transform | None = None,
    count: int = 9,
    overlay: bool = False,
    show: bool = True,
) -> Path:
    """Draw the `count` maps of a layer that vary most, large enough for a slide: three per row, next to the image.

    The other arguments, the colours and the errors are those of `display_image_filtered`. The function writes the
    picture `results_<name_image>/<image>/<layer_name>#summary.png` and returns its path.
    """
    pixels, image_name = as_given(image, model, transform)
    (key, output), *_ = capture(model, layer_name, pixels).items()
    layers = layers_by_name(model)
    maps, note = maps_of(key, model, layers[key], output[0], pixels)
    if _is_row(maps):
        raise Problem(f"Layer {key!r} has no maps to choose from; display_image_filtered draws its values.")
    numbers, subtitle = most_varying(maps, count), f"{name_image} · {image_name}{note}"
    picture = picture_of(as_seen(pixels, transform or transform_of(model)))
    sheet = draw_grid(colour(maps), picture, key, subtitle, numbers=numbers, overlay=overlay, columns=3)
    path = results_folder(name_image) / image_name / f"{file_name(key, layers)}#summary.png"
    with written_below(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        save_png(path, np.asarray(sheet))
    if show:
        show_sheet(f"{key}: {len(numbers)} of {len(maps)} maps", sheet, path)
    return path


def show_sheet(title: str, sheet: Image.Image, path: Path) -> None:
    """In a notebook, show a sheet below a line with its title and path. Elsewhere, do nothing."""
    print(f"{title} → {shown(path)}")
    if get_ipython():
        # With 256 colours, the picture has a fifth of the bytes and looks the same.
        display(sheet.quantize(256, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE))


def stack_grids(grids: Sequence[Path]) -> Path:
    """Stack the grids of one image vertically, in this order, and return the path of the tall picture.

    `grids` are paths that `display_image_filtered` returned. The picture is `all_layers.png` in the same folder.
    """
    sheets = []
    for path in grids:
        with Image.open(path) as sheet:
            sheets.append(np.asarray(sheet.convert("RGB")))
    tall = np.full((sum(s.shape[0] for s in sheets), max(s.shape[1] for s in sheets), 3), 255, np.uint8)
    top = 0
    for sheet in sheets:
        tall[top : top + sheet.shape[0], : sheet.shape[1]] = sheet
        top += sheet.shape[0]
    save_png(grids[0].with_name(f"{ALL_LAYERS}.png"), tall)
    return grids[0].with_name(f"{ALL_LAYERS}.png")


def _count_of(image: Given, model: nn.Module) -> int:
    """The number of images in an array or tensor of several images; 0 for a single image of any kind."""
    if isinstance(image, np.ndarray):
        return len(image) if image.ndim == 4 else 0
    return len(image) if isinstance(image, Tensor) and image.ndim == 4 + takes_volumes(model) else 0


def maps_of(key: str, model: nn.Module, layer: nn.Module, output: np.ndarray, pixels: Tensor) -> tuple[np.ndarray, str]:
    """The output of a layer for the image, as maps C×H×W, and a note about them for the grid's subtitle.

    Raises `Problem` if the output has no values.
    """
    output = np.atleast_1d(output)  # one number per image, as some classifiers end
    if not output.size:
        raise Problem(f"Layer {key!r} outputs no values ({by(output.shape)}) for this image; choose another one.")
    if grid := token_grid(model, output.shape, pixels.shape[-2:]):
        rows, columns, others = grid
        note = f" · tokens of {rows}×{columns} patches"
        note += f", without the {others} class or register token{'s' * (others > 1)}" if others else ""
        return np.moveaxis(output[others:].reshape(rows, columns, -1), -1, 0), note
    features_last = is_features_last(model, layer, output.shape, pixels.shape[-2:])
    note = " · stored as H×W×C" if features_last else ""
    note += " · magnitudes of complex numbers" if np.iscomplexobj(output) else ""
    return as_maps(output, features_last), note


def _global_scale(
    model: nn.Module, kind: type[nn.Module], pixels: Tensor, clip: float, colormap: str | None
) -> dict[str, object]:
    """Arguments for `colour` that give all layers of type `kind` that run the same scale and colour map."""
    calls = run(model, layer_names(model, kind), pixels[None])
    outputs = [as_array(tensor) for _, tensors in calls if isinstance(tensors, dict) for tensor in tensors.values()]
    values = [np.abs(array) if np.iscomplexobj(array) else array for array in outputs]
    values = np.concatenate([array.ravel() for array in values] or [np.zeros(1)])
    colormap = colormap or colormap_for(values)
    low, high = ends_of(values, clip, colormap)
    return {"scale": (low, high) if low <= high else (0.0, 0.0), "colormap": colormap}  # NaN if no value is finite
