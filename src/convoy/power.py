"""The power of tests, and tests of equivalence: whether an effect is smaller than a margin.

Equivalence is tested by two one-sided tests (TOST): D. Schuirmann, "A Comparison of the Two One-Sided Tests Procedure
and the Power Approach for Assessing the Equivalence of Average Bioavailability", J. Pharmacokinetics and
Biopharmaceutics 15, 1987; D. Lakens, "Equivalence Tests", Social Psychological and Personality Science 8, 2017.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable
from functools import cache
from statistics import NormalDist

from convoy.stats import LEVEL, TAILS, Estimate, Z, t_quantile
from convoy.text import gettext as _

POWER = 0.8  # the probability of detecting an existing effect
MAX_SEEDS = 10_000
Z_POWER = NormalDist().inv_cdf(POWER)


def smallest_detectable(estimate: Estimate) -> float | None:
    """Returns the effect that a two-sided t test at 5 % detects with 80 % power, given the spread and n of `estimate`.

    Uses the noncentral t distribution. For a ratio ("log_t"), the effect is a factor above 1. Returns None without a t
    interval.
    """
    half = _half_width(estimate)
    if half is None:
        return None
    effect = half / t_quantile(estimate.n - 1) * _detectable_shift(estimate.n - 1)
    return math.exp(effect) if estimate.interval == "log_t" else effect


def is_equivalent(estimate: Estimate, value: float, margin: float) -> bool:
    """Whether the estimated quantity differs from `value` by less than `margin`, by two one-sided t tests at 5 %.

    That is, whether the 90 % interval is within value ± margin. False without a t interval.
    """
    half = _half_width(estimate)
    if half is None:
        return False
    half *= _one_sided_quantile(estimate.n - 1) / t_quantile(estimate.n - 1)
    if estimate.interval == "log_t":
        low, high = estimate.mean * math.exp(-half), estimate.mean * math.exp(half)
    else:
        low, high = estimate.mean - half, estimate.mean + half
    return value - margin < low and high < value + margin


def detectable_by_mcnemar(discordant: int, n: int) -> float | None:
    """Returns the difference between two proportions of the same n images that McNemar's test at 5 % detects with 80 %
    power.

    `discordant`: number of images that only one of the two networks classifies correctly. Returns None if it is too
    small to detect any difference. R. Connor, "Sample Size for Testing Differences in Proportions for the Paired-Sample
    Design", Biometrics 43, 1987.
    """
    share = discordant / n
    missing = Z * math.sqrt(share)
    if math.sqrt(n) * share <= missing:
        return None
    return _least(lambda d: math.sqrt(n) * d >= missing + Z_POWER * math.sqrt(max(0.0, share - d * d)), share)


def detectable_share(share: float, n: int) -> float:
    """Returns the smallest difference between a proportion of n images and a fixed number that a test at 5 % detects.

    The power is 80 %. Uses the normal approximation.
    """
    return (Z + Z_POWER) * math.sqrt(share * (1 - share) / n)


def seeds_needed(difference: float, sd: float) -> int | None:
    """Returns the seeds per model for POWER, by the noncentral t distribution; None for more than MAX_SEEDS."""
    seeds = bisect_left(range(MAX_SEEDS + 1), POWER, key=lambda seeds: power_of(difference, sd, seeds))
    return seeds if seeds <= MAX_SEEDS else None


def seeds_text(seeds: int | None) -> str:
    """Formats a result of `seeds_needed`."""
    return _("over {most:,}", most=MAX_SEEDS) if seeds is None else f"{seeds:,}"


def power_of(difference: float, sd: float, seeds: int) -> float:
    """Returns the power of a two-sided two-sample t test at 5 % with `seeds` runs per model; 0 for fewer than two."""
    from scipy.special import nctdtr, stdtrit

    if seeds < 2:
        return 0.0
    freedom = 2 * seeds - 2
    shift = abs(difference) / (sd * math.sqrt(2 / seeds))
    critical = float(stdtrit(freedom, TAILS[1]))
    if shift > 5 * critical:
        return 1.0  # above 0.99
    # For a large shift, the other tail is below 1e-6, and nctdtr returns NaN.
    other_tail = float(nctdtr(freedom, shift, -critical)) if shift < 4 else 0.0
    return 1 - float(nctdtr(freedom, shift, critical)) + other_tail


def _half_width(estimate: Estimate) -> float | None:
    """Returns the half-width of the 95 % interval, for a ratio in logarithms; None without a t interval."""
    if estimate.low is None or estimate.high is None or estimate.interval not in ("t", "log_t", "corrected_t"):
        return None
    return (
        math.log(estimate.high / estimate.low) if estimate.interval == "log_t" else estimate.high - estimate.low
    ) / 2


@cache
def _detectable_shift(freedom: int) -> float:
    """Returns the detectable effect in standard errors. The ignored other tail adds less than 1e-5 to the power."""
    from scipy.special import nctdtr

    critical = t_quantile(freedom)
    return _least(lambda shift: 1 - float(nctdtr(freedom, shift, critical)) >= POWER, 100.0)


def _one_sided_quantile(freedom: int) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(freedom, LEVEL))


def _least(reaches: Callable[[float], bool], high: float) -> float:
    """Returns by bisection the smallest number from 0 to `high` for which the monotonic `reaches` is True."""
    low = 0.0
    for _step in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if reaches(middle) else (middle, high)
    return high
