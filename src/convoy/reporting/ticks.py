"""Axis ticks at round numbers in plain digits, for linear and logarithmic axes."""

from __future__ import annotations

import math
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from convoy.text.numbers import compact

MAX_TICKS = 8  # on a logarithmic axis


def logarithmic(axes: Axes, which: Literal["x", "y"], low: float, high: float) -> None:
    """Sets a logarithmic scale with limits (both above 0) and at least three ticks, at powers of ten where possible."""
    axes.set(**{f"{which}scale": "log", f"{which}lim": (low, high)})
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_ticks(round_numbers(low, high))
    axis.set_major_formatter(FuncFormatter(lambda value, _: compact(value)))
    axis.set_minor_formatter(NullFormatter())
    axis.set_tick_params(which="minor", length=0)


def integers(axis: Axis, max_ticks: int) -> None:
    axis.set_major_locator(MaxNLocator(max_ticks, integer=True))


def round_numbers(low: float, high: float) -> list[float]:
    """Returns ticks between two bounds above 0 for a logarithmic axis: 2 to MAX_TICKS, at least 3 where possible."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks: list[float] = []
    for steps in ((1.0,), (1.0, 3.0), (1.0, 2.0, 5.0), (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0)):
        ticks = [step * 10.0**decade for decade in decades for step in steps if low <= step * 10.0**decade <= high]
        if len(ticks) >= 3:
            return ticks[:: 1 + (len(ticks) - 1) // MAX_TICKS]
    return ticks if len(ticks) > 1 else [tick for tick in MaxNLocator(4).tick_values(low, high) if low <= tick <= high]
