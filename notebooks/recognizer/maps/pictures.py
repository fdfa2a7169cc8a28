"""Feature maps as pictures: `display_image_filtered`, colour scales, PNG files on disk."""

import contextlib
import glob
import hashlib
import itertools
import re
import shutil
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
from IPython import get_ipython
from IPython.display import display
from PIL import Image
from torch import Tensor, nn

from ..settings import Problem, results_folder, shown
from .activations import as_array, capture, layer_of
from .colours import CLIP, Scale, as_maps, colormap_for, colour, ends_of, most_varying
from .given import Given, Transform, as_given, as_seen, cropped, transform_of
from .grids import draw_grid, draw_strip, picture_of
from .hooks import run
from .layers import by, is_features_last, layer_names, layers_by_name, takes_volumes, token_grid

ALL_LAYERS = "all_layers"  # the file of `stack_grids`
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
    """Save what each filter of a layer sees in an image, show them in one grid, return the grid's path.

    `model` is any module, `layer_name` what `model.named_modules()` calls the layer (see `layer_names`), or several
    such names: all of them are captured in one forward pass, and each has its grid.

    `image` is a file, a PIL image or a uint8 H×W×3 array, which get the size and the channels that the model takes (see
    `input_shape`), or a float32 C×H×W tensor, which stays as it is. A network of 3-D convolutions takes C×D×H×W, and
    its maps are drawn slice by slice. An array N×H×W×3 or a tensor N×C×H×W are N images, which get a folder each.
    Pretrained weights want images prepared in their own way: `transform` does it, such as torchvision's
    `weights.transforms()` or any callable from a PIL image to C×H×W; a `model.transform` is used anyway.

    `scale` says what the two ends of the colour map stand for: 'map', the values of each map; 'layer', of the layer;
    'global', of all layers of its type in the model; or a pair (low, high). They are written on the grid. At each end,
    up to `clip` per cent of the values may lie beyond, which the grid counts; 0 takes the plain minimum and maximum.
    Without a `colormap`, values that are never negative get viridis. Others get RdBu_r, with zero in the middle. Values
    that are NaN or infinite have a colour that no number has; the grid says how many there are.
    `order` is 'number', or 'variation': the maps that vary most come first. With `overlay`, the grid shows each map
    over the image; the files of single filters stay as they are.

    The function writes `results_<name_image>/<image>/<layer_name>/filter_<NNN>.png`, lossless, one pixel per value, and
    the grid `results_<name_image>/<image>/<layer_name>.png`. `<image>` is the file's name with the start of its digest,
    so that two images never overwrite each other; a layer's name that cannot be a file's is replaced by one that can.
    Tokens of a transformer become maps of the patches that they belong to. A layer without maps (a linear one) becomes
    a strip and has no files of single filters. A layer that runs several times in a forward pass has a second grid
    `<layer_name>#2.png`, and so on; of a layer that outputs several tensors, each has its grid, such as
    `<layer_name>[1].png` (see `capture`): then several paths are returned. Files of an earlier rendering are replaced.
    Raises `Problem`, a ValueError, for an unknown layer (naming the closest), scale, colour map or order, for what is
    no image or no network, for a layer that outputs nothing to draw, and where the files cannot be written.
    """
    if count := _count_of(image, model):
        options = {"transform": transform, "scale": scale, "colormap": colormap, "clip": clip}
        options |= {"order": order, "overlay": overlay, "show": show}
        of_each = (display_image_filtered(name_image, model, layer_name, image[i], **options) for i in range(count))
        return list(itertools.chain.from_iterable(of_each))
    if order not in ORDERS:
        raise Problem(f"order={order!r} is none of {', '.join(map(repr, ORDERS))}.")
    pixels, image_name = as_given(image, model, transform)
    folder, subtitle = results_folder(name_image) / image_name, f"{name_image} · {image_name}"
    captured, layers = capture(model, layer_name, pixels), layers_by_name(model)
    if not captured:
        raise Problem("No layer is named; give layer_name one that layer_names(model) lists, or several.")
    of_layer = {key: layer_of(key, layers) for key in captured}
    files = {key: folder / f"{file_name(of, layers)}{_ending(key, of)}.png" for key, of in of_layer.items()}
    drawn = {key: maps_of(key, model, layers[of_layer[key]], output[0], pixels) for key, output in captured.items()}
    kinds = {type(layers[of]) for of in of_layer.values()} if isinstance(scale, str) and scale == "global" else ()
    options = {"scale": scale, "colormap": colormap, "clip": clip}
    of_type = {kind: _on_scale_of_type(model, kind, pixels, clip, colormap) for kind in kinds}
    grids, picture = {}, picture_of(as_seen(pixels, transform or transform_of(model)))
    with ThreadPoolExecutor() as pool, written_below(folder):  # saves pictures while those of the next layer are made
        saving = []
        _remove_further_outputs(files.values())
        for key, (maps, note) in drawn.items():
            coloured = colour(maps, **options | of_type.get(type(layers[of_layer[key]]), {}))
            is_strip = maps.shape[:2] == (1, 1)
            if is_strip:
                grids[key] = draw_strip(maps[0, 0], coloured, picture, key, subtitle + note)
            else:
                numbers = most_varying(maps) if order == "variation" else None
                sorted_by = " · those that vary most come first" if order == "variation" else ""
                grids[key] = draw_grid(
                    coloured, picture, key, subtitle + note + sorted_by, numbers=numbers, overlay=overlay
                )
            saving += _save(pool, files[key], grids[key], coloured.rgb[: 0 if is_strip else len(maps)])
        for saved in saving:
            saved.result()  # raises what went wrong in a thread
    if show:
        for key, grid in grids.items():
            show_sheet(f"{key}: {' × '.join(map(str, captured[key].shape[1:]))}", grid, files[key])
    return list(files.values())


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
    """The maps of a layer that vary most over an image, large enough for a slide: three in a row, the image beside.

    Other arguments, colours and errors are those of `display_image_filtered`. Writes the picture
    `results_<name_image>/<image>/<layer_name>#summary.png`, and returns its path.
    """
    pixels, image_name = as_given(image, model, transform)
    (key, output), *_ = capture(model, layer_name, pixels).items()
    layers = layers_by_name(model)
    maps, note = maps_of(key, model, layers[key], output[0], pixels)
    if maps.shape[:2] == (1, 1):
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


