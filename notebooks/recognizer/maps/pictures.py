"""Feature maps as pictures: `display_image_filtered`, colour scales, PNG files on disk."""

import glob
import hashlib
import re
import shutil
from collections.abc import Collection, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
from IPython import get_ipython
from IPython.display import display
from PIL import Image
from torch import Tensor, nn

from ..inputs import to_input
from ..settings import Problem, results_folder, shown
from .activations import capture, layer_names
from .colours import Scale, as_maps, colour
from .grids import draw_grid, draw_strip, thumbnail_of

DEFAULT_IMAGE_SIZE = 224  # of models that do not say what they take; torchvision's take this


def display_image_filtered(
    name_image: str,
    model: nn.Module,
    layer_name: str | Sequence[str],
    image: Path | str | Image.Image | np.ndarray | Tensor,
    *,
    scale: Scale = "layer",
    colormap: str = "viridis",
    show: bool = True,
) -> list[Path]:
    """Save what each filter of a layer sees in an image, show them in one grid, return the grid's path.

    `model` is any module, `layer_name` what `model.named_modules()` calls the layer (see `layer_names`), or several
    such names: all of them are captured in one forward pass, and each has its grid. `image` is a file, a PIL image, a
    uint8 H×W×3 array, or a float32 3×S×S tensor in [0, 1].

    `scale` says what the two ends of the colour map stand for: 'map', the minimum and maximum of each
    map; 'layer', of the layer; 'global', of all layers of its type in the model; or a pair (low, high).
    They are written on the grid.

    Written are `results_<name_image>/<image>/<layer_name>/filter_<NNN>.png`, lossless, one pixel a value,
    and the grid `results_<name_image>/<image>/<layer_name>.png`. `<image>` is the file's name with the
    start of its digest, so that two images never overwrite each other. A layer without maps (a linear
    one) becomes a strip and has no files of single filters. A layer that runs several times in a forward
    pass has a second grid `<layer_name>#2.png`, and so on: then several paths are returned. Files of an
    earlier rendering are replaced.
    Raises `Problem`, a ValueError, for an unknown layer (naming the closest), scale or colour map.
    """
    pixels, image_name = _identify(image, getattr(model, "image_size", DEFAULT_IMAGE_SIZE))
    names = [layer_name] if isinstance(layer_name, str) else layer_name
    captured = capture(model, names, pixels)
    folder, subtitle = results_folder(name_image) / image_name, f"{name_image} · {image_name}"
    for name in names:
        _remove_further_calls(folder, name, captured.keys())
    grids: dict[Path, Image.Image] = {}
    thumbnail = thumbnail_of(pixels)
    with ThreadPoolExecutor() as pool:  # saves the pictures of one layer while those of the next are made
        saving = []
        for name, output in captured.items():
            maps = as_maps(output[0])
            ends = _range_of_type(model, name, pixels) if scale == "global" else scale
            coloured = colour(maps, ends, colormap)
            is_strip = maps.shape[:2] == (1, 1)
            path = folder / f"{name}.png"
            if is_strip:
                grids[path] = draw_strip(maps[0, 0], coloured, thumbnail, name, subtitle)
            else:
                grids[path] = draw_grid(coloured, thumbnail, name, subtitle)
            saving += _save(pool, path, grids[path], coloured.rgb[: 0 if is_strip else len(maps)])
    for saved in saving:
        saved.result()  # raises what went wrong in a thread
    if show and get_ipython():
        for (path, grid), (name, output) in zip(grids.items(), captured.items()):
            print(f"{name}: {' × '.join(map(str, output.shape[1:]))} → {shown(path)}")
            # In a notebook, 256 colours in all: a fifth of the bytes, and no eye tells the difference.
            display(grid.quantize(256, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE))
    return list(grids)


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
    save_png(grids[0].with_name("all_layers.png"), tall)
    return grids[0].with_name("all_layers.png")


def save_png(path: Path, rgb: np.ndarray) -> None:
    """A lossless PNG of uint8 H×W×3. OpenCV does it outside of Python's lock, so several threads do it at once."""
    bgr = np.ascontiguousarray(rgb[:, :, ::-1])
    path.write_bytes(cv2.imencode(".png", bgr, (cv2.IMWRITE_PNG_COMPRESSION, 1))[1])


def _save(pool: ThreadPoolExecutor, path: Path, grid: Image.Image, filters: np.ndarray) -> list[Future]:
    """Have the grid saved, and one file a filter in place of those of an earlier rendering; other files are left alone."""
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


def _remove_further_calls(folder: Path, layer_name: str, captured: Collection[str]) -> None:
    """What an earlier rendering left of a layer that ran more often then."""
    for old in folder.glob(f"{glob.escape(layer_name)}#*.png"):
        if old.stem.rpartition("#")[2].isdecimal() and old.stem not in captured:
            old.unlink()
            shutil.rmtree(old.with_suffix(""), ignore_errors=True)


def _range_of_type(model: nn.Module, layer_name: str, pixels: Tensor) -> tuple[float, float]:
    """The smallest and largest value among all layers of the type that `layer_name` is."""
    kind = type(model.get_submodule(layer_name.partition("#")[0]))
    outputs = capture(model, layer_names(model, kind), pixels).values()
    return float(min(output.min() for output in outputs)), float(max(output.max() for output in outputs))


def _identify(image: Path | str | Image.Image | np.ndarray | Tensor, image_size: int) -> tuple[Tensor, str]:
    """The image as float32 3×S×S, and a name that no other image has."""
    name = Path(getattr(image, "filename", "") or "image").stem
    if isinstance(image, Tensor):
        if not image.is_floating_point():
            raise Problem(f"The image is of {image.dtype}; pass float32 3×S×S in [0, 1], or see to_input.")
        pixels = image.detach().float().cpu()
    elif isinstance(image, np.ndarray):
        if image.dtype != np.uint8:
            raise Problem(f"The image is an array of {image.dtype}; pass uint8 H×W×3, or a float tensor 3×S×S.")
        pixels = to_input(Image.fromarray(image), image_size)
    elif isinstance(image, Image.Image):
        pixels = to_input(image, image_size)
    elif Path(image).is_file():
        pixels, name = to_input(image, image_size), Path(image).stem
    else:
        raise Problem(f"There is no image {shown(Path(image))}; give the path of an image file.")
    if pixels.ndim != 3 or pixels.shape[0] != 3:
        raise Problem(f"The image has the shape {tuple(pixels.shape)}, not 3×S×S; pass one RGB image.")
    if isinstance(image, Path | str):
        content = Path(image).read_bytes()
    else:
        content = repr(pixels.shape).encode() + pixels.numpy().tobytes()
    safe_name = re.sub(r"[^\w.-]+", "_", name).strip("._") or "image"
    return pixels, f"{safe_name}-{hashlib.sha256(content).hexdigest()[:8]}"
