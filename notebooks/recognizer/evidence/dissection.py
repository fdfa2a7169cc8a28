"""Network dissection: which part of the image each filter marks (Bau et al. 2017, 2020)."""

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

# As in Bau et al. 2020: a filter marks the top 1 % of the pixels, and detects a part if its IoU with it is above 0.04.
# With the top 0.5 % of Bau et al. 2017, the IoU with a part that covers an eighth of the pixels could not exceed 0.04.
TOP = 0.01
DETECTOR_IOU = 0.04


@dataclass(frozen=True)
class Dissection:
    """The overlap of the regions that a layer's C filters mark with P parts in N images. Part 0 is the background.

    `thresholds` float32 C. `intersections` and `unions` int32 N×C×P, in pixels of the masks, image by image.
    """

    parts: list[str]
    thresholds: np.ndarray
    intersections: np.ndarray
    unions: np.ndarray

    @property
    def iou(self) -> np.ndarray:
        """Intersection over union, both summed over all images: float C×P in [0, 1], 0 if the union is empty."""
        return _ratio(self.intersections.sum(axis=0), self.unions.sum(axis=0))

    @property
    def precision(self) -> np.ndarray:
        """The share of a filter's marked pixels that show a part: float C×P in [0, 1], 0 if it marks none."""
        hits = self.intersections.sum(axis=0)
        return _ratio(hits, hits.sum(axis=1, keepdims=True))

    @cached_property
    def iou_interval(self) -> tuple[np.ndarray, np.ndarray]:
        """The 95 % interval of `iou`, (low, high), each C×P: a bootstrap over images with fixed thresholds."""
        num_images = len(self.intersections)
        even = np.full(num_images, 1 / num_images)
        drawn = np.random.default_rng(0).multinomial(num_images, even, 1000)
        drawn = drawn.astype(np.float32)
        resampled = _ratio(_sums(drawn, self.intersections), _sums(drawn, self.unions))
        low, high = np.percentile(resampled, [2.5, 97.5], axis=0)
        return low, high

    @property
    def best_part(self) -> np.ndarray:
        """For each filter, the index of the part with the highest IoU, except the background: int C."""
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
    the background. Without `parts`, they are called '0', '1', ….
    A filter marks a pixel if its map, enlarged to H×W (`enlarged`), exceeds a threshold there. A share `top` of all
    values in its enlarged maps exceeds this threshold. (Bau et al. 2017 took the threshold before enlarging. Maps as
    small as 4×4 then lose their peaks, and mark only a third of that share.) A filter marks nothing if it is constant,
    or at its maximum in a larger share than `top`. A filter that is mostly zero marks its values above zero. The IoU
    with a part that covers a share q > `top` of all pixels is at most `top` / q.
    For a control, pass the masks of other images: `masks[permutation]`. All maps of the layers are kept in memory.
    Raises `Problem` as `map_batches` does, and for masks that do not fit the images or the parts.
    """
    masks = torch.as_tensor(masks).long()
    if masks.ndim != 3 or len(masks) != len(pixels):
        raise Problem(f"{len(pixels)} images need as many masks, N×H×W; these are {tuple(masks.shape)}.")
    parts = list(parts or map(str, range(int(masks.max()) + 1)))
    if len(parts) < 2 or masks.min() < 0 or masks.max() >= len(parts):
        raise Problem(
            f"Masks hold indices of parts, and part 0 is the background; these go from {masks.min()} to {masks.max()}, "
            f"with {len(parts)} parts."
        )
    side = pixels.shape[-1]
    try:
        fields = receptive_fields(model, side)
    except Problem:  # the model cannot be traced, so the receptive fields are unknown
        fields = {}
    evenly_spread = ReceptiveField(side, 0, 0)
    return {
        name: dissect_maps(maps, fields.get(name, evenly_spread), side, masks, parts, top)
        for name, maps in all_maps(model, layer_names, pixels).items()
    }


def dissect_maps(
    maps: np.ndarray, field: ReceptiveField, image_size: int, masks: Tensor, parts: list[str], top: float = TOP
) -> Dissection:
    """`dissect` for one layer with known maps, float32 N×C×h×w. `field` is its receptive field; `masks` are int64."""
    maps = torch.from_numpy(maps)
    thresholds = _thresholds(maps, field, image_size, masks.shape[1:], top)
    intersections, unions = [], []
    # One image at a time, so that its values stay in the processor's cache.
    for image_maps, mask in zip(maps.split(1), masks):
        excess = enlarged(image_maps, field, image_size, mask.shape)[0] - thresholds[:, None, None]
        marked = excess.gt_(0).flatten(1)
        shown = one_hot(mask.flatten(), len(parts)).float()
        # These are counts of pixels. They are exact in float32 up to 2^24, an image of 4096×4096.
        # Multiplied in this order, they take a third of the time of marked @ shown.
        intersection = (shown.T @ marked.T).T
        # Each pixel shows exactly one part, so the intersections add up to the pixels that the filter marks.
        union = intersection.sum(dim=1, keepdim=True) + shown.sum(dim=0) - intersection
        intersections.append(intersection.int())
        unions.append(union.int())
    return Dissection(parts, thresholds.numpy(), torch.stack(intersections).numpy(), torch.stack(unions).numpy())


def _thresholds(maps: Tensor, field: ReceptiveField, image_size: int, size: Sequence[int], top: float) -> Tensor:
    """The value that a share `top` of the pixels of each filter's enlarged maps exceeds: float32 C."""
    # One filter at a time, because the enlarged maps of all filters take gigabytes.
    by_filter = [
        np.quantile(enlarged(maps[:, [k]], field, image_size, size).numpy(), 1 - top, overwrite_input=True)
        for k in range(maps.shape[1])
    ]
    # Enlarging rounds. Without this margin, a constant map would exceed its own value at some pixels.
    return torch.tensor(by_filter, dtype=torch.float32) + 1e-6 * maps.abs().amax(dim=(0, 2, 3))


def enlarged(maps: Tensor, field: ReceptiveField, image_size: int, size: Sequence[int]) -> Tensor:
    """Maps N×C×h×w, float32, enlarged to H×W = `size` squares over images of `image_size`×`image_size`: N×C×H×W.

    Each value is placed at the centre of its position's receptive field (`field`). This also holds if pooling drops the
    last rows, or if convolutions without padding skip the first. Values between these centres are interpolated
    bilinearly. Beyond the outermost centres, the outermost values continue.
    """
    rows, columns = (_hats(field.middles(old, image_size), image_size, new) for old, new in zip(maps.shape[2:], size))
    return rows @ maps @ columns.T


def _hats(middles: np.ndarray, image_size: int, count: int) -> Tensor:
    """The weight of each value at `middles` in each of `count` squares along an image: float32 count×values."""
    squares = (np.arange(count) + 0.5) * image_size / count - 0.5
    return torch.tensor(np.stack([np.interp(squares, middles, unit) for unit in np.eye(len(middles))], axis=1)).float()


def _sums(drawn: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Counts N×C×P summed over the drawn images: R×C×P. `drawn` R×N says how often each image was drawn."""
    return np.tensordot(drawn, counts.astype(np.float32), axes=1)


def _ratio(intersections: np.ndarray, unions: np.ndarray) -> np.ndarray:
    return intersections / np.maximum(unions, 1)
