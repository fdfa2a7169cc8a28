"""Find near-copies among images: the same picture scaled, saved again, shifted a little, or mirrored."""

import base64
from collections.abc import Iterator, Sequence
from itertools import combinations_with_replacement

import numpy as np
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ..progress import progress_bar
from .neighbours import close_pairs

SIDE = 16  # pixels; small enough to hide noise and compression, large enough to tell two cars on white apart
ALIKE = 0.95  # from this correlation on, two such thumbnails count as the same picture
BLOCK = 1024  # images per block; the correlations of two blocks take 8 MB
MANY = 20_000  # different thumbnails; with more, not all pairs are compared
DIMENSIONS = 32  # principal components, which decide which pairs of many are compared
PAIRS = 2**15  # pairs that are checked at a time; their pixels take 64 MB
GAIN = 500  # checking all pairs in blocks takes about as long as checking one in so many by itself
SAMPLE = 20_000  # thumbnails that the principal components are computed from


def fingerprint(image: Image.Image) -> str:
    """A thumbnail of the image in 16×16 grey pixels, as base64 text of its 256 bytes."""
    grey = image.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)
    return base64.b64encode(np.asarray(grey).tobytes()).decode()


def as_thumbnails(fingerprints: Sequence[str]) -> np.ndarray:
    """The thumbnails that these texts encode: uint8 N×16×16."""
    thumbnails = np.empty((len(fingerprints), SIDE**2), np.uint8)  # filled one by one, so that nothing is held twice
    for thumbnail, text in zip(thumbnails, fingerprints):
        thumbnail[:] = np.frombuffer(base64.b64decode(text), np.uint8)
    return thumbnails.reshape(-1, SIDE, SIDE)


def near_copies(fingerprints: Sequence[str]) -> np.ndarray:
    """The group number of each image, int N. Two images share a group if a chain of near-copies joins them.

    Two images are near-copies if their thumbnails have a Pearson correlation of at least `ALIKE`, possibly after one is
    mirrored. A picture of one uniform colour has no correlation. Only images with the same thumbnail are its copies.
    Up to `MANY` different thumbnails, all pairs are compared. Of more, only those that `close_pairs` finds are. They
    are checked in the same way, so every group is joined by near-copies, but a few near-copies may be missed:
    benchmarks/near_copies.py measures how many. The same images give the same groups in any order.
    """
    distinct = sorted(set(fingerprints))
    index_of = {text: index for index, text in enumerate(distinct)}
    thumbnails = as_thumbnails(distinct)
    parents = np.arange(len(distinct))
    find = _pairs_of_many if len(distinct) > MANY else _all_pairs
    for pairs in find(thumbnails, parents):
        _join(parents, pairs)
    groups = _roots(parents, np.arange(len(distinct)))
    return groups[[index_of[text] for text in fingerprints]]


def _all_pairs(thumbnails: np.ndarray, parents: np.ndarray) -> Iterator[np.ndarray]:
    """All near-copies, as numbers of thumbnails, int 2×K. Blocks are compared, so that memory does not grow with N²."""
    blocks = list(combinations_with_replacement(range(0, len(thumbnails), BLOCK), 2))
    with progress_bar("Comparing images", len(blocks), "block", delay=2) as bar:
        for first, second in blocks:
            one, other = (thumbnails[start : start + BLOCK] for start in (first, second))
            rows, columns = np.nonzero(_are_alike(one, other))
            yield np.stack([first + rows, second + columns])
            bar.update()


def _pairs_of_many(thumbnails: np.ndarray, parents: np.ndarray) -> Iterator[np.ndarray]:
    """Near-copies among many thumbnails, int 2×K. Pairs that are in one group of `parents` already are left out.

    With mean 0 and length 1, two thumbnails of correlation r are √(2 - 2r) apart. In a few dimensions, they are at most
    that far apart. So no pair in the cells that are compared is lost there. If the dimensions tell too few thumbnails
    apart, such as white ones with one odd pixel each, all pairs are compared after all.
    """
    distance = np.sqrt(2 - 2 * ALIKE) + 1e-4  # more than float32 rounds
    points, mirrored = _projected(thumbnails)
    checked = 0
    for queries, columns in close_pairs(np.concatenate([points, mirrored]), points, distance):
        rows = queries % len(points)
        for start in range(0, len(rows), PAIRS):
            pairs = np.stack([rows[start : start + PAIRS], columns[start : start + PAIRS]])
            pairs = pairs[:, np.not_equal(*_roots(parents, pairs))]
            yield pairs[:, _pairs_are_alike(*thumbnails[pairs])]
            checked += pairs.shape[1]
            if checked > len(points) ** 2 // GAIN:
                yield from _all_pairs(thumbnails, parents)
                return


