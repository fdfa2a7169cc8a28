"""`Pictures`: a folder of images as torchvision's ImageFolder, with all its pixels at hand."""

from pathlib import Path

import torch
from torch import Tensor
from torchvision.datasets import ImageFolder

from ..inputs import as_pixels, open_rgb
from ..settings import Problem, shown
from .images import is_image_name
from .pixel_cache import decoded


class Pictures(ImageFolder):
    """One of `datasets/{Train,Val,Test}` as torchvision's ImageFolder, its pixels decoded once and then kept.

    Besides what ImageFolder has (`classes`, `samples`, `targets`, `[i]`):
    `pixels`, uint8 N×3×S×S, a file on disk mapped into memory, so that it need not fit there;
    `labels`, int64 N; `paths`, a list of N files.
    Raises `Problem` when there is nothing to load or a file does not decode.
    """

    def __init__(self, folder: Path, image_size: int) -> None:
        try:
            super().__init__(folder, transform=as_pixels(image_size), loader=open_rgb, is_valid_file=is_image_name)
        except FileNotFoundError as error:
            raise Problem(f"There are no images in {shown(folder)}; run notebook 01 first.") from error
        self.image_size = image_size
        self.labels = torch.tensor(self.targets)
        try:
            self.pixels = decoded(self, image_size)
        except FileNotFoundError as error:
            name = shown(Path(error.filename))
            raise Problem(f"{name} vanished; another notebook may be dealing the images anew. Run again.") from error
        self._kept: Tensor | None = None

    @property
    def paths(self) -> list[Path]:
        return [Path(path) for path, _ in self.samples]

    def pixels_on(self, device: torch.device, room: int) -> Tensor:
        """`pixels`; where all of them fit into `room` bytes, a copy on `device` that is made once and kept."""
        if not room:
            return self.pixels
        if self._kept is None:
            self._kept = self.pixels.to(device) if self.pixels.nbytes <= room else self.pixels
        return self._kept

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
