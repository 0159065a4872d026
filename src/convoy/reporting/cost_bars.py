"""Costs of networks as bars."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from convoy.reporting.palette import Look
from convoy.reporting.quantities import compact, listed, plain
from convoy.reporting.rows import Row, Rows, Value


class CostBars(NamedTuple):
    cost: str
    unit: str
    labels: tuple[str, ...]
    values: tuple[float, ...]
    spans: tuple[tuple[float, float] | None, ...] = ()  # 95 % intervals of values that are estimates

    def text(self, index: int) -> str:
        return f"{plain(self.values[index])} {self.unit}" if self.unit else compact(self.values[index])


def cost_rows(numbers: CostBars, look: Look) -> Rows:
    spans = numbers.spans or (None,) * len(numbers.values)
    rows = (
        Row(label, (Value(value, span, look.colour(label)),), numbers.text(place))
        for place, (label, value, span) in enumerate(zip(numbers.labels, numbers.values, spans, strict=True))
    )
    return Rows(tuple(rows), numbers.cost, numbers.unit, bars=True, counts=True)


def cost_bars_caption(panels: Sequence[CostBars]) -> str:
    """The ratio of the highest to the lowest value of each cost."""
    ratios: dict[tuple[str, str], list[str]] = {}
    equal = [numbers.cost for numbers in panels if len(numbers.values) > 1 and len(set(numbers.values)) == 1]
    for numbers in panels:
        values = dict(zip(numbers.labels, numbers.values, strict=True))
        low, high = (choose(values, key=lambda label: values[label]) for choose in (min, max))
        if 0 < values[low] < values[high]:
            ratios.setdefault((high, low), []).append(f"{plain(values[high] / values[low])} times the {numbers.cost}")
    sentences = [f"{high} has {listed(times)} of {low}." for (high, low), times in ratios.items()]
    if equal:
        sentences.append(f"All have the same {listed(equal)}.")
    lines = " Lines: 95 % intervals over seeds." if any(any(numbers.spans) for numbers in panels) else ""
    return " ".join([*sentences, f"The axis begins at 0.{lines}"])
