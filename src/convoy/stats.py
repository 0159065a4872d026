"""Estimates, intervals, paired tests and corrections: the only form in which Convoy shows a result.

scipy.special has the distributions without the 0.9 s that scipy.stats takes to import; even so it is imported late.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist, fmean, stdev
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

LEVEL = 0.95  # of every interval
TAILS = (1 - LEVEL) / 2, (1 + LEVEL) / 2  # the quantiles at which a two-sided interval ends
Z = NormalDist().inv_cdf(TAILS[1])
RESAMPLES = 10_000
AT_ONCE = 2**22  # numbers that the bootstrap holds at a time

# What an interval is over, and how it was made: seeds (Student's t), folds (Nadeau and Bengio's corrected t), images
# (Wilson for a share, Bonett and Price for the difference of two shares of the same images, Newcombe for that of two
# independent shares), or whatever was resampled. "prediction": for one more run, not for the mean.
Interval = Literal["t", "prediction", "corrected_t", "wilson", "bonett_price", "newcombe", "percentile", "bca"]
OVER_IMAGES = ("wilson", "bonett_price", "newcombe")
SYMMETRIC = ("t", "prediction", "corrected_t")


@dataclass(frozen=True)
class Estimate:
    """A mean (bootstrap: any statistic) and its 95 % interval; `n` counts what the interval is over: see Interval.

    One value alone ("t" with n = 1) has neither sd nor interval: sd, low and high are None. Images have no sd either.
    """

    mean: float
    sd: float | None
    n: int
    low: float | None
    high: float | None
    interval: Interval

    @property
    def half_width(self) -> float | None:
        """What stands behind "±"; None where there is no interval or an asymmetric one."""
        return None if self.interval not in SYMMETRIC or self.high is None else self.high - self.mean

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, table: Mapping[str, Any]) -> Estimate:
        return cls(**{name: table[name] for name in cls.__dataclass_fields__})

    def text(self, unit: str = "%", *, scale: float | None = None, digits: int = 2) -> str:
        """ "99.12 ± 0.21 % (n = 3)"; over images: "98.20 % (97.92–98.44, 10,000 images)"; one value: "12.30 s (n = 1)".

        The value is multiplied by `scale` (100 for the unit "%", else 1). "±" is always the 95 % half-width.
        """
        scale = scale if scale is not None else (100 if unit == "%" else 1)
        number, interval = self.parts(scale=scale, digits=digits, share=unit == "%")
        if self.interval in OVER_IMAGES:
            return f"{number} {unit} ({interval}, {self.n:,} images)"
        if self.interval in SYMMETRIC:
            scores = " folds" if self.interval == "corrected_t" else ""
            return f"{number}{' ' + interval if interval else ''} {unit} (n = {self.n}{scores})"
        return f"{number} {unit} ({interval}, bootstrap, n = {self.n:,})"

    def parts(self, *, scale: float = 1, digits: int = 2, share: bool = False) -> tuple[str, str]:
        """The number and its interval apart, as a table wants them: ("99.12", "± 0.21") or ("98.20", "97.92–98.44").

        Of a `share` an interval that passes 0 or 1 is told by its ends, cut off there: "[91.20 to 100.00]".
        """
        half = (self.half_width or 0.0) * scale
        if half and half < 0.5 * 10**-digits:  # it would be printed as ± 0.00
            digits = max(digits, digits_for(half))
        number = fixed(self.mean * scale, digits)
        if self.low is None or self.high is None:
            return number, ""
        if share and self.interval in SYMMETRIC and not 0 <= self.low <= self.high <= 1:
            low, high = (min(max(end, 0.0), 1.0) * scale for end in (self.low, self.high))
            return number, f"[{low:,.{digits}f} to {high:,.{digits}f}]"
        if self.interval in SYMMETRIC:
            return number, f"± {half:,.{digits}f}"
        to = " to " if self.low < 0 else "–"  # a dash before a minus reads badly
        return number, f"{self.low * scale:,.{digits}f}{to}{self.high * scale:,.{digits}f}"

    def points(self) -> str:
        """A difference of shares: "0.9 ± 0.2 points"; of an interval that is not symmetric the ends, in brackets."""
        mean = 100 * self.mean
        if self.low is None or self.high is None:
            return f"{mean:.2f} points"
        if self.half_width is None:
            return f"{mean:.2f} points [{100 * self.low:.2f} to {100 * self.high:.2f}]"
        half = 100 * self.half_width
        digits = max(1, digits_for(half))
        return f"{mean:.{digits}f} ± {half:.{digits}f} points"


class PairedTest(NamedTuple):
    difference: Estimate  # a - b
    p: float  # two-sided


class McNemar(NamedTuple):
    """Two networks on the same images; p depends on the images that only one of them has right."""

    difference: Estimate  # of the accuracies, a - b, over images
    p: float  # two-sided, exact
    only_a: int
    only_b: int


class FiveByTwo(NamedTuple):
    difference: float  # mean of the ten differences
    p: float  # Dietterich's t test
    p_combined: float  # Alpaydin's F test: the same null, and all ten differences count alike


def distinguishable(p: float) -> bool:
    """Whether a test, corrected where there are several, tells two apart. "No" is no proof that they are alike."""
    return p < 1 - LEVEL


def wilson(correct: int, n: int) -> Estimate:
    """Wilson's score interval (1927) of a proportion, `correct` of `n` images.

    Raises ValueError where they are no proportion.
    """
    if not (0 <= correct <= n and n > 0):
        raise ValueError(f"{correct} correct of {n} images is no proportion")
    share = correct / n
    low, high = wilson_ends(share, n)
    return Estimate(mean=share, sd=None, n=n, low=low, high=high, interval="wilson")


def wilson_ends(share: float, n: int) -> tuple[float, float]:
    """Low and high of Wilson's score interval of a share of n images."""
    weight = 1 + Z * Z / n
    middle = (share + Z * Z / (2 * n)) / weight
    half = Z / weight * math.sqrt(share * (1 - share) / n + Z * Z / (4 * n * n))
    # At 0 and 1 the bound is the share itself; rounding must not push it past.
    return 0.0 if share == 0 else middle - half, 1.0 if share == 1 else middle + half


