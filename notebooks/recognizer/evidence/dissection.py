"""Network dissection: the part of the images that each filter marks (Bau et al. 2017, 2020)."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from ..settings import Problem
from .receptive_field import ReceptiveField, receptive_fields
from .responses import all_maps

# As in Bau et al. 2020: a filter marks the top 1 % of the pixels, and detects a part with which its IoU is above 0.04.
# With the 0.5 % of 2017, the IoU with a part that covers an eighth of the pixels could never be as high as that.
TOP = 0.01
DETECTOR_IOU = 0.04


@dataclass(frozen=True)
class Dissection:
    """How the regions that a layer's C filters mark overlap with P parts in N images; part 0 is the background.

    `thresholds` float32 C. In pixels of the masks, int32: `intersections` and `unions` N×C×P, image by image.
    """

    parts: list[str]
    thresholds: np.ndarray
    intersections: np.ndarray
    unions: np.ndarray

    @property
    def iou(self) -> np.ndarray:
        """Intersection over union, both summed over all images: float C×P in [0, 1], 0 where there is no union."""
        return _ratio(self.intersections.sum(axis=0), self.unions.sum(axis=0))

    @property
    def precision(self) -> np.ndarray:
        """The share of the pixels that a filter marks which show a part: float C×P in [0, 1], 0 where it marks none."""
        hits = self.intersections.sum(axis=0)
        return _ratio(hits, hits.sum(axis=1, keepdims=True))

    @cached_property
    def iou_interval(self) -> tuple[np.ndarray, np.ndarray]:
        """The 95 % interval of `iou`, (low, high), each C×P: a bootstrap over images, with the thresholds unchanged."""
        num_images = len(self.intersections)
        even = np.full(num_images, 1 / num_images)
        drawn = np.random.default_rng(0).multinomial(num_images, even, 1000)
        drawn = drawn.astype(np.float32)
        resampled = _ratio(_sums(drawn, self.intersections), _sums(drawn, self.unions))
        low, high = np.percentile(resampled, [2.5, 97.5], axis=0)
        return low, high

    @property
    def best_part(self) -> np.ndarray:
        """For each filter the index of the part, never the background, with the highest IoU: int C."""
        return self.iou[:, 1:].argmax(axis=1) + 1

    @property
    def best_iou(self) -> np.ndarray:
        """The IoU with the best part: float C."""
        return self.iou[:, 1:].max(axis=1)

    @property
    def is_detector(self) -> np.ndarray:
        """Whether the IoU with the best part is above 0.04: bool C."""
        return self.best_iou > DETECTOR_IOU


def dissect(
    model: nn.Module,
    layer_names: Sequence[str],
    pixels: Tensor,
    masks: np.ndarray | Tensor,
    parts: Sequence[str] | None = None,
    top: float = TOP,
) -> dict[str, Dissection]:
    """Compare where filters respond most with where parts are: name → `Dissection`.

    `pixels` N×3×S×S as in `map_batches`; `masks` integers N×H×W, the index into `parts` of what each pixel shows, 0 for
    the background. Without `parts` they are called '0', '1', …. A filter marks a pixel where its map, enlarged to H×W
    (`enlarged`), exceeds the threshold that a share `top` of all its enlarged maps exceeds. (Bau et al. 2017 took the
    threshold before enlarging; maps as small as 4×4 lose their peaks then, and mark a third of that share.)
    A filter that is constant, or at its maximum in a larger share than that, marks nothing; one that is mostly zero
    marks what is above zero. The IoU with a part that covers a share q > `top` of all pixels is at most `top` / q.
    For a control, give the masks of other images: `masks[permutation]`. All maps of the layers are kept in memory.
    Raises `Problem` as `map_batches` does, and for masks that do not fit the images or the parts.
    """
    masks = torch.as_tensor(masks).long()
    if masks.ndim != 3 or len(masks) != len(pixels):
        raise Problem(f"{len(pixels)} images need as many masks, N×H×W; these are {tuple(masks.shape)}.")
    parts = list(parts or map(str, range(int(masks.max()) + 1)))
    if len(parts) < 2 or masks.min() < 0 or masks.max() >= len(parts):
        raise Problem(
            f"Masks hold the index of a part, and part 0 is the background; these go from {masks.min()} to "
            f"{masks.max()}, with {len(parts)} parts."
        )
    side = pixels.shape[-1]
    try:
        fields = receptive_fields(model, side)
    except Problem:  # it cannot be traced, so nobody knows where its positions look
        fields = {}
    evenly = ReceptiveField(side, 0, 0)
    return {
        name: dissect_maps(maps, fields.get(name, evenly), side, masks, parts, top)
        for name, maps in all_maps(model, layer_names, pixels).items()
    }


def dissect_maps(
    maps: np.ndarray, field: ReceptiveField, image_size: int, masks: Tensor, parts: list[str], top: float = TOP
) -> Dissection:
    """`dissect` of one layer whose maps, float32 N×C×h×w, are known; `field` is that of the layer, `masks` int64."""
    maps = torch.from_numpy(maps)
    thresholds = _thresholds(maps, field, image_size, masks.shape[1:], top)
    intersections, unions = [], []
    # One image after the other: what an image takes stays in the processor's cache.
    for image_maps, mask in zip(maps.split(1), masks):
        excess = enlarged(image_maps, field, image_size, mask.shape)[0] - thresholds[:, None, None]
        marked = excess.gt_(0).flatten(1)
        shown = one_hot(mask.flatten(), len(parts)).float()
        # Counts of pixels, which float32 holds exactly up to 2^24, an image of 4096×4096.
        # In this order the product is three times as fast as marked @ shown.
        intersection = (shown.T @ marked.T).T
        # Each pixel shows exactly one part, so that the intersections sum to what the filter marks.
        union = intersection.sum(dim=1, keepdim=True) + shown.sum(dim=0) - intersection
        intersections.append(intersection.int())
        unions.append(union.int())
    return Dissection(parts, thresholds.numpy(), torch.stack(intersections).numpy(), torch.stack(unions).numpy())


def _thresholds(maps: Tensor, field: ReceptiveField, image_size: int, size: Sequence[int], top: float) -> Tensor:
    """What a share `top` of the pixels of each filter's enlarged maps exceed: float32 C."""
    # Filter by filter, because enlarged maps of all of them take gigabytes.
    by_filter = [
        np.quantile(enlarged(maps[:, [k]], field, image_size, size).numpy(), 1 - top, overwrite_input=True)
        for k in range(maps.shape[1])
    ]
    # Enlarging rounds: without this margin a constant map would exceed its own value here and there.
    return torch.tensor(by_filter, dtype=torch.float32) + 1e-6 * maps.abs().amax(dim=(0, 2, 3))


