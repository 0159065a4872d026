"""The page of a comparison: which model is better, at what cost, how training went, and where they err."""

from __future__ import annotations

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
from convoy.reporting.content import Block, Chart, Page, Panel, Section, clean
from convoy.reporting.palette import MODELS, Look
from convoy.reporting.quantities import listed
from convoy.reporting.reading import Groups, chance_levels, cleaned, distinct, every, of_study, scored
from convoy.runs import Study

TILES = 12
MOST_LINES = len(MODELS)  # models in one chart of curves: each has a colour of its own
MOST_DOUBLE_LINES = 6  # where each has a dashed line as well


def comparison_page(study: Study, folder: Path) -> Page:
    finding = cleaned(study.finding)
    groups = of_study(study)
    means = {row["label"]: row["accuracy"]["mean"] for row in finding["rows"]}
    ranked = dict(sorted(groups.items(), key=lambda item: -means.get(item[0], -1.0)))
    # Colours by the order of the command; where there are more models than colours, the best get one to themselves.
    labels = tuple(groups if len(groups) <= MOST_LINES else ranked)
    look = Look(labels)
    readings = every(groups)
    what = "combinations" if "ablation" in finding else "models"
    names = list(groups) if len(groups) <= 4 else [f"{len(groups)} {what}"]
    shown: list[Section | None] = [
        ablation(finding),
        _accuracy_and_cost(finding, ranked, look),
        _training(ranked, look),
        sections.errors(ranked, finding["part"], look, tiles=TILES),
        sections.data(ranked),
    ]
    command = study.table.get("command")
    commands = [clean(command)] if command else distinct(clean(r.environment["command"]) for r in readings)
    return Page(
        kicker=sections.kicker("Comparison", study.name, readings),
        title=f"{listed(names)} on {clean(readings[0].data['name'])}",
        sentence=clean(finding["sentence"]),
        caveats=tuple(dict.fromkeys((*chance_levels(readings, finding["part"]), *map(clean, finding["caveats"])))),
        tables=(tables.comparison_table(finding, groups),),
        sections=(*(section for section in shown if section), sections.how_it_was_made(groups, folder, commands)),
        labels=labels,
    )


def _accuracy_and_cost(finding: dict[str, Any], groups: Groups, look: Look) -> Section:
    part = finding["part"]
    by_seed = {
        label: [reading.scores[part]["accuracy"] for reading in group] for label, group in scored(groups, part).items()
    }
    numbers = accuracy_.accuracy_numbers(finding, by_seed)
    height = 0.65 + accuracy_.BAR_INCHES * (len(numbers.bars) + 0.2)
    bars = Panel("", partial(accuracy_.draw_accuracy, numbers=numbers, look=look), height=height, left=0.15, top=0.05)
    blocks: list[Block] = [Chart("accuracy_bars", "Accuracy", (bars,), accuracy_.accuracy_caption(numbers))]
    blocks += [tables.pairs_table(finding)] if finding["pairs"] else []
    blocks += [tables.mcnemar_table(finding)] if finding["mcnemar"] else []
    costs = [found for cost in accuracy_.COSTS if (found := accuracy_.cost_numbers(finding, cost))]
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


def _pareto(costs: list[accuracy_.CostNumbers], key: tuple[str, ...], look: Look) -> Chart:
    panels = tuple(
        Panel(accuracy_.title(found.cost), partial(accuracy_.draw_cost, numbers=found, look=look)) for found in costs
    )
    return Chart("pareto", "Accuracy against cost", panels, accuracy_.cost_caption(costs), key=key)


def _training(groups: Groups, look: Look) -> Section | None:
    """The same models and colours against epochs, batches and seconds; of many models the best."""
    few = _best(groups, MOST_DOUBLE_LINES)
    drawn = _best(groups, MOST_LINES)
    charts = [(few, sections.curves(few, look)), (drawn, _selected_accuracy(drawn, look))]
    charts += [(drawn, chart) for chart in _losses(drawn, look)]
    told = tuple(
        replace(chart, caption=f"{chart.caption} Of {len(groups)} models the {len(shown)} best are drawn.")
        if len(shown) < len(groups)
        else chart
        for shown, chart in charts
        if chart
    )
    return Section("Training", told) if told else None


def _best(ranked: Groups, count: int) -> Groups:
    return dict(list(ranked.items())[:count])


def _selected_accuracy(groups: Groups, look: Look) -> Chart | None:
    """On the part that chose the epoch, all models in the same axes, a point an epoch."""
    metrics = {label: [r.metrics for r in group if r.metrics] for label, group in groups.items()}
    numbers = curves_.selected_accuracy(metrics)
    if numbers is None:
        return None
    part = numbers.curves[0].part
    panel = Panel("", partial(curves_.draw_curves, numbers=numbers, look=look), height=3.4, top=0.15)
    key = tuple(curve.label for curve in numbers.curves)
    title = f"{part.capitalize()} accuracy by epoch"
    return Chart(f"{part}_accuracy", title, (panel,), curves_.selected_caption(numbers), key=key)


def _losses(groups: Groups, look: Look) -> list[Chart]:
    numbers = losses_.loss_numbers({label: [(r.run.steps, r.metrics) for r in g] for label, g in groups.items()})
    if numbers is None:
        return []
    charts = [_loss_chart("train_loss_smoothed", "Training loss by batch", numbers, "step", look)]
    if any(line.seconds is not None for line in numbers.lines):
        charts.append(_loss_chart("loss_by_seconds", "Training loss by time", numbers, "seconds", look))
    return charts


def _loss_chart(name: str, title: str, numbers: losses_.LossNumbers, axis: losses_.Axis, look: Look) -> Chart:
    panel = Panel("", partial(losses_.draw_losses, numbers=numbers, axis=axis, look=look), height=3.4, top=0.15)
    key = tuple(line.label for line in numbers.lines)
    return Chart(name, title, (panel,), losses_.losses_caption(numbers, axis), key=key)
