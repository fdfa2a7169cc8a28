"""`Pictures`: torchvision's ImageFolder with all its pixels already decoded. `PixelSet`: the same without a folder."""

from pathlib import Path

import torch
from torch import Tensor
from torchvision.datasets import ImageFolder

from ..inputs import as_pixels, decode
from ..settings import Problem, shown
from .pixel_cache import decoded
from .record import images_in


class PixelSet:
    """Images for training or evaluation, with what both need to know about them.

    `pixels` is uint8 N×3×D×D. `labels` is int64 N, with indices into `classes`. `image_size` is the side S of the
    network's input.
    """

    _kept: Tensor | None = None

    def __init__(self, pixels: Tensor, labels: Tensor, classes: list[str], image_size: int) -> None:
        self.pixels, self.labels, self.classes, self.image_size = pixels, labels, classes, image_size

    def __len__(self) -> int:
        return len(self.labels)

    def pixels_on(self, device: torch.device, room: int) -> Tensor:
        """`pixels`; if all of them fit into `room` bytes, a copy on `device` that is made once and kept."""
        if not room:
            return self.pixels
        if self._kept is None:
            self._kept = self.pixels.to(device) if self.pixels.nbytes <= room else self.pixels
        return self._kept


class Pictures(ImageFolder, PixelSet):
    """One of `datasets/{Train,Val,Test}` as torchvision's ImageFolder, with pixels that are decoded once and cached.

    In addition to ImageFolder's attributes (`classes`, `samples`, `targets`, `[i]`) it has:
    `pixels`, uint8 N×3×D×D, memory-mapped from a file on disk, so that they need not fit into memory;
    `labels`, int64 N; `paths`, a list of N files; `image_size`, the side S of the network's input.
    D is `detail` times S, because augmentation zooms in and then shows more detail.
    Raises `Problem` if there is nothing to load or a file does not decode.
    """

    def __init__(self, folder: Path, image_size: int, detail: float = 1) -> None:
        stored = round(detail * image_size)
        try:
            ImageFolder.__init__(self, folder, transform=as_pixels(stored), loader=decode)
        except FileNotFoundError as error:
            raise Problem(f"There are no images in {shown(folder)}; run notebook 01 first.") from error
        self.image_size = image_size
        self.labels = torch.tensor(self.targets)
        try:
            self.pixels = decoded(self, stored)
        except FileNotFoundError as error:
            name = shown(Path(error.filename))
            raise Problem(f"{name} disappeared; another notebook may be splitting the images. Run again.") from error

    @property
    def paths(self) -> list[Path]:
        return [Path(path) for path, _ in self.samples]

    # `images_in` alone decides what counts as an image, so that these images are exactly those of the split.
    # ImageFolder itself would search hidden folders and treat .ipynb_checkpoints as a class.

    def find_classes(self, directory: str) -> tuple[list[str], dict[str, int]]:
        """The names of the classes that have images, and the label of each class."""
        classes = sorted({key.split("/")[0] for key, _ in images_in(Path(directory))})
        if not classes:
            raise FileNotFoundError(directory)
        return classes, {name: label for label, name in enumerate(classes)}

    @staticmethod
    def make_dataset(directory: str, class_to_idx: dict[str, int], *_, **__) -> list[tuple[str, int]]:
        """The path and label of each image, class by class."""
        samples = [(str(path), class_to_idx[key.split("/")[0]]) for key, path in images_in(Path(directory))]
        return sorted(samples, key=lambda sample: (sample[1], sample[0]))
