"""Charts of rows: values with their intervals, as marks or as bars from 0."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from convoy.reporting.content import Panel, shortened
from convoy.reporting.palette import INK, MUTED, PAPER, Look
from convoy.reporting.quantities import compact, plain
from convoy.stats import Estimate
from convoy.text import gettext as _

# Inches:
ROW = 0.52  # height of a row whose name is above it
DENSE_ROW = 0.27  # height of a row with its name to the left
BETWEEN = 0.17  # between two values of a row
ABOVE, BELOW = 0.37, 0.2  # from the middle of the first row to the top, of the last to the bottom
LABELS = 0.6  # inches below the axes
LEFT_NAME = 12  # letters: names that are longer, or have a number, are above their row
LONGEST_NAME, BESIDE_TEXT = 44, 38  # letters

Span = tuple[float, float]


@dataclass(frozen=True)
class Value:
    """A value with its interval, in the unit of the axis."""

    value: float
    span: Span | None = None  # its interval: pale, or a line in a bar
    colour: str = MUTED
    mark: str = "|"  # a stroke, or a mark of matplotlib
    hollow: bool = False
    points: tuple[float, ...] = ()  # of which the value is the mean
    crossed: tuple[float, ...] = ()  # runs that diverged
    prediction: Span | None = None  # a thin line

    @classmethod
    def of(cls, estimate: Estimate, colour: str = MUTED, mark: str = "|", *, scale: float = 100) -> Value:
        return cls(scale * estimate.mean, span_of(estimate, scale), colour, mark)


@dataclass(frozen=True)
class Row:
    name: str
    values: tuple[Value, ...]  # from top to bottom
    text: str = ""  # at the right
    reference: float | None = None  # a published value: a vertical stroke


@dataclass(frozen=True)
class Rows:
    rows: tuple[Row, ...]
    quantity: str  # title of the axis
    unit: str = ""  # "%" keeps the axis between 0 and 100
    bars: bool = False
    line: float | None = None  # through all rows: 0 of differences, a mean
    band: Span | None = None  # around the line
    dashed: tuple[float, ...] = ()
    counts: bool = False  # ticks as 12 k

    @property
    def names_left(self) -> bool:
        return all(len(row.name) <= LEFT_NAME and not row.text for row in self.rows)

    @property
    def room(self) -> float:
        """Extra height of a row for the values after the first, in inches."""
        return BETWEEN * (max(len(row.values) for row in self.rows) - 1)

    @property
    def row_height(self) -> float:
        return (DENSE_ROW if self.names_left else ROW) + self.room

    @property
    def first(self) -> float:
        """The middle of the first row, in inches from the top."""
        return (BELOW if self.names_left else ABOVE) + self.room / 2

    @property
    def height(self) -> float:
        return self.first + (len(self.rows) - 1) * self.row_height + BELOW + self.room / 2

    def panel(self, title: str = "") -> Panel:
        top = 0.4 if title else 0.05
        left = 0.3 + 0.085 * max(len(row.name) for row in self.rows) if self.names_left else 0.15
        return Panel(title, partial(draw, chart=self), self.height + LABELS + top, left=left, bottom=LABELS, top=top)


def span_of(estimate: Estimate, scale: float = 100) -> Span | None:
    if estimate.low is None or estimate.high is None:
        return None
    return scale * estimate.low, scale * estimate.high


def limits(chart: Rows) -> Span:
    """Of the axis: bars begin at 0, percentages stay near 0 to 100, which a t interval can exceed."""
    values = [value for row in chart.rows for value in row.values]
    singles = [value.value for value in values] + [point for value in values for point in value.points]
    singles += [row.reference for row in chart.rows if row.reference is not None]
    singles += [] if chart.line is None else [chart.line]
    ends = [end for value in values for span in (value.span, value.prediction) if span for end in span]
    if chart.bars:
        longest = max([*singles, 1e-9])
        return 0.0, 1.02 * max([longest, *(min(end, 1.25 * longest) for end in ends)])  # an interval can be very wide
    ends += [*singles, *(chart.band or ()), *chart.dashed]
    low, high = min(ends), max(ends)
    room = 0.06 * (high - low) or 0.05
    if chart.unit == "%":
        room = max(room, 0.05)
        return max(-1.0, low - room), min(100.0 + min(room, 1.0), high + room)
    return low - room, high + room


def draw(axes: Axes, chart: Rows) -> None:
    low, high = limits(chart)
    axes.set_xlim(low, high)
    axes.set_ylim(chart.height, 0)
    if chart.band:
        axes.axvspan(*chart.band, color=MUTED, alpha=0.16, linewidth=0)
    if chart.line is not None:
        axes.axvline(chart.line, color=INK if chart.band else MUTED, linewidth=1.2 if chart.band else 0.8)
    for place in chart.dashed:
        axes.axvline(place, color=INK, linewidth=1, linestyle=(0, (2, 2)))
    middles = [chart.first + place * chart.row_height for place in range(len(chart.rows))]
    length = BESIDE_TEXT if any(row.text for row in chart.rows) else LONGEST_NAME
    names = shortened([row.name for row in chart.rows], length)
    for row, name, middle in zip(chart.rows, names, middles, strict=True):
        first = middle - BETWEEN * (len(row.values) - 1) / 2
        for place, value in enumerate(row.values):
            (_draw_bar if chart.bars else _draw_mark)(axes, value, first + BETWEEN * place, (low, high))
        if row.reference is not None:
            ends = (first - 0.14, first + BETWEEN * (len(row.values) - 1) + 0.14)
            axes.plot((row.reference,) * 2, ends, color=INK, linewidth=2, solid_capstyle="butt")
        if not chart.names_left:
            _draw_text(axes, name, row.text, first - 0.12)
    if chart.names_left:
        axes.set_yticks(middles, names)
        axes.tick_params(axis="y", length=0)
    else:
        axes.set_yticks([])
    axes.grid(False, axis="y")
    axes.spines["left"].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(4 if chart.bars else 5, steps=[1, 2, 2.5, 5, 10]))
    if chart.counts:
        axes.xaxis.set_major_formatter(FuncFormatter(_count))
    axes.set_xlabel(f"{chart.quantity} ({chart.unit})" if chart.unit else chart.quantity)


def _draw_mark(axes: Axes, value: Value, y: float, shown: Span) -> None:
    colour = value.colour
    if value.span:
        span = max(value.span[0], shown[0]), min(value.span[1], shown[1])
        axes.plot(span, (y, y), color=colour, alpha=0.33, linewidth=8, solid_capstyle="butt")
    if value.prediction:
        axes.plot(value.prediction, (y, y), color=colour, linewidth=1)
    if value.points:
        mark = "o" if value.mark == "|" else value.mark
        axes.plot(value.points, [y] * len(value.points), mark, color=colour, markersize=5, markeredgewidth=0)
    if value.points or value.mark == "|":
        axes.plot((value.value,) * 2, (y - 0.09, y + 0.09), color=colour, linewidth=2.5, solid_capstyle="butt")
    else:  # not clipped: a mark at 100 % would be cut in half
        axes.plot(
            value.value, y, value.mark, color=colour, markersize=6.5, markeredgewidth=1.5, clip_on=False,
            markerfacecolor=PAPER if value.hollow else colour,
        )  # fmt: skip
    axes.plot(value.crossed, [y] * len(value.crossed), "x", color=INK, markersize=7, markeredgewidth=1.5)


def _draw_bar(axes: Axes, value: Value, y: float, shown: Span) -> None:
    face = PAPER if value.hollow else value.colour
    axes.barh(y, value.value, height=0.15, linewidth=1.2, edgecolor=value.colour, facecolor=face)
    if value.span:
        axes.plot((max(shown[0], value.span[0]), value.span[1]), (y, y), color=INK, linewidth=1)


def _draw_text(axes: Axes, name: str, text: str, y: float) -> None:
    """On the paper colour, which hides a line behind the text."""
    across, backed = axes.get_yaxis_transform(), {"facecolor": PAPER, "edgecolor": "none", "pad": 1.0}
    axes.text(0, y, name, transform=across, va="bottom", bbox=backed)
    if text:
        axes.text(1, y, text, transform=across, va="bottom", ha="right", color=MUTED, bbox=backed)


def _count(value: float, place: int | None = None) -> str:
    return f"{'−' if value < 0 else ''}{compact(abs(value))}" if value else "0"


class CostBars(NamedTuple):
    """The costs of networks, as bars."""

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