def show_sheet(what: str, sheet: Image.Image, path: Path) -> None:
    """In a notebook, show a sheet and say where it is."""
    if get_ipython():
        print(f"{what} → {shown(path)}")
        # 256 colours in all: a fifth of the bytes, and no eye tells the difference.
        display(sheet.quantize(256, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE))


def stack_grids(grids: Sequence[Path]) -> Path:
    """Put the grids of one image (paths that `display_image_filtered` returned) below each other, in the order given.

    The tall picture is written beside them, as `all_layers.png`; its path is returned.
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


def save_png(path: Path, rgb: np.ndarray) -> None:
    """A lossless PNG of uint8 H×W×3. OpenCV does it outside of Python's lock, so several threads do it at once."""
    bgr = np.ascontiguousarray(rgb[:, :, ::-1])
    path.write_bytes(cv2.imencode(".png", bgr, (cv2.IMWRITE_PNG_COMPRESSION, 1))[1])


def _save(pool: ThreadPoolExecutor, path: Path, grid: Image.Image, filters: np.ndarray) -> list[Future]:
    """Have the grid saved, and one file per filter in place of those of an earlier rendering; touch no other file."""
    folder = path.with_suffix("")
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("filter_*.png"):
        number = old.stem.removeprefix("filter_")
        if number.isdecimal() and int(number) >= len(filters):
            old.unlink()
    if not len(filters) and not any(folder.iterdir()):
        folder.rmdir()
    saving = [pool.submit(save_png, path, np.asarray(grid))]  # takes longest, so it goes first
    for number, rgb in enumerate(filters):
        saving.append(pool.submit(save_png, folder / f"filter_{number:03d}.png", rgb))
    return saving


