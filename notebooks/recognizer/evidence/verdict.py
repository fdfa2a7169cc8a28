"""Is it true? Numbers with intervals, next to their controls, and what follows from them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..network.evaluation import wilson_interval
from .measures import LayerEvidence


class Estimate(NamedTuple):
    """A number and the ends of its 95 % interval."""

    value: float
    low: float
    high: float

    def __format__(self, spec: str) -> str:
        return f"{self.value:{spec}} ({self.low:{spec}} to {self.high:{spec}})"


def share(hits: np.ndarray) -> Estimate:
    """The share of True in bool N, and its 95 % interval (Wilson 1927), which has a width even where that is none or all."""
    return Estimate(float(hits.mean()), *wilson_interval(int(hits.sum()), len(hits)))


def bootstrap(
    *samples: np.ndarray,
    statistic: Callable[..., float] = np.mean,
    num_resamples: int = 1000,
    seed: int = 0,
) -> Estimate:
    """`statistic` of `samples`, and where 95 % of it lie when each sample is drawn anew with replacement (Efron 1979).

    Each of `samples` is an array whose first axis is drawn from, on its own; NaN are left out before.
    """
    samples = [
        each[~np.isnan(each)] if each.dtype.kind == "f" and each.ndim == 1 else each for each in samples
    ]
    random = np.random.default_rng(seed)
    found = [
        statistic(*(each[random.integers(len(each), size=len(each))] for each in samples))
        for _ in range(num_resamples)
    ]
    return Estimate(float(statistic(*samples)), *map(float, np.nanpercentile(found, (2.5, 97.5))))


@dataclass(frozen=True)
class Observation:
    """What people say of feature maps, what was measured of it, and with what it is compared.

    `trained` is of the network in question; it is compared with each of `controls`, other networks or other images, and
    with `at_least`, a number, where the claim names one.
    """

    claim: str
    measure: str
    trained: Estimate
    controls: dict[str, Estimate]
    at_least: float | None = None

    @property
    def verdict(self) -> str:
        """'holds' where the whole interval lies above everything it is compared with, 'does not hold' where it lies
        below any of that, else 'cannot tell'."""
        lows = [control.low for control in self.controls.values()]
        highs = [control.high for control in self.controls.values()]
        if self.at_least is not None:
            lows, highs = [*lows, self.at_least], [*highs, self.at_least]
        if np.isnan(self.trained).any():
            return "cannot tell"
        if all(self.trained.low > high for high in highs):
            return "holds"
        if any(self.trained.high < low for low in lows):
            return "does not hold"
        return "cannot tell"


def observe(
    evidence: Mapping[str, Mapping[str, LayerEvidence]],
    claim: str,
    measure: str,
    statistic: Callable[[Mapping[str, LayerEvidence]], Estimate],
    at_least: float | None = None,
) -> Observation:
    """Apply `statistic` to what was measured of each network; the first is the one in question, the others are controls."""
    (trained, *controls) = ((name, statistic(layers)) for name, layers in evidence.items())
    return Observation(claim, measure, trained[1], dict(controls), at_least)


def verdict_rows(observations: Sequence[Observation], controls: Sequence[str]) -> list[list[str]]:
    """A row an observation: claim, measure, trained, each of `controls` ('–' where there is none), threshold, verdict."""
    return [
        [
            each.claim,
            each.measure,
            f"{each.trained:.2f}",
            *(f"{each.controls[name]:.2f}" if name in each.controls else "–" for name in controls),
            "–" if each.at_least is None else f"{each.at_least:g}",
            f"**{each.verdict}**",
        ]
        for each in observations
    ]
