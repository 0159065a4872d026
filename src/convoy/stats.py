"""Estimates, intervals, paired tests and corrections: the only form in which Convoy shows a result.

scipy.special has the t distribution without the 0.9 s that scipy.stats takes to import; even so it is imported late.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist, fmean, stdev
from typing import Any, Literal, NamedTuple

LEVEL = 0.95  # of every interval
Z = NormalDist().inv_cdf((1 + LEVEL) / 2)


@dataclass(frozen=True)
class Estimate:
    """A mean and its 95 % interval; `n` counts what the interval is over: seeds ("t") or images ("wilson").

    One value alone ("t" with n = 1) has neither sd nor interval: sd, low and high are None.
    """

    mean: float
    sd: float | None
    n: int
    low: float | None
    high: float | None
    interval: Literal["t", "wilson"]

    @property
    def half_width(self) -> float | None:
        """What stands behind "±"; None where there is no interval or an asymmetric one."""
        return None if self.interval == "wilson" or self.high is None else self.high - self.mean

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, table: Mapping[str, Any]) -> Estimate:
        return cls(**{name: table[name] for name in cls.__dataclass_fields__})

    def text(self, unit: str = "%", *, scale: float | None = None, digits: int = 2) -> str:
        """ "99.12 ± 0.21 % (n = 3)"; Wilson: "98.20 % (97.92–98.44, 10,000 images)"; one value: "12.30 s (n = 1)".

        The value is multiplied by `scale` (100 for the unit "%", else 1). "±" is always the 95 % half-width.
        """
        number, interval = self.parts(scale=scale if scale is not None else (100 if unit == "%" else 1), digits=digits)
        if self.interval == "wilson":
            return f"{number} {unit} ({interval}, {self.n:,} images)"
        return f"{number}{' ' + interval if interval else ''} {unit} (n = {self.n})"

    def parts(self, *, scale: float = 1, digits: int = 2) -> tuple[str, str]:
        """The number and its interval apart, as a table wants them: ("99.12", "± 0.21") or ("98.20", "97.92–98.44")."""
        number = f"{self.mean * scale:,.{digits}f}"
        if self.low is None or self.high is None:
            return number, ""
        if self.interval == "wilson":
            return number, f"{self.low * scale:,.{digits}f}–{self.high * scale:,.{digits}f}"
        return number, f"± {(self.high - self.mean) * scale:,.{digits}f}"


class PairedTest(NamedTuple):
    difference: Estimate  # a - b
    p: float  # two-sided


def wilson(correct: int, n: int) -> Estimate:
    """Wilson's score interval (1927) of a proportion, `correct` of `n` images.

    Raises ValueError where they are no proportion.
    """
    if not (0 <= correct <= n and n > 0):
        raise ValueError(f"{correct} correct of {n} images is no proportion")
    share = correct / n
    weight = 1 + Z * Z / n
    middle = (share + Z * Z / (2 * n)) / weight
    half = Z / weight * math.sqrt(share * (1 - share) / n + Z * Z / (4 * n * n))
    # At 0 and n the bound is the share itself; rounding must not push it past.
    low = 0.0 if correct == 0 else middle - half
    high = 1.0 if correct == n else middle + half
    return Estimate(mean=share, sd=None, n=n, low=low, high=high, interval="wilson")


def t_interval(values: Sequence[float]) -> Estimate:
    """Student's t interval of the mean. Raises ValueError where there is no value or one that is not finite."""
    if not values or not all(math.isfinite(value) for value in values):
        raise ValueError(f"an estimate needs finite values, not {list(values)}")
    mean = fmean(values)
    if len(values) == 1:
        return Estimate(mean=mean, sd=None, n=1, low=None, high=None, interval="t")
    sd = stdev(values)
    half = _t_quantile(len(values) - 1) * sd / math.sqrt(len(values))
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
    half = _t_quantile(n - 1) * error
    estimate = Estimate(mean=mean, sd=sd, n=n, low=mean - half, high=mean + half, interval="t")
    if error == 0:
        return PairedTest(estimate, 1.0 if mean == 0 else 0.0)
    from scipy.special import stdtr

    return PairedTest(estimate, min(1.0, 2 * float(stdtr(n - 1, -abs(mean / error)))))


def holm(ps: Sequence[float]) -> list[float]:
    """Holm's step-down correction (1979): p values adjusted for being several, in the order given."""
    adjusted = [0.0] * len(ps)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(ps)), key=lambda i: ps[i])):
        largest = max(largest, min(1.0, (len(ps) - rank) * ps[index]))
        adjusted[index] = largest
    return adjusted


def digits_for(half_width: float) -> int:
    """Decimals that show an uncertainty with one significant digit, two where it begins with a 1; 0 to 4."""
    if half_width <= 0 or not math.isfinite(half_width):
        return 2
    exponent = math.floor(math.log10(half_width))
    leading = half_width / 10**exponent
    return min(4, max(0, -exponent + (1 if leading < 1.95 else 0)))


def _t_quantile(freedom: int) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(freedom, (1 + LEVEL) / 2))