def t_interval(values: Sequence[float], *, step: float = 0.0) -> Estimate:
    """Student's t interval of the mean.

    `step` is the grain of the values (1 / images for an accuracy): equal counts are no proof that there is no spread.
    The interval takes the spread for no less than that of rounding a value to the grain, step / sqrt(12); `sd` remains
    that of the values. Raises ValueError: no value, or one that is not finite.
    """
    if not values or not all(math.isfinite(value) for value in values):
        raise ValueError(f"an estimate needs finite values, not {list(values)}")
    mean = fmean(values)
    if len(values) == 1:
        return Estimate(mean=mean, sd=None, n=1, low=None, high=None, interval="t")
    sd = stdev(values)
    half = t_quantile(len(values) - 1) * max(sd, step / math.sqrt(12)) / math.sqrt(len(values))
    return Estimate(mean=mean, sd=sd, n=len(values), low=mean - half, high=mean + half, interval="t")


def paired_t(a: Sequence[float], b: Sequence[float], *, step: float = 0.0) -> PairedTest:
    """Student's paired t test of a - b, pair by pair (same seed).

    `step` is the grain of the values (1 / images for an accuracy). Differences that agree to the grain look as if they
    had no spread at all, and would prove anything; the spread is not taken for less than that of rounding two values to
    the grain, step / sqrt(6). Raises ValueError: lengths differ, or fewer than two pairs.
    """
    if len(a) != len(b) or len(a) < 2:
        raise ValueError(f"a paired test needs two pairs or more, not {len(a)} values against {len(b)}")
    differences = [x - y for x, y in zip(a, b, strict=True)]
    n, mean, sd = len(differences), fmean(differences), stdev(differences)
    error = max(sd, step / math.sqrt(6)) / math.sqrt(n)
    half = t_quantile(n - 1) * error
    estimate = Estimate(mean=mean, sd=sd, n=n, low=mean - half, high=mean + half, interval="t")
    return PairedTest(estimate, _p_of_t(mean, error, n - 1))


