"""The charts of a reproduction: published and measured values, effects of faults."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from convoy.experiments.measure_words import Shown, Value, shown
from convoy.experiments.reproduction.finding import FaultResult, FaultVerdict, ModelResult
from convoy.prediction import prediction_interval
from convoy.reporting.content import shortened
from convoy.reporting.palette import HEAT, INK, MUTED, PAPER, Look
from convoy.reporting.quantities import compact
from convoy.stats import Estimate

ROW_INCHES = 0.62
EFFECT_INCHES = 0.5
OFFSET = 0.14  # of the two protocols from the middle of a row, in rows


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
    scale, rows = metric.unit.scale, []
    for model in models:
        spans = [span_of(side.values.get(name), scale) for side in (model.as_published, model.corrected)]
        published = model.published.get(name)
        if any(spans):
            prediction = _prediction(model.as_published.values.get(name), scale)
            stroke = scale * published if isinstance(published, float) else None
            rows.append(Row(model.label, stroke, spans[0], spans[1], prediction))
    return MeasuredNumbers(metric, tuple(rows)) if rows else None


def _prediction(runs: Value | None, scale: float) -> Span | None:
    if not isinstance(runs, Estimate) or runs.interval != "t" or runs.n < 2:
        return None
    return span_of(prediction_interval(runs), scale)


def draw_measured(axes: Axes, numbers: MeasuredNumbers, look: Look) -> None:
    """An accuracy is a mark with an interval, other measures are bars. Above: as published; below: corrected."""
    bars = not numbers.measure.is_accuracy
    _limit(axes, numbers, bars)
    names = shortened([row.label for row in numbers.rows], 34)
    for place, (row, name) in enumerate(zip(numbers.rows, names, strict=True)):
        both = row.as_published is not None and row.corrected is not None
        for span, side in ((row.as_published, -OFFSET), (row.corrected, OFFSET)):
            if span is not None:
                y = place + (side if both else 0.0)
                (_draw_bar if bars else _draw_mark)(axes, span, y, row.label, look, hollow=side < 0)
        if row.prediction is not None and not bars:
            y = place - (OFFSET if both else 0.0)
            axes.plot((row.prediction.low, row.prediction.high), (y, y), color=look.colour(row.label), linewidth=1)
        if row.published is not None:
            axes.plot((row.published,) * 2, (place - 0.3, place + 0.3), color=INK, linewidth=2, solid_capstyle="butt")
        axes.text(0, place - 0.34, name, transform=axes.get_yaxis_transform(), va="bottom")
    axes.set_ylim(len(numbers.rows) - 0.55, -0.85)
    axes.set_yticks([])
    axes.grid(False, axis="y")
    axes.spines["left"].set_visible(False)
    unit = f" ({numbers.measure.unit.of_value})" if numbers.measure.unit.of_value else ""
    axes.set_xlabel(f"{numbers.measure.words}{unit}")


def _draw_mark(axes: Axes, span: Span, y: float, label: str, look: Look, *, hollow: bool) -> None:
    colour = look.colour(label)
    axes.plot((span.low, span.high), (y, y), color=colour, alpha=0.35, linewidth=6, solid_capstyle="butt")
    axes.plot(
        span.mean, y, look.mark(label), color=colour, markersize=6.5, markeredgewidth=1.5, clip_on=False,
        markerfacecolor=PAPER if hollow else colour,
    )  # fmt: skip


def _draw_bar(axes: Axes, span: Span, y: float, label: str, look: Look, *, hollow: bool) -> None:
    colour = look.colour(label)
    axes.barh(y, span.mean, height=0.24, linewidth=1.2, edgecolor=colour, facecolor=PAPER if hollow else colour)
    if span.high > span.low:
        axes.plot((max(0.0, span.low), span.high), (y, y), color=INK, linewidth=1)


def _limit(axes: Axes, numbers: MeasuredNumbers, bars: bool) -> None:
    spans = [span for row in numbers.rows for span in (row.as_published, row.corrected) if span is not None]
    spans += [row.prediction for row in numbers.rows if row.prediction is not None and not bars]
    published = [row.published for row in numbers.rows if row.published is not None]
    highest = max([*published, *(span.high for span in spans)])
    if bars:
        axes.set_xlim(0, 1.04 * highest)
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: compact(value) if value else "0"))
        return
    lowest = min([*published, *(span.low for span in spans)])
    room = max(0.05, 0.06 * (highest - lowest))
    axes.set_xlim(max(-1.0, lowest - room), min(100.0 + min(room, 1.0), highest + room))


def measured_caption(panels: Sequence[MeasuredNumbers]) -> str:
    sentences = []
    rows = [row for numbers in panels for row in numbers.rows]
    protocols = {protocol for row in rows for protocol in ("as_published", "corrected") if getattr(row, protocol)}
    if len(protocols) == 2:
        sentences.append("Hollow, above: as published; filled, below: corrected.")
    else:
        sentences.append("Only as published." if protocols == {"as_published"} else "Only corrected.")
    if any(row.published is not None for row in rows):
        sentences.append("Vertical stroke: published value.")
    accuracy = any(numbers.measure.is_accuracy for numbers in panels)
    if accuracy:
        sentences.append("Pale bars: 95 % intervals; the axis of an accuracy does not begin at 0.")
    if any(row.prediction is not None for numbers in panels for row in numbers.rows if numbers.measure.is_accuracy):
        sentences.append("Thin line: 95 % prediction interval for one more run as published.")
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
            metric = metric._replace(words="accuracy")
            parts = [name.removesuffix("_accuracy").replace("_", " ") for name, _ in group]
            effects = [e._replace(name=f"{e.name} ({part})") for part, e in zip(parts, effects, strict=True)]
        numbers.append(EffectNumbers(metric, tuple(effects)))
    return sorted(numbers, key=lambda each: not each.measure.is_accuracy)


def draw_effects(axes: Axes, numbers: EffectNumbers) -> None:
    effects = numbers.effects
    low, high = min(0.0, *(e.span.low for e in effects)), max(0.0, *(e.span.high for e in effects))
    room = 0.05 * (high - low) or 0.05
    axes.set_xlim(low - room, high + room)
    axes.axvline(0, color=MUTED, linewidth=0.8)
    across = axes.get_yaxis_transform()
    backed = {"facecolor": PAPER, "edgecolor": "none", "pad": 1.0}  # hides the line at 0 behind the text
    for place, (effect, name) in enumerate(zip(effects, shortened([e.name for e in effects], 34), strict=True)):
        span, colour = effect.span, HEAT if effect.verdict is FaultVerdict.CHANGED else MUTED
        axes.plot((span.low, span.high), (place, place), color=colour, alpha=0.4, linewidth=6, solid_capstyle="butt")
        axes.plot(span.mean, place, "o", color=colour, markersize=6.5, markeredgewidth=0, clip_on=False)
        axes.text(0, place - 0.24, name, transform=across, va="bottom", bbox=backed)
        has_number = effect.verdict in (FaultVerdict.CHANGED, FaultVerdict.WITHHELD)
        number = numbers.measure.parts(span.mean / numbers.measure.unit.scale, signed=True)[0]
        text = number if has_number else effect.verdict.value
        axes.text(1, place - 0.24, text, transform=across, va="bottom", ha="right", color=MUTED, bbox=backed)
    axes.set_ylim(len(effects) - 0.5, -0.8)
    axes.set_yticks([])
    axes.grid(False, axis="y")
    axes.spines["left"].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    if numbers.measure.exact:
        axes.xaxis.set_major_formatter(
            FuncFormatter(lambda value, _: f"{'−' if value < 0 else ''}{compact(abs(value))}")
        )
    unit = f" ({numbers.measure.unit.of_difference})" if numbers.measure.unit.of_difference else ""
    axes.set_xlabel(f"{numbers.measure.words}, with − without{unit}")


def effects_caption(panels: Sequence[EffectNumbers]) -> str:
    verdicts = {effect.verdict for numbers in panels for effect in numbers.effects}
    marks = "Dot: mean difference; bar: 95 % interval"
    if FaultVerdict.WITHHELD in verdicts:
        counted = verdicts & {FaultVerdict.CHANGED, FaultVerdict.NO_CHANGE}
        return f"{marks}. No verdict{', except on counted numbers' if counted else ''}."
    if FaultVerdict.NO_INTERVAL in verdicts:
        marks += "; no interval: one run against the others, or one pair of runs"
    return f"{marks}. Coloured: the fault changed the number; grey: inconclusive or no change."
