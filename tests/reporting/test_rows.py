"""The chart of rows: its axis and its size."""

from __future__ import annotations

import pytest
from matplotlib.figure import Figure

from convoy.reporting.rows import ChartRow, RowChart, Value, draw, limits
from convoy.stats import wilson


def rows(*values: Value, **options: object) -> RowChart:
    return RowChart(tuple(ChartRow(str(place), (value,)) for place, value in enumerate(values)), "accuracy", **options)


def test_percentages_stay_near_0_to_100() -> None:
    assert limits(rows(Value(99, (90, 108)), Value(50), unit="%"))[1] == pytest.approx(101)
    assert limits(rows(Value(1, (-7, 9)), unit="%"))[0] == -1


def test_the_axis_includes_every_value() -> None:
    chart = rows(Value(3, (2, 4), points=(1,)), Value(3, prediction=(0, 3)), line=7, band=(-2, 8))
    low, high = limits(chart)
    assert low < -2 < 8 < high


def test_bars_begin_at_0_and_a_very_wide_interval_is_truncated() -> None:
    assert limits(rows(Value(10, (-100, 120)), bars=True)) == (0, pytest.approx(1.02 * 12.5))
    assert limits(rows(Value(10), bars=True)) == (0, pytest.approx(10.2))


def test_an_estimate_is_shown_in_percent() -> None:
    value = Value.of(wilson(9, 10))
    assert value.value == 90
    assert value.interval[0] < 90 < value.interval[1]


def test_rows_with_long_names_or_numbers_are_higher_and_named_above() -> None:
    short, long = rows(Value(1)), RowChart((ChartRow("a long name, over 12", (Value(1),)),), "accuracy")
    axes = Figure().add_subplot()
    draw(axes, long)
    assert short.names_left
    assert short.panel().height < long.panel().height
    assert [text.get_text() for text in axes.texts] == ["a long name, over 12"]