def welch(a: Sequence[float], b: Sequence[float], *, overlap: float = 0.0, step: float = 0.0) -> PairedTest:
    """Welch's t test (1947) of the means, a - b, where no value of `a` belongs to one of `b`.

    `overlap`: n_test / n_train where the values of a side are those of its folds, by which Nadeau and Bengio (2003)
    widen the variance of their mean. `step`: the grain of the values, as in `paired_t`; the spread of a side is not
    taken for less than that of rounding a value to it. Raises ValueError: fewer than two values on a side.
    """
    if min(len(a), len(b)) < 2:
        raise ValueError(f"Welch's test needs two values or more on each side, not {len(a)} and {len(b)}")
    errors = [max(stdev(values) ** 2, step**2 / 12) * (1 / len(values) + overlap) for values in (a, b)]
    mean, error = fmean(a) - fmean(b), math.sqrt(sum(errors))
    shares = sum(each**2 / (len(values) - 1) for each, values in zip(errors, (a, b), strict=True))
    freedom = sum(errors) ** 2 / shares if shares > 0 else len(a) + len(b) - 2
    half = t_quantile(freedom) * error
    interval: Interval = "corrected_t" if overlap else "t"
    estimate = Estimate(mean, None, min(len(a), len(b)), mean - half, mean + half, interval)
    return PairedTest(estimate, _p_of_t(mean, error, freedom))


def mcnemar(a_right: npt.ArrayLike, b_right: npt.ArrayLike) -> McNemar:
    """McNemar's test (1947) in its exact form, of two boolean arrays [N] that tell which images are right.

    Raises ValueError: the arrays are not boolean, or not of one length above 0.
    """
    a, b = np.asarray(a_right), np.asarray(b_right)
    if a.dtype != bool or b.dtype != bool:
        raise ValueError(f"McNemar's test needs two boolean arrays (image right or not), not {a.dtype} and {b.dtype}")
    if a.ndim != 1 or a.shape != b.shape:
        raise ValueError(f"McNemar's test needs the same images twice, not shapes {a.shape} and {b.shape}")
    return mcnemar_counts(int((a & ~b).sum()), int((b & ~a).sum()), len(a))


def mcnemar_counts(only_a: int, only_b: int, n: int) -> McNemar:
    """The same from counts, of n images. Under the null each image that only one has right is a fair coin's throw.

    The interval of the difference is Bonett and Price's (2012), one of those that Fagerland, Lydersen and Laake
    (Statistics in Medicine 33, 2014) recommend; close to the 5 % level it may say otherwise than the exact p.
    """
    if not (only_a >= 0 and only_b >= 0 and n >= 1 and only_a + only_b <= n):
        raise ValueError(f"{only_a} and {only_b} of {n} images are no counts for McNemar's test")
    from scipy.special import bdtr

    p = min(1.0, 2 * float(bdtr(min(only_a, only_b), only_a + only_b, 0.5)))
    share_a, share_b = (only_a + 1) / (n + 2), (only_b + 1) / (n + 2)
    middle = share_a - share_b
    half = Z * math.sqrt((share_a + share_b - middle**2) / (n + 2))
    mean, low, high = (only_a - only_b) / n, max(-1.0, middle - half), min(1.0, middle + half)
    return McNemar(Estimate(mean=mean, sd=None, n=n, low=low, high=high, interval="bonett_price"), p, only_a, only_b)


