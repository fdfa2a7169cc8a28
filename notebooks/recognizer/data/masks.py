"""What each pixel shows, where a data set says so: parts of the drawn sample, objects of `street`."""

import glob
from pathlib import Path

import cv2
import numpy as np

from ..drawings import PARTS
from ..settings import Problem, shown
from .dataset import Pictures

OBJECT = ".mask."  # in the names of masks that show one object each: bike_001.mask.0.png of bike_001.image.png


def part_masks(pictures: Pictures, size: int) -> tuple[np.ndarray, list[str]] | None:
    """Masks of all `pictures`, uint8 N×size×size, and the names of the parts that their values are indices into.

    Part 0 is the background; of an image without a mask all is, and how many these are is said. None where there are no
    masks at all.
    """
    folder = Path(pictures.root).parent / "Masks"
    files = [_files(folder / path.parent.name, path.name) for path in pictures.paths]
    if not any(files):
        return None
    if missing := sum(not each for each in files):
        print(f"{missing} of {len(files)} images have no mask; they count as background.")
    of_objects = any(OBJECT in file.name for each in files for file in each)
    parts = ["background", *pictures.classes] if of_objects else list(PARTS)
    masks = np.zeros((len(files), size, size), np.uint8)
    for mask, label, of_image in zip(masks, pictures.targets, files):
        for file in of_image:
            values = _read_mask(file)
            if of_objects:
                colours = values.reshape(*values.shape[:2], -1)[..., :3]  # not how transparent it is
                values = (colours.max(axis=2) > 0) * np.uint8(label + 1)
            if values.ndim > 2 or values.max() >= len(parts):
                raise Problem(
                    f"{shown(file)} is no mask of parts: its pixels are to be numbers below {len(parts)} in one channel. "
                    "Remove or replace it."
                )
            np.maximum(mask, cv2.resize(values, (size, size), interpolation=cv2.INTER_NEAREST), out=mask)
    return masks, parts


def _read_mask(file: Path) -> np.ndarray:
    content = np.fromfile(file, np.uint8)
    values = cv2.imdecode(content, cv2.IMREAD_UNCHANGED) if len(content) else None
    if values is None:
        raise Problem(f"The mask {shown(file)} does not decode; remove or replace it.")
    return values


def part_sizes(masks: np.ndarray, parts: list[str]) -> dict[str, float]:
    """How many pixels of the masks a part measures across: half of all that is seen of it is in pieces at least so large.

    `masks` is N×H×W, indices into `parts`. A piece is what hangs together, gaps of four pixels closed, because a wheel is cut
    by spokes and frame; its size is the longer side of the box around it.
    """
    sizes = {}
    for index in np.unique(masks[masks > 0]):
        found = []
        for mask in masks[(masks == index).any(axis=(1, 2))]:
            whole = cv2.morphologyEx((mask == index).astype(np.uint8), cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
            _, _, boxes, _ = cv2.connectedComponentsWithStats(whole)
            found += [(max(width, height), area) for _, _, width, height, area in boxes[1:]]
        sides, areas = np.array(sorted(found)).T
        sizes[parts[index]] = float(sides[areas.cumsum() >= areas.sum() / 2][0])
    return sizes


def _files(folder: Path, name: str) -> list[Path]:
    """The masks of an image: one of the same name, or one for each object in it."""
    stem = Path(name).stem
    own = folder / f"{stem}.png"
    if own.exists():
        return [own]
    return sorted(folder.glob(f"{glob.escape(stem.removesuffix('.image'))}{OBJECT}*.png"))
