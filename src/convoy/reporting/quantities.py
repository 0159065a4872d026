"""Costs as text."""

from __future__ import annotations

from collections.abc import Sequence

from convoy.stats import Estimate
from convoy.text.numbers import interval, plain_decimals

MIB = 2**20


def cost_parts(cost: Estimate | None) -> tuple[str, str]:
    """Returns the mean and "± half-width", both with the digits of the mean; ("", "") if not measured."""
    return ("", "") if cost is None else cost.parts(digits=plain_decimals(cost.mean))


def quartile_range(median: float, quartiles: Sequence[float] | None) -> str:
    """Returns "0.204–0.233", with the digits of the median; empty if only the median is recorded."""
    return "" if quartiles is None else interval(quartiles[0], quartiles[1], plain_decimals(median))
