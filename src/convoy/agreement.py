"""Tests whether a published number agrees with the measured runs. The published number comes from one more run, so it
is compared with a prediction interval. A confidence interval would be too narrow: it is for the mean of many runs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from convoy.stats import Estimate, t_quantile, wilson_ends
from convoy.text import gettext as _


class Verdict(StrEnum):
    """The result of a comparison with published numbers, or of testing a claim or a protocol fault."""

    INCONCLUSIVE = "inconclusive"
    INSIDE = "inside"  # the published number is inside the interval of the measured runs
    ABOVE = "above"  # the published number is above the interval
    BELOW = "below"  # the published number is below the interval
    NOT_COMPARED = "not_compared"  # the published number has no verdict
    HOLDS = "holds"  # the claim holds
    DOES_NOT_HOLD = "does_not_hold"  # the claim does not hold
    NO_EFFECT = "no_effect"  # no effect larger than the margin of the claim


CLAIM_VERDICTS = (Verdict.HOLDS, Verdict.DOES_NOT_HOLD, Verdict.NO_EFFECT, Verdict.INCONCLUSIVE)


class Reason(StrEnum):
    """Why numbers are shown without a verdict."""

    NOT_PUBLISHED = "not_published"
    NOT_MEASURED = "not_measured"
    QUICK_TRY = "quick_try"
    REDUCED = "reduced"  # fewer images or epochs than published
    LONGER = "longer"  # more epochs than published
    NO_INTERVAL = "no_interval"  # a single run, and the number has no interval over images
    NO_SPREAD = "no_spread"  # all runs are equal, and the resolution of the number is unknown


@dataclass(frozen=True)
class Agreement:
    """The comparison of a published number with the measured runs.

    `interval` is for one more run ("prediction": variation over seeds, on the same test images) or for the difference
    published - measured ("newcombe": variation over images, not seeds).
    """

    verdict: Verdict
    reason: Reason | None = None
    difference: float | None = None  # published - measured mean
    interval: Estimate | None = None

    @property
    def decided(self) -> bool:
        return self.verdict is not Verdict.NOT_COMPARED

    @property
    def beyond(self) -> float | None:
        """Distance of the published number from the prediction interval; None if it is inside."""
        if self.interval is None or self.interval.interval != "prediction" or self.difference is None:
            return None
        outside = abs(self.difference) - (self.interval.span[1] - self.interval.mean)
        return outside if outside > 0 else None


def prediction_interval(runs: Estimate, *, step: float = 0.0) -> Estimate:
    """Returns the 95 % interval for one more run, mean ± t sd sqrt(1 + 1/n), from the `t_interval` of n runs.

    `step`: as in `t_interval`, if the estimate was computed without it. The interval is for other seeds and the same
    test images; a run scored on other images varies more. Raises ValueError for a single run and for another kind of
    interval.
    """
    if runs.interval != "t" or runs.high is None or runs.n < 2:
        raise ValueError(
            _(
                "a prediction interval needs the t interval of 2 runs or more, got {interval}, n = {n}",
                interval=runs.interval,
                n=runs.n,
            )
        )
    floor = t_quantile(runs.n - 1) * step / math.sqrt(12 * runs.n)
    half = max(runs.high - runs.mean, floor) * math.sqrt(runs.n + 1)
    return Estimate(runs.mean, runs.sd, runs.n, runs.mean - half, runs.mean + half, "prediction")


def difference_of_two_runs(runs: Estimate) -> float:
    """Returns the 95 % limit of the difference between two runs with different seeds, t sd sqrt(2).

    `runs`: the `t_interval` of n runs. Raises the same errors as `prediction_interval`.
    """
    one_more = prediction_interval(runs)
    return (one_more.span[1] - one_more.mean) * math.sqrt(2 / (1 + 1 / runs.n))


def difference_of_shares(a: float, n_a: int, b: float, n_b: int) -> Estimate:
    """Returns Newcombe's hybrid score interval (1998) of a - b, proportions of n_a and n_b independent images.

    Statistics in Medicine 17, method 10. It is conservative for two networks on the same images, because images that
    are hard for one are often hard for the other. Raises ValueError for invalid proportions.
    """
    for share, n in ((a, n_a), (b, n_b)):
        if not (0 <= share <= 1 and n > 0):
            raise ValueError(
                _(
                    "expected a fraction between 0 and 1, and 1 image or more; got {share} and {n} images",
                    share=share,
                    n=n,
                )
            )
    (low_a, high_a), (low_b, high_b) = wilson_ends(a, n_a), wilson_ends(b, n_b)
    low = a - b - math.hypot(a - low_a, high_b - b)
    high = a - b + math.hypot(high_a - a, b - low_b)
    return Estimate(a - b, None, min(n_a, n_b), low, high, "newcombe")


def compare_published(published: float | None, measured: Estimate | None, withheld: Reason | None = None) -> Agreement:
    """Compares a published number with the measured runs. `withheld`: why there is no verdict, if there is a reason.
    With one measured run ("wilson"), both numbers are compared as proportions of the same number of images.
    """
    if published is None:
        return Agreement(Verdict.NOT_COMPARED, Reason.NOT_PUBLISHED)
    if measured is None:
        return Agreement(Verdict.NOT_COMPARED, Reason.NOT_MEASURED)
    difference = published - measured.mean
    if withheld is not None:
        return Agreement(Verdict.NOT_COMPARED, withheld, difference)
    if measured.interval == "wilson":
        interval = difference_of_shares(published, measured.n, measured.mean, measured.n)
        return Agreement(_verdict((-interval).span, 0.0), None, difference, interval)
    if measured.interval != "t" or measured.n < 2:
        return Agreement(Verdict.NOT_COMPARED, Reason.NO_INTERVAL, difference)
    if measured.low == measured.high:
        return Agreement(Verdict.NOT_COMPARED, Reason.NO_SPREAD, difference)
    one_more = prediction_interval(measured)
    return Agreement(_verdict(one_more.span, published), None, difference, one_more)


def _verdict(span: tuple[float, float], value: float) -> Verdict:
    if span[0] <= value <= span[1]:
        return Verdict.INSIDE
    return Verdict.ABOVE if value > span[1] else Verdict.BELOW
