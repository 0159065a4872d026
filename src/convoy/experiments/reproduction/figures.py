"""The charts of a reproduction: published and measured values, effects of faults, training under two protocols."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from matplotlib.axes import Axes

from convoy.agreement import prediction_interval
from convoy.experiments.experiment import Side
from convoy.experiments.reproduction.curves import PublishedCurve, Quantity
from convoy.experiments.reproduction.finding import FaultResult, FaultVerdict, ModelResult
from convoy.experiments.reproduction.words import fault_verdict
from convoy.experiments.words import MeasureText, Value, measure_text
from convoy.reporting import figures_curves as curves_
from convoy.reporting import ticks
from convoy.reporting.palette import HEAT, INK, MUTED, PAPER, Look
from convoy.reporting.rows import ChartRow, RowChart, interval_of
from convoy.reporting.rows import Value as RowValue
from convoy.run_contents import part_name
from convoy.stats import Estimate, mean_of
from convoy.text import gettext as _

STYLES = {"as_published": (0, (4, 2.2)), "corrected": "-"}
PUBLISHED_MARKS = {"train": "s", "validation": "D", "test": "D"}
ROLES = ("training", "held out", "test")


def measured_rows(models: Sequence[ModelResult], name: str, look: Look) -> RowChart | None:
    """Returns one row per model with this measure; None if none has it. Hollow marks: as published; below: corrected.

    Accuracies are drawn as marks with intervals, other measures as bars.
    """
    metric = measure_text(name)
    scale = metric.unit.scale

    def drawn(value: Value, label: str, *, published: bool) -> RowValue:
        span = one_more = None
        if isinstance(value, Estimate):
            span = interval_of(value, scale)
            if published and metric.is_accuracy and value.interval == "t" and value.n > 1:
                one_more = interval_of(prediction_interval(value), scale)
        colour, mark = look.colour(label), look.mark(label)
        return RowValue(scale * mean_of(value), span, colour, mark, hollow=published, prediction=one_more)

    rows = []
    for model in models:
        sides = ((model.as_published.values.get(name), True), (model.corrected.values.get(name), False))
        if values := tuple(drawn(value, model.label, published=side) for value, side in sides if value is not None):
            published = model.published.get(name)
            reference = scale * published if isinstance(published, float) else None
            rows.append(ChartRow(model.label, values, reference=reference))
    bars = not metric.is_accuracy
    return RowChart(tuple(rows), metric.words, metric.unit.of_value, bars=bars, counts=bars) if rows else None


def measured_caption(charts: Sequence[RowChart]) -> str:
    rows = [row for chart in charts for row in chart.rows]
    values = [value for row in rows for value in row.values]
    sentences = [_("Hollow marks above: as published; filled marks below: corrected.")]
    if any(row.reference is not None for row in rows):
        sentences.append(_("Vertical line: published value."))
    if not all(chart.bars for chart in charts):
        sentences.append(_("Pale bars: 95 % intervals; the axis of an accuracy may start above 0."))
    if any(value.prediction for value in values):
        sentences.append(_("Thin line: 95 % prediction interval for one more run as published."))
    return " ".join(sentences)


def effect_rows(faults: Sequence[FaultResult]) -> dict[str, RowChart]:
    """Returns charts of measured effects by title: one of all accuracies, one per other measure; largest first."""
    groups: dict[str, list[FaultResult]] = {}
    for fault in sorted(faults, key=lambda fault: (not measure_text(fault.measure).is_accuracy, -fault.size)):
        if fault.effect is not None:
            groups.setdefault("" if measure_text(fault.measure).is_accuracy else fault.measure, []).append(fault)
    charts = {}
    for group in groups.values():
        ((commonest, n),) = Counter(fault.measure for fault in group).most_common(1)
        metric = measure_text(commonest)
        if n < len(group):
            metric = metric._replace(words=_("accuracy"))
        charts[metric.title] = RowChart(
            tuple(_effect_row(fault, metric, with_measure=n < len(group)) for fault in group),
            _("{measure}, with − without", measure=metric.words),
            metric.unit.of_difference,
            line=0.0,
            counts=metric.measure.exact,
        )
    return charts


def _effect_row(fault: FaultResult, metric: MeasureText, *, with_measure: bool) -> ChartRow:
    assert fault.effect is not None
    part = fault.measure.removesuffix("_accuracy")
    measure = part_name(part) if part in ("validation", "test", "fold") else measure_text(fault.measure).words
    name = f"{fault.title} ({measure})" if with_measure else fault.title
    has_number = fault.verdict in (FaultVerdict.CHANGED, FaultVerdict.WITHHELD)
    text = metric.parts(fault.effect.mean, signed=True)[0] if has_number else fault_verdict(fault.verdict)
    scale, colour = metric.unit.scale, HEAT if fault.verdict is FaultVerdict.CHANGED else MUTED
    span = (
        None if fault.same_bits else interval_of(fault.effect, scale)
    )  # without an interval, which would only show the resolution of the measure
    return ChartRow(name, (RowValue(scale * fault.effect.mean, span, colour, "o"),), text)


def effects_caption(verdicts: Collection[FaultVerdict]) -> str:
    sentences = [_("Dot: mean difference; bar: 95 % interval.")]
    if FaultVerdict.WITHHELD in verdicts:
        sentences.append(_("No verdict, except on counts such as parameters."))
    else:
        if FaultVerdict.NO_INTERVAL in verdicts:
            sentences.append(_("No interval: one run against the others, or one pair of runs."))
        sentences.append(_("Coloured: the fault changed the number; grey: inconclusive or no change."))
    return " ".join(sentences)


class Line(NamedTuple):
    protocol: str
    curve: curves_.Curve
    role: str  # one of ROLES; a test set that selects the epoch (a fault) is "held out"
    epochs: tuple[int, ...]  # epochs of the curve's values


class CurveWithBand(NamedTuple):
    """A published curve over epochs 1, 2, ... and the prediction band of one more run as published, by epoch."""

    curve: PublishedCurve  # accuracies in percent
    role: str
    band: Mapping[int, tuple[float, float]]


class Curves(NamedTuple):
    """All curves of one quantity, under both protocols."""

    quantity: Quantity
    lines: tuple[Line, ...]
    reported: tuple[CurveWithBand, ...]

    def band_of(self, line: Line) -> Mapping[int, tuple[float, float]]:
        """Returns the prediction band; empty if this line has no published curve or only one run."""
        if line.protocol != "as_published":
            return {}
        own = (line.curve.label, line.curve.part)
        return next((each.band for each in self.reported if (each.curve.label, each.curve.part) == own), {})


def curves(
    metrics: Mapping[Side, Mapping[str, Sequence[curves_.Metrics]]],
    quantity: Quantity,
    published: Sequence[tuple[PublishedCurve, Mapping[int, tuple[float, float]]]],
) -> Curves:
    """`metrics`: protocol -> label -> epochs of its runs. `published`: curves of all quantities with their bands."""
    lines: list[Line] = []
    scale = 100 if quantity == "accuracy" else 1
    for protocol, runs in metrics.items():
        curves_of_side = curves_.curve_numbers(runs, quantity).curves
        for curve in curves_of_side:
            role = "training" if curve.part == "train" else "held out"
            lines.append(Line(protocol, curve, role, tuple(range(1, len(curve.mean) + 1))))
        # Test scores of some epochs, in addition to validation scores. The epochs differ between seeds.
        for label in [curve.label for curve in curves_of_side if curve.part == "validation"]:
            by_epoch = curves_.values_by_epoch(runs[label][0], "test", quantity)
            values = tuple(scale * value for value in by_epoch.values())
            if values:
                lines.append(
                    Line(protocol, curves_.Curve(label, "test", values, values, values), "test", tuple(by_epoch))
                )
    roles = {(line.curve.label, line.curve.part): line.role for line in lines}
    reported = [
        CurveWithBand(
            replace(curve, values=tuple(scale * value for value in curve.values)),
            roles.get((curve.label, curve.part), "training" if curve.part == "train" else "held out"),
            {epoch: (scale * low, scale * high) for epoch, (low, high) in band.items()},
        )
        for curve, band in published
        if curve.quantity == quantity
    ]
    return Curves(quantity, tuple(lines), tuple(reported))


def draw_curves(axes: Axes, curves: Curves, look: Look, roles: Sequence[str]) -> None:
    """Draws the lines of these roles. With several roles, training lines are thin and test scores are crosses.

    All panels of a chart have the same axis limits, so that they are comparable.
    """
    group = [line for line in curves.lines if line.role in roles]
    together = len({line.role for line in group}) > 1
    for line in group:
        curve, colour, style, epochs = line.curve, look.colour(line.curve.label), STYLES[line.protocol], line.epochs
        thin = line.role == "training" and together
        if band := curves.band_of(line):
            lowest, highest = zip(*band.values(), strict=True)
            axes.fill_between([*band], lowest, highest, color=colour, alpha=0.13, linewidth=0)
        elif not thin:
            axes.fill_between(epochs, curve.low, curve.high, color=colour, alpha=0.13, linewidth=0)
        few = len(curve.mean) <= 12
        mark = "x" if line.role == "test" and together else look.mark(curve.label) if few and not thin else ""
        axes.plot(
            epochs, curve.mean, color=colour, linestyle=style, linewidth=1.0 if thin else 2.0, marker=mark,
            markersize=5, markeredgewidth=1.2 if mark == "x" else 0,
        )  # fmt: skip
        if thin and len(epochs) == 1:  # a line of one point is invisible
            axes.plot(epochs, curve.mean, "_", color=colour, markersize=12)
    single = len({line.curve.label for line in curves.lines}) == 1
    for each in [each for each in curves.reported if each.role in roles]:
        size = 3.5 if len(each.curve.values) > 12 else 5
        axes.plot(
            range(1, len(each.curve.values) + 1), each.curve.values, PUBLISHED_MARKS[each.curve.part], markersize=size,
            color=INK if single else look.colour(each.curve.label), markerfacecolor=PAPER, linestyle="none",
        )  # fmt: skip
    published = [each.curve.values for each in curves.reported]
    longest = max(*map(len, published), *(line.epochs[-1] for line in curves.lines), 0, 0)
    values = [value for line in curves.lines for value in (*line.curve.mean, *line.curve.low, *line.curve.high)]
    values += [value for curve in published for value in curve]
    values = [value for value in values if math.isfinite(value)] or [0.0]  # a loss that is not finite is a gap
    low, high = min(values), max(values)
    if curves.quantity == "loss" and low > 0 and high > 20 * low:
        ticks.logarithmic(axes, "y", 0.85 * low, 1.15 * high)
    else:
        room = 0.05 * (high - low) or 0.05 if curves.quantity == "loss" else max(0.2, 0.04 * (high - low))
        axes.set_ylim(low - room, high + room)
    curves_.label_by_epoch(axes, longest, curves.quantity)


def curves_caption(accuracy: Curves) -> str:
    sentences = []
    if accuracy.reported:
        parts = dict.fromkeys(each.curve.part for each in accuracy.reported)
        shapes = {"s": _("squares"), "D": _("diamonds")}
        marks = "; ".join(f"{part_name(part)}: {shapes[PUBLISHED_MARKS[part]]}" for part in parts)
        sentences.append(_("Hollow marks: published ({marks}).", marks=marks))
    if any(line.role == "test" for line in accuracy.lines):
        sentences.append(_("Test scores: first seed (protocol fault: the test set was scored during training)."))
    if any(line.curve.low != line.curve.high for line in accuracy.lines):
        sentences.append(_("Lines: means; bands: range over seeds."))
    if any(each.band for each in accuracy.reported):
        sentences.append(
            _("Where a curve is published, the band is the 95 % prediction interval for one more run, at each epoch.")
        )
    return " ".join([*sentences, curves_.training_values()])
