"""Verdicts that are calibrated: what is compared are networks, and luck would give another verdict in 1 case of 20."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import product
from typing import NamedTuple

import numpy as np

LEVEL = 0.05
FEWEST = 6  # networks: with fewer, even differences of one sign alone are not rarer than 1 in 20 (2 of 2⁵ is 1 in 16)
MOST_EXACT = 12  # networks whose signs are all flipped; of more, so many flips are drawn as 12 have
HOLDS, DOES_NOT, NOTHING_WORTH = "holds", "does not hold", "no difference worth naming"
CANNOT_TELL, TOO_FEW = "cannot tell", "too few to judge"


class Comparison(NamedTuple):
    """By how much networks exceed others: the mean difference, its 95 % interval, and p of a sign-flip test."""

    value: float
    low: float
    high: float
    p: float
    num_networks: int


def sign_flip_p(differences: np.ndarray) -> float:
    """How often differences of no direction would have a mean at least as far from 0: two-sided p in (0, 1].

    `differences` float n, one per pair of networks. If pairs differ by luck alone, each difference could as well have
    the other sign. So all signs are flipped in every combination (Fisher 1935), or in 4,096 drawn ones for n > 12.
    """
    found = abs(differences.mean())
    signs = _flips(len(differences))
    as_far = np.abs(signs @ differences) / len(differences) >= found - 1e-12 * max(1.0, found)  # rounding
    return float(as_far.mean())


def sign_flip_interval(differences: np.ndarray) -> tuple[float, float]:
    """The 95 % interval of the mean difference: all values that `sign_flip_p` does not refute when they are subtracted.

    After subtracting a value, flipping some of the signs moves the mean away from 0 exactly if the value lies between
    the mean of the flipped differences and that of the others. So the ends are found by sorting these means.
    (−∞, ∞) for fewer than six differences, with which the test refutes nothing.
    """
    if len(differences) < FEWEST:
        return -np.inf, np.inf
    flipped = _flips(len(differences)) < 0
    flipped = flipped[flipped.any(axis=1) & ~flipped.all(axis=1)]
    means = [(some @ differences) / some.sum(axis=1) for some in (flipped, ~flipped)]
    total, trivial = len(flipped) + 2, 2  # flipping none or all of them changes nothing
    refuted = max(0, int(np.floor(LEVEL * total)) - trivial)
    return float(np.sort(np.minimum(*means))[refuted]), float(np.sort(np.maximum(*means))[-1 - refuted])


@cache
def _flips(count: int) -> np.ndarray:
    """Combinations of signs, ±1 flips×count: all of them, or 4,096 drawn ones, the unflipped one among them."""
    if count <= MOST_EXACT:
        return np.array(list(product((1, -1), repeat=count)))
    signs = np.random.default_rng(0).choice((1, -1), size=(2**MOST_EXACT, count))
    signs[0] = 1
    return signs


def compare(ours: np.ndarray, theirs: np.ndarray, of_images: float = 0.0) -> Comparison:
    """How much networks exceed others of the same seeds. `ours` and `theirs` are float n, one number per network.

    NaN says that a measure has no number for a network. Such a pair of networks is left out, and `num_networks` counts
    the pairs that remain. Without any, `value` is NaN, the interval is (−∞, ∞), and p is 1.
    `of_images` is the standard error that the mean difference has because all networks were asked about the same
    pictures (see `image_error`). Other pictures might favour all of them alike, which the networks cannot tell. The
    interval of the networks and that of the pictures are independent, so that their half-widths add up as squares.
    """
    differences = np.asarray(ours, float) - theirs
    differences = differences[~np.isnan(differences)]
    if not len(differences):
        return Comparison(np.nan, -np.inf, np.inf, 1.0, 0)
    value = float(differences.mean())
    low, high = sign_flip_interval(differences)
    below, above = (np.hypot(end - value, 1.96 * of_images) for end in (low, high))
    return Comparison(value, value - below, value + above, sign_flip_p(differences), len(differences))


def image_error(ours: np.ndarray, theirs: np.ndarray, num_resamples: int = 500, seed: int = 0) -> float:
    """The standard error of the mean difference from the choice of pictures: `ours` and `theirs` float n×N, N pictures.

    The N pictures are drawn anew with replacement, the same for all networks (Efron 1979). Values may be NaN: pairs of
    networks without any value are left out, as `compare` does, and then pictures without a value for every other pair.
    The error is ∞ where nothing remains.
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

    *No difference worth naming*: the whole interval is nearer to 0 than that. Otherwise it *holds* where the interval
    lies above 0, and *does not hold* where it lies below. *Cannot tell*: anything else. *Too few to judge*: fewer than
    six pairs of networks with a number (see `compare`).
    """
    if comparison.num_networks < FEWEST:
        return TOO_FEW
    if -smallest < comparison.low and comparison.high < smallest:
        return NOTHING_WORTH
    if comparison.low > 0:
        return HOLDS
    return DOES_NOT if comparison.high < 0 else CANNOT_TELL


@dataclass(frozen=True)
class Claim:
    """What people say, as a number of each trained network, and the same number of others that it must exceed.

    `trained` float n; `controls` name → float n, networks of the same seeds; `smallest` as in `judge`; `of_images`
    name → the standard error in `compare`, 0 where it is not given. NaN: the measure has no number for that network.
    """

    claim: str
    measure: str
    trained: np.ndarray
    controls: Mapping[str, np.ndarray]
    smallest: float
    of_images: Mapping[str, float] = field(default_factory=dict)

    @property
    def comparisons(self) -> dict[str, Comparison]:
        return {
            name: compare(self.trained, values, self.of_images.get(name, 0.0)) for name, values in self.controls.items()
        }

    @property
    def verdict(self) -> str:
        """That of all comparisons together: it holds above every control, and does not hold below every one.

        So one claim is wrong by luck in at most 1 case of 20, however many controls it has. Where some comparisons show
        no difference worth naming, and the others hold, the claim has none either. From each comparison, a network
        without a number is left out together with the one of the same seed; too few remain where fewer than six do.
        """
        found = {judge(each, self.smallest) for each in self.comparisons.values()}
        if len(found) == 1:
            return found.pop()
        if TOO_FEW in found:
            return TOO_FEW
        return NOTHING_WORTH if found == {HOLDS, NOTHING_WORTH} else CANNOT_TELL


def claim_rows(claims: Sequence[Claim], controls: Sequence[str]) -> list[list[str]]:
    """One row per claim for `figures.table`: claim, measure, trained networks, `controls`, smallest effect, verdict.

    The cell of a control holds its mean, and the mean difference with its interval; '–' where there is no such control,
    or no pair of networks with a number. Networks without a number are left out of each mean, and where a comparison
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
