"""Costs of networks as bars."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from convoy.reporting.palette import Look
from convoy.reporting.quantities import compact, plain
from convoy.reporting.rows import Row, Rows, Span, Value
from convoy.text import gettext as _


class CostBars(NamedTuple):
    cost: str
    unit: str
    labels: tuple[str, ...]
    values: tuple[float, ...]
    spans: tuple[Span | None, ...] = ()  # 95 % intervals of values that are estimates


def cost_rows(numbers: CostBars, look: Look) -> Rows:
    spans = numbers.spans or (None,) * len(numbers.values)
    rows = (
        Row(
            label,
            (Value(value, span, look.colour(label)),),
            f"{plain(value)} {numbers.unit}" if numbers.unit else compact(value),
        )
        for label, value, span in zip(numbers.labels, numbers.values, spans, strict=True)
    )
    return Rows(tuple(rows), numbers.cost, numbers.unit, bars=True, counts=True)


def cost_bars_caption(panels: Sequence[CostBars]) -> str:
    if any(any(numbers.spans) for numbers in panels):
        return _("The axis begins at 0. Lines: 95 % intervals over seeds.")
    return _("The axis begins at 0.")
