"""From image files to batches: `ImageFolder` reads, a cache keeps the pixels, augmentation works on whole batches."""

import contextlib
import hashlib
import math
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.datasets import ImageFolder

from .. import settings
from ..inputs import as_pixels, open_rgb
from ..progress import progress_bar
from ..settings import Problem, room_on_disk, shown
from .images import is_image_name

AT_ONCE = 64  # images that are decoded before their pixels are written


class Pictures(ImageFolder):
    """One of `datasets/{Train,Val,Test}` as torchvision's ImageFolder, its pixels decoded once and then kept.

    Besides what ImageFolder has (`classes`, `samples`, `targets`, `[i]`):
    `pixels`, uint8 N×3×S×S, a file on disk mapped into memory, so that it need not fit there;
    `labels`, int64 N; `paths`, a list of N files.
    Raises `Problem` when there is nothing to load or a file does not decode.
    """

    def __init__(self, folder: Path, image_size: int) -> None:
        try:
            super().__init__(
                folder, transform=as_pixels(image_size), loader=open_rgb, is_valid_file=is_image_name
            )
        except FileNotFoundError as error:
            raise Problem(f"There are no images in {shown(folder)}; run notebook 01 first.") from error
        self.image_size = image_size
        self.labels = torch.tensor(self.targets)
        self.pixels = self._decoded()
        self._pixels_on_gpu: Tensor | None = None

    @property
    def paths(self) -> list[Path]:
        return [Path(path) for path, _ in self.samples]

    def pixels_on(self, device: torch.device) -> Tensor:
        """`pixels`, kept on an NVIDIA GPU where all of them fit into half of its free memory; else as they are."""
        if device.type != "cuda":
            return self.pixels
        if self._pixels_on_gpu is None:
            has_room = self.pixels.nbytes < torch.cuda.mem_get_info(device)[0] / 2
            self._pixels_on_gpu = self.pixels.to(device) if has_room else self.pixels
        return self._pixels_on_gpu

    def find_classes(self, directory: str) -> tuple[list[str], dict[str, int]]:
        """The folders with images in them. ImageFolder itself would take .ipynb_checkpoints for a class, too."""
        folders = sorted(
            folder
            for folder in Path(directory).glob("[!.]*")
            if folder.is_dir() and any(map(is_image_name, folder.rglob("*")))
        )
        if not folders:
            raise FileNotFoundError(directory)
        return [p.name for p in folders], {p.name: i for i, p in enumerate(folders)}

    def _decoded(self) -> Tensor:
        """The pixels from `datasets/cache/`, put there first where those of this very list of files are not there yet."""
        listing = hashlib.sha256()
        for file, _ in self.samples:
            status = os.stat(file)
            inner = os.path.relpath(file, self.root)
            listing.update(repr((inner, status.st_size, status.st_mtime_ns)).encode())
        key = listing.hexdigest()[:16]
        name = f"{Path(self.root).name}-{self.image_size}px"
        path = settings.DATASETS / "cache" / f"{name}-{key}.npy"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            for outdated in path.parent.glob(f"{name}-*"):
                is_left_over = (
                    time.time() - outdated.stat().st_mtime > 600
                )  # seconds: of a run that was killed
                if key not in outdated.name or (outdated.suffix == ".part" and is_left_over):
                    with contextlib.suppress(PermissionError):  # Windows keeps a file that is still mapped
                        outdated.unlink(missing_ok=True)
            # A name of its own, because two notebooks may do this at the same time.
            unfinished = path.with_suffix(f".{os.getpid()}.part")
            self._decode_to(unfinished)
            os.replace(unfinished, path)
        # Mapped copy-on-write, because PyTorch warns of arrays that cannot be written to.
        return torch.from_numpy(np.load(path, mmap_mode="c"))

    def _decode_to(self, path: Path) -> None:
        shape = (len(self), 3, self.image_size, self.image_size)
        with (
            room_on_disk(f"the pixels of {Path(self.root).name}", needed=math.prod(shape)),
            path.open("wb") as file,
            ThreadPoolExecutor() as pool,
            progress_bar(f"decode {Path(self.root).name}", len(self), "images") as progress,
        ):
            # Written, not mapped into memory: a full disk is then an error and not the end of the process.
            np.lib.format.write_array_header_1_0(
                file, {"descr": "|u1", "fortran_order": False, "shape": shape}
            )
            for first in range(0, len(self), AT_ONCE):
                some = range(first, min(first + AT_ONCE, len(self)))
                for image in pool.map(self._pixels_of, some):
                    file.write(image.tobytes())
                progress.update(len(some))

    def _pixels_of(self, index: int) -> np.ndarray:
        try:
            return self[index][0].numpy()
        except Exception as error:
            raise Problem(
                f"{shown(self.paths[index])} does not decode ({error}); remove it and run again."
            ) from error


