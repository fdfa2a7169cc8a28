"""Find near-copies among images: the same picture scaled, saved again, shifted a little, or mirrored."""

import base64
from collections.abc import Sequence

import numpy as np
from PIL import Image
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

SIDE = 16  # pixels; small enough to hide noise and compression, large enough to tell two cars on white apart
ALIKE = 0.95  # from this correlation on, two such thumbnails count as the same picture
BLOCK = 1024  # images per block; the correlations of two blocks take 8 MB


def fingerprint(image: Image.Image) -> str:
    """A thumbnail of the image in 16×16 grey pixels, as base64 text of its 256 bytes."""
    grey = image.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)
    return base64.b64encode(np.asarray(grey).tobytes()).decode()


def as_thumbnails(fingerprints: Sequence[str]) -> np.ndarray:
    """The thumbnails that these texts encode: uint8 N×16×16."""
    pixels = b"".join(base64.b64decode(text) for text in fingerprints)
    return np.frombuffer(pixels, np.uint8).reshape(-1, SIDE, SIDE)


def near_copies(fingerprints: Sequence[str]) -> np.ndarray:
    """The group number of each image, int N. Two images share a group if a chain of near-copies joins them.

    Two images are near-copies if their thumbnails have a Pearson correlation of at least `ALIKE`, possibly after one is
    mirrored. A picture of one uniform colour has no correlation. Only images with the same thumbnail are its copies.
    All pairs are compared, in blocks, so that memory does not grow with their number.
    """
    distinct = sorted(set(fingerprints))
    index_of = {text: index for index, text in enumerate(distinct)}
    thumbnails = as_thumbnails(distinct)
    groups = np.arange(len(distinct))
    for first in range(0, len(distinct), BLOCK):
        for second in range(first, len(distinct), BLOCK):
            one, other = (thumbnails[start : start + BLOCK] for start in (first, second))
            rows, columns = np.nonzero(_are_alike(one, other))
            joined = (groups[first + rows], groups[second + columns])
            graph = coo_matrix((np.ones(len(rows), bool), joined), shape=(len(distinct), len(distinct)))
            groups = connected_components(graph, directed=False)[1][groups]
    return groups[[index_of[text] for text in fingerprints]]


def _are_alike(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Whether thumbnails correlate, possibly after mirroring: uint8 N×16×16 and M×16×16 → bool N×M.

    The sum of 256 products of bytes is below 2²⁴. So float32 holds it exactly, and every machine gives the same result.
    """
    mirrored = _flat(other[:, :, ::-1])
    one, other = _flat(one), _flat(other)
    products = np.maximum(one @ other.T, one @ mirrored.T).astype(float)
    covariances = SIDE**2 * products - np.outer(one.sum(axis=1, dtype=float), other.sum(axis=1, dtype=float))
    return covariances >= ALIKE * np.outer(_deviations(one), _deviations(other))


def _flat(thumbnails: np.ndarray) -> np.ndarray:
    return thumbnails.reshape(len(thumbnails), -1).astype(np.float32)


def _deviations(pixels: np.ndarray) -> np.ndarray:
    """256 times the standard deviation of each row; infinite, so that nothing correlates, if all pixels are equal."""
    sums = pixels.sum(axis=1, dtype=float)
    variances = SIDE**2 * (pixels**2).sum(axis=1, dtype=float) - sums**2
    return np.sqrt(np.where(variances > 0, variances, np.inf))
