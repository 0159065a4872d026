"""Number formats of all messages, tables and figures: decimals, signs, magnitudes and intervals."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

from convoy.text import gettext as _

MINUS = "−"


def fixed(value: float, digits: int, *, signed: bool = False) -> str:
    """Formats with `digits` decimals: "1,234.50", "−0.39", with `signed` also "+0.43". Zero after rounding has no sign.

    Rounding errors are removed first: 95.92499999999999 is formatted like 95.925.
    """
    return _with_sign(value, f"{abs(round(value, 9)):,.{digits}f}", signed=signed)


def significant(value: float, digits: int = 3) -> str:
    """Formats with at most `digits` significant digits: "0.00123", "−1.2e-05"."""
    return _with_sign(value, f"{abs(value):.{digits}g}")


def plain(value: float) -> str:
    """Formats with at least three digits and thousands separators: 12,346 or 12.3 or 0.123."""
    return fixed(value, plain_decimals(value))


def plain_decimals(value: float) -> int:
    size = abs(value)
    return 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 3


def compact(value: float) -> str:
    """Formats with three digits and a magnitude: 1234567 as "1.23 M"."""
    size = abs(value)
    for factor, letter in ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")):
        if size >= 0.9995 * factor:
            return f"{significant(value / factor)}{letter}"
    return significant(value)


def with_unit(value: float, unit: str) -> str:
    """Formats with magnitude and unit: 1234567 as "1.23 MFLOPs", 12 as "12 FLOPs"."""
    text = compact(value)
    return f"{text}{unit}" if text[-1].isalpha() else f"{text} {unit}"


def p_value(p: float) -> str:
    return "< 0.0001" if p < 0.0001 else f"{p:.4f}"


def interval(low: float, high: float, number: int | Callable[[float], str]) -> str:
    """Formats the ends of an interval: "97.92–98.44"; if one is negative, "−0.30 to 1.20".

    `number`: the decimals of the ends, or the function that formats them.
    """
    lower, upper = map(partial(fixed, digits=number) if isinstance(number, int) else number, (low, high))
    return _("{lower} to {upper}", lower=lower, upper=upper) if MINUS in (lower[0], upper[0]) else f"{lower}–{upper}"


def decimals_for(half_width: float) -> int:
    """Returns the number of decimals (0 to 4) that shows one significant digit, or two if the first is 1."""
    if half_width <= 0 or not math.isfinite(half_width):
        return 2
    exponent = math.floor(math.log10(half_width))
    leading = half_width / 10**exponent
    return min(4, max(0, -exponent + (1 if leading < 1.95 else 0)))


def _with_sign(value: float, size: str, *, signed: bool = False) -> str:
    """`size`: the formatted absolute value."""
    if not size.strip("0.,"):
        return size
    return f"{MINUS}{size}" if value < 0 else f"+{size}" if signed else size
