"""Horizontal charts with one row per name: values and their intervals, as marks or as bars from 0."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from convoy.reporting.content import Panel, shortened
from convoy.reporting.palette import INK, MUTED, PAPER, Look
from convoy.stats import Estimate
from convoy.text import gettext as _
from convoy.text.labels import label_text
from convoy.text.numbers import compact, plain

# Inches:
ROW = 0.52  # row height if the name is above the values
DENSE_ROW = 0.27  # row height if the name is to the left
VALUE_GAP = 0.17  # between two values of a row
ABOVE, BELOW = 0.37, 0.2  # margins above the middle of the first row and below the middle of the last
LABELS = 0.6  # below the axes
# Characters:
MAX_LEFT_NAME = 12  # with longer names or text at the right, names are above the values
MAX_NAME, MAX_NAME_WITH_TEXT = 44, 38

Interval = tuple[float, float]  # low, high


@dataclass(frozen=True)
class Value:
    """A value with its interval, in the unit of the axis."""

    value: float
    interval: Interval | None = None  # a pale band; a line if the value is a bar
    colour: str = MUTED
    mark: str = "|"  # a vertical stroke, or a matplotlib marker
    hollow: bool = False
    points: tuple[float, ...] = ()  # the individual results, if the value is their mean
    diverged: tuple[float, ...] = ()  # results of diverged runs, drawn as crosses
    prediction: Interval | None = None  # prediction interval for one more run, drawn as a thin line

    @classmethod
    def of(cls, estimate: Estimate, colour: str = MUTED, mark: str = "|", *, scale: float = 100) -> Value:
        return cls(scale * estimate.mean, interval_of(estimate, scale), colour, mark)


@dataclass(frozen=True)
class ChartRow:
    name: str
    values: tuple[Value, ...]  # from top to bottom
    text: str = ""  # at the right end
    reference: float | None = None  # published value, drawn as a vertical stroke


@dataclass(frozen=True)
class RowChart:
    rows: tuple[ChartRow, ...]
    quantity: str  # title of the axis
    unit: str = ""  # "%" keeps the axis between 0 and 100
    bars: bool = False
    line: float | None = None  # vertical, through all rows: 0 for differences, or a mean
    band: Interval | None = None  # around the line
    dashed: tuple[float, ...] = ()  # vertical dashed lines through all rows
    counts: bool = False  # tick labels such as "12 k"

    @property
    def names_left(self) -> bool:
        return all(len(row.name) <= MAX_LEFT_NAME and not row.text for row in self.rows)

    @property
    def extra_height(self) -> float:
        """Additional height of a row for the values after the first, in inches."""
        return VALUE_GAP * (max(len(row.values) for row in self.rows) - 1)

    @property
    def row_height(self) -> float:
        return (DENSE_ROW if self.names_left else ROW) + self.extra_height

    @property
    def first_middle(self) -> float:
        """Distance of the middle of the first row from the top, in inches."""
        return (BELOW if self.names_left else ABOVE) + self.extra_height / 2

    @property
    def height(self) -> float:
        return self.first_middle + (len(self.rows) - 1) * self.row_height + BELOW + self.extra_height / 2

    def panel(self, title: str = "") -> Panel:
        top = 0.4 if title else 0.05
        left = 0.3 + 0.085 * max(len(row.name) for row in self.rows) if self.names_left else 0.15
        return Panel(title, partial(draw, chart=self), self.height + LABELS + top, left=left, bottom=LABELS, top=top)


def interval_of(estimate: Estimate, scale: float = 100) -> Interval | None:
    if estimate.low is None or estimate.high is None:
        return None
    return scale * estimate.low, scale * estimate.high


def limits(chart: RowChart) -> Interval:
    """Returns the limits of the axis. Bars begin at 0; percentages stay near 0 to 100, which t intervals can exceed."""
    values = [value for row in chart.rows for value in row.values]
    singles = [value.value for value in values] + [point for value in values for point in value.points]
    singles += [row.reference for row in chart.rows if row.reference is not None]
    singles += [] if chart.line is None else [chart.line]
    ends = [end for value in values for ends in (value.interval, value.prediction) if ends for end in ends]
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


def draw(axes: Axes, chart: RowChart) -> None:
    low, high = limits(chart)
    axes.set_xlim(low, high)
    axes.set_ylim(chart.height, 0)
    if chart.band:
        axes.axvspan(*chart.band, color=MUTED, alpha=0.16, linewidth=0)
    if chart.line is not None:
        axes.axvline(chart.line, color=INK if chart.band else MUTED, linewidth=1.2 if chart.band else 0.8)
    for x in chart.dashed:
        axes.axvline(x, color=INK, linewidth=1, linestyle=(0, (2, 2)))
    middles = [chart.first_middle + index * chart.row_height for index in range(len(chart.rows))]
    length = MAX_NAME_WITH_TEXT if any(row.text for row in chart.rows) else MAX_NAME
    names = shortened([row.name for row in chart.rows], length)
    for row, name, middle in zip(chart.rows, names, middles, strict=True):
        first_y = middle - VALUE_GAP * (len(row.values) - 1) / 2
        for index, value in enumerate(row.values):
            (_draw_bar if chart.bars else _draw_mark)(axes, value, first_y + VALUE_GAP * index, (low, high))
        if row.reference is not None:
            ends = (first_y - 0.14, first_y + VALUE_GAP * (len(row.values) - 1) + 0.14)
            axes.plot((row.reference,) * 2, ends, color=INK, linewidth=2, solid_capstyle="butt")
        if not chart.names_left:
            _draw_text(axes, name, row.text, first_y - 0.12)
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


def _draw_mark(axes: Axes, value: Value, y: float, axis_limits: Interval) -> None:
    colour = value.colour
    if value.interval:
        ends = max(value.interval[0], axis_limits[0]), min(value.interval[1], axis_limits[1])
        axes.plot(ends, (y, y), color=colour, alpha=0.33, linewidth=8, solid_capstyle="butt")
    if value.prediction:
        axes.plot(value.prediction, (y, y), color=colour, linewidth=1)
    if value.points:
        mark = "o" if value.mark == "|" else value.mark
        axes.plot(value.points, [y] * len(value.points), mark, color=colour, markersize=5, markeredgewidth=0)
    if value.points or value.mark == "|":
        axes.plot((value.value,) * 2, (y - 0.09, y + 0.09), color=colour, linewidth=2.5, solid_capstyle="butt")
    else:  # without clipping, which would cut a mark at 100 % in half
        axes.plot(
            value.value, y, value.mark, color=colour, markersize=6.5, markeredgewidth=1.5, clip_on=False,
            markerfacecolor=PAPER if value.hollow else colour,
        )  # fmt: skip
    axes.plot(value.diverged, [y] * len(value.diverged), "x", color=INK, markersize=7, markeredgewidth=1.5)


def _draw_bar(axes: Axes, value: Value, y: float, axis_limits: Interval) -> None:
    face = PAPER if value.hollow else value.colour
    axes.barh(y, value.value, height=0.15, linewidth=1.2, edgecolor=value.colour, facecolor=face)
    if value.interval:
        axes.plot((max(axis_limits[0], value.interval[0]), value.interval[1]), (y, y), color=INK, linewidth=1)


def _draw_text(axes: Axes, name: str, text: str, y: float) -> None:
    """Draws name and text on the background colour, which hides a line behind them."""
    across, backed = axes.get_yaxis_transform(), {"facecolor": PAPER, "edgecolor": "none", "pad": 1.0}
    axes.text(0, y, name, transform=across, va="bottom", bbox=backed)
    if text:
        axes.text(1, y, text, transform=across, va="bottom", ha="right", color=MUTED, bbox=backed)


def _count(value: float, tick: int | None = None) -> str:
    return compact(value)


class CostBars(NamedTuple):
    """One cost of several networks, drawn as bars."""

    cost: str
    unit: str
    labels: tuple[str, ...]
    values: tuple[float, ...]
    intervals: tuple[Interval | None, ...] = ()  # 95 %; None for a value that is not an estimate


def cost_rows(numbers: CostBars, look: Look) -> RowChart:
    intervals = numbers.intervals or (None,) * len(numbers.values)
    rows = (
        ChartRow(
            label_text(label),
            (Value(value, interval, look.colour(label)),),
            f"{plain(value)} {numbers.unit}" if numbers.unit else compact(value),
        )
        for label, value, interval in zip(numbers.labels, numbers.values, intervals, strict=True)
    )
    return RowChart(tuple(rows), numbers.cost, numbers.unit, bars=True, counts=True)


def cost_bars_caption(panels: Sequence[CostBars]) -> str:
    if any(any(numbers.intervals) for numbers in panels):
        return _("The axis begins at 0. Lines: 95 % intervals over seeds.")
    return _("The axis begins at 0.")
