"""`Pictures`: a folder of images as torchvision's ImageFolder, with all its pixels at hand. `PixelSet`: no folder."""

from pathlib import Path

import torch
from torch import Tensor
from torchvision.datasets import ImageFolder

from ..inputs import as_pixels, decode
from ..settings import Problem, shown
from .pixel_cache import decoded
from .record import images_in


class PixelSet:
    """Images to learn from or to ask about: what training and evaluation need to know of them.

    `pixels` uint8 N×3×D×D, `labels` int64 N, indices into `classes`; `image_size` is the side S that the network takes.
    """

    _kept: Tensor | None = None

    def __init__(self, pixels: Tensor, labels: Tensor, classes: list[str], image_size: int) -> None:
        self.pixels, self.labels, self.classes, self.image_size = pixels, labels, classes, image_size

    def __len__(self) -> int:
        return len(self.labels)

    def pixels_on(self, device: torch.device, room: int) -> Tensor:
        """`pixels`; where all of them fit into `room` bytes, a copy on `device` that is made once and kept."""
        if not room:
            return self.pixels
        if self._kept is None:
            self._kept = self.pixels.to(device) if self.pixels.nbytes <= room else self.pixels
        return self._kept


class Pictures(ImageFolder, PixelSet):
    """One of `datasets/{Train,Val,Test}` as torchvision's ImageFolder, its pixels decoded once and then kept.

    Besides what ImageFolder has (`classes`, `samples`, `targets`, `[i]`):
    `pixels`, uint8 N×3×D×D, a file on disk mapped into memory, so that it need not fit there;
    `labels`, int64 N; `paths`, a list of N files; `image_size`, the side S that the network takes.
    D is S, or `detail` times as much: augmentation zooms in, and then shows more detail.
    Raises `Problem` when there is nothing to load or a file does not decode.
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
            raise Problem(f"{name} vanished; another notebook may be dealing the images anew. Run again.") from error

    @property
    def paths(self) -> list[Path]:
        return [Path(path) for path, _ in self.samples]

    # What counts as an image is decided in one place, so that all pictures here are those that the split knows.
    # ImageFolder itself would look into hidden folders and take .ipynb_checkpoints for a class.

    def find_classes(self, directory: str) -> tuple[list[str], dict[str, int]]:
        """The names of the classes that have images, and the label of each."""
        classes = sorted({key.split("/")[0] for key, _ in images_in(Path(directory))})
        if not classes:
            raise FileNotFoundError(directory)
        return classes, {name: label for label, name in enumerate(classes)}

    @staticmethod
    def make_dataset(directory: str, class_to_idx: dict[str, int], *_, **__) -> list[tuple[str, int]]:
        """The path and label of each image, class by class."""
        found = [(str(path), class_to_idx[key.split("/")[0]]) for key, path in images_in(Path(directory))]
        return sorted(found, key=lambda sample: (sample[1], sample[0]))