def _projected(thumbnails: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Thumbnails with mean 0 and length 1 in their principal components, as they are and mirrored: float32 N×D each.

    Without a mean in them, those of one colour are at 0, so that they are far from all others.
    """
    sample = np.random.default_rng(0).choice(len(thumbnails), min(SAMPLE, len(thumbnails)), replace=False)
    some = _normalised(thumbnails[np.sort(sample)])
    components = np.linalg.eigh(some.T @ some)[1][:, -DIMENSIONS:]
    pieces = [thumbnails[start : start + BLOCK] for start in range(0, len(thumbnails), BLOCK)]
    points = np.concatenate([_normalised(piece) @ components for piece in pieces])
    mirrored = np.concatenate([_normalised(piece[:, :, ::-1]) @ components for piece in pieces])
    return points, mirrored


def _normalised(thumbnails: np.ndarray) -> np.ndarray:
    """Each thumbnail with mean 0 and length 1, or all 0 if it has one colour: uint8 N×16×16 → float32 N×256."""
    pixels = _flat(thumbnails)
    pixels -= pixels.mean(axis=1, keepdims=True)
    return pixels / np.maximum(np.linalg.norm(pixels, axis=1, keepdims=True), 1e-6)


def _join(parents: np.ndarray, pairs: np.ndarray) -> None:
    """Join the groups of each pair, int 2×K. `parents` holds another member's number for each, a root its own."""
    roots = _roots(parents, pairs)
    joined, nodes = np.unique(roots[:, np.not_equal(*roots)], return_inverse=True)
    nodes = nodes.reshape(2, -1)
    graph = coo_array((np.ones(nodes.shape[1], bool), tuple(nodes)), shape=(len(joined), len(joined)))
    labels = connected_components(graph, directed=False)[1]
    first = np.unique(labels, return_index=True)[1]
    parents[joined] = joined[first[labels]]


def _roots(parents: np.ndarray, members: np.ndarray) -> np.ndarray:
    """The number that stands for the group of each member, int of the same shape."""
    roots = parents[members]
    while not np.array_equal(roots, parents[roots]):
        roots = parents[roots]
    parents[members] = roots  # so that the next search is short
    return roots


def _are_alike(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Whether thumbnails correlate, possibly after mirroring: uint8 N×16×16 and M×16×16 → bool N×M."""
    mirrored = _flat(other[:, :, ::-1])
    one, other = _flat(one), _flat(other)
    products = np.maximum(one @ other.T, one @ mirrored.T)
    return _correlate(products, one[:, np.newaxis], other)


def _pairs_are_alike(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The same for one pair after the other: uint8 K×16×16 and K×16×16 → bool K."""
    mirrored = _flat(other[:, :, ::-1])
    one, other = _flat(one), _flat(other)
    products = np.maximum(np.einsum("kp,kp->k", one, other), np.einsum("kp,kp->k", one, mirrored))
    return _correlate(products, one, other)


def _correlate(products: np.ndarray, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Whether thumbnails, float32 …×256, of these inner products have a correlation of at least `ALIKE`.

    The sum of 256 products of bytes is below 2²⁴. So float32 holds it exactly, and every machine gives the same result.
    """
    covariances = SIDE**2 * products.astype(float) - one.sum(axis=-1, dtype=float) * other.sum(axis=-1, dtype=float)
    return covariances >= ALIKE * (_deviations(one) * _deviations(other))


def _flat(thumbnails: np.ndarray) -> np.ndarray:
    return thumbnails.reshape(-1, SIDE**2).astype(np.float32)


def _deviations(pixels: np.ndarray) -> np.ndarray:
    """256 times the standard deviation of each row; infinite, so that nothing correlates, if all pixels are equal."""
    sums = pixels.sum(axis=-1, dtype=float)
    variances = SIDE**2 * (pixels**2).sum(axis=-1, dtype=float) - sums**2
    return np.sqrt(np.where(variances > 0, variances, np.inf))