def nadeau_bengio(values: npt.ArrayLike, n_train: float, n_test: float, *, step: float = 0.0) -> Estimate:
    """The interval of a mean over resampled splits (folds x repeats), or of a mean of paired differences over them.

    The training parts of two splits share images, so that their scores vary together and the plain t interval is too
    narrow. Nadeau and Bengio (Machine Learning 52, 2003) widen the variance of the mean from sd²/J to
    sd² (1/J + n_test/n_train) for J random splits; Bouckaert and Frank (PAKDD 2004) apply it to repeated
    cross-validation, over whose disjoint folds it is on the safe side. `n_train` and `n_test` are images of one split
    (means, where folds differ by one). `step` is the grain of the values, as in `paired_t`: the spread is not taken for
    less than that of rounding one value to it, step / sqrt(12). Raises ValueError: fewer than two values, one that is
    not finite, no split.
    """
    scores = _several(values, "the corrected interval").tolist()
    if not (math.isfinite(n_train) and math.isfinite(n_test) and n_train > 0 and n_test > 0):
        raise ValueError(f"{n_train} images to train on and {n_test} to test on are no split")
    mean, sd = fmean(scores), stdev(scores)
    spread = max(sd, step / math.sqrt(12))
    half = t_quantile(len(scores) - 1) * spread * math.sqrt(1 / len(scores) + n_test / n_train)
    return Estimate(mean=mean, sd=sd, n=len(scores), low=mean - half, high=mean + half, interval="corrected_t")


def nadeau_bengio_test(
    a: npt.ArrayLike, b: npt.ArrayLike, n_train: float, n_test: float, *, step: float = 0.0
) -> PairedTest:
    """The corrected resampled t test of a - b, split by split. `step`: the grain of a and b, as in `paired_t`."""
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if first.shape != second.shape:
        raise ValueError(f"a paired test needs pairs, not {first.size} values against {second.size}")
    step *= math.sqrt(2)  # both are rounded
    difference = nadeau_bengio(first - second, n_train, n_test, step=step)
    assert difference.sd is not None
    error = max(difference.sd, step / math.sqrt(12)) * math.sqrt(1 / difference.n + n_test / n_train)
    return PairedTest(difference, _p_of_t(difference.mean, error, difference.n - 1))


def five_by_two_cv(differences: npt.ArrayLike) -> FiveByTwo:
    """Five times two-fold cross-validation, differences [5, 2] of two models' scores, a row a repetition.

    Dietterich's paired t test (Neural Computation 10, 1998; 5 degrees of freedom) divides the first of the ten by their
    spread within the repetitions; in Alpaydin's combined F test (Neural Computation 11, 1999; 10 and 5 degrees) all ten
    count alike. Both err more often than 5 times of 100 where models overfit the halves: simulated in
    tests/test_stats_simulated.py. Raises ValueError: another shape, or a value that is not finite.
    """
    table = np.asarray(differences, dtype=np.float64)
    if table.shape != (5, 2) or not np.isfinite(table).all():
        raise ValueError(f"the 5x2cv test needs 5 x 2 finite differences, not an array of shape {table.shape}")
    from scipy.special import fdtrc

    spread = float(table.var(axis=1, ddof=0).sum()) * 2  # sum over repetitions of the squared distances to their mean
    p = _p_of_t(float(table[0, 0]), math.sqrt(spread / 5), 5)
    squares = float((table**2).sum())
    combined = float(fdtrc(10, 5, squares / (2 * spread))) if spread > 0 else float(squares == 0)
    return FiveByTwo(float(table.mean()), p, combined)


def bootstrap(
    values: npt.ArrayLike,
    statistic: Callable[..., Any] = np.mean,
    seed: int = 0,
    *,
    method: Literal["bca", "percentile"] = "bca",
    resamples: int = RESAMPLES,
) -> Estimate:
    """The bootstrap interval of a statistic of independent values [N], such as images: `statistic(array, axis=-1)`.

    BCa (Efron 1987) corrects the percentile interval for bias and skewness. Of a handful of values, such as seeds, both
    are too narrow: those take `t_interval`. Raises ValueError: fewer than two values, one not finite, fewer than 1,000
    resamples, an unknown method, a statistic that BCa cannot correct.
    """
    sample = _several(values, "the bootstrap")
    if method not in ("bca", "percentile"):
        raise ValueError(f"unknown bootstrap method {method!r}; allowed: bca, percentile")
    if resamples < 1000:
        raise ValueError(f"resamples = {resamples}: the ends of a 95 % interval take 1,000 or more")
    observed = float(statistic(sample, axis=-1))
    random = np.random.default_rng(seed)
    drawn = np.concatenate(
        [
            statistic(sample[random.integers(0, len(sample), (len(block), len(sample)))], axis=-1)
            for block in _blocks(resamples, len(sample))
        ]
    )
    corrected = method == "bca" and np.ptp(drawn) > 0
    tails = _bca_tails(sample, statistic, observed, drawn) if corrected else TAILS
    low, high = (float(end) for end in np.quantile(drawn, tails))
    return Estimate(mean=observed, sd=None, n=len(sample), low=low, high=high, interval=method)


