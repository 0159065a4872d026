"""Estimates, intervals, paired tests and corrections for multiple tests.

Functions import scipy.special when they are called; scipy.stats would take 0.9 s to import.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist, fmean, stdev
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from convoy.text import gettext as _
from convoy.text import numbers
from convoy.text.numbers import decimals_for, fixed

LEVEL = 0.95  # confidence level of all intervals
TAILS = (1 - LEVEL) / 2, (1 + LEVEL) / 2  # quantiles of the ends of a two-sided interval
Z = NormalDist().inv_cdf(TAILS[1])

# The method of an interval:
#   over seeds: t (Student), log_t (Student's t of the logarithm), prediction (for one more run, not for the mean)
#   of a standard deviation over seeds: chi2
#   over folds: corrected_t (Nadeau and Bengio)
#   over images: wilson (for a proportion), bonett_price (for the difference between two proportions of the same
#   images), newcombe (for the difference between two independent proportions), bootstrap
Interval = Literal["t", "log_t", "prediction", "chi2", "corrected_t", "wilson", "bonett_price", "newcombe", "bootstrap"]
OVER_IMAGES = ("wilson", "bonett_price", "newcombe", "bootstrap")
SYMMETRIC = ("t", "prediction", "corrected_t")


@dataclass(frozen=True)
class Estimate:
    """A mean (for ratios, the geometric mean) and its 95 % interval over `n` seeds, folds or images (see Interval).

    For a single value ("t" with n = 1), sd, low and high are None. For an interval over images, sd is None.
    """

    mean: float
    sd: float | None
    n: int
    low: float | None
    high: float | None
    interval: Interval

    @property
    def half_width(self) -> float | None:
        """The value after "±"; None without an interval or with an asymmetric one."""
        return None if self.interval not in SYMMETRIC or self.high is None else self.high - self.mean

    @property
    def span(self) -> tuple[float, float]:
        """The ends of the interval; (mean, mean) without an interval."""
        return (self.mean, self.mean) if self.low is None or self.high is None else (self.low, self.high)

    @property
    def over_images(self) -> bool:
        return self.interval in OVER_IMAGES

    def excludes(self, value: float) -> bool:
        """Whether the value is outside the interval; False without an interval."""
        return self.low is not None and not self.span[0] <= value <= self.span[1]

    def __neg__(self) -> Estimate:
        """Returns the estimate of b - a, if this estimates a - b."""
        low, high = (None if end is None else -end for end in (self.high, self.low))
        return replace(self, mean=-self.mean, low=low, high=high)

    def exp(self) -> Estimate:
        """Returns the estimate of a ratio, if this estimates its logarithm."""
        low, high = (None if end is None else math.exp(end) for end in (self.low, self.high))
        return Estimate(math.exp(self.mean), None, self.n, low, high, "log_t")

    def inverse(self) -> Estimate:
        """Returns the estimate of b / a, if this estimates a / b."""
        low, high = (None if end is None else 1 / end for end in (self.high, self.low))
        return replace(self, mean=1 / self.mean, low=low, high=high)

    def text(self, unit: str = "%", *, digits: int = 2) -> str:
        """Formats as "99.12 ± 0.21 % (n = 3)", or "98.20 % (97.92–98.44, 10,000 images)" if asymmetric.

        "±" is always the half-width. A symmetric interval of a proportion that reaches beyond 0 or 100 % is cut there
        and shown like an asymmetric one.
        """
        scale = 100 if unit == "%" else 1
        number, interval = self.parts(scale=scale, digits=digits)
        count = f"n = {self.n}"
        if self.over_images:
            count = _("{n:,} images", n=self.n)
        elif self.interval == "corrected_t":
            count = _("n = {n} folds", n=self.n)
        low, high = self.span
        if unit == "%" and self.half_width is not None and not 0 <= low <= high <= 1:  # a proportion
            interval = numbers.interval(scale * max(0.0, low), scale * min(1.0, high), digits)
        elif self.half_width is not None or not interval:
            value = " ".join(filter(None, (number, interval, unit)))
            return _("{value} ({count})", value=value, count=count)
        return _("{value} ({interval}, {count})", value=f"{number} {unit}", interval=interval, count=count)

    def parts(self, *, scale: float = 1, digits: int = 2) -> tuple[str, str]:
        """Returns the number and its interval as two strings: ("99.12", "± 0.21") or ("98.20", "97.92–98.44")."""
        half = (self.half_width or 0.0) * scale
        if half and half < 0.5 * 10**-digits:  # would be printed as ± 0.00
            digits = max(digits, decimals_for(half))
        number = fixed(self.mean * scale, digits)
        if self.low is None or self.high is None:
            return number, ""
        if self.half_width is not None:
            return number, f"± {fixed(half, digits)}"
        return number, numbers.interval(self.low * scale, self.high * scale, digits)

    def points(self) -> str:
        """Formats a difference of proportions: "0.9 ± 0.2 points", or "0.90 points (0.70–1.20)" if asymmetric."""
        digits = 2 if self.half_width is None else max(1, decimals_for(100 * self.half_width))
        number, interval = self.parts(scale=100, digits=digits)
        if self.half_width is not None:
            number = f"{number} {interval}"
        elif interval:
            return _("{number} points ({interval})", number=number, interval=interval)
        return _("{number} points", number=number)


class PairedTest(NamedTuple):
    difference: Estimate  # a - b
    p: float  # two-sided


class McNemar(NamedTuple):
    difference: Estimate  # accuracy of a minus accuracy of b, over images
    p: float  # two-sided, exact
    only_a: int  # images that only a classifies correctly
    only_b: int


def is_significant(p: float) -> bool:
    """Whether a p value, corrected for multiple tests, is significant. False does not mean that the effect is 0."""
    return p < 1 - LEVEL


def wilson(correct: int, n: int) -> Estimate:
    """Returns Wilson's score interval (1927) of a proportion, `correct` of `n` images.

    Raises ValueError for invalid counts.
    """
    if not (0 <= correct <= n and n > 0):
        raise ValueError(_("expected 0 to n correct of n > 0 images, got {correct} of {n}", correct=correct, n=n))
    share = correct / n
    low, high = wilson_ends(share, n)
    return Estimate(mean=share, sd=None, n=n, low=low, high=high, interval="wilson")


def wilson_ends(share: float, n: int) -> tuple[float, float]:
    """Returns the ends of Wilson's score interval of a proportion of n images."""
    weight = 1 + Z * Z / n
    middle = (share + Z * Z / (2 * n)) / weight
    half = Z / weight * math.sqrt(share * (1 - share) / n + Z * Z / (4 * n * n))
    # For proportions 0 and 1, one end equals the proportion; a computed value could have a rounding error.
    return 0.0 if share == 0 else middle - half, 1.0 if share == 1 else middle + half