def file_name(layer_name: str, among: Iterable[str]) -> str:
    """What the files of a layer are called: its name, or, where a folder cannot hold that, one made from it.

    No two layers of a model get the same one, also on disks that take capital and small letters for the same; `among`
    are the model's names. A name that is made ends in a digest of the layer's.
    """

    def folded(name: str) -> str:
        return unicodedata.normalize("NFC", name.casefold())

    taken = next((name for name in among if folded(name) == folded(layer_name)), layer_name) != layer_name
    as_it_is = re.fullmatch(r"[\w-]+(\.[\w-]+)*(?<!\.png)", layer_name, re.IGNORECASE) and layer_name != ALL_LAYERS
    if as_it_is and not taken and cropped(layer_name) == layer_name:
        return layer_name
    digest = hashlib.sha256(layer_name.encode(errors="surrogatepass")).hexdigest()[:8]
    return cropped(re.sub(r"[^\w-]+", "_", layer_name)) + f"-{digest}"


def _count_of(image: Given, model: nn.Module) -> int:
    """How many images an array or tensor of several holds; 0 for whatever is one image."""
    if isinstance(image, np.ndarray):
        return len(image) if image.ndim == 4 else 0
    return len(image) if isinstance(image, Tensor) and image.ndim == 4 + takes_volumes(model) else 0


def _ending(key: str, layer_name: str) -> str:
    """What a file's name adds to that of its layer: '#2' for a second call, '[1]' for a further tensor."""
    ending = key.removeprefix(layer_name)
    safe = re.sub(r"[^\w#\[\]-]+", "_", ending)
    return safe if safe == ending else f"{cropped(safe)}-{hashlib.sha256(ending.encode()).hexdigest()[:8]}"


def _remove_further_outputs(files: Collection[Path]) -> None:
    """Remove the grids of further calls, and of further tensors, that an earlier rendering left."""
    for file in files:
        for old in file.parent.glob(f"{glob.escape(file.stem)}[#[]*.png"):
            is_output = re.fullmatch(r"(#\d+)?(\[.*\](-[0-9a-f]{8})?)?", old.stem.removeprefix(file.stem))
            if is_output and old not in files:
                old.unlink()
                shutil.rmtree(old.with_suffix(""), ignore_errors=True)


@contextlib.contextmanager
def written_below(folder: Path) -> Iterator[None]:
    """Around work that writes there: what the disk refuses becomes a sentence."""
    try:
        yield
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise Problem(
            f"Pictures cannot be written to {cropped(shown(folder), 100)} ({why}); see what is in the way there, or "
            "choose another name_image."
        ) from error


def maps_of(key: str, model: nn.Module, layer: nn.Module, output: np.ndarray, pixels: Tensor) -> tuple[np.ndarray, str]:
    """What a layer outputs for the image as maps C×H×W, and what the grid has to say about them.

    Raises `Problem` where it outputs no values.
    """
    output = np.atleast_1d(output)  # one number per image, as some classifiers end
    if not output.size:
        raise Problem(f"Layer {key!r} outputs no values ({by(output.shape)}) for this image; choose another one.")
    if grid := token_grid(model, output.shape, pixels.shape[-2:]):
        rows, columns, others = grid
        note = f" · tokens of {rows}×{columns} patches"
        note += f", without the first {others}, which stand for no patch" if others else ""
        return np.moveaxis(output[others:].reshape(rows, columns, -1), -1, 0), note
    features_last = is_features_last(model, layer, output.shape, pixels.shape[-2:])
    note = " · features last" if features_last else ""
    note += " · magnitudes of complex numbers" if np.iscomplexobj(output) else ""
    return as_maps(output, features_last), note


def _on_scale_of_type(
    model: nn.Module, kind: type[nn.Module], pixels: Tensor, clip: float, colormap: str | None
) -> dict[str, object]:
    """What `colour` is to be told so that all layers of type `kind` that run have the same scale and colours."""
    calls = run(model, layer_names(model, kind), pixels[None])
    outputs = [as_array(tensor) for _, tensors in calls if isinstance(tensors, dict) for tensor in tensors.values()]
    values = [np.abs(array) if np.iscomplexobj(array) else array for array in outputs]
    values = np.concatenate([array.ravel() for array in values] or [np.zeros(1)])
    colormap = colormap or colormap_for(values)
    low, high = ends_of(values, clip, colormap)
    return {"scale": (low, high) if low <= high else (0.0, 0.0), "colormap": colormap}  # NaN where nothing is finite
