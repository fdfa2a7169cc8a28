"""Verdicts on claims about all networks of a kind, from comparisons of several networks.

If chance alone makes the differences, at most 1 verdict in 20 reports a difference.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import product
from typing import NamedTuple

import numpy as np

LEVEL = 0.05
FEWEST = 6  # networks; with five, even equal signs throughout happen by chance in 1 of 16 cases (2 of 2⁵)
MOST_EXACT = 12  # networks for which every combination of signs is computed; for more, 2¹² combinations are drawn
HOLDS, DOES_NOT, NO_DIFFERENCE = "holds", "does not hold", "no difference worth naming"
CANNOT_TELL, TOO_FEW = "cannot tell", "too few to judge"


class Comparison(NamedTuple):
    """How far networks exceed others: the mean difference, its 95 % interval, and the p-value of a sign-flip test."""

    value: float
    low: float
    high: float
    p: float
    num_networks: int


def sign_flip_p(differences: np.ndarray) -> float:
    """The two-sided p-value of a sign-flip test, in (0, 1] (Fisher 1935).

    `differences` float n, one per pair of networks. If only chance makes the pairs differ, each difference is equally
    likely to have the other sign. So the test flips the signs in every combination, or in 4,096 random ones for n > 12.
    p is the share of combinations with a mean at least as far from 0 as that of the data.
    """
    observed = abs(differences.mean())
    signs = _flips(len(differences))
    tolerance = 1e-12 * max(1.0, observed)  # for rounding
    at_least_as_far = np.abs(signs @ differences) / len(differences) >= observed - tolerance
    return float(at_least_as_far.mean())


def sign_flip_interval(differences: np.ndarray) -> tuple[float, float]:
    """The 95 % interval of the mean difference: all values that `sign_flip_p` does not reject.

    To test a value, it is subtracted from the differences. Flipping some signs then moves the mean further from 0
    exactly if the value lies between the mean of the flipped differences and the mean of the others. So sorting these
    means gives the ends of the interval. For fewer than six differences, the test rejects nothing, and the interval is
    (−∞, ∞).
    """
    if len(differences) < FEWEST:
        return -np.inf, np.inf
    flipped = _flips(len(differences)) < 0
    flipped = flipped[flipped.any(axis=1) & ~flipped.all(axis=1)]
    means = [(group @ differences) / group.sum(axis=1) for group in (flipped, ~flipped)]
    total, trivial = len(flipped) + 2, 2  # flipping no sign or all signs changes nothing
    rejected = max(0, int(np.floor(LEVEL * total)) - trivial)
    return float(np.sort(np.minimum(*means))[rejected]), float(np.sort(np.maximum(*means))[-1 - rejected])


@cache
def _flips(count: int) -> np.ndarray:
    """Combinations of signs, ±1 flips×count: all of them, or 4,096 random ones that include the unflipped one."""
    if count <= MOST_EXACT:
        return np.array(list(product((1, -1), repeat=count)))
    signs = np.random.default_rng(0).choice((1, -1), size=(2**MOST_EXACT, count))
    signs[0] = 1
    return signs


def compare(ours: np.ndarray, theirs: np.ndarray, standard_error: float = 0.0) -> Comparison:
    """How far networks exceed others of the same seeds. `ours` and `theirs` are float n, one number per network.

    NaN means that a measure has no number for a network. A pair with such a network is left out, and `num_networks`
    counts the remaining pairs. If none remains, `value` is NaN, the interval is (−∞, ∞), and p is 1.
    All networks are measured on the same pictures, and other pictures might favour one side in all pairs.
    `standard_error` is the standard error of the mean difference from this choice of pictures (see `image_error`). It
    is independent of the differences between networks, so the half-widths of the two intervals add up as squares.
    """
    differences = np.asarray(ours, float) - theirs
    differences = differences[~np.isnan(differences)]
    if not len(differences):
        return Comparison(np.nan, -np.inf, np.inf, 1.0, 0)
    value = float(differences.mean())
    low, high = sign_flip_interval(differences)
    below, above = (np.hypot(end - value, 1.96 * standard_error) for end in (low, high))
    return Comparison(value, value - below, value + above, sign_flip_p(differences), len(differences))


def image_error(ours: np.ndarray, theirs: np.ndarray, num_resamples: int = 500, seed: int = 0) -> float:
    """The standard error of the mean difference due to the choice of pictures. `ours`, `theirs` float n×N, N pictures.

    It comes from a bootstrap (Efron 1979) that draws the same N pictures with replacement for all networks. Values may
    be NaN. A pair of networks without any value is left out, as in `compare`. Then a picture is left out if any
    remaining pair has no value for it. If nothing remains, the error is ∞.
    """
    differences = np.asarray(ours, float) - theirs
    differences = differences[~np.isnan(differences).all(axis=1)]
    differences = differences[:, ~np.isnan(differences).any(axis=0)]
    if not differences.size:
        return np.inf
    by_picture = differences.mean(axis=0)
    drawn = np.random.default_rng(seed).integers(len(by_picture), size=(num_resamples, len(by_picture)))
    return float(by_picture[drawn].mean(axis=1).std())


def judge(comparison: Comparison, smallest: float) -> str:
    """The verdict of one comparison. `smallest` is the smallest difference worth naming.

    *No difference worth naming*: the whole interval is closer to 0 than `smallest`. Otherwise, the claim *holds* if the
    interval lies above 0, and *does not hold* if it lies below 0. *Cannot tell*: anything else. *Too few to judge*:
    fewer than six pairs of networks have a number (see `compare`).
    """
    if comparison.num_networks < FEWEST:
        return TOO_FEW
    if -smallest < comparison.low and comparison.high < smallest:
        return NO_DIFFERENCE
    if comparison.low > 0:
        return HOLDS
    return DOES_NOT if comparison.high < 0 else CANNOT_TELL


@dataclass(frozen=True)
class Claim:
    """A common claim, as one number per trained network and one per control network.

    `trained` float n. `controls` name → float n, for networks of the same seeds. `smallest` as in `judge`.
    `standard_errors` name → the standard error in `compare`, 0 if it is missing. NaN means that the measure has no
    number for that network.
    """

    claim: str
    measure: str
    trained: np.ndarray
    controls: Mapping[str, np.ndarray]
    smallest: float
    standard_errors: Mapping[str, float] = field(default_factory=dict)

    @property
    def comparisons(self) -> dict[str, Comparison]:
        return {
            name: compare(self.trained, values, self.standard_errors.get(name, 0.0))
            for name, values in self.controls.items()
        }

    @property
    def verdict(self) -> str:
        """The verdict of all comparisons together.

        The claim holds if the trained networks are above every control, and does not hold if they are below every
        control. So chance makes at most 1 claim in 20 wrong, however many controls there are. If some comparisons hold
        and the others show no difference worth naming, the claim has no difference worth naming. If a comparison has
        fewer than six pairs with a number, there are too few to judge.
        """
        verdicts = {judge(comparison, self.smallest) for comparison in self.comparisons.values()}
        if len(verdicts) == 1:
            return verdicts.pop()
        if TOO_FEW in verdicts:
            return TOO_FEW
        return NO_DIFFERENCE if verdicts == {HOLDS, NO_DIFFERENCE} else CANNOT_TELL


def claim_rows(claims: Sequence[Claim], controls: Sequence[str]) -> list[list[str]]:
    """One row per claim for `figures.table`: claim, measure, trained networks, `controls`, smallest effect, verdict.

    The cell of a control holds its mean, and the mean difference with its interval. It is '–' if there is no such
    control, or no pair of networks with a number. Each mean leaves out networks without a number. If a comparison
    leaves out pairs, its cell says how many remain.
    """

    def mean(values: np.ndarray) -> str:
        numbers = values[~np.isnan(values)]
        return f"{numbers.mean():.2f}" if len(numbers) else "–"

    def cell(claim: Claim, name: str) -> str:
        if name not in claim.controls:
            return "–"
        value, low, high, _, count = claim.comparisons[name]
        if not count:
            return "–"
        interval = f" ({low:+.2f} to {high:+.2f})" if count >= FEWEST else ""
        remaining = f", {count} of {len(claim.trained)} pairs" if count < len(claim.trained) else ""
        return f"{mean(claim.controls[name])}; {value:+.2f}{interval}{remaining}"

    return [
        [
            claim.claim,
            claim.measure,
            mean(claim.trained),
            *(cell(claim, name) for name in controls),
            f"{claim.smallest:g}",
            f"**{claim.verdict}**",
        ]
        for claim in claims
    ]
