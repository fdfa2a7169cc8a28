"""`datasets/cache/`: the pixels of a folder of images, decoded once and memory-mapped from then on."""

import contextlib
import hashlib
import math
import os
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torchvision.datasets import ImageFolder

from .. import settings
from ..inputs import Unreadable, without_warnings
from ..progress import progress_bar
from ..settings import Problem, room_on_disk, shown

AT_ONCE = 64  # images decoded before their pixels are written


def decoded(pictures: ImageFolder, image_size: int) -> Tensor:
    """The pixels of `pictures`, uint8 N×3×S×S with S = `image_size`, memory-mapped from a file in `datasets/cache/`.

    The file is written first if there is none for exactly this list of images. Raises `Problem` for an image that does
    not decode, and for a full disk.
    """
    listing = hashlib.sha256()
    for file, _ in pictures.samples:
        status = os.stat(file)
        inner = os.path.relpath(file, pictures.root)
        listing.update(repr((inner, status.st_size, status.st_mtime_ns)).encode())
    key = listing.hexdigest()[:16]
    parent = Path(pictures.root).parent
    name = f"{'' if parent == settings.DATASETS else parent.name + '-'}{Path(pictures.root).name}-{image_size}px"
    path = settings.DATASETS / "cache" / f"{name}-{key}.npy"
    if not path.exists():
        for outdated in path.parent.glob(f"{name}-*"):
            # Windows does not delete a file that is still mapped, and another notebook may have just removed it.
            with contextlib.suppress(PermissionError, FileNotFoundError):
                is_left_over = time.time() - outdated.stat().st_mtime > 600  # seconds: its run was killed
                if key not in outdated.name or (outdated.suffix == ".part" and is_left_over):
                    outdated.unlink()
        # A unique name, because two notebooks may do this at the same time.
        unfinished = path.with_suffix(f".{os.getpid()}.part")
        _decode_to(pictures, image_size, unfinished)
        try:
            os.replace(unfinished, path)
        except PermissionError:  # Windows: another notebook was faster and has already mapped the same pixels
            if not path.exists():
                raise
            unfinished.unlink()
    # Mapped copy-on-write, because PyTorch warns about read-only arrays.
    return torch.from_numpy(np.load(path, mmap_mode="c"))


def _decode_to(pictures: ImageFolder, image_size: int, path: Path) -> None:
    shape = (len(pictures), 3, image_size, image_size)
    with (
        room_on_disk(f"storing the pixels of {Path(pictures.root).name}", path.parent, needed=math.prod(shape)),
        path.open("wb") as file,
        without_warnings(),
        ThreadPoolExecutor() as pool,
        progress_bar(f"decode {Path(pictures.root).name}", len(pictures), "images") as progress,
    ):
        # Written, not memory-mapped: a full disk then raises an error instead of ending the process.
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        for first in range(0, len(pictures), AT_ONCE):
            indices = range(first, min(first + AT_ONCE, len(pictures)))
            for image in pool.map(partial(_pixels_of, pictures), indices):
                file.write(image.tobytes())
            progress.update(len(indices))


def _pixels_of(pictures: ImageFolder, index: int) -> np.ndarray:
    try:
        return pictures[index][0].numpy()
    except Unreadable as error:
        file = shown(Path(pictures.samples[index][0]))
        raise Problem(f"{file} cannot be used ({error.reason}); remove it and run again.") from error
