"""The charts of a reproduction: published and measured values, effects of faults."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

from convoy.experiments.reproduction.finding import FaultResult, FaultVerdict, ModelResult
from convoy.experiments.reproduction.words import fault_verdict
from convoy.experiments.words import Shown, Value, mean_of, shown
from convoy.prediction import prediction_interval
from convoy.reporting.palette import HEAT, MUTED, Look
from convoy.reporting.rows import ChartRow, RowChart, interval_of
from convoy.reporting.rows import Value as RowValue
from convoy.stats import Estimate
from convoy.text import gettext as _


def measured_rows(models: Sequence[ModelResult], name: str, look: Look) -> RowChart | None:
    """One row per model with this measure. Above, hollow: as published; below: corrected. None if no model has it.

    An accuracy is a mark with an interval, other measures are bars.
    """
    metric = shown(name)
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
    protocols = {value.hollow for value in values}
    if len(protocols) == 2:
        sentences = [_("Hollow, above: as published; filled, below: corrected.")]
    else:
        sentences = [_("Only as published.") if True in protocols else _("Only corrected.")]
    if any(row.reference is not None for row in rows):
        sentences.append(_("Vertical stroke: published value."))
    if not all(chart.bars for chart in charts):
        sentences.append(_("Pale bars: 95 % intervals; the axis of an accuracy does not begin at 0."))
    if any(value.prediction for value in values):
        sentences.append(_("Thin line: 95 % prediction interval for one more run as published."))
    return " ".join(sentences)


def effect_rows(faults: Sequence[FaultResult]) -> dict[str, RowChart]:
    """Measured effects by title: one chart of all accuracies, then one per other measure; largest effects first."""
    groups: dict[str, list[FaultResult]] = {}
    for fault in sorted(faults, key=lambda fault: (not shown(fault.measure).is_accuracy, -fault.size)):
        if fault.effect is not None:
            groups.setdefault("" if shown(fault.measure).is_accuracy else fault.measure, []).append(fault)
    charts = {}
    for group in groups.values():
        ((commonest, n),) = Counter(fault.measure for fault in group).most_common(1)
        metric = shown(commonest)
        if n < len(group):
            metric = metric._replace(words=_("accuracy"))
        charts[metric.title] = RowChart(
            tuple(_effect_row(fault, metric, with_part=n < len(group)) for fault in group),
            _("{measure}, with − without", measure=metric.words),
            metric.unit.of_difference,
            line=0.0,
            counts=metric.measure.exact,
        )
    return charts


def _effect_row(fault: FaultResult, metric: Shown, *, with_part: bool) -> ChartRow:
    assert fault.effect is not None
    part = fault.measure.removesuffix("_accuracy").replace("_", " ")
    name = f"{fault.title} ({part})" if with_part else fault.title
    has_number = fault.verdict in (FaultVerdict.CHANGED, FaultVerdict.WITHHELD)
    text = metric.parts(fault.effect.mean, signed=True)[0] if has_number else fault_verdict(fault.verdict)
    scale, colour = metric.unit.scale, HEAT if fault.verdict is FaultVerdict.CHANGED else MUTED
    span = None if fault.same_bits else interval_of(fault.effect, scale)  # it would only be the grain of the measure
    return ChartRow(name, (RowValue(scale * fault.effect.mean, span, colour, "o"),), text)


def effects_caption(verdicts: Collection[FaultVerdict]) -> str:
    sentences = [_("Dot: mean difference; bar: 95 % interval.")]
    if FaultVerdict.WITHHELD in verdicts:
        counted = FaultVerdict.CHANGED in verdicts or FaultVerdict.NO_CHANGE in verdicts
        sentences.append(_("No verdict, except on counted numbers.") if counted else _("No verdict."))
    else:
        if FaultVerdict.NO_INTERVAL in verdicts:
            sentences.append(_("No interval: one run against the others, or one pair of runs."))
        sentences.append(_("Coloured: the fault changed the number; grey: inconclusive or no change."))
    return " ".join(sentences)
