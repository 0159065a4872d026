"""The page of a comparison: accuracy, cost, training and errors of several models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from convoy.reporting import figures_accuracy as accuracy_
from convoy.reporting import figures_curves as curves_
from convoy.reporting import figures_losses as losses_
from convoy.reporting import figures_profile as bars_
from convoy.reporting import sections, tables
from convoy.reporting.ablation_section import ablation
from convoy.reporting.content import Block, Chart, Page, Panel, Section
from convoy.reporting.palette import MODELS, Look
from convoy.reporting.quantities import listed
from convoy.reporting.reading import Groups, chance_levels, distinct, every, of_study, scored
from convoy.runs import Study

TILES = 12
MAX_LINES = len(MODELS)  # models in one chart of curves, so that colours are unique
MAX_LINE_PAIRS = 6  # if each model has a solid and a dashed line


def comparison_page(study: Study, folder: Path) -> Page:
    finding = study.finding
    groups = of_study(study)
    means = {row["label"]: row["accuracy"]["mean"] for row in finding["rows"]}
    ranked = dict(sorted(groups.items(), key=lambda item: -means.get(item[0], -1.0)))
    # Colours follow the order of the command. With more models than colours, the best models get unique ones.
    labels = tuple(groups if len(groups) <= MAX_LINES else ranked)
    look = Look(labels)
    readings = every(groups)
    page_sections: list[Section | None] = [
        ablation(finding),
        _accuracy_and_cost(finding, ranked, look),
        _training(ranked, look),
        sections.errors(ranked, finding["part"], look, tiles=TILES),
        sections.data(ranked),
    ]
    command = study.table.get("command")
    commands = [command] if command else distinct(r.environment["command"] for r in readings)
    return Page(
        kicker=sections.kicker("Comparison", study.name, readings),
        title=f"{_subject(finding, list(groups))} on {readings[0].data.name}",
        sentence=finding["sentence"],
        caveats=tuple(dict.fromkeys((*chance_levels(readings, finding["part"]), *finding["caveats"]))),
        tables=(tables.comparison_table(finding, groups),),
        sections=(*(section for section in page_sections if section), sections.setup(groups, folder, commands)),
        labels=labels,
    )


def _subject(finding: Mapping[str, Any], labels: Sequence[str]) -> str:
    keys = distinct(effect["key"] for effect in finding.get("ablation", {}).get("effects", ()))
    if keys:
        return f"Ablation of {listed(keys)}"
    return listed(labels) if len(labels) <= 4 else f"{len(labels)} models"


def _accuracy_and_cost(finding: dict[str, Any], groups: Groups, look: Look) -> Section:
    part = finding["part"]
    by_seed = {
        label: [reading.scores[part].accuracy for reading in group] for label, group in scored(groups, part).items()
    }
    numbers = accuracy_.accuracy_numbers(finding, by_seed)
    height = 0.65 + accuracy_.BAR_INCHES * (len(numbers.bars) + 0.2)
    bars = Panel("", partial(accuracy_.draw_accuracy, numbers=numbers, look=look), height=height, left=0.15, top=0.05)
    blocks: list[Block] = [Chart("accuracy_bars", "Accuracy", (bars,), accuracy_.accuracy_caption(numbers))]
    blocks += [tables.pairs_table(finding)] if finding["pairs"] else []
    blocks += [tables.mcnemar_table(finding)] if finding.get("mcnemar") else []
    costs = [each for cost in accuracy_.COSTS if (each := accuracy_.cost_numbers(finding, cost))]
    if costs:
        blocks.append(_pareto(costs, tuple(bar.label for bar in numbers.bars), look))
    for name, cost in (("time_bars", "train_seconds"), ("parameter_bars", "parameters")):
        costly = accuracy_.cost_bars(finding, cost)
        if costly:
            draw = partial(bars_.draw_cost_bars, numbers=costly, look=look)
            height = 0.65 + bars_.BAR_INCHES * (len(costly.labels) + 0.2)
            panel = Panel("", draw, height=height, left=0.15, top=0.05)
            blocks.append(Chart(name, accuracy_.title(cost), (panel,), bars_.cost_bars_caption([costly])))
    return Section("Accuracy and cost" if costs else "Accuracy", tuple(blocks))


def _pareto(costs: list[accuracy_.CostNumbers], legend: tuple[str, ...], look: Look) -> Chart:
    panels = tuple(
        Panel(accuracy_.title(cost.cost), partial(accuracy_.draw_cost, numbers=cost, look=look)) for cost in costs
    )
    return Chart("pareto", "Accuracy against cost", panels, accuracy_.cost_caption(costs), legend=legend)


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
