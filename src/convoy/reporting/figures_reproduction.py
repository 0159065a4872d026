"""Published beside measured, and what each fault moved: the two charts that only a reproduction has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from convoy.prediction import prediction_interval
from convoy.reporting.content import clean, shortened
from convoy.reporting.measures import Measure, measure
from convoy.reporting.palette import HEAT, INK, MUTED, PAPER, Look
from convoy.reporting.quantities import compact, listed
from convoy.stats import Estimate

ROW_INCHES = 0.62
EFFECT_INCHES = 0.5
APART = 0.14  # of the two protocols, in rows
EffectVerdict = Literal["moved", "inconclusive", "moved nothing", "no interval", "no verdict"]


class Span(NamedTuple):
    """An estimate in its measure's unit; without an interval low and high are the mean."""

    mean: float
    low: float
    high: float


class Row(NamedTuple):
    label: str
    published: float | None
    as_published: Span | None
    corrected: Span | None
    one_more: Span | None = None  # the prediction interval for one more run as published


class MeasuredNumbers(NamedTuple):
    measure: Measure
    rows: tuple[Row, ...]


class Effect(NamedTuple):
    """Of a fault: the score with it minus the score without it."""

    name: str
    span: Span
    verdict: EffectVerdict


class EffectNumbers(NamedTuple):
    measure: Measure  # the accuracies of several parts share a group
    effects: tuple[Effect, ...]  # the strongest first


def span_of(value: float | Mapping[str, Any] | None, scale: float) -> Span | None:
    """Of an estimate as findings hold it, or of a number without an interval."""
    if value is None:
        return None
    if not isinstance(value, Mapping):
        return Span(*3 * (scale * value,))
    estimate = Estimate.from_json(value)
    low = estimate.mean if estimate.low is None else estimate.low
    high = estimate.mean if estimate.high is None else estimate.high
    return Span(scale * estimate.mean, scale * low, scale * high)


def measured_numbers(models: Sequence[Mapping[str, Any]], name: str) -> MeasuredNumbers | None:
    """A row for each model of a finding that has this measure; None where none was measured."""
    shown = measure(name)
    rows = []
    for model in models:
        spans = [span_of((model[protocol] or {}).get(name), shown.scale) for protocol in ("as_published", "corrected")]
        published = model["published"].get(name)
        if any(spans):
            one_more = _one_more((model["as_published"] or {}).get(name), shown.scale)
            published = None if published is None else shown.scale * published
            rows.append(Row(model["label"], published, spans[0], spans[1], one_more))
    return MeasuredNumbers(shown, tuple(rows)) if rows else None


def _one_more(value: float | Mapping[str, Any] | None, scale: float) -> Span | None:
    if not isinstance(value, Mapping):
        return None
    runs = Estimate.from_json(value)
    if runs.interval != "t" or runs.n < 2:
        return None
    return span_of(prediction_interval(runs).as_json(), scale)


def draw_measured(axes: Axes, numbers: MeasuredNumbers, look: Look) -> None:
    """An accuracy as a mark with its interval; what begins at 0 as a bar. Above: as published; below: corrected."""
    bars = numbers.measure.unit != "%"
    _limit(axes, numbers, bars)
    names = shortened([row.label for row in numbers.rows], 34)
    for place, (row, name) in enumerate(zip(numbers.rows, names, strict=True)):
        both = row.as_published is not None and row.corrected is not None
        for span, side in ((row.as_published, -APART), (row.corrected, APART)):
            if span is not None:
                y = place + (side if both else 0.0)
                (_draw_bar if bars else _draw_mark)(axes, span, y, row.label, look, hollow=side < 0)
        if row.one_more is not None and not bars:
            y = place - (APART if both else 0.0)
            axes.plot((row.one_more.low, row.one_more.high), (y, y), color=look.colour(row.label), linewidth=1)
        if row.published is not None:
            axes.plot((row.published,) * 2, (place - 0.3, place + 0.3), color=INK, linewidth=2, solid_capstyle="butt")
        axes.text(0, place - 0.34, name, transform=axes.get_yaxis_transform(), va="bottom")
    axes.set_ylim(len(numbers.rows) - 0.55, -0.85)
    axes.set_yticks([])
    axes.grid(False, axis="y")
    axes.spines["left"].set_visible(False)
    unit = f" ({numbers.measure.unit})" if numbers.measure.unit else ""
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
    spans += [row.one_more for row in numbers.rows if row.one_more is not None and not bars]
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
    """How far the furthest published value is from what was measured, and how the marks are read."""
    told = []
    for numbers in panels:
        gaps = {
            row.label: row.as_published.mean - row.published
            for row in numbers.rows
            if row.published is not None and row.as_published is not None
        }
        if numbers.measure.unit == "%" and gaps:
            widest = max(gaps, key=lambda label: abs(gaps[label]))
            side = "above" if gaps[widest] > 0 else "below"
            what = "the published value" if len(gaps) == 1 else "its published value, further than any other"
            told.append(f"{widest}, run as published, ends {abs(gaps[widest]):.2f} points {side} {what}.")
    rows = [row for numbers in panels for row in numbers.rows]
    protocols = {protocol for row in rows for protocol in ("as_published", "corrected") if getattr(row, protocol)}
    if len(protocols) == 2:
        told.append("Hollow, above: as published; filled, below: corrected.")
    else:
        told.append("Only as published." if protocols == {"as_published"} else "Only corrected.")
    if any(row.published is not None for row in rows):
        told.append("The stroke across: the published value.")
    accuracy = any(numbers.measure.unit == "%" for numbers in panels)
    if accuracy:
        told.append("Pale bars: 95 % intervals; the axis of an accuracy does not begin at 0.")
    if any(row.one_more is not None for numbers in panels for row in numbers.rows if numbers.measure.unit == "%"):
        told.append("Thin line: 95 % prediction interval for one more run as published, such as the published one.")
    return " ".join(told)


