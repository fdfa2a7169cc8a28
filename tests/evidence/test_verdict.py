"""Bootstrap intervals, compared with SciPy, and the verdicts that follow from them."""

import numpy as np
import pytest
from scipy import stats

from recognizer.evidence.verdict import Estimate, Observation, bootstrap, observe, rank_correlation, share, verdict_rows


def test_bootstrap_agrees_with_scipy():
    values = np.random.default_rng(3).normal(size=80)
    estimate = bootstrap(values, num_resamples=4000)
    expected = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=4000, random_state=1)
    assert estimate.value == pytest.approx(values.mean())
    assert estimate[1:] == pytest.approx(expected.confidence_interval, abs=0.02)


@pytest.mark.parametrize(
    "trained, excess, at_least, verdict",
    [
        ((0.8, 0.7, 0.9), {"untrained": (0.3, 0.2, 0.4)}, None, "holds"),
        ((0.8, 0.7, 0.9), {"untrained": (0.1, -0.1, 0.3)}, None, "cannot tell"),
        ((0.8, 0.7, 0.9), {"untrained": (0.3, 0.2, 0.4), "shuffled": (-0.2, -0.3, -0.1)}, None, "does not hold"),
        ((0.8, 0.7, 0.9), {}, 0.5, "holds"),
        ((0.8, 0.7, 0.9), {}, 0.75, "cannot tell"),
        ((0.1, 0.05, 0.2), {"untrained": (0.1, 0.05, 0.2)}, 0.5, "does not hold"),
        ((np.nan, np.nan, np.nan), {}, 0.5, "cannot tell"),
        ((0.8, 0.7, 0.9), {"untrained": (np.nan, np.nan, np.nan)}, 0.5, "cannot tell"),
    ],
)
def test_verdicts_follow_from_intervals(trained, excess, at_least, verdict):
    above = {name: Estimate(*values) for name, values in excess.items()}
    controls = dict.fromkeys(above, Estimate(0, 0, 0))
    observation = Observation("claim", "measure", Estimate(*trained), controls, above, at_least)
    assert observation.verdict == verdict


def test_observations_compare_the_first_network_with_the_others():
    networks = {
        "trained": np.array([5.0, 5, 6]),
        "untrained": np.array([1.0, 1, 2]),
        "shuffled": np.array([2.0, 2, 2]),
    }
    observation = observe(networks, "It grows", "mean of conv", lambda values: [values], at_least=4)
    assert observation.trained.value == pytest.approx(16 / 3)
    assert observation.controls["untrained"].value == pytest.approx(4 / 3)
    (row,) = verdict_rows([observation], ["shuffled", "untrained", "other masks"])
    assert row == [
        *("It grows", "mean of conv", "5.33 (5.00 to 6.00)"),
        *("2.00; +3.33 (+3.00 to +4.00)", "1.33; +4.00 (+4.00 to +4.00)", "–", "4", "**holds**"),
    ]


def test_the_same_images_are_drawn_for_all_networks():
    """SciPy's paired bootstrap of a difference that is smaller than the differences between images."""
    random = np.random.default_rng(5)
    of_image = random.normal(size=60)
    one, other = of_image + 0.3 + 0.2 * random.normal(size=60), of_image
    observation = observe({"trained": one, "untrained": other}, "", "", lambda values: [values], num_resamples=4000)
    expected = stats.bootstrap(
        (one, other), lambda a, b, axis: a.mean(axis) - b.mean(axis), paired=True, method="percentile",
        n_resamples=4000, random_state=1,
    ).confidence_interval  # fmt: skip
    assert observation.excess["untrained"][1:] == pytest.approx(expected, abs=0.01)
    assert observation.verdict == "holds" and observation.trained.low < observation.controls["untrained"].high


def test_a_number_that_rounds_to_zero_has_no_sign():
    assert f"{Estimate(-0.001, -0.2, 0.001):+.2f}" == "+0.00 (-0.20 to +0.00)"


def test_a_share_of_zero_has_an_interval():
    none = share(np.zeros(64, bool))
    assert none.value == 0 and none.low == pytest.approx(0) and 0.04 < none.high < 0.07


def test_bootstrap_leaves_out_nan():
    assert bootstrap(np.array([1.0, np.nan, 1.0])) == (1, 1, 1)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("values", [np.array([]), np.array([np.nan, np.nan])])
def test_no_values_give_nan_and_no_warning(values):
    assert np.isnan(bootstrap(values)).all()
    assert observe({"one": values, "other": values}, "", "", lambda array: [array]).verdict == "cannot tell"


def test_rank_correlation_agrees_with_scipy_and_leaves_out_nan():
    random = np.random.default_rng(0)
    one = random.standard_normal(200)
    other = one + random.standard_normal(200)
    expected = stats.spearmanr(one, other).statistic
    correlation = rank_correlation(np.append(one, np.nan), np.append(other, 1.0))
    assert correlation.value == pytest.approx(expected) and correlation.low < expected < correlation.high
    fisher = np.tanh(np.arctanh(expected) + np.array([-1.96, 1.96]) / np.sqrt(197))  # the interval for normal data
    assert (correlation.low, correlation.high) == pytest.approx(tuple(fisher), abs=0.06)
