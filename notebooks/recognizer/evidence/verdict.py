"""Numbers with intervals next to their controls, and the verdict that follows from them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
from scipy.stats import spearmanr

from ..network.evaluation import wilson_interval

Measured = TypeVar("Measured")


class Estimate(NamedTuple):
    """A number and the ends of its 95 % interval."""

    value: float
    low: float
    high: float

    def __format__(self, spec: str) -> str:
        value, low, high = (_written(each, spec) for each in self)
        return f"{value} ({low} to {high})"


def share(hits: np.ndarray) -> Estimate:
    """The share of True in bool N and its 95 % interval (Wilson 1927), which has a width even at 0 and 1."""
    return Estimate(float(hits.mean()), *wilson_interval(int(hits.sum()), len(hits)))


def mean(values: np.ndarray) -> float:
    """The mean of those of N values that are numbers; NaN where none is."""
    known = ~np.isnan(values)
    return float(values[known].mean()) if known.any() else np.nan


def bootstrap(
    *samples: np.ndarray,
    statistic: Callable[..., float] = mean,
    num_resamples: int = 1000,
    seed: int = 0,
) -> Estimate:
    """`statistic` of `samples`, and its 95 % interval when each sample is drawn anew with replacement (Efron 1979).

    Each of `samples` is an array whose first axis is drawn from, independently of the others.
    """
    found = _resampled([samples], statistic, num_resamples, seed)
    return _estimate(statistic(*samples), found[0])


@dataclass(frozen=True)
class Observation:
    """A claim about feature maps, its measure, and the controls that it is compared with.

    `trained` is the number of the network in question, `controls` are those of other networks or other images, and
    `excess` is by how much the first exceeds each of them. `at_least` is a number that it must exceed as well, where
    the claim names one.
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

        It holds where the network is above everything that it is compared with, by a whole interval each time. It does
        not hold where the network is below any of that by a whole interval.
        """
        compared = [*self.excess.values()]
        if self.at_least is not None:
            compared.append(Estimate(*(end - self.at_least for end in self.trained)))
        if any(np.isnan(each).any() for each in (self.trained, *compared)):
            return "cannot tell"
        if all(each.low > 0 for each in compared):
            return "holds"
        if any(each.high < 0 for each in compared):
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
    """Ask the same of each network in `evidence`; the first is the one in question, the others are controls.

    `samples` picks arrays from the measures of a network; their first axis (images, or filters) is drawn from, and
    `statistic` makes a number of them. The same images are drawn for all networks, or filters of the same numbers,
    which began as twins. So an excess can be certain although the intervals of the two networks overlap.
    """
    of_each = {name: samples(measured) for name, measured in evidence.items()}
    found = dict(zip(of_each, _resampled([*of_each.values()], statistic, num_resamples, seed=0)))
    values = {name: float(statistic(*arrays)) for name, arrays in of_each.items()}
    estimates = {name: _estimate(values[name], found[name]) for name in of_each}
    if statistic is mean and all(len(arrays) == 1 and arrays[0].dtype == bool for arrays in of_each.values()):
        estimates = {name: share(arrays[0]) for name, arrays in of_each.items()}
    trained, *controls = of_each
    excess = {name: _estimate(values[trained] - values[name], found[trained] - found[name]) for name in controls}
    others = {name: estimates[name] for name in controls}
    return Observation(claim, measure, estimates[trained], others, excess, at_least)


def rank_correlation(one: np.ndarray, other: np.ndarray, num_resamples: int = 200) -> Estimate:
    """Spearman's rank correlation of two numbers of each filter, float C each, in [-1, 1], with its 95 % interval.

    Filters are drawn anew (Efron 1979); those without one of the numbers, NaN, are left out.
    """
    pairs = np.stack([one, other], axis=1)
    pairs = pairs[~np.isnan(pairs).any(axis=1)]
    return bootstrap(pairs, statistic=lambda each: spearmanr(*each.T).statistic, num_resamples=num_resamples)


def verdict_rows(observations: Sequence[Observation], controls: Sequence[str]) -> list[list[str]]:
    """One row for each observation: claim, measure, trained network, `controls`, the number to exceed, verdict.

    The cell of a control holds its number and by how much the trained network exceeds it, or '–' where there is none.
    """

    def control(observation: Observation, name: str) -> str:
        if name not in observation.controls:
            return "–"
        return f"{_written(observation.controls[name].value, '.2f')}; {observation.excess[name]:+.2f}"

    return [
        [
            each.claim,
            each.measure,
            f"{each.trained:.2f}",
            *(control(each, name) for name in controls),
            "–" if each.at_least is None else f"{each.at_least:g}",
            f"**{each.verdict}**",
        ]
        for each in observations
    ]


def _resampled(
    of_each: Sequence[Sequence[np.ndarray]], statistic: Callable[..., float], num_resamples: int, seed: int
) -> np.ndarray:
    """`statistic` of the samples of each network, drawn anew in the same way for all: float networks×resamples."""
    random = np.random.default_rng(seed)
    found = np.empty((len(of_each), num_resamples))
    for number in range(num_resamples):
        drawn = [random.integers(len(array), size=len(array)) for array in of_each[0]]
        for network, arrays in enumerate(of_each):
            found[network, number] = statistic(*(array[some] for array, some in zip(arrays, drawn)))
    return found


def _estimate(value: float, resampled: np.ndarray) -> Estimate:
    known = resampled[~np.isnan(resampled)]
    return Estimate(float(value), *map(float, np.percentile(known, (2.5, 97.5)) if len(known) else (np.nan, np.nan)))


def _written(number: float, spec: str) -> str:
    """The number as text; what rounds to nothing has no sign."""
    text = format(number, spec)
    return text if text.strip("+-0.%") else format(0.0, spec)
