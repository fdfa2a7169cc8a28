"""What each pixel shows, where a data set says so: parts of the drawn sample, objects of `street`."""

import glob
from pathlib import Path

import cv2
import numpy as np

from ..drawings import PARTS
from ..inputs import Unreadable, decoding, identify, without_warnings
from ..settings import Problem, shown
from .dataset import Pictures

OBJECT = ".mask."  # in the names of masks that show one object each: bike_001.mask.0.png of bike_001.image.png


@without_warnings()
def part_masks(pictures: Pictures, size: int) -> tuple[np.ndarray, list[str]] | None:
    """Masks of all `pictures`, uint8 N×size×size, and the names of the parts that their values are indices into.

    Part 0 is the background. Images without a mask are all background, and a line says how many they are. None where
    there are no masks at all.
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
            values = _read_mask(file, in_colour=of_objects)
            if of_objects:
                colours = values.reshape(*values.shape[:2], -1)[..., :3]  # not how transparent it is
                values = (colours.max(axis=2) > 0) * np.uint8(label + 1)
            if values.ndim > 2 or values.max() >= len(parts):
                raise Problem(
                    f"{shown(file)} is no mask of parts: its pixels must be numbers below {len(parts)} in one channel. "
                    "Remove or replace it."
                )
            # EXACT: INTER_NEAREST takes the upper left pixel of each square instead of the middle one.
            values = cv2.resize(values.astype(np.uint8), (size, size), interpolation=cv2.INTER_NEAREST_EXACT)
            np.maximum(mask, values, out=mask)
    return masks, parts


def _read_mask(file: Path, in_colour: bool) -> np.ndarray:
    """The pixels of a mask as they are stored, H×W or H×W×C; or the colours that numbers in it stand for."""
    try:
        image = identify(file.read_bytes())
        with decoding(image):
            return np.asarray(image.convert("RGB") if in_colour and image.mode in ("P", "PA", "LA") else image)
    except Unreadable as error:
        raise Problem(f"The mask {shown(file)} does not decode ({error.reason}); remove or replace it.") from error


def part_sizes(masks: np.ndarray, parts: list[str], image_size: int) -> dict[str, float]:
    """The size of each part that can be seen, in pixels of images of `image_size`×`image_size`.

    Half of all that can be seen of the part is in pieces of at least that size. `masks` is N×S×S, of any S, with
    indices into `parts`. Gaps of four pixels in the masks do not divide a piece, because spokes and frame cut a wheel;
    its size is the longer side of the box around it.
    """
    sizes = {}
    for index in np.unique(masks[masks > 0]):
        found = []
        for mask in masks[(masks == index).any(axis=(1, 2))]:
            whole = cv2.morphologyEx((mask == index).astype(np.uint8), cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
            _, _, boxes, _ = cv2.connectedComponentsWithStats(whole)
            found += [(max(width, height), area) for _, _, width, height, area in boxes[1:]]
        sides, areas = np.array(sorted(found)).T
        middle = sides[areas.cumsum() >= areas.sum() / 2][0]
        sizes[parts[index]] = float(middle * image_size / masks.shape[-1])
    return sizes


def middle_of(mask: np.ndarray, image_size: int) -> tuple[float, float]:
    """The middle of the largest connected piece of a mask, bool S×S, as (y, x) in pixels of an image of `image_size`.

    0 is the middle of the first pixel. Of an empty mask it is the middle of the image.
    """
    _, _, boxes, centres = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    largest = boxes[1:, cv2.CC_STAT_AREA].argmax() + 1 if mask.any() else 0
    x, y = ((centre + 0.5) * image_size / len(mask) - 0.5 for centre in centres[largest])
    return y, x


def _files(folder: Path, name: str) -> list[Path]:
    """The masks of an image: one of the same name, or one for each object in it."""
    stem = Path(name).stem
    own = folder / f"{stem}.png"
    if own.exists():
        return [own]
    return sorted(folder.glob(f"{glob.escape(stem.removesuffix('.image'))}{OBJECT}*.png"))