def t_interval(values: Sequence[float], *, step: float = 0.0) -> Estimate:
    """Returns Student's t interval of the mean.

    `step` is the resolution of the values (1 / images for an accuracy). Equal values do not prove that the spread is 0,
    so the interval uses at least the standard deviation of rounding to the resolution, step / sqrt(12). The field `sd`
    is not affected. Raises ValueError if there are no values or a value is not finite.
    """
    if not values or not all(math.isfinite(value) for value in values):
        raise ValueError(_("expected finite values for an estimate, got {values}", values=list(values)))
    n, mean = len(values), fmean(values)
    if n == 1:
        return Estimate(mean=mean, sd=None, n=1, low=None, high=None, interval="t")
    sd = stdev(values)
    half = t_quantile(n - 1) * max(sd, step / math.sqrt(12)) / math.sqrt(n)
    return Estimate(mean=mean, sd=sd, n=n, low=mean - half, high=mean + half, interval="t")


def spread_interval(values: Sequence[float], *, step: float = 0.0) -> Estimate:
    """Returns the standard deviation of the values, as `mean`, with its interval by the chi-squared distribution.

    `step`: as in `t_interval`, for the upper end. Raises ValueError for fewer than two values.
    """
    from scipy.special import chdtri

    n = len(values)
    if n < 2:
        raise ValueError(_("a standard deviation needs at least 2 values, got {n}", n=n))
    sd = stdev(values)
    # chdtri(df, p) is the value that a chi-squared variable exceeds with probability p.
    low, high = (math.sqrt((n - 1) / chdtri(n - 1, p)) for p in TAILS)
    return Estimate(mean=sd, sd=None, n=n, low=low * sd, high=high * max(sd, step / math.sqrt(12)), interval="chi2")


