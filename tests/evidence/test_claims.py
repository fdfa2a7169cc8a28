"""Verdicts on networks: p-values, intervals, false alarms and power, against SciPy, closed forms and simulations."""

import numpy as np
import pytest
from scipy.stats import permutation_test

from recognizer.evidence.claims import (
    CANNOT_TELL,
    DOES_NOT,
    HOLDS,
    NO_DIFFERENCE,
    TOO_FEW,
    Claim,
    Comparison,
    claim_rows,
    compare,
    image_error,
    judge,
    sign_flip_interval,
    sign_flip_p,
)


@pytest.mark.parametrize(
    ("differences", "p"),
    [([1, 2, 3, 4, 5, 6], 2 / 64), ([1, 2, 3, 4, 5, -0.5], 4 / 64), ([0, 0, 0], 1), ([-1, -2, -3, -4, -5], 2 / 32)],
)
def test_p_of_a_few_networks_is_a_count_of_sign_flips(differences, p):
    assert sign_flip_p(np.array(differences, float)) == pytest.approx(p)


@pytest.mark.parametrize("count", [6, 9])
def test_p_agrees_with_scipy(count):
    differences = np.random.default_rng(count).normal(0.4, 1, count)
    expected = permutation_test((differences,), np.mean, permutation_type="samples", n_resamples=np.inf).pvalue
    assert sign_flip_p(differences) == pytest.approx(expected)


def test_random_flips_for_many_networks_give_nearly_the_p_of_all_flips():
    differences = np.random.default_rng(3).normal(0.6, 1, 14)
    options = {"permutation_type": "samples", "n_resamples": np.inf}
    expected = permutation_test((differences,), np.mean, **options).pvalue
    assert sign_flip_p(differences) == pytest.approx(expected, abs=0.015)


@pytest.mark.parametrize("count", [6, 8, 11])
def test_the_interval_holds_the_values_that_the_test_does_not_reject(count):
    differences = np.random.default_rng(count).normal(1, 1, count)
    low, high = sign_flip_interval(differences)
    for inside, outside in ((low + 1e-6, low - 1e-6), (high - 1e-6, high + 1e-6)):
        assert sign_flip_p(differences - inside) > 0.05 >= sign_flip_p(differences - outside)


def test_for_six_networks_the_interval_spans_the_smallest_to_the_largest_difference():
    """Only six equal signs reject a value, so every value between the differences remains possible."""
    assert sign_flip_interval(np.array([1, 2, 3, 5, 8, 13.0])) == pytest.approx((1, 13))
    assert sign_flip_interval(np.arange(5.0)) == (-np.inf, np.inf)


@pytest.mark.parametrize("draw", ["normal", "standard_t3", "skewed"])
def test_nineteen_in_twenty_intervals_contain_the_true_value(draw):
    """If the true coverage is 95 %, fewer than 92 % of 400 intervals happen in less than 1 of 100 cases."""
    random = np.random.default_rng(5)
    covered = 0
    for _ in range(400):
        differences = {
            "normal": lambda: random.normal(0, 1, 7),
            "standard_t3": lambda: random.standard_t(3, 7),
            "skewed": lambda: random.exponential(1, 7) - random.exponential(1, 7),
        }[draw]()
        low, high = sign_flip_interval(differences)
        covered += low <= 0 <= high
    assert covered >= 0.92 * 400


def verdict_of(difference, count, spread, random, smallest=0.2, controls=1):
    """The verdict on `count` simulated networks that exceed each control by `difference` on average."""
    ours = random.normal(difference, spread, count)
    theirs = {f"control {i}": random.normal(0, spread, count) for i in range(controls)}
    return Claim("", "", ours, theirs, smallest).verdict


@pytest.mark.parametrize("controls", [1, 2])
@pytest.mark.parametrize("count", [6, 10])
def test_at_most_one_verdict_in_twenty_is_a_false_alarm(count, controls):
    random = np.random.default_rng(11)
    verdicts = [verdict_of(0, count, 1.0, random, controls=controls) for _ in range(600)]
    alarms = sum(verdict in (HOLDS, DOES_NOT) for verdict in verdicts)
    assert alarms <= 0.05 * 600 + 2.6 * np.sqrt(600 * 0.05 * 0.95)  # chance exceeds this in 1 case of 200


@pytest.mark.parametrize(("count", "at_least"), [(6, 0.14), (10, 0.4)])
def test_an_effect_of_one_standard_deviation_is_often_detected(count, at_least):
    """The networks and their controls have a standard deviation of 1, so their differences have one of √2."""
    random = np.random.default_rng(2)
    verdicts = [verdict_of(1.0, count, 1.0, random) for _ in range(300)]
    assert np.mean([verdict == HOLDS for verdict in verdicts]) > at_least
    assert np.mean([verdict == DOES_NOT for verdict in verdicts]) < 0.01


