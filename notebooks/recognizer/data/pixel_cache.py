"""`datasets/cache/`: the pixels of a folder of images, decoded once and mapped into memory from then on."""

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

AT_ONCE = 64  # images that are decoded before their pixels are written


def decoded(pictures: ImageFolder, image_size: int) -> Tensor:
    """The pixels of `pictures`, uint8 N×3×S×S with S = `image_size`, mapped from a file in `datasets/cache/`.

    The file is written first where there is none of this very list of files. Raises `Problem` for a file that does not
    decode and for a full disk.
    """
    listing = hashlib.sha256()
    for file, _ in pictures.samples:
        status = os.stat(file)
        inner = os.path.relpath(file, pictures.root)
        listing.update(repr((inner, status.st_size, status.st_mtime_ns)).encode())
    key = listing.hexdigest()[:16]
    place = Path(pictures.root).parent
    name = f"{'' if place == settings.DATASETS else place.name + '-'}{Path(pictures.root).name}-{image_size}px"
    path = settings.DATASETS / "cache" / f"{name}-{key}.npy"
    if not path.exists():
        for outdated in path.parent.glob(f"{name}-*"):
            # Windows keeps a file that is still mapped; and another notebook may have removed it just now.
            with contextlib.suppress(PermissionError, FileNotFoundError):
                is_left_over = time.time() - outdated.stat().st_mtime > 600  # seconds: of a run that was killed
                if key not in outdated.name or (outdated.suffix == ".part" and is_left_over):
                    outdated.unlink()
        # A name of its own, because two notebooks may do this at the same time.
        unfinished = path.with_suffix(f".{os.getpid()}.part")
        _decode_to(pictures, image_size, unfinished)
        try:
            os.replace(unfinished, path)
        except PermissionError:  # Windows: another notebook was quicker, and has mapped the same pixels already
            if not path.exists():
                raise
            unfinished.unlink()
    # Mapped copy-on-write, because PyTorch warns of arrays that cannot be written to.
    return torch.from_numpy(np.load(path, mmap_mode="c"))


def _decode_to(pictures: ImageFolder, image_size: int, path: Path) -> None:
    shape = (len(pictures), 3, image_size, image_size)
    with (
        room_on_disk(f"the pixels of {Path(pictures.root).name}", path.parent, needed=math.prod(shape)),
        path.open("wb") as file,
        without_warnings(),
        ThreadPoolExecutor() as pool,
        progress_bar(f"decode {Path(pictures.root).name}", len(pictures), "images") as progress,
    ):
        # Written, not mapped into memory: a full disk is then an error and not the end of the process.
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        for first in range(0, len(pictures), AT_ONCE):
            some = range(first, min(first + AT_ONCE, len(pictures)))
            for image in pool.map(partial(_pixels_of, pictures), some):
                file.write(image.tobytes())
            progress.update(len(some))


def _pixels_of(pictures: ImageFolder, index: int) -> np.ndarray:
    try:
        return pictures[index][0].numpy()
    except Unreadable as error:
        file = shown(Path(pictures.samples[index][0]))
        raise Problem(f"{file} cannot be used ({error.reason}); remove it and run again.") from error
