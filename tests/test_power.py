"""Powers and error rates on simulated data. Their standard error is 0.004 at 80 % and 0.002 at 5 %."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from convoy.power import POWER, detectable_by_mcnemar, detectable_share, is_equivalent, smallest_detectable
from convoy.stats import Estimate, mcnemar_counts, t_interval

STUDIES = 10_000


def simulated(mean: float, seeds: int) -> tuple[np.ndarray, np.ndarray]:
    """Means and standard errors [STUDIES] of normal differences with standard deviation 1."""
    values = np.random.default_rng(0).normal(mean, 1, (STUDIES, seeds))
    return values.mean(1), values.std(1, ddof=1) / math.sqrt(seeds)


def with_spread(sd: float, seeds: int) -> Estimate:
    half = stats.t.ppf(0.975, seeds - 1) * sd / math.sqrt(seeds)
    return Estimate(0.0, sd, seeds, -half, half, "t")


@pytest.mark.parametrize("seeds", [2, 3, 5, 20])
def test_an_effect_of_the_smallest_detectable_size_is_detected_in_80_percent_of_the_studies(seeds: int) -> None:
    effect = smallest_detectable(with_spread(1.0, seeds))
    assert effect is not None
    means, errors = simulated(effect, seeds)
    assert (np.abs(means / errors) > stats.t.ppf(0.975, seeds - 1)).mean() == pytest.approx(POWER, abs=0.015)


@pytest.mark.parametrize("seeds", [3, 5, 20])
@pytest.mark.parametrize("margin", [0.5, 3.0])
def test_an_effect_as_large_as_the_margin_is_equivalent_in_at_most_5_percent_of_the_studies(
    seeds: int, margin: float
) -> None:
    means, errors = simulated(margin, seeds)
    half = stats.t.ppf(0.975, seeds - 1) * errors
    found = [
        is_equivalent(Estimate(mean, None, seeds, mean - width, mean + width, "t"), 0.0, margin)
        for mean, width in zip(means[:2000], half[:2000], strict=True)
    ]
    assert np.mean(found) <= 0.05 + 3 * 0.005
    # With a margin of many standard errors the test uses its level.
    assert margin < 3 or np.mean(found) == pytest.approx(0.05, abs=0.015)


def test_an_effect_of_zero_is_equivalent_within_a_large_margin_only() -> None:
    values = [0.2, -0.1, 0.0, -0.2, 0.1]
    assert is_equivalent(t_interval(values), 0.0, 0.5)
    assert not is_equivalent(t_interval(values), 0.0, 0.05)
    assert not is_equivalent(t_interval(values), 0.0, 0.0)
    assert not is_equivalent(t_interval([0.0]), 0.0, 1.0)  # one seed


@given(st.lists(st.integers(-100, 100), min_size=2, max_size=8, unique=True), st.floats(1, 200))
def test_equivalence_is_that_the_90_percent_interval_is_within_the_margin(values: list[int], margin: float) -> None:
    low, high = stats.t.interval(0.9, len(values) - 1, np.mean(values), stats.sem(values))
    if min(abs(low + margin), abs(high - margin)) > 1e-9:
        assert is_equivalent(t_interval(values), 0.0, margin) == (-margin < low and high < margin)


def test_a_ratio_is_judged_in_logarithms() -> None:
    logs = [math.log(1.02), math.log(0.99), math.log(1.0)]
    difference, ratio = t_interval(logs), t_interval(logs).exp()
    assert smallest_detectable(ratio) == pytest.approx(math.exp(smallest_detectable(difference) or 0))
    assert is_equivalent(ratio, 1.0, 0.05)
    assert not is_equivalent(ratio, 1.0, 0.01)


@pytest.mark.parametrize(("discordant", "n"), [(200, 10_000), (60, 1_000)])
def test_mcnemar_detects_a_difference_of_that_size_in_80_percent_of_the_studies(discordant: int, n: int) -> None:
    difference = detectable_by_mcnemar(discordant, n)
    assert difference is not None
    share = discordant / n
    only_a = (share + difference) / 2
    counts = np.random.default_rng(0).multinomial(n, [only_a, share - only_a, 1 - share], 1000)
    found = [mcnemar_counts(int(a), int(b), n).p < 0.05 for a, b, _ in counts]
    assert np.mean(found) == pytest.approx(POWER, abs=0.06)  # the exact test is conservative


def test_three_discordant_images_can_show_no_difference() -> None:
    assert detectable_by_mcnemar(3, 1_000) is None
    assert detectable_by_mcnemar(0, 1_000) is None


def test_a_share_is_distinguished_from_a_number_in_80_percent_of_the_studies() -> None:
    distance = detectable_share(0.9, 10_000)
    correct = np.random.default_rng(0).binomial(10_000, 0.9, STUDIES) / 10_000
    error = np.sqrt(correct * (1 - correct) / 10_000)
    found = np.abs(correct - (0.9 + distance)) / error > stats.norm.ppf(0.975)
    assert found.mean() == pytest.approx(POWER, abs=0.02)
