"""Number formats of the reports."""

from __future__ import annotations

from collections.abc import Sequence

from convoy.stats import Estimate
from convoy.text import gettext as _

MIB = 2**20


def compact(value: float) -> str:
    """Formats with three digits and a magnitude: 1234567 as "1.23 M"."""
    for size, letter in ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= 0.9995 * size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def with_unit(value: float, unit: str) -> str:
    """Formats with magnitude and unit: 1234567 as "1.23 MFLOPs", 12 as "12 FLOPs"."""
    text = compact(value)
    return f"{text}{unit}" if text[-1].isalpha() else f"{text} {unit}"


def plain(value: float) -> str:
    """Formats with at least three digits and thousands separators: 12,346 or 12.3 or 0.123."""
    return f"{value:,.{_digits(value)}f}"


def cost_parts(cost: Estimate | None) -> tuple[str, str]:
    """Returns the mean and "± half-width", both with the digits of the mean; ("", "") if not measured."""
    return ("", "") if cost is None else cost.parts(digits=_digits(cost.mean))


def quartile_range(median: float, quartiles: Sequence[float] | None) -> str:
    """Returns "0.204 to 0.233", with the digits of the median; empty if only the median is recorded."""
    if quartiles is None:
        return ""
    lower, upper = (f"{value:,.{_digits(median)}f}" for value in quartiles)
    return _("{lower} to {upper}", lower=lower, upper=upper)


def p_value(p: float) -> str:
    return "< 0.0001" if p < 0.0001 else f"{p:.4f}"


def _digits(value: float) -> int:
    size = abs(value)
    return 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 3
