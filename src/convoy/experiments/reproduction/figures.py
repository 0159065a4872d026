"""The charts of a reproduction: published and measured values, effects of faults."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from convoy.experiments.measure_words import Shown, Value, shown
from convoy.experiments.reproduction.finding import FaultResult, FaultVerdict, ModelResult
from convoy.experiments.reproduction.words import fault_verdict
from convoy.prediction import prediction_interval
from convoy.reporting import rows
from convoy.reporting.palette import HEAT, MUTED, Look
from convoy.stats import Estimate
from convoy.text import gettext as _


class Span(NamedTuple):
    """An estimate in the unit of its measure; without an interval, low and high equal the mean."""

    mean: float
    low: float
    high: float


class Row(NamedTuple):
    label: str
    published: float | None
    as_published: Span | None
    corrected: Span | None
    prediction: Span | None = None  # prediction interval for one more run as published


class MeasuredNumbers(NamedTuple):
    measure: Shown
    rows: tuple[Row, ...]


class Effect(NamedTuple):
    """Of a fault: score with it minus score without it."""

    name: str
    span: Span
    verdict: FaultVerdict


class EffectNumbers(NamedTuple):
    measure: Shown  # the accuracies of several parts share a group
    effects: tuple[Effect, ...]  # largest first


def span_of(value: Value | None, scale: float) -> Span | None:
    """From an estimate, or a number without an interval."""
    if value is None:
        return None
    if not isinstance(value, Estimate):
        return Span(*3 * (scale * value,))
    low = value.mean if value.low is None else value.low
    high = value.mean if value.high is None else value.high
    return Span(scale * value.mean, scale * low, scale * high)


def measured_numbers(models: Sequence[ModelResult], name: str) -> MeasuredNumbers | None:
    """One row per model with this measure; None if no model has it."""
    metric = shown(name)
    scale, models_rows = metric.unit.scale, []
    for model in models:
        spans = [span_of(side.values.get(name), scale) for side in (model.as_published, model.corrected)]
        published = model.published.get(name)
        if any(spans):
            prediction = _prediction(model.as_published.values.get(name), scale)
            stroke = scale * published if isinstance(published, float) else None
            models_rows.append(Row(model.label, stroke, spans[0], spans[1], prediction))
    return MeasuredNumbers(metric, tuple(models_rows)) if models_rows else None


def _prediction(runs: Value | None, scale: float) -> Span | None:
    if not isinstance(runs, Estimate) or runs.interval != "t" or runs.n < 2:
        return None
    return span_of(prediction_interval(runs), scale)


def measured_rows(numbers: MeasuredNumbers, look: Look) -> rows.Rows:
    """An accuracy is a mark with an interval, other measures are bars. Above: as published; below: corrected."""
    metric = numbers.measure

    def value(span: Span, row: Row, *, published: bool) -> rows.Value:
        prediction = row.prediction if published and metric.is_accuracy else None
        return rows.Value(
            span.mean,
            _ends(span),
            look.colour(row.label),
            look.mark(row.label),
            hollow=published,
            prediction=prediction and (prediction.low, prediction.high),
        )

    def charted(row: Row) -> rows.Row:
        sides = ((row.as_published, True), (row.corrected, False))
        values = tuple(value(span, row, published=published) for span, published in sides if span is not None)
        return rows.Row(row.label, values, reference=row.published)

    return rows.Rows(
        tuple(map(charted, numbers.rows)),
        metric.words,
        metric.unit.of_value,
        bars=not metric.is_accuracy,
        counts=not metric.is_accuracy,
    )


def _ends(span: Span) -> tuple[float, float] | None:
    return (span.low, span.high) if span.high > span.low else None


def measured_caption(panels: Sequence[MeasuredNumbers]) -> str:
    sentences = []
    drawn = [row for numbers in panels for row in numbers.rows]
    protocols = {protocol for row in drawn for protocol in ("as_published", "corrected") if getattr(row, protocol)}
    if len(protocols) == 2:
        sentences.append(_("Hollow, above: as published; filled, below: corrected."))
    else:
        sentences.append(_("Only as published.") if protocols == {"as_published"} else _("Only corrected."))
    if any(row.published is not None for row in drawn):
        sentences.append(_("Vertical stroke: published value."))
    accuracy = any(numbers.measure.is_accuracy for numbers in panels)
    if accuracy:
        sentences.append(_("Pale bars: 95 % intervals; the axis of an accuracy does not begin at 0."))
    if any(row.prediction is not None for numbers in panels for row in numbers.rows if numbers.measure.is_accuracy):
        sentences.append(_("Thin line: 95 % prediction interval for one more run as published."))
    return " ".join(sentences)


def effect_numbers(faults: Sequence[FaultResult]) -> list[EffectNumbers]:
    """Faults with a measured effect, largest first: one group for all accuracies, then one per other measure."""
    groups: dict[str, list[tuple[str, Effect]]] = {}
    for fault in faults:
        metric = shown(fault.measure)
        span = span_of(fault.effect, metric.unit.scale)
        if span is not None:
            if fault.same_bits:  # an interval would only be the grain of the measure
                span = Span(0.0, 0.0, 0.0)
            effect = Effect(fault.title, span, fault.verdict)
            groups.setdefault("accuracy" if metric.is_accuracy else fault.measure, []).append((fault.measure, effect))
    numbers = []
    for group in groups.values():
        group.sort(key=lambda pair: -abs(pair[1].span.mean))
        commonest = Counter(name for name, _ in group).most_common(1)[0][0]
        metric, effects = shown(commonest), [effect for _, effect in group]
        if len({name for name, _ in group}) > 1:
            metric = metric._replace(words=_("accuracy"))
            parts = [name.removesuffix("_accuracy").replace("_", " ") for name, _ in group]
            effects = [e._replace(name=f"{e.name} ({part})") for part, e in zip(parts, effects, strict=True)]
        numbers.append(EffectNumbers(metric, tuple(effects)))
    return sorted(numbers, key=lambda each: not each.measure.is_accuracy)


def effect_rows(numbers: EffectNumbers) -> rows.Rows:
    metric = numbers.measure

    def charted(effect: Effect) -> rows.Row:
        span, colour = effect.span, HEAT if effect.verdict is FaultVerdict.CHANGED else MUTED
        has_number = effect.verdict in (FaultVerdict.CHANGED, FaultVerdict.WITHHELD)
        number = metric.parts(span.mean / metric.unit.scale, signed=True)[0]
        text = number if has_number else fault_verdict(effect.verdict)
        return rows.Row(effect.name, (rows.Value(span.mean, _ends(span), colour, "o"),), text)

    return rows.Rows(
        tuple(map(charted, numbers.effects)),
        _("{measure}, with − without", measure=metric.words),
        metric.unit.of_difference,
        line=0.0,
        counts=metric.exact,
    )


def effects_caption(panels: Sequence[EffectNumbers]) -> str:
    verdicts = {effect.verdict for numbers in panels for effect in numbers.effects}
    sentences = [_("Dot: mean difference; bar: 95 % interval.")]
    if FaultVerdict.WITHHELD in verdicts:
        counted = verdicts & {FaultVerdict.CHANGED, FaultVerdict.NO_CHANGE}
        sentences.append(_("No verdict, except on counted numbers.") if counted else _("No verdict."))
    else:
        if FaultVerdict.NO_INTERVAL in verdicts:
            sentences.append(_("No interval: one run against the others, or one pair of runs."))
        sentences.append(_("Coloured: the fault changed the number; grey: inconclusive or no change."))
    return " ".join(sentences)