def enlarged(maps: Tensor, field: ReceptiveField, image_size: int, size: Sequence[int]) -> Tensor:
    """Maps N×C×h×w, float32, drawn over images of `image_size`×`image_size` in H×W squares, `size`: N×C×H×W.

    Each value stands in the middle of what its position sees (`field`), also where pooling leaves out the last rows or
    convolutions without padding the first. Between these places it is bilinear; beyond the outermost ones it goes on as
    it is there.
    """
    rows, columns = (_hats(field.middles(old, image_size), image_size, new) for old, new in zip(maps.shape[2:], size))
    return rows @ maps @ columns.T


def _hats(middles: np.ndarray, image_size: int, count: int) -> Tensor:
    """By how much each of `count` squares along an image consists of each value at `middles`: float32 count×values."""
    squares = (np.arange(count) + 0.5) * image_size / count - 0.5
    return torch.tensor(np.stack([np.interp(squares, middles, each) for each in np.eye(len(middles))], axis=1)).float()


def _sums(drawn: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Counts N×C×P summed over images, each as often as it was drawn, R×N: R×C×P."""
    return np.tensordot(drawn, counts.astype(np.float32), axes=1)


def _ratio(intersections: np.ndarray, unions: np.ndarray) -> np.ndarray:
    return intersections / np.maximum(unions, 1)