def paired_t(a: Sequence[float], b: Sequence[float], *, step: float = 0.0) -> PairedTest:
    """Student's paired t test of a - b. Values with the same index have the same seed.

    `step` is the resolution of the values (1 / images for an accuracy). Equal differences have no spread and would
    always be significant, so the test uses at least the standard deviation of rounding two values to the resolution,
    step / sqrt(6). Raises ValueError for different lengths or fewer than two pairs.
    """
    differences = _differences(a, b)
    n, sd = len(differences), stdev(differences)
    return _t_test(fmean(differences), max(sd, step / math.sqrt(6)) / math.sqrt(n), n - 1, sd, n, "t")


def paired_difference(a: Sequence[float], b: Sequence[float], *, step: float = 0.0) -> tuple[Estimate, float | None]:
    """Returns the estimate of a - b and its p value, as in `paired_t`. One pair has neither interval nor p value."""
    return (t_interval([a[0] - b[0]]), None) if len(a) < 2 else paired_t(a, b, step=step)


def mean_of(value: Estimate | float) -> float:
    return value.mean if isinstance(value, Estimate) else value


def welch(a: Sequence[float], b: Sequence[float], *, overlap: float = 0.0, step: float = 0.0) -> PairedTest:
    """Welch's t test (1947) of the difference between the means of unpaired values, a - b.

    `overlap`: n_test / n_train for values of folds; it increases the variance of the mean (Nadeau and Bengio 2003).
    `step`: as in `t_interval`. Raises ValueError for fewer than two values in `a` or `b`.
    """
    if min(len(a), len(b)) < 2:
        raise ValueError(
            _("expected at least two values on each side for Welch's test, got {n} and {m}", n=len(a), m=len(b))
        )
    errors = [max(stdev(values) ** 2, step**2 / 12) * (1 / len(values) + overlap) for values in (a, b)]
    shares = sum(error**2 / (len(values) - 1) for error, values in zip(errors, (a, b), strict=True))
    df = sum(errors) ** 2 / shares if shares > 0 else len(a) + len(b) - 2
    interval: Interval = "corrected_t" if overlap else "t"
    return _t_test(fmean(a) - fmean(b), math.sqrt(sum(errors)), df, None, min(len(a), len(b)), interval)


def _differences(a: Sequence[float], b: Sequence[float]) -> list[float]:
    if len(a) != len(b) or len(a) < 2:
        raise ValueError(_("expected at least two pairs for a paired test, got {n} and {m} values", n=len(a), m=len(b)))
    return [x - y for x, y in zip(a, b, strict=True)]


def _t_test(mean: float, error: float, df: float, sd: float | None, n: int, interval: Interval) -> PairedTest:
    """Tests whether a mean with this standard error differs from 0. If the error is 0, p is 0 or 1."""
    from scipy.special import stdtr

    half = t_quantile(df) * error
    p = min(1.0, 2 * float(stdtr(df, -abs(mean / error)))) if error else float(mean == 0)
    return PairedTest(Estimate(mean, sd, n, mean - half, mean + half, interval), p)


def mcnemar(a_right: npt.ArrayLike, b_right: npt.ArrayLike) -> McNemar:
    """McNemar's exact test (1947) of two boolean arrays [N], True for correctly classified images.

    Raises ValueError if the arrays are empty, not boolean or of different lengths.
    """
    a, b = np.asarray(a_right), np.asarray(b_right)
    if a.dtype != bool or b.dtype != bool:
        raise ValueError(
            _(
                "expected two boolean arrays (image correct) for McNemar's test, got {dtype} and {other}",
                dtype=a.dtype,
                other=b.dtype,
            )
        )
    if a.ndim != 1 or a.shape != b.shape:
        raise ValueError(
            _(
                "expected the same images twice for McNemar's test, got shapes {shape} and {other}",
                shape=a.shape,
                other=b.shape,
            )
        )
    return mcnemar_counts(int((a & ~b).sum()), int((b & ~a).sum()), len(a))


