"""Masks that say what each pixel shows: parts in the drawn sample, objects in `street`."""

import glob
from pathlib import Path

import cv2
import numpy as np

from ..drawings import PARTS
from ..inputs import Unreadable, decoding, identify, without_warnings
from ..settings import Problem, shown
from .dataset import Pictures

OBJECT = ".mask."  # in names of masks of one object: bike_001.mask.0.png belongs to bike_001.image.png


@without_warnings()
def part_masks(pictures: Pictures, size: int) -> tuple[np.ndarray, list[str]] | None:
    """Masks of all `pictures`, uint8 N×size×size, and the list of part names that their values index.

    Part 0 is the background. Images without a mask are all background, and a printed line says how many there are.
    Returns None if there are no masks at all.
    """
    folder = Path(pictures.root).parent / "Masks"
    files_by_image = [_files(folder / path.parent.name, path.name) for path in pictures.paths]
    if not any(files_by_image):
        return None
    if missing := sum(not files for files in files_by_image):
        print(f"{missing} of {len(files_by_image)} images have no mask; they count as background.")
    show_objects = any(OBJECT in file.name for files in files_by_image for file in files)
    parts = ["background", *pictures.classes] if show_objects else list(PARTS)
    masks = np.zeros((len(files_by_image), size, size), np.uint8)
    for mask, label, files in zip(masks, pictures.targets, files_by_image):
        for file in files:
            values = _read_mask(file, in_colour=show_objects)
            if show_objects:
                colours = values.reshape(*values.shape[:2], -1)[..., :3]  # without the alpha channel
                values = (colours.max(axis=2) > 0) * np.uint8(label + 1)
            if values.ndim > 2 or values.max() >= len(parts):
                raise Problem(
                    f"{shown(file)} is not a mask of parts: its pixels must be numbers below {len(parts)} in one "
                    "channel. Remove or replace it."
                )
            # EXACT: INTER_NEAREST takes the upper left pixel of each square instead of the middle one.
            values = cv2.resize(values.astype(np.uint8), (size, size), interpolation=cv2.INTER_NEAREST_EXACT)
            np.maximum(mask, values, out=mask)
    return masks, parts


def _read_mask(file: Path, in_colour: bool) -> np.ndarray:
    """The pixels of a mask as stored, H×W or H×W×C; with `in_colour`, palette numbers become their colours."""
    try:
        image = identify(file.read_bytes())
        with decoding(image):
            return np.asarray(image.convert("RGB") if in_colour and image.mode in ("P", "PA", "LA") else image)
    except Unreadable as error:
        raise Problem(f"The mask {shown(file)} does not decode ({error.reason}); remove or replace it.") from error


def part_sizes(masks: np.ndarray, parts: list[str], image_size: int) -> dict[str, float]:
    """The size of each visible part, in pixels of images of `image_size`×`image_size`.

    It is the median size of the part's pieces, weighted by their area. The size of a piece is the longer side of its
    bounding box. `masks` is N×S×S, of any S, with indices into `parts`. Gaps of up to four pixels in the masks do not
    divide a piece, because spokes and frame cut a wheel.
    """
    sizes = {}
    for index in np.unique(masks[masks > 0]):
        pieces = []
        for mask in masks[(masks == index).any(axis=(1, 2))]:
            closed = cv2.morphologyEx((mask == index).astype(np.uint8), cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
            _, _, boxes, _ = cv2.connectedComponentsWithStats(closed)
            pieces += [(max(width, height), area) for _, _, width, height, area in boxes[1:]]
        sides, areas = np.array(sorted(pieces)).T
        median = sides[areas.cumsum() >= areas.sum() / 2][0]
        sizes[parts[index]] = float(median * image_size / masks.shape[-1])
    return sizes


def middle_of(mask: np.ndarray, image_size: int) -> tuple[float, float]:
    """The centre of the largest connected piece of a mask, bool S×S, as (y, x) in pixels of an image of `image_size`.

    0 is the centre of the first pixel. For an empty mask, the result is the centre of the image.
    """
    _, _, boxes, centres = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    largest = boxes[1:, cv2.CC_STAT_AREA].argmax() + 1 if mask.any() else 0
    x, y = ((centre + 0.5) * image_size / len(mask) - 0.5 for centre in centres[largest])
    return y, x


def _files(folder: Path, name: str) -> list[Path]:
    """The mask files of an image: one of the same name, or one for each object in it."""
    stem = Path(name).stem
    own = folder / f"{stem}.png"
    if own.exists():
        return [own]
    return sorted(folder.glob(f"{glob.escape(stem.removesuffix('.image'))}{OBJECT}*.png"))
