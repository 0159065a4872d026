"""The page of a comparison: accuracy, cost, training and errors of several models."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from convoy.reporting import calibration, corruptions, sections
from convoy.reporting import figures_curves as curves_
from convoy.reporting import rows as rows_
from convoy.reporting.content import Block, Chart, Page, Panel, Section
from convoy.reporting.palette import MODELS, Look
from convoy.reporting.reading import Groups, all_views, read_study, with_score
from convoy.reporting.words import accuracy_title
from convoy.runs import Study
from convoy.studies.compare import tables, words
from convoy.studies.compare.ablation import Ablation
from convoy.studies.compare.figures import (
    accuracy_caption,
    accuracy_rows,
    cost_bars,
    cost_caption,
    cost_kinds,
    cost_numbers,
    draw_cost,
    effect_rows,
    effects_caption,
)
from convoy.studies.compare.finding import CompareFinding
from convoy.text import gettext as _
from convoy.text.lists import joined, listed
from convoy.text.numbers import fixed

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TILES = 12
MAX_LINES = len(MODELS)  # models in one chart of curves, so that colours are unique
MAX_LINE_PAIRS = 6  # if each model has a solid and a dashed line


def page(study: Study, finding: CompareFinding, folder: Path) -> Page:
    groups = read_study(study)
    means = {row.label: row.accuracy.mean for row in finding.rows}
    ranked = dict(sorted(groups.items(), key=lambda item: -means.get(item[0], -1.0)))
    # Colours follow the order of the command. With more models than colours, the best models get unique ones.
    labels = tuple(groups if len(groups) <= MAX_LINES else ranked)
    look = Look(labels)
    views = all_views(groups)
    return Page(
        kicker=sections.kicker(_("Comparison"), study.name, views),
        title=_("{subject} on {data}", subject=_subject(finding, list(groups)), data=views[0].data.name),
        sentence=words.sentence(finding),
        caveats=tuple(words.caveats(finding)),
        tables=(tables.models(finding, groups),),
        sections=sections.present(
            _ablation(finding, finding.ablation) if finding.ablation and finding.ablation.effects else None,
            _accuracy_and_cost(finding, ranked, look),
            _training(ranked, look),
            sections.errors(ranked, finding.part, look, tiles=TILES),
            calibration.models_section(ranked, finding.part),
            corruptions.models_section(ranked),
            sections.data(ranked),
            sections.setup(groups, folder, [study.command]),
        ),
        labels=labels,
    )


def _subject(finding: CompareFinding, labels: Sequence[str]) -> str:
    if finding.ablation and finding.ablation.effects:
        return _("Ablation of {keys}", keys=listed(finding.ablation.keys))
    return listed(labels) if len(labels) <= 4 else _("{n} models", n=len(labels))


def _ablation(finding: CompareFinding, ablation: Ablation) -> Section | None:
    panel = effect_rows(finding, ablation).panel()
    chart = Chart("effects", _("Effects"), (panel,), effects_caption(finding, ablation))
    interactions = tables.interactions(finding, ablation) if ablation.interactions else None
    effects, averages = tables.effects(finding, ablation), tables.averages(finding, ablation)
    return sections.section(_("Ablation"), chart, effects, averages, interactions)


def _accuracy_and_cost(finding: CompareFinding, groups: Groups, look: Look) -> Section:
    by_seed = {
        label: [view.scores[finding.part].accuracy for view in group]
        for label, group in with_score(groups, finding.part).items()
    }
    rows = accuracy_rows(finding, by_seed, look)
    blocks: list[Block] = [Chart("accuracy_bars", _("Accuracy"), (rows.panel(),), accuracy_caption(finding))]
    for cost in cost_kinds():
        if cost.bars and (bars := cost_bars(finding, cost)):
            panel = rows_.cost_rows(bars, look).panel()
            blocks.append(Chart(cost.bars, cost.title, (panel,), rows_.cost_bars_caption([bars])))
    blocks += [tables.pairs(finding)] if finding.pairs else []
    blocks += [tables.mcnemar(finding)] if finding.mcnemar else []
    if costs := [numbers for cost in cost_kinds() if (numbers := cost_numbers(finding, cost))]:
        draw = partial(draw_cost, part=finding.part, look=look)
        panels = tuple(Panel(numbers.cost.title, partial(draw, numbers=numbers)) for numbers in costs)
        legend = tuple(row.name for row in rows.rows)
        blocks.append(Chart("pareto", _("Accuracy versus cost"), panels, cost_caption(costs), legend=legend))
    return Section(_("Accuracy and cost") if costs else _("Accuracy"), tuple(blocks))


def _training(groups: Groups, look: Look) -> Section | None:
    """Creates the curves by epoch, step and second. With many models, shows only the best."""
    pairs_of_lines, single_lines = (dict(list(groups.items())[:count]) for count in (MAX_LINE_PAIRS, MAX_LINES))

    def captioned(chart: Chart | None, selected: Groups) -> Chart | None:
        if chart is None or len(selected) == len(groups):
            return chart
        sentence = _("Shown: the best {n} of {total} models.", n=len(selected), total=len(groups))
        return replace(chart, caption=f"{chart.caption} {sentence}")

    curves = captioned(sections.curves(pairs_of_lines, look), pairs_of_lines)
    others = (_selected_accuracy(single_lines, look), *_losses(single_lines, look))
    return sections.section(_("Training"), curves, *(captioned(chart, single_lines) for chart in others))


def _selected_accuracy(groups: Groups, look: Look) -> Chart | None:
    """Draws accuracy by epoch on the part that selected the best epoch, all models in the same axes."""
    metrics = {label: [r.metrics for r in group if r.metrics] for label, group in groups.items()}
    numbers = curves_.selected_accuracy(metrics)
    if numbers is None:
        return None
    part = numbers.curves[0].part
    title = _("{accuracy} by epoch", accuracy=accuracy_title(part))
    draw, legend = partial(curves_.draw_curves, numbers=numbers, look=look), [curve.label for curve in numbers.curves]
    return _lines(f"{part}_accuracy", title, draw, curves_.selected_caption(numbers), legend)


def _losses(groups: Groups, look: Look) -> list[Chart]:
    numbers = curves_.loss_numbers({label: [(r.run.steps, r.metrics) for r in g] for label, g in groups.items()})
    if numbers is None:
        return []
    axes: list[tuple[str, str, curves_.Axis]] = [("train_loss_smoothed", _("Training loss by step"), "step")]
    if any(line.seconds is not None for line in numbers.lines):
        axes.append(("loss_by_seconds", _("Training loss by time"), "seconds"))
    legend, charts = [line.label for line in numbers.lines], []
    for name, title, axis in axes:
        draw = partial(curves_.draw_losses, numbers=numbers, axis=axis, look=look)
        charts.append(_lines(name, title, draw, curves_.losses_caption(numbers, axis), legend))
    return charts


def _lines(name: str, title: str, draw: Callable[[Axes], None], caption: str, legend: Sequence[str]) -> Chart:
    return Chart(name, title, (Panel("", draw, height=3.4, top=0.15),), caption, legend=tuple(legend))
<<<<<<< HEAD
=======


class CostKind(NamedTuple):
    title: str
    unit: str
    of: Callable[[ModelSummary], Estimate | float | None]


def cost_kinds() -> list[CostKind]:
    return [
        CostKind(_("Training time"), "s", lambda row: row.cost.train_seconds),
        CostKind(_("Parameters"), "", lambda row: row.cost.parameters),
        CostKind(_("FLOPs per image"), "", lambda row: row.cost.flops_per_image),
        CostKind(_("Inference of one image"), "ms", lambda row: row.cost.ms_per_image),
    ]


class CostNumbers(NamedTuple):
    cost: CostKind
    accuracies: Mapping[str, Value]  # in percent, by label
    values: Mapping[str, float]  # of the cost
    pareto_front: tuple[str, ...]  # labels, cheapest first


def accuracy_rows(finding: CompareFinding, by_seed: Mapping[str, Sequence[float]], look: Look) -> RowChart:
    """One row per model, highest mean first. `by_seed` has the accuracies as fractions, in the order of the seeds."""

    def row(model: ModelSummary) -> ChartRow:
        value = Value.of(model.accuracy, look.colour(model.label), look.mark(model.label))
        points = tuple(100 * accuracy for accuracy in by_seed[model.label])
        diverged = tuple(point for seed, point in zip(model.seeds, points, strict=True) if seed in model.diverged)
        return ChartRow(model.label, (replace(value, points=points, diverged=diverged),), f"{value.value:.2f} %")

    return RowChart(tuple(map(row, finding.ranked)), accuracy_name(finding.part), "%")


def effects(finding: CompareFinding, ablation: Ablation) -> list[Effect]:
    """Returns at most MAX_EFFECTS effects with positive signs. If there are more, significant and large ones."""
    ordered = [effect.higher_first() for effect in ablation.effects]
    if len(ordered) > MAX_EFFECTS:
        ordered.sort(key=lambda effect: (not effect.significant, -effect.difference.mean))
    return ordered[:MAX_EFFECTS]


def effect_rows(finding: CompareFinding, ablation: Ablation) -> RowChart:
    def row(effect: Effect) -> ChartRow:
        value = Value.of(effect.difference, MODELS[0][0] if effect.significant and not finding.reduced else MUTED)
        return ChartRow(f"{effect.key}: {effect.a} − {effect.b}", (value,), fixed(value.value, 2, signed=True))

    rows = tuple(map(row, effects(finding, ablation)))
    return RowChart(rows, _("difference of {metric}", metric=accuracy_name(finding.part)), _("points"), line=0.0)


def accuracy_caption(finding: CompareFinding) -> str:
    sentences = [
        _("Vertical line: mean; bar: 95 % interval over seeds, or over the images of one seed; small marks: seeds.")
    ]
    sentences += [_("Crosses: seeds that diverged.")] if any(row.diverged for row in finding.rows) else []
    return " ".join([*sentences, _("The axis does not begin at 0.")])


def effects_caption(finding: CompareFinding, ablation: Ablation) -> str:
    sentences = [_("Vertical line: mean difference; bar: 95 % interval over seeds (none for one seed).")]
    sentences.append(_("Limited data: no verdict.") if finding.reduced else _("Grey: inconclusive."))
    if len(ablation.effects) > MAX_EFFECTS:
        sentences.append(_("Shown: {n} of {total} effects.", n=MAX_EFFECTS, total=len(ablation.effects)))
    return " ".join(sentences)


def cost_numbers(finding: CompareFinding, cost: CostKind) -> CostNumbers | None:
    """Returns None if fewer than two models have this cost."""
    values = {row.label: mean_of(value) for row in finding.rows if (value := cost.of(row)) is not None}
    accuracies = {row.label: Value.of(row.accuracy) for row in finding.rows if values.get(row.label, 0) > 0}
    if len(accuracies) < 2:
        return None

    def dominates(other: str, label: str) -> bool:
        cheaper, better = values[label] - values[other], accuracies[other].value - accuracies[label].value
        return min(cheaper, better) >= 0 < max(cheaper, better)

    best = [label for label in accuracies if not any(dominates(other, label) for other in accuracies)]
    return CostNumbers(cost, accuracies, values, tuple(sorted(best, key=lambda label: values[label])))


def cost_bars(finding: CompareFinding, cost: CostKind) -> CostBars | None:
    """Returns the models with this cost, highest mean accuracy first; None if fewer than two."""
    values = {row.label: value for row in finding.ranked if (value := cost.of(row)) is not None}
    if len(values) < 2:
        return None
    intervals = [value.span if isinstance(value, Estimate) and value.n > 1 else None for value in values.values()]
    return CostBars(cost.title, cost.unit, tuple(values), tuple(map(mean_of, values.values())), tuple(intervals))


def draw_cost(axes: Axes, numbers: CostNumbers, part: str, look: Look) -> None:
    accuracies, values = numbers.accuracies, numbers.values
    low, high = limits(RowChart(tuple(ChartRow(label, (value,)) for label, value in accuracies.items()), "", "%"))
    axes.set_ylim(low, high)
    costs = [values[label] for label in accuracies]
    margin = max((max(costs) / min(costs)) ** 0.12, 1.15)
    ticks.logarithmic(axes, "x", min(costs) / margin, max(costs) * margin)
    front = (
        [values[label] for label in numbers.pareto_front],
        [accuracies[label].value for label in numbers.pareto_front],
    )
    axes.step(*front, where="post", color=MUTED, linewidth=1, zorder=1)
    for label, accuracy in accuracies.items():
        colour, cost = look.colour(label), values[label]
        if accuracy.interval:
            ends = max(accuracy.interval[0], low), min(accuracy.interval[1], high)
            axes.plot((cost, cost), ends, color=colour, linewidth=2, alpha=0.5)
        # Without clipping, which would cut a mark at 100 % in half.
        axes.plot(
            cost, accuracy.value, look.mark(label), color=colour, markersize=8, markeredgewidth=1.4,
            markerfacecolor=colour if label in numbers.pareto_front else PAPER, clip_on=False,
        )  # fmt: skip
    quantity = f"{numbers.cost.title} ({numbers.cost.unit})" if numbers.cost.unit else numbers.cost.title
    axes.set_xlabel(_("{quantity}, logarithmic", quantity=quantity))
    axes.set_ylabel(f"{accuracy_name(part)} (%)")


def cost_caption(panels: Sequence[CostNumbers]) -> str:
    """Names the models on the Pareto front; costs with the same front share a sentence."""
    by_front: dict[tuple[str, ...], list[str]] = {}
    equal = []
    for numbers in panels:
        if len({numbers.values[label] for label in numbers.accuracies}) == 1:
            equal.append(numbers.cost.title)
        else:
            by_front.setdefault(numbers.pareto_front, []).append(numbers.cost.title)
    sentences = [
        _("Pareto front ({costs}): {models}.", costs=joined(costs), models=joined(front))
        for front, costs in by_front.items()
    ]
    sentences += [_("Equal for all models: {costs}.", costs=joined(equal))] if equal else []
    sentences.append(
        _("Grey line: Pareto front; hollow marks: models not on it. Vertical lines: 95 % intervals of the accuracy.")
    )
    return " ".join(sentences)
>>>>>>> ac61c91 (Numbers have one format in all reports: minus signs, no negative zero, one notation of intervals)