def mcnemar_counts(only_a: int, only_b: int, n: int) -> McNemar:
    """McNemar's exact test from counts of n images. Under the null hypothesis, only_a is binomial with probability 1/2.

    The interval of the difference is by Bonett and Price (2012), as recommended by Fagerland, Lydersen and Laake
    (Statistics in Medicine 33, 2014). Near the 5 % level, it may disagree with the exact p. Raises ValueError for
    invalid counts.
    """
    if not (only_a >= 0 and only_b >= 0 and n >= 1 and only_a + only_b <= n):
        raise ValueError(
            _(
                "expected two counts of n images for McNemar's test, got {only_a} and {only_b} of {n}",
                only_a=only_a,
                only_b=only_b,
                n=n,
            )
        )
    from scipy.special import bdtr

    p = min(1.0, 2 * float(bdtr(min(only_a, only_b), only_a + only_b, 0.5)))
    share_a, share_b = (only_a + 1) / (n + 2), (only_b + 1) / (n + 2)
    middle = share_a - share_b
    half = Z * math.sqrt((share_a + share_b - middle**2) / (n + 2))
    mean, low, high = (only_a - only_b) / n, max(-1.0, middle - half), min(1.0, middle + half)
    return McNemar(Estimate(mean=mean, sd=None, n=n, low=low, high=high, interval="bonett_price"), p, only_a, only_b)


def nadeau_bengio(values: Sequence[float], n_train: float, n_test: float, *, step: float = 0.0) -> Estimate:
    """Corrected interval of a mean over resampled splits (folds x repeats), also for paired differences.

    The training sets of two splits share images, so their scores are correlated and the ordinary t interval is too
    narrow. Nadeau and Bengio (Machine Learning 52, 2003) increase the variance of the mean from sd²/J to
    sd² (1/J + n_test/n_train) for J random splits. Bouckaert and Frank (PAKDD 2004) apply this to repeated
    cross-validation; for its disjoint folds, the interval is conservative. `n_train` and `n_test` are the numbers of
    images in a split (means, if folds differ by one image). `step`: as in `t_interval`. Raises ValueError for fewer
    than two values, a value that is not finite, or an invalid split.
    """
    plain = t_interval(list(values))
    if plain.sd is None:
        raise ValueError(_("expected at least two values for the corrected interval, got 1"))
    half = t_quantile(plain.n - 1) * max(plain.sd, step / math.sqrt(12)) * _correction(plain.n, n_train, n_test)
    return replace(plain, low=plain.mean - half, high=plain.mean + half, interval="corrected_t")


def nadeau_bengio_test(
    a: Sequence[float], b: Sequence[float], n_train: float, n_test: float, *, step: float = 0.0
) -> PairedTest:
    """Corrected resampled t test of a - b, paired by split. `step`: as in `paired_t`."""
    differences = _differences(a, b)
    n, sd = len(differences), stdev(differences)
    error = max(sd, step * math.sqrt(2) / math.sqrt(12)) * _correction(n, n_train, n_test)
    return _t_test(fmean(differences), error, n - 1, sd, n, "corrected_t")


def _correction(n: int, n_train: float, n_test: float) -> float:
    if not (0 < n_train < math.inf and 0 < n_test < math.inf):
        raise ValueError(
            _("expected n_train > 0 and n_test > 0, got {n_train} and {n_test}", n_train=n_train, n_test=n_test)
        )
    return math.sqrt(1 / n + n_test / n_train)


def holm(ps: Sequence[float]) -> list[float]:
    """Returns p values adjusted for multiple tests by Holm's step-down correction (1979), in the given order."""
    adjusted = [0.0] * len(ps)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(ps)), key=lambda i: ps[i])):
        largest = max(largest, min(1.0, (len(ps) - rank) * ps[index]))
        adjusted[index] = largest
    return adjusted


def t_quantile(df: float) -> float:
    """Returns the half-width of a 95 % interval in standard errors, for `df` degrees of freedom."""
    from scipy.special import stdtrit

    return float(stdtrit(df, (1 + LEVEL) / 2))
