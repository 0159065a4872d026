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
from convoy.run_contents import usual_machine
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
from convoy.text.labels import label_text
from convoy.text.lists import listed

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
    return listed(map(label_text, labels)) if len(labels) <= 4 else _("{n} models", n=len(labels))


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
        legend = tuple(row.label for row in finding.ranked)
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
    runs = {label: [(view.run.steps, view.metrics) for view in group] for label, group in groups.items()}
    machine = usual_machine(view.environment for view in all_views(groups))
    timed = {label: all(view.environment.machine == machine for view in group) for label, group in groups.items()}
    numbers = curves_.loss_numbers(runs, timed)
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
