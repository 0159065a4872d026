"""The page of a comparison: accuracy, cost, training and errors of several models."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from convoy.reporting import figures_curves as curves_
from convoy.reporting import rows as rows_
from convoy.reporting import sections
from convoy.reporting.content import Block, Chart, Page, Panel, Section
from convoy.reporting.palette import MODELS, Look
from convoy.reporting.quantities import listed
from convoy.reporting.reading import Groups, all_readings, read_study, with_score
from convoy.reporting.words import accuracy_title
from convoy.runs import Study
from convoy.studies.compare import figures, tables, words
from convoy.studies.compare.ablation import Ablation
from convoy.studies.compare.finding import CompareFinding
from convoy.text import gettext as _

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
    readings = all_readings(groups)
    page_sections = [
        _ablation(finding, finding.ablation) if finding.ablation and finding.ablation.effects else None,
        _accuracy_and_cost(finding, ranked, look),
        _training(ranked, look),
        sections.errors(ranked, finding.part, look, tiles=TILES),
        sections.data(ranked),
        sections.setup(groups, folder, [study.command]),
    ]
    return Page(
        kicker=sections.kicker(_("Comparison"), study.name, readings),
        title=_("{subject} on {data}", subject=_subject(finding, list(groups)), data=readings[0].data.name),
        sentence=words.sentence(finding),
        caveats=tuple(words.caveats(finding)),
        tables=(tables.models(finding, groups),),
        sections=tuple(section for section in page_sections if section),
        labels=labels,
    )


def _subject(finding: CompareFinding, labels: Sequence[str]) -> str:
    if finding.ablation and finding.ablation.effects:
        return _("Ablation of {keys}", keys=listed(finding.ablation.keys))
    return listed(labels) if len(labels) <= 4 else _("{n} models", n=len(labels))


def _ablation(finding: CompareFinding, ablation: Ablation) -> Section:
    panel = figures.effect_rows(finding, ablation).panel()
    chart = Chart("effects", _("Effects"), (panel,), figures.effects_caption(finding, ablation))
    blocks: list[Block] = [chart, tables.effects(finding, ablation), tables.averages(finding, ablation)]
    blocks += [tables.interactions(finding, ablation)] if ablation.interactions else []
    return Section(_("Ablation"), tuple(blocks))


def _accuracy_and_cost(finding: CompareFinding, groups: Groups, look: Look) -> Section:
    by_seed = {
        label: [reading.scores[finding.part].accuracy for reading in group]
        for label, group in with_score(groups, finding.part).items()
    }
    rows = figures.accuracy_rows(finding, by_seed, look)
    blocks: list[Block] = [Chart("accuracy_bars", _("Accuracy"), (rows.panel(),), figures.accuracy_caption(finding))]
    for name, cost in zip(("time_bars", "parameter_bars"), figures.cost_kinds(), strict=False):
        if bars := figures.cost_bars(finding, cost):
            panel = rows_.cost_rows(bars, look).panel()
            blocks.append(Chart(name, cost.title, (panel,), rows_.cost_bars_caption([bars])))
    blocks += [tables.pairs(finding)] if finding.pairs else []
    blocks += [tables.mcnemar(finding)] if finding.mcnemar else []
    if costs := [numbers for cost in figures.cost_kinds() if (numbers := figures.cost_numbers(finding, cost))]:
        draw = partial(figures.draw_cost, part=finding.part, look=look)
        panels = tuple(Panel(numbers.cost.title, partial(draw, numbers=numbers)) for numbers in costs)
        legend = tuple(row.name for row in rows.rows)
        blocks.append(Chart("pareto", _("Accuracy versus cost"), panels, figures.cost_caption(costs), legend=legend))
    return Section(_("Accuracy and cost") if costs else _("Accuracy"), tuple(blocks))


def _training(groups: Groups, look: Look) -> Section | None:
    """Makes the curves by epoch, step and second. With many models, shows only the best."""
    pairs_of_lines, single_lines = (dict(list(groups.items())[:count]) for count in (MAX_LINE_PAIRS, MAX_LINES))
    charts = [(pairs_of_lines, sections.curves(pairs_of_lines, look))]
    charts += [
        (single_lines, chart) for chart in (_selected_accuracy(single_lines, look), *_losses(single_lines, look))
    ]
    captioned = []
    for drawn, chart in charts:
        if chart and len(drawn) < len(groups):
            shown = _("Shown: the best {n} of {total} models.", n=len(drawn), total=len(groups))
            chart = replace(chart, caption=f"{chart.caption} {shown}")
        captioned += [chart] if chart else []
    return Section(_("Training"), tuple(captioned)) if captioned else None


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
    legend = [line.label for line in numbers.lines]
    return [
        _lines(
            name,
            title,
            partial(curves_.draw_losses, numbers=numbers, axis=axis, look=look),
            curves_.losses_caption(numbers, axis),
            legend,
        )
        for name, title, axis in axes
    ]


def _lines(name: str, title: str, draw: Callable[[Axes], None], caption: str, legend: Sequence[str]) -> Chart:
    return Chart(name, title, (Panel("", draw, height=3.4, top=0.15),), caption, legend=tuple(legend))
