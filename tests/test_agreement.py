"""The prediction interval and the comparison of two single runs, compared with scipy and with simulations."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from convoy.agreement import (
    Reason,
    Verdict,
    compare_published,
    difference_of_shares,
    difference_of_two_runs,
    prediction_interval,
)
from convoy.stats import Estimate, t_interval, wilson

LENET = [0.9603, 0.9683, 0.9702, 0.9646, 0.9719]  # synthetic, with the mean and sd of five runs of LeNet


def estimate(mean: float, sd: float, n: int) -> Estimate:
    half = float(scipy_stats.t.ppf(0.975, n - 1)) * sd / math.sqrt(n)
    return Estimate(mean, sd, n, mean - half, mean + half, "t")


def test_published_lenet_is_inside_the_prediction_interval_but_not_the_interval_of_the_mean() -> None:
    runs = estimate(0.96706, 0.0042700117, 5)
    agreement = compare_published(0.9744, runs)
    assert runs.high is not None
    assert runs.high < 0.9744
    assert agreement.verdict is Verdict.INSIDE
    assert agreement.interval is not None
    assert agreement.interval.low == pytest.approx(0.9541, abs=5e-5)
    assert agreement.interval.high == pytest.approx(0.9800, abs=5e-5)


@pytest.mark.parametrize("runs", [2, 3, 5, 20])
def test_prediction_interval_agrees_with_scipy(runs: int) -> None:
    values = np.random.default_rng(runs).normal(0.97, 0.004, runs).tolist()
    half = scipy_stats.t.ppf(0.975, runs - 1) * np.std(values, ddof=1) * math.sqrt(1 + 1 / runs)
    interval = prediction_interval(t_interval(values))
    assert (interval.low, interval.high) == pytest.approx((np.mean(values) - half, np.mean(values) + half), rel=1e-12)


@pytest.mark.parametrize("runs", [2, 3, 5])
def test_prediction_interval_covers_one_more_run_in_95_percent(runs: int) -> None:
    draws = np.random.default_rng(runs).normal(0.97, 0.004, (5_000, runs + 1)).tolist()
    verdicts = [compare_published(one_more, t_interval(values)).verdict for *values, one_more in draws]
    assert 0.94 <= np.mean([verdict is Verdict.INSIDE for verdict in verdicts]) <= 0.96


@pytest.mark.parametrize("runs", [2, 3, 5])
def test_limit_covers_the_difference_of_two_runs_in_95_percent(runs: int) -> None:
    draws = np.random.default_rng(runs).normal(0.97, 0.004, (5_000, runs + 2)).tolist()
    within = [abs(a - b) <= difference_of_two_runs(t_interval(values)) for *values, a, b in draws]
    assert 0.94 <= np.mean(within) <= 0.96


def test_equal_runs_have_the_prediction_interval_of_rounding() -> None:
    step = 1 / 10_000
    by_estimate = prediction_interval(t_interval([0.98] * 3, step=step))
    by_step = prediction_interval(t_interval([0.98] * 3), step=step)
    assert by_estimate.high is not None
    assert by_estimate.high - 0.98 == pytest.approx(
        scipy_stats.t.ppf(0.975, 2) * step / math.sqrt(12) * math.sqrt(4 / 3), rel=1e-9
    )
    assert by_step.high == pytest.approx(by_estimate.high, rel=1e-12)
    assert compare_published(0.98, t_interval([0.98] * 3)).reason is Reason.NO_SPREAD


@pytest.mark.parametrize("counts", [(9744, 9598, 10_000), (9913, 9913, 10_000), (50, 48, 50), (0, 3, 20), (50, 50, 50)])
def test_difference_of_two_shares_agrees_with_scipys_wilson_limits(counts: tuple[int, int, int]) -> None:
    a, b, n = counts
    ends = [scipy_stats.binomtest(count, n).proportion_ci(method="wilson") for count in (a, b)]
    p, q = a / n, b / n
    found = difference_of_shares(p, n, q, n)
    low = p - q - math.hypot(p - ends[0].low, ends[1].high - q)
    high = p - q + math.hypot(ends[0].high - p, q - ends[1].low)
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-12, abs=1e-12)


def test_difference_of_two_shares_agrees_with_the_published_example() -> None:
    """56 of 70 against 48 of 80: Newcombe 1998, table II, example (a), method 10."""
    found = difference_of_shares(56 / 70, 70, 48 / 80, 80)
    assert (round(found.low or 0, 4), round(found.high or 0, 4)) == (0.0524, 0.3339)


def test_two_runs_of_equal_accuracy_agree_in_95_percent() -> None:
    counts = np.random.default_rng(1).binomial(2000, 0.97, (10_000, 2)).tolist()
    verdicts = [compare_published(a / 2000, wilson(b, 2000)).verdict for a, b in counts]
    assert 0.94 <= np.mean([verdict is Verdict.INSIDE for verdict in verdicts]) <= 0.965


def test_one_run_is_compared_by_the_images_of_both_runs() -> None:
    assert compare_published(0.9913, wilson(9913, 10_000)).verdict is Verdict.INSIDE
    assert compare_published(0.9744, wilson(9598, 10_000)).verdict is Verdict.ABOVE
    assert compare_published(0.9880, wilson(9914, 10_000)).verdict is Verdict.BELOW
    # Outside the interval of the one run, inside that of the difference of two.
    assert compare_published(0.9840, wilson(9813, 10_000)).verdict is Verdict.INSIDE


@pytest.mark.parametrize(
    ("published", "measured", "withheld", "reason"),
    [
        (None, wilson(9, 10), None, Reason.NOT_PUBLISHED),
        (0.9, None, None, Reason.NOT_MEASURED),
        (25.0, t_interval([31.0]), None, Reason.NO_INTERVAL),
        (0.5, t_interval(LENET), Reason.QUICK_TRY, Reason.QUICK_TRY),
    ],
)
def test_a_number_that_is_not_compared_has_a_reason(
    published: float | None, measured: Estimate | None, withheld: Reason | None, reason: Reason
) -> None:
    agreement = compare_published(published, measured, withheld)
    assert (agreement.verdict, agreement.reason) == (Verdict.NOT_COMPARED, reason)


def test_distance_of_a_published_number_from_the_prediction_interval() -> None:
    agreement = compare_published(0.9832, estimate(0.989, 0.000556776, 3))
    assert agreement.verdict is Verdict.BELOW
    assert agreement.beyond == pytest.approx(0.0030, abs=5e-5)
    assert compare_published(0.989, estimate(0.989, 0.000556776, 3)).beyond is None


@pytest.mark.parametrize("measured", [t_interval([0.9]), wilson(9, 10)])
def test_prediction_interval_needs_several_runs(measured: Estimate) -> None:
    with pytest.raises(ValueError, match="2 runs or more"):
        prediction_interval(measured)
