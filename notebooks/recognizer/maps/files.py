"""The files of pictures: their names, and how they are written and removed."""

import contextlib
import glob
import hashlib
import re
import shutil
import unicodedata
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from ..settings import Problem, shown
from .given import cropped

ALL_LAYERS = "all_layers"  # the name of the file that `stack_grids` writes


def save_png(path: Path, rgb: np.ndarray) -> None:
    """Write uint8 H×W×3 as a lossless PNG. OpenCV releases Python's lock, so several threads can save at once."""
    bgr = np.ascontiguousarray(rgb[:, :, ::-1])
    path.write_bytes(cv2.imencode(".png", bgr, (cv2.IMWRITE_PNG_COMPRESSION, 1))[1])


def save_pictures(pool: ThreadPoolExecutor, path: Path, grid: Image.Image, filters: np.ndarray) -> list[Future]:
    """Start saving the grid and one file per filter. Old files of filters beyond these are deleted, others stay."""
    folder = path.with_suffix("")
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("filter_*.png"):
        number = old.stem.removeprefix("filter_")
        if number.isdecimal() and int(number) >= len(filters):
            old.unlink()
    if not len(filters) and not any(folder.iterdir()):
        folder.rmdir()
    saving = [pool.submit(save_png, path, np.asarray(grid))]  # first, because it takes longest
    for number, rgb in enumerate(filters):
        saving.append(pool.submit(save_png, folder / f"filter_{number:03d}.png", rgb))
    return saving


def file_name(layer_name: str, among: Iterable[str]) -> str:
    """The name of a layer's files: the layer's name or, if that is not a valid file name, one derived from it.

    No two layers of a model get the same file name, even on disks that ignore case. `among` are the names of all
    layers. A derived name ends in a digest of the layer's name.
    """

    def folded(name: str) -> str:
        return unicodedata.normalize("NFC", name.casefold())

    is_taken = next((name for name in among if folded(name) == folded(layer_name)), layer_name) != layer_name
    is_valid = re.fullmatch(r"[\w-]+(\.[\w-]+)*(?<!\.png)", layer_name, re.IGNORECASE) and layer_name != ALL_LAYERS
    if is_valid and not is_taken and cropped(layer_name) == layer_name:
        return layer_name
    digest = hashlib.sha256(layer_name.encode(errors="surrogatepass")).hexdigest()[:8]
    return cropped(re.sub(r"[^\w-]+", "_", layer_name)) + f"-{digest}"


def ending_of(key: str, layer_name: str) -> str:
    """The suffix of a file name after the layer's name: '#2' for the second call, '[1]' for another tensor."""
    ending = key.removeprefix(layer_name)
    safe = re.sub(r"[^\w#\[\]-]+", "_", ending)
    return safe if safe == ending else f"{cropped(safe)}-{hashlib.sha256(ending.encode()).hexdigest()[:8]}"


def remove_further_outputs(files: Collection[Path]) -> None:
    """Remove the grids of later calls and other tensors that an earlier call of `display_image_filtered` left."""
    for file in files:
        for old in file.parent.glob(f"{glob.escape(file.stem)}[#[]*.png"):
            is_output = re.fullmatch(r"(#\d+)?(\[.*\](-[0-9a-f]{8})?)?", old.stem.removeprefix(file.stem))
            if is_output and old not in files:
                old.unlink()
                shutil.rmtree(old.with_suffix(""), ignore_errors=True)


@contextlib.contextmanager
def written_below(folder: Path) -> Iterator[None]:
    """Turn an OSError, raised while files are written to `folder`, into a `Problem`."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise Problem(
            f"Pictures cannot be written to {cropped(shown(folder), 100)} ({reason}); check that folder, or choose "
            "another name_image."
        ) from error
