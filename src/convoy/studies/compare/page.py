"""The page of a comparison: accuracy, cost, training and errors of several models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from convoy.reporting import cost_bars as bars_
from convoy.reporting import figures_curves as curves_
from convoy.reporting import figures_losses as losses_
from convoy.reporting import sections
from convoy.reporting.content import Block, Chart, Page, Panel, Section
from convoy.reporting.palette import MODELS, Look
from convoy.reporting.quantities import listed
from convoy.reporting.reading import Groups, every, of_study, scored
from convoy.runs import Study
from convoy.studies.compare import figures, tables, words
from convoy.studies.compare.ablation import Ablation
from convoy.studies.compare.finding import CompareFinding

TILES = 12
MAX_LINES = len(MODELS)  # models in one chart of curves, so that colours are unique
MAX_LINE_PAIRS = 6  # if each model has a solid and a dashed line


def page(study: Study, finding: CompareFinding, folder: Path) -> Page:
    groups = of_study(study)
    means = {row.label: row.accuracy.mean for row in finding.rows}
    ranked = dict(sorted(groups.items(), key=lambda item: -means.get(item[0], -1.0)))
    # Colours follow the order of the command. With more models than colours, the best models get unique ones.
    labels = tuple(groups if len(groups) <= MAX_LINES else ranked)
    look = Look(labels)
    readings = every(groups)
    page_sections: list[Section | None] = [
        _ablation(finding, finding.ablation) if finding.ablation and finding.ablation.effects else None,
        _accuracy_and_cost(finding, ranked, look),
        _training(ranked, look),
        sections.errors(ranked, finding.part, look, tiles=TILES),
        sections.data(ranked),
        sections.setup(groups, folder, [study.table["command"]]),
    ]
    return Page(
        kicker=sections.kicker("Comparison", study.name, readings),
        title=f"{_subject(finding, list(groups))} on {readings[0].data.name}",
        sentence=words.sentence(finding),
        caveats=tuple(words.caveats(finding)),
        tables=(tables.models(finding, groups),),
        sections=tuple(section for section in page_sections if section),
        labels=labels,
    )


def _subject(finding: CompareFinding, labels: Sequence[str]) -> str:
    if finding.ablation and finding.ablation.effects:
        return f"Ablation of {listed(finding.ablation.keys)}"
    return listed(labels) if len(labels) <= 4 else f"{len(labels)} models"


def _ablation(finding: CompareFinding, ablation: Ablation) -> Section:
    panel = figures.effect_rows(finding, ablation).panel()
    chart = Chart("effects", "Effects", (panel,), figures.effects_caption(finding, ablation))
    blocks: list[Block] = [chart, tables.effects(finding, ablation), tables.averages(finding, ablation)]
    blocks += [tables.interactions(finding, ablation)] if ablation.interactions else []
    return Section("Ablation", tuple(blocks))


def _accuracy_and_cost(finding: CompareFinding, groups: Groups, look: Look) -> Section:
    by_seed = {
        label: [reading.scores[finding.part].accuracy for reading in group]
        for label, group in scored(groups, finding.part).items()
    }
    rows = figures.accuracy_rows(finding, by_seed, look)
    blocks: list[Block] = [Chart("accuracy_bars", "Accuracy", (rows.panel(),), figures.accuracy_caption(finding))]
    blocks += [tables.pairs(finding)] if finding.pairs else []
    blocks += [tables.mcnemar(finding)] if finding.mcnemar else []
    costs = [each for cost in figures.COSTS if (each := figures.cost_numbers(finding, cost))]
    if costs:
        blocks.append(_pareto(costs, tuple(row.name for row in rows.rows), look))
    for name, cost in (("time_bars", figures.TRAINING_TIME), ("parameter_bars", figures.PARAMETERS)):
        costly = figures.cost_bars(finding, cost)
        if costly:
            panel = bars_.cost_rows(costly, look).panel()
            blocks.append(Chart(name, cost.title, (panel,), bars_.cost_bars_caption([costly])))
    return Section("Accuracy and cost" if costs else "Accuracy", tuple(blocks))


def _pareto(costs: Sequence[figures.CostNumbers], legend: tuple[str, ...], look: Look) -> Chart:
    panels = tuple(Panel(cost.cost.title, partial(figures.draw_cost, numbers=cost, look=look)) for cost in costs)
    return Chart("pareto", "Accuracy against cost", panels, figures.cost_caption(costs), legend=legend)


def _training(groups: Groups, look: Look) -> Section | None:
    """Curves by epoch, batch and second; of many models only the best."""
    pairs_of_lines = _best(groups, MAX_LINE_PAIRS)
    single_lines = _best(groups, MAX_LINES)
    charts = [(pairs_of_lines, sections.curves(pairs_of_lines, look))]
    charts += [
        (single_lines, chart) for chart in (_selected_accuracy(single_lines, look), *_losses(single_lines, look))
    ]
    captioned = tuple(
        replace(chart, caption=f"{chart.caption} Shown: the best {len(drawn)} of {len(groups)} models.")
        if len(drawn) < len(groups)
        else chart
        for drawn, chart in charts
        if chart
    )
    return Section("Training", captioned) if captioned else None


def _best(ranked: Groups, count: int) -> Groups:
    return dict(list(ranked.items())[:count])


def _selected_accuracy(groups: Groups, look: Look) -> Chart | None:
    """Accuracy by epoch on the part that selected the epoch, all models in the same axes."""
    metrics = {label: [r.metrics for r in group if r.metrics] for label, group in groups.items()}
    numbers = curves_.selected_accuracy(metrics)
    if numbers is None:
        return None
    part = numbers.curves[0].part
    panel = Panel("", partial(curves_.draw_curves, numbers=numbers, look=look), height=3.4, top=0.15)
    legend = tuple(curve.label for curve in numbers.curves)
    title = f"{part.capitalize()} accuracy by epoch"
    return Chart(f"{part}_accuracy", title, (panel,), curves_.selected_caption(numbers), legend=legend)


def _losses(groups: Groups, look: Look) -> list[Chart]:
    numbers = losses_.loss_numbers({label: [(r.run.steps, r.metrics) for r in g] for label, g in groups.items()})
    if numbers is None:
        return []
    charts = [_loss_chart("train_loss_smoothed", "Training loss by step", numbers, "step", look)]
    if any(line.seconds is not None for line in numbers.lines):
        charts.append(_loss_chart("loss_by_seconds", "Training loss by time", numbers, "seconds", look))
    return charts


def _loss_chart(name: str, title: str, numbers: losses_.LossNumbers, axis: losses_.Axis, look: Look) -> Chart:
    panel = Panel("", partial(losses_.draw_losses, numbers=numbers, axis=axis, look=look), height=3.4, top=0.15)
    legend = tuple(line.label for line in numbers.lines)
    return Chart(name, title, (panel,), losses_.losses_caption(numbers, axis), legend=legend)