def batches(
    pictures: Pictures,
    batch_size: int,
    *,
    device: torch.device | str = "cpu",
    shuffle: torch.Generator | None = None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of (images, labels): float32 B×3×S×S in [0, 1], and int64 B.

    With a generator, shuffled by it and whole batches only: batch norm learns nothing good from a rest of one image.
    Raises `Problem` for a `batch_size` below 1; one larger than the set becomes the set.
    """
    if batch_size < 1:
        raise Problem(f"A batch of {batch_size} images is none; use a BATCH_SIZE of 1 or more.")
    batch_size = min(batch_size, len(pictures))
    pixels = pictures.pixels_on(torch.device(device))
    order = torch.randperm(len(pictures), generator=shuffle) if shuffle else torch.arange(len(pictures))
    for chosen in order.split(batch_size):
        if shuffle and len(chosen) < batch_size:
            return
        chosen = chosen.sort().values  # in the order of the file on disk
        images = pixels.index_select(0, chosen.to(pixels.device)).to(device)  # `[]` takes five times as long
        yield images.float().div_(255), pictures.labels[chosen].to(device)


def augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Another picture of the same thing: each image flipped, turned, zoomed, moved, and lit a little differently.

    `images` is float B×3×S×S in [0, 1], and so is what is returned. All of a batch is done in one resampling.
    """
    count, device = len(images), images.device
    chance = torch.rand(11, count, generator=generator).to(device)

    def uniform(number: int, low: float, high: float) -> Tensor:
        return chance[number] * (high - low) + low

    flip = (chance[0] < 0.5) * 2.0 - 1
    angle, stretch = uniform(1, -0.15, 0.15), uniform(2, 0.85, 1.18).sqrt()
    zoom = uniform(3, 0.55, 1.1)
    room = (1 - zoom).clamp(min=0.1)
    cos, sin = angle.cos() * zoom, angle.sin() * zoom
    # Where each output pixel is looked up: an affine map a image of the places -1 … 1 (see grid_sample).
    height, width = images.shape[2:]
    x = torch.linspace(-1 + 1 / width, 1 - 1 / width, width, device=device).view(1, 1, width)
    y = torch.linspace(-1 + 1 / height, 1 - 1 / height, height, device=device).view(1, height, 1)
    grid = torch.empty(count, height, width, 2, device=device)
    for axis, (by_x, by_y, shift) in enumerate(
        (
            (cos * stretch * flip, -sin / stretch, uniform(4, -1, 1) * room),
            (sin * stretch * flip, cos / stretch, uniform(5, -1, 1) * room),
        )
    ):
        by_x, by_y, shift = (value.view(-1, 1, 1) for value in (by_x, by_y, shift))
        torch.add(by_x * x, by_y * y + shift, out=grid[..., axis])
    images = F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)

    # Light: contrast and a tint around the image's mean, and brightness: a multiplication and an addition a channel.
    tint = torch.stack([uniform(6 + channel, 0.9, 1.1) for channel in range(3)], dim=1)
    gain = (tint * uniform(9, 0.7, 1.4)[:, None]).view(-1, 3, 1, 1)
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    brightness = uniform(10, -0.15, 0.15).view(-1, 1, 1, 1)
    return images.mul_(gain).add_(mean * (1 - gain) + brightness).clamp_(0, 1)
