"""Numbers with intervals next to their controls, and the verdicts that follow from them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
from scipy.stats import spearmanr

from ..network.evaluation import wilson_interval

Measured = TypeVar("Measured")


class Estimate(NamedTuple):
    """A number and the two ends of its 95 % interval."""

    value: float
    low: float
    high: float

    def __format__(self, spec: str) -> str:
        value, low, high = (_formatted(number, spec) for number in self)
        return f"{value} ({low} to {high})"


def share(hits: np.ndarray) -> Estimate:
    """The share of True in bool N and its 95 % interval (Wilson 1927), which is never empty, not even at 0 and 1."""
    return Estimate(float(hits.mean()), *wilson_interval(int(hits.sum()), len(hits)))


def mean(values: np.ndarray) -> float:
    """The mean of N values without those that are NaN; NaN if none remains."""
    known = ~np.isnan(values)
    return float(values[known].mean()) if known.any() else np.nan


def bootstrap(
    *samples: np.ndarray,
    statistic: Callable[..., float] = mean,
    num_resamples: int = 1000,
    seed: int = 0,
) -> Estimate:
    """`statistic` of `samples` with its 95 % interval from a bootstrap (Efron 1979).

    Each of `samples` is an array. The bootstrap draws from its first axis with replacement, independently of the other
    samples.
    """
    resampled = _resampled([samples], statistic, num_resamples, seed)
    return _estimate(statistic(*samples), resampled[0])


@dataclass(frozen=True)
class Observation:
    """A claim about feature maps, its measure, and the controls for comparison.

    `trained` is the number of the network in question. `controls` are the numbers of other networks or for other
    images. `excess` says how far `trained` exceeds each control. `at_least` is a fixed number that `trained` must
    exceed as well, if the claim names one.
    """

    claim: str
    measure: str
    trained: Estimate
    controls: dict[str, Estimate]
    excess: dict[str, Estimate]
    at_least: float | None = None

    @property
    def verdict(self) -> str:
        """'holds', 'does not hold' or 'cannot tell'.

        The claim holds if the interval of each difference lies above zero: those in `excess`, and the one from
        `at_least`. It does not hold if any of these intervals lies below zero.
        """
        differences = [*self.excess.values()]
        if self.at_least is not None:
            differences.append(Estimate(*(end - self.at_least for end in self.trained)))
        if any(np.isnan(difference).any() for difference in (self.trained, *differences)):
            return "cannot tell"
        if all(difference.low > 0 for difference in differences):
            return "holds"
        if any(difference.high < 0 for difference in differences):
            return "does not hold"
        return "cannot tell"


def observe(
    evidence: Mapping[str, Measured],
    claim: str,
    measure: str,
    samples: Callable[[Measured], Sequence[np.ndarray]],
    statistic: Callable[..., float] = mean,
    at_least: float | None = None,
    num_resamples: int = 1000,
) -> Observation:
    """Make an `Observation` of the networks in `evidence`. The first one is in question, and the others are controls.

    `samples` picks arrays from the measures of a network, and `statistic` turns them into a number. The bootstrap draws
    from the first axis of the arrays (images, or filters). It draws the same images for all networks, or filters of the
    same numbers, which started from the same weights. So an excess can be certain even if the intervals of the two
    networks overlap.
    """
    arrays_of = {name: samples(measured) for name, measured in evidence.items()}
    resampled = dict(zip(arrays_of, _resampled([*arrays_of.values()], statistic, num_resamples, seed=0)))
    values = {name: float(statistic(*arrays)) for name, arrays in arrays_of.items()}
    estimates = {name: _estimate(values[name], resampled[name]) for name in arrays_of}
    if statistic is mean and all(len(arrays) == 1 and arrays[0].dtype == bool for arrays in arrays_of.values()):
        estimates = {name: share(arrays[0]) for name, arrays in arrays_of.items()}
    trained, *controls = arrays_of
    excess = {
        name: _estimate(values[trained] - values[name], resampled[trained] - resampled[name]) for name in controls
    }
    others = {name: estimates[name] for name in controls}
    return Observation(claim, measure, estimates[trained], others, excess, at_least)


def rank_correlation(one: np.ndarray, other: np.ndarray, num_resamples: int = 200) -> Estimate:
    """Spearman's rank correlation of two numbers of each filter, float C each, in [-1, 1], with its 95 % interval.

    The interval is from a bootstrap over filters (Efron 1979). Filters with a NaN are left out.
    """
    pairs = np.stack([one, other], axis=1)
    pairs = pairs[~np.isnan(pairs).any(axis=1)]
    return bootstrap(pairs, statistic=lambda drawn: spearmanr(*drawn.T).statistic, num_resamples=num_resamples)


def verdict_rows(observations: Sequence[Observation], controls: Sequence[str]) -> list[list[str]]:
    """One row for each observation: claim, measure, trained network, `controls`, the number to exceed, verdict.

    The cell of a control holds its number and how far the trained network exceeds it, or '–' if there is no such
    control.
    """

    def control(observation: Observation, name: str) -> str:
        if name not in observation.controls:
            return "–"
        return f"{_formatted(observation.controls[name].value, '.2f')}; {observation.excess[name]:+.2f}"

    return [
        [
            observation.claim,
            observation.measure,
            f"{observation.trained:.2f}",
            *(control(observation, name) for name in controls),
            "–" if observation.at_least is None else f"{observation.at_least:g}",
            f"**{observation.verdict}**",
        ]
        for observation in observations
    ]


def _resampled(
    samples_of: Sequence[Sequence[np.ndarray]], statistic: Callable[..., float], num_resamples: int, seed: int
) -> np.ndarray:
    """`statistic` of the samples of each network, with the same random draws for all: float networks×resamples."""
    random = np.random.default_rng(seed)
    values = np.empty((len(samples_of), num_resamples))
    for number in range(num_resamples):
        drawn = [random.integers(len(array), size=len(array)) for array in samples_of[0]]
        for network, arrays in enumerate(samples_of):
            values[network, number] = statistic(*(array[indices] for array, indices in zip(arrays, drawn)))
    return values


def _estimate(value: float, resampled: np.ndarray) -> Estimate:
    known = resampled[~np.isnan(resampled)]
    return Estimate(float(value), *map(float, np.percentile(known, (2.5, 97.5)) if len(known) else (np.nan, np.nan)))


def _formatted(number: float, spec: str) -> str:
    """The number as text. A number that rounds to zero has no sign."""
    text = format(number, spec)
    return text if text.strip("+-0.%") else format(0.0, spec)