def _bca_tails(
    sample: np.ndarray, statistic: Callable[..., Any], observed: float, drawn: np.ndarray
) -> tuple[float, float]:
    """The quantiles of the draws at which the BCa interval ends."""
    from scipy.special import ndtr, ndtri

    below = ((drawn < observed).mean() + (drawn <= observed).mean()) / 2
    others = np.arange(len(sample) - 1)
    without_one = np.concatenate(
        [
            statistic(sample[others + (others >= block[:, None])], axis=-1)  # (block, N - 1)
            for block in _blocks(len(sample), len(sample))
        ]
    )
    influence = without_one.mean() - without_one
    squares = float((influence**2).sum())
    if not 0 < below < 1 or squares == 0:
        raise ValueError("the BCa interval is not defined for this statistic of these values; method='percentile' is")
    bias, skew = float(ndtri(below)), float((influence**3).sum()) / (6 * squares**1.5)
    ends = [bias + Z * side for side in (-1, 1)]
    low, high = (float(ndtr(bias + end / (1 - skew * end))) for end in ends)
    return low, high


def holm(ps: Sequence[float]) -> list[float]:
    """Holm's step-down correction (1979): p values adjusted for being several, in the order given."""
    adjusted = [0.0] * len(ps)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(ps)), key=lambda i: ps[i])):
        largest = max(largest, min(1.0, (len(ps) - rank) * ps[index]))
        adjusted[index] = largest
    return adjusted


def fixed(value: float, digits: int) -> str:
    """With so many decimals. 95.92499999999999 and 95.92500000000001, one number computed in two ways, print alike."""
    return f"{round(value, 9):,.{digits}f}"


def digits_for(half_width: float) -> int:
    """Decimals that show an uncertainty with one significant digit, two where it begins with a 1; 0 to 4."""
    if half_width <= 0 or not math.isfinite(half_width):
        return 2
    exponent = math.floor(math.log10(half_width))
    leading = half_width / 10**exponent
    return min(4, max(0, -exponent + (1 if leading < 1.95 else 0)))


def _several(values: npt.ArrayLike, what: str) -> np.ndarray:
    """float64 [N], N >= 2, all finite."""
    several = np.asarray(values, dtype=np.float64)
    if several.ndim != 1 or several.size < 2:
        raise ValueError(f"{what} needs two values or more in one row, not an array of shape {several.shape}")
    odd = np.flatnonzero(~np.isfinite(several))
    if odd.size:
        raise ValueError(f"{what} needs finite values; number {odd[0] + 1} of {several.size} is {several[odd[0]]}")
    return several


def _blocks(total: int, width: int) -> Iterator[np.ndarray]:
    """0 to total - 1 in pieces whose rows of this width fit into memory together."""
    rows = max(1, AT_ONCE // width)
    return (np.arange(start, min(start + rows, total)) for start in range(0, total, rows))


def _p_of_t(mean: float, error: float, freedom: float) -> float:
    """Two-sided. Values without any spread prove all or nothing."""
    if error == 0:
        return 1.0 if mean == 0 else 0.0
    from scipy.special import stdtr

    return min(1.0, 2 * float(stdtr(freedom, -abs(mean / error))))


def t_quantile(freedom: float) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(freedom, (1 + LEVEL) / 2))