@pytest.mark.parametrize(
    ("low", "high", "count", "verdict"),
    [
        (0.1, 0.9, 6, HOLDS),
        (-0.9, -0.1, 6, DOES_NOT),
        (-0.1, 0.1, 6, NO_DIFFERENCE),
        (0.01, 0.1, 6, NO_DIFFERENCE),  # it is real, but too small to be worth naming
        (-0.1, 0.9, 6, CANNOT_TELL),
        (0.1, 0.9, 5, TOO_FEW),
    ],
)
def test_verdicts_follow_from_the_interval_and_the_smallest_effect(low, high, count, verdict):
    assert judge(Comparison((low + high) / 2, low, high, 0.03, count), smallest=0.2) == verdict


def test_a_claim_must_hold_against_every_control():
    trained, low, high = (value + np.arange(6) / 100 for value in (1.0, 0.0, 2.0))
    alike = trained[::-1].copy()
    for controls, verdict in (
        ({"a": low}, HOLDS),
        ({"a": low, "b": high}, CANNOT_TELL),
        ({"a": high, "b": high}, DOES_NOT),
        ({"a": low, "b": alike}, NO_DIFFERENCE),
    ):
        assert Claim("", "", trained, controls, 0.2).verdict == verdict


def test_pairs_of_networks_without_a_number_are_left_out():
    """Of seven pairs, first six and then five remain, each with the difference 1."""
    nan = float("nan")
    trained, control = np.array([2, nan, 3, 4, 5, 6, 7]), np.array([1, 9, 2, 3, 4, 5, 6.0])
    assert compare(trained, control) == Comparison(1, 1, 1, 2 / 64, 6)
    assert Claim("", "", trained, {"a": control}, 0.2).verdict == HOLDS
    control[3] = nan
    assert compare(trained, control)[3:] == (2 / 32, 5)
    assert Claim("", "", trained, {"a": control}, 0.2).verdict == TOO_FEW
    assert Claim("", "", trained, {"a": np.full(7, nan)}, 0.2).verdict == TOO_FEW


def test_rows_leave_out_networks_without_a_number_and_say_so():
    nan = float("nan")
    claim = Claim("", "", np.array([1, nan, 1, 1, 1, 1, 1]), {"a": np.zeros(7), "b": np.full(7, nan)}, 0.1)
    assert claim_rows([claim], ["a", "b"])[0][2:5] == ["1.00", "0.00; +1.00 (+1.00 to +1.00), 6 of 7 pairs", "–"]
    nothing = Claim("", "", np.full(7, nan), {"a": np.zeros(7)}, 0.1)
    assert claim_rows([nothing], ["a"])[0][2:4] == ["–", "–"]


def test_a_network_without_any_value_does_not_change_the_error_of_the_pictures():
    values = np.random.default_rng(1).normal(size=(6, 50))
    values[0, 7] = np.nan  # one picture
    more = np.vstack([values, np.full(50, np.nan)])  # one network
    expected = image_error(np.delete(values, 7, axis=1), np.zeros((6, 49)))
    assert image_error(values, np.zeros((6, 50))) == image_error(more, np.zeros((7, 50))) == expected
    assert image_error(np.full((6, 50), np.nan), np.zeros((6, 50))) == np.inf


def test_few_pictures_widen_the_interval():
    """The pictures have variance 1 and are the same for all networks. The standard error for n pictures is 1/√n."""
    random = np.random.default_rng(0)
    pictures = random.standard_normal(2000)
    ours, theirs = np.tile(pictures, (6, 1)) + random.normal(0, 0.01, (6, 2000)), np.zeros((6, 2000))
    assert image_error(ours, theirs) == pytest.approx(pictures.std() / np.sqrt(2000), rel=0.1)
    narrow, wide = (compare(ours.mean(axis=1), theirs.mean(axis=1), standard_error) for standard_error in (0, 0.5))
    assert narrow.p == wide.p and wide.high - wide.low > 1.9 > narrow.high - narrow.low


def test_rows_mark_missing_controls_and_omit_unknown_intervals():
    two = Claim("wheels late", "share", np.array([0.5, 0.7]), {"untrained": np.array([0.1, 0.1])}, 0.1)
    assert claim_rows([two], ["untrained", "scenes"]) == [
        ["wheels late", "share", "0.60", "0.10; +0.50", "–", "0.1", f"**{TOO_FEW}**"]
    ]
    six = Claim("", "", np.ones(6), {"untrained": np.zeros(6)}, 0.1)
    assert claim_rows([six], ["untrained"])[0][3] == "0.00; +1.00 (+1.00 to +1.00)"
