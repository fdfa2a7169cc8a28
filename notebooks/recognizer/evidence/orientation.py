"""Which orientation of bars each filter prefers, and how strongly (Ringach, Shapley & Hawken 2002)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ..settings import Problem
from .responses import map_batches

PERIODS = (2, 2.5, 3, 4, 6, 8, 12, 16, 24, 32)


@dataclass(frozen=True)
class OrientationTuning:
    """How a layer's C filters respond to gratings of K orientations, evenly spaced from 0° up to 180°.

    0° means horizontal bars, and 90° vertical bars. Angles increase counterclockwise, so bars at 45° rise to the right
    (/).
    `period` float C: the distance between bars, in pixels, with the strongest response.
    `responses` float C×K: the responses at that period, never negative.
    A filter that never responds has responses of 0, and NaN for everything else.
    """

    responses: np.ndarray
    period: np.ndarray

    @property
    def angles(self) -> np.ndarray:
        """The K orientations in degrees, float."""
        return np.arange(self.responses.shape[1]) * 180 / self.responses.shape[1]

    @property
    def circular_variance(self) -> np.ndarray:
        """1 − |Σ R(θ) e^{2iθ}| / Σ R(θ), float C in [0, 1].

        It is 0 for responses to one orientation only, and 1 for equal responses to all.
        """
        vectors = self.responses @ np.exp(2j * np.deg2rad(self.angles))
        return 1 - _ratio(np.abs(vectors), self.responses.sum(axis=1))

    @property
    def strength(self) -> np.ndarray:
        """1 − circular variance, float C in [0, 1].

        It is 0 for equal responses to all orientations, and 1 for responses to one orientation only.
        """
        return 1 - self.circular_variance

    @property
    def preferred(self) -> np.ndarray:
        """The orientation with the strongest response, in degrees, float C in [0, 180)."""
        return np.where(self.responses.max(axis=1) > 0, self.angles[self.responses.argmax(axis=1)], np.nan)

    @property
    def selectivity(self) -> np.ndarray:
        """The orientation selectivity index (R_pref − R_orth) / (R_pref + R_orth), float C in [0, 1]."""
        best, num_orientations = self.responses.argmax(axis=1), self.responses.shape[1]
        orthogonal_index = (best + num_orientations // 2) % num_orientations
        filters = np.arange(len(best))
        preferred, orthogonal = self.responses[filters, best], self.responses[filters, orthogonal_index]
        return _ratio(preferred - orthogonal, preferred + orthogonal)


def gratings(image_size: int, period: float, num_orientations: int = 12, num_phases: int = 8) -> Tensor:
    """Grey sine gratings of full contrast, float32 (K·phases)×3×S×S in [0, 1], phase after phase of each orientation.

    `period` is in pixels. Orientations are as in `OrientationTuning`. Phases are evenly spaced, as if the bars drifted.
    """
    angle = torch.arange(num_orientations) * torch.pi / num_orientations
    phase = torch.arange(num_phases) * 2 * torch.pi / num_phases
    offset = torch.arange(image_size) - (image_size - 1) / 2
    # Brightness changes at right angles to the bars. Row numbers grow downwards, so both terms have the same sign.
    distance = torch.cos(angle)[:, None, None] * offset[:, None] + torch.sin(angle)[:, None, None] * offset
    waves = torch.sin(2 * torch.pi / period * distance[:, None] + phase[:, None, None])
    return (0.5 + 0.5 * waves).flatten(0, 1)[:, None].expand(-1, 3, -1, -1)


def orientation_tuning(
    model: nn.Module,
    layer_names: Sequence[str],
    image_size: int,
    periods: Sequence[float] = PERIODS,
    num_orientations: int = 12,
    num_phases: int = 8,
) -> dict[str, OrientationTuning]:
    """Show drifting gratings to `model` and measure the tuning of each filter: name → `OrientationTuning`.

    A response is a mean over phases and positions, at the period with the strongest response. For a layer after a ReLU,
    it is the mean of the map itself. For a layer with negative values, it is the mean of |map − grey|, the distance
    from the response to plain grey. A filter that is linear in the image responds to drifting bars with a sine wave
    around its response to grey. The mean is then 2/π of the amplitude, whatever a bias or a batch norm adds. So conv1
    has the tuning of its kernels, and relu1 has the tuning of the activations that it passes on. Only the central half
    of a map counts, because filters see padding at the border. Only `periods` up to the size of the image count,
    because longer ones show no complete bar.
    Raises `Problem` as `map_batches` does, for an odd `num_orientations`, which has no orthogonal ones, and if no
    period remains.
    """
    if num_orientations % 2:
        raise Problem(
            f"num_orientations={num_orientations} must be even, so that each orientation has an orthogonal one."
        )
    periods = [period for period in periods if period <= image_size]
    if not periods:
        raise Problem(f"No grating fits into an image of {image_size} pixels; give shorter periods.")
    grey = next(map_batches(model, layer_names, torch.full((1, 3, image_size, image_size), 0.5)))
    by_period = []
    for period in periods:
        images = gratings(image_size, period, num_orientations, num_phases)
        by_period.append(_mean_responses(model, layer_names, images, num_orientations, grey))
    return {name: _tuning([of_layers[name] for of_layers in by_period], periods) for name in layer_names}


class _Responses(NamedTuple):
    """For each filter: the mean value and the mean distance from plain grey, float C×K; the lowest value, float C."""

    mean: np.ndarray
    change: np.ndarray
    lowest: np.ndarray


def _mean_responses(
    model: nn.Module,
    layer_names: Sequence[str],
    images: Tensor,
    num_orientations: int,
    grey: dict[str, np.ndarray],
) -> dict[str, _Responses]:
    """The responses to gratings of one period, averaged over phases and central positions, by layer.

    `grey` holds the maps of a plain grey image.
    """
    batch_results: dict[str, list[tuple[np.ndarray, ...]]] = {}
    for batch in map_batches(model, layer_names, images):
        for name, maps in batch.items():
            values = _centre(maps)
            change = np.abs(values - _centre(grey[name])).mean(axis=(2, 3), dtype=float)
            batch_results.setdefault(name, []).append(
                (values.mean(axis=(2, 3), dtype=float), change, values.min(axis=(2, 3)))
            )
    by_layer = {}
    for name, batches in batch_results.items():
        means, changes, lowest = map(np.concatenate, zip(*batches))
        by_angle = [values.reshape(num_orientations, -1, values.shape[1]).mean(axis=1).T for values in (means, changes)]
        by_layer[name] = _Responses(*by_angle, lowest.min(axis=0))
    return by_layer


def _centre(maps: np.ndarray) -> np.ndarray:
    height, width = maps.shape[2:]
    return maps[:, :, height // 4 : height - height // 4, width // 4 : width - width // 4]


def _tuning(by_period: Sequence[_Responses], periods: Sequence[float]) -> OrientationTuning:
    """The tuning of a layer at the best period of each filter, from the responses at each period."""
    signed = min(at_period.lowest.min() for at_period in by_period) < 0
    responses = np.stack([at_period.change if signed else at_period.mean for at_period in by_period])
    strongest = responses.max(axis=2)
    best = strongest.argmax(axis=0)
    period = np.where(strongest.max(axis=0) > 0, np.asarray(periods, float)[best], np.nan)
    return OrientationTuning(responses[best, np.arange(len(best))], period)


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full_like(whole, np.nan), where=whole > 0)