def effect_numbers(faults: Sequence[Mapping[str, Any]], *, quick: bool = False) -> list[EffectNumbers]:
    """The faults of a finding that were priced, strongest first: all that act on accuracies, then a group a measure."""
    groups: dict[str, list[tuple[str, Effect]]] = {}
    for fault in faults:
        shown = measure(fault["measure"])
        span = span_of(fault["effect"], shown.scale)
        if span is not None:
            told = verdict(fault)
            if told == "moved nothing":  # an interval would be the grain's alone
                span = Span(0.0, 0.0, 0.0)
            effect = Effect(clean(fault["name"].replace("_", " ")), span, "no verdict" if quick else told)
            groups.setdefault(shown.unit or fault["measure"], []).append((fault["measure"], effect))
    found = []
    for group in groups.values():
        group.sort(key=lambda pair: -abs(pair[1].span.mean))
        usual = Counter(name for name, _ in group).most_common(1)[0][0]
        shown, effects = measure(usual), [effect for _, effect in group]
        if len({name for name, _ in group}) > 1:
            shown = shown._replace(name="accuracy")
            parts = [name.removesuffix("_accuracy").replace("_", " ") for name, _ in group]
            effects = [e._replace(name=f"{e.name} ({part})") for part, e in zip(parts, effects, strict=True)]
        found.append(EffectNumbers(shown, tuple(effects)))
    return sorted(found, key=lambda numbers: numbers.measure.unit != "%")


def verdict(fault: Mapping[str, Any]) -> EffectVerdict:
    effect = fault["effect"]
    if fault["moved"]:
        return "moved"
    if effect["mean"] == 0 and fault["p"] is None:  # the same bits, or the same count: nothing was left to test
        return "moved nothing"
    return "no interval" if effect["low"] is None else "inconclusive"


def draw_effects(axes: Axes, numbers: EffectNumbers) -> None:
    shown = numbers.effects
    low, high = min(0.0, *(e.span.low for e in shown)), max(0.0, *(e.span.high for e in shown))
    room = 0.05 * (high - low) or 0.05
    axes.set_xlim(low - room, high + room)
    axes.axvline(0, color=MUTED, linewidth=0.8)
    across = axes.get_yaxis_transform()
    backed = {"facecolor": PAPER, "edgecolor": "none", "pad": 1.0}  # the line at 0 does not cross the words
    for place, (effect, name) in enumerate(zip(shown, shortened([e.name for e in shown], 34), strict=True)):
        span, colour = effect.span, HEAT if effect.verdict == "moved" else MUTED
        axes.plot((span.low, span.high), (place, place), color=colour, alpha=0.4, linewidth=6, solid_capstyle="butt")
        axes.plot(span.mean, place, "o", color=colour, markersize=6.5, markeredgewidth=0, clip_on=False)
        axes.text(0, place - 0.24, name, transform=across, va="bottom", bbox=backed)
        told = numbers.measure.parts(span.mean / numbers.measure.scale, signed=True)[0]
        told = told if effect.verdict in ("moved", "no verdict") else effect.verdict
        axes.text(1, place - 0.24, told, transform=across, va="bottom", ha="right", color=MUTED, bbox=backed)
    axes.set_ylim(len(shown) - 0.5, -0.8)
    axes.set_yticks([])
    axes.grid(False, axis="y")
    axes.spines["left"].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    if numbers.measure.exact:
        axes.xaxis.set_major_formatter(
            FuncFormatter(lambda value, _: f"{'−' if value < 0 else ''}{compact(abs(value))}")
        )
    apart = f" ({numbers.measure.apart})" if numbers.measure.apart else ""
    axes.set_xlabel(f"{numbers.measure.words}, with − without{apart}")


def effects_caption(panels: Sequence[EffectNumbers]) -> str:
    """The strongest fault of each panel, and those that moved nothing."""
    told = []
    for numbers in panels:
        strongest = next((effect for effect in numbers.effects if effect.verdict == "moved"), None)
        if strongest is not None:
            direction = "raises" if strongest.span.mean > 0 else "lowers"
            by = numbers.measure.distance(strongest.span.mean / numbers.measure.scale)
            told.append(f"“{strongest.name}” {direction} the {numbers.measure.words} most, by {by}.")
    effects = [effect for numbers in panels for effect in numbers.effects]
    for kind, words in (
        ("moved nothing", "moved nothing at all"),
        ("inconclusive", "inconclusive with these runs (grey)"),
        ("no interval", "ha{} no interval: one run against the others, or one pair of runs"),
        ("no verdict", "ha{} no verdict"),
    ):
        names = list(dict.fromkeys(f"“{effect.name}”" for effect in effects if effect.verdict == kind))
        if names:
            who = listed(names) if len(names) <= 3 else f"{len(names)} of {len(effects)}"
            told.append(f"{who} {words.format('s' if len(names) == 1 else 've')}.")
    return " ".join([*told, "Dot: mean difference; bar: its 95 % interval."])
