"""Accuracies by source of chance."""

from __future__ import annotations

from convoy.reporting.palette import MODELS
from convoy.reporting.rows import ChartRow, RowChart, Value
from convoy.reporting.words import accuracy_name
from convoy.studies.seeds.finding import SeedsFinding, Spread
from convoy.studies.seeds.words import source_name
from convoy.text import gettext as _


def spreads(finding: SeedsFinding) -> RowChart:
    return RowChart(tuple(map(_row, finding.spreads)), accuracy_name(finding.part), "%")


def _row(spread: Spread) -> ChartRow:
    mean, sd = 100 * spread.mean, 100 * spread.sd
    points = tuple(100 * accuracy for accuracy in spread.accuracies)
    value = Value(mean, (mean - sd, mean + sd), MODELS[0][0], points=points)
    return ChartRow(source_name(spread.source), (value,), f"{mean:.2f} %")


def caption(finding: SeedsFinding) -> str:
    n = len(finding.spreads[0].accuracies)
    return _("Points: runs, n = {n} per row. Stroke: mean. Bar: one standard deviation to either side.", n=n)
