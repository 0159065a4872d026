"""The page of a study and the page of a run: what stands first, and in which order the rest follows."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from convoy.reporting import figures_accuracy as accuracy_
from convoy.reporting import figures_classes as classes_
from convoy.reporting import figures_curves as curves_
from convoy.reporting import sections, tables
from convoy.reporting.content import Block, Chart, Page, Panel, Section, clean
from convoy.reporting.lr_range_page import lr_range_page
from convoy.reporting.palette import MODELS, Look
from convoy.reporting.quantities import listed
from convoy.reporting.reading import PARTS, Reading, cleaned, distinct, every, of_run, of_study, scored
from convoy.runs import Run, Study
from convoy.stats import wilson

TILES_OF_A_RUN, TILES_OF_A_STUDY = 24, 12


def study_page(study: Study, folder: Path) -> Page:
    """Raises ValueError: no finding.json, a study of unknown kind, no runs, a run that was moved away."""
    kind = study.finding.get("kind")
    if kind not in STUDIES:
        raise ValueError(f"{study.path} is a study of kind {kind!r}; reports are made of: {', '.join(STUDIES)}")
    return STUDIES[kind](study, folder)


def _comparison_page(study: Study, folder: Path) -> Page:
    finding = cleaned(study.finding)
    groups = of_study(study)
    look = Look(list(groups))
    means = {row["label"]: row["accuracy"]["mean"] for row in finding["rows"]}
    ranked = dict(sorted(groups.items(), key=lambda item: -means.get(item[0], -1.0)))
    readings = every(groups)
    names = list(groups) if len(groups) <= 4 else [f"{len(groups)} models"]
    shown: list[Section | None] = [
        _accuracy_and_cost(finding, ranked, look),
        _training(ranked, look),
        sections.errors(ranked, finding["part"], look, tiles=TILES_OF_A_STUDY),
        sections.data(ranked),
    ]
    command = study.table.get("command")
    commands = [clean(command)] if command else distinct(clean(r.environment["command"]) for r in readings)
    return Page(
        kicker=_kicker("Comparison", study.name, readings),
        title=f"{listed(names)} on {clean(readings[0].data['name'])}",
        sentence=clean(finding["sentence"]),
        caveats=tuple(clean(caveat) for caveat in finding["caveats"]),
        tables=(tables.comparison_table(finding),),
        sections=(*(section for section in shown if section), sections.how_it_was_made(groups, folder, commands)),
        labels=tuple(groups),
    )


def run_page(run: Run, folder: Path) -> Page:
    reading = of_run(run)
    groups = {reading.label: [reading]}
    look = Look([reading.label])
    part = next((part for part in PARTS if part in reading.scores), "")
    shown = [
        _training(groups, look),
        _errors_of_run(reading, part, look) if part else None,
        sections.data(groups),
        sections.how_it_was_made(groups, folder, [clean(reading.environment["command"])]),
    ]
    first = ((tables.scores_table(reading),) if reading.scores else ()) + (
        (tables.cost_table(reading),) if reading.cost else ()
    )
    return Page(
        kicker=_kicker("Run", run.name, [reading]),
        title=f"{reading.label} on {clean(reading.data['name'])}, seed {reading.seed}",
        sentence=_run_sentence(reading, part),
        caveats=tuple(_run_caveats(reading, part)),
        tables=first,
        sections=tuple(section for section in shown if section),
        labels=(reading.label,),
    )


def _kicker(kind: str, name: str, readings: list[Reading]) -> str:
    date = max(str(reading.environment.get("date", "")) for reading in readings)[:10]
    return " · ".join(part for part in (kind, clean(name), date) if part)


def _accuracy_and_cost(finding: dict[str, Any], groups: dict[str, list[Reading]], look: Look) -> Section:
    part = finding["part"]
    by_seed = {
        label: [reading.scores[part]["accuracy"] for reading in group] for label, group in scored(groups, part).items()
    }
    numbers = accuracy_.accuracy_numbers(finding, by_seed)
    height = 0.65 + accuracy_.BAR_INCHES * (len(numbers.bars) + 0.2)
    bars = Panel(
        "", partial(accuracy_.draw_accuracy, numbers=numbers, look=look), height=height, left=0.15, bottom=0.6, top=0.05
    )
    blocks: list[Block] = [Chart("accuracy", "Accuracy", (bars,), accuracy_.accuracy_caption(numbers))]
    costs = [found for cost in accuracy_.COSTS if (found := accuracy_.cost_numbers(finding, cost))]
    if costs:
        panels = tuple(
            Panel(
                accuracy_.COSTS[found.cost][0].capitalize(),
                partial(accuracy_.draw_cost, numbers=found, look=look),
            )
            for found in costs
        )
        key = tuple(bar.label for bar in numbers.bars)
        blocks.append(Chart("cost", "Accuracy against cost", panels, accuracy_.cost_caption(costs), key=key))
    if finding["pairs"]:
        blocks.append(tables.pairs_table(finding))
    return Section("Accuracy and cost" if costs else "Accuracy", tuple(blocks))


def _training(groups: dict[str, list[Reading]], look: Look) -> Section | None:
    chart = sections.curves(groups, look)
    blocks: list[Block] = [chart] if chart else []
    readings = every(groups)
    steps = curves_.step_numbers(readings[0].run.steps) if len(readings) == 1 else None
    if steps:
        panels = (
            Panel("Loss", partial(curves_.draw_step_loss, numbers=steps, colour=MODELS[0][0]), height=2.9),
            Panel("Learning rate", partial(curves_.draw_step_lr, numbers=steps), height=2.9),
        )
        blocks.append(Chart("steps", "Loss and learning rate by step", panels, curves_.steps_caption(steps)))
    return Section("Training", tuple(blocks)) if blocks else None


def _errors_of_run(reading: Reading, part: str, look: Look) -> Section | None:
    section = sections.errors({reading.label: [reading]}, part, look, tiles=TILES_OF_A_RUN)
    score = reading.scores[part]
    if section is None or "per_class" not in score:
        return section
    recalls = classes_.recall_numbers(score)
    longest = max(map(len, classes_.class_names([recall.name for recall in recalls])))
    panel = Panel(
        "",
        partial(classes_.draw_recall, numbers=recalls, colour=MODELS[0][0]),
        height=0.75 + 0.27 * min(len(recalls), classes_.MANY_CLASSES),
        left=0.3 + 0.085 * longest,
        top=0.1,
    )
    chart = Chart("recall", "Recall by class", (panel,), classes_.recall_caption(recalls))
    return Section(section.title, (chart, *section.blocks, tables.class_table(score)))


def _run_sentence(reading: Reading, part: str) -> str:
    label = reading.label
    if part:
        score = reading.scores[part]
        estimate = wilson(score["correct"], score["n"])
        low, high = 100 * (estimate.low or 0), 100 * (estimate.high or 0)
        return (
            f"{label} reaches {100 * estimate.mean:.2f} % {part} accuracy "
            f"(95 % interval over the {estimate.n:,} images: {low:.2f} to {high:.2f} %)"
        )
    if reading.status["state"] != "finished":
        why = reading.status.get("reason") or "still going on"
        return f"{label} is not finished ({clean(reading.status['state'])}: {clean(why)}): no accuracy is claimed"
    return f"{label} was trained, but no image was held out and scored: no accuracy is claimed"


def _run_caveats(reading: Reading, part: str) -> list[str]:
    caveats = [clean(flag) for flag in reading.status.get("flags", [])]
    faults = [fault for fault in reading.recipe.protocol.faults if not any(fault in caveat for caveat in caveats)]
    caveats += [f"Trained under the fault {fault}: the numbers show what it does" for fault in faults]
    if part:
        caveats.append("One seed: the interval is over images and says nothing about another seed")
    if part == "validation" and reading.data.get("selection") == "validation":
        caveats.append("Validation accuracy also chose the epoch that was kept; it is a little too high for new images")
    openings = reading.data.get("test_openings", 0)
    if part == "test" and openings > 1:
        caveats.append(
            f"The test part had been opened {openings} times in this workspace, this run included; "
            "where choices were made after seeing it, its accuracy is too high"
        )
    return caveats


STUDIES = {"comparison": _comparison_page, "lr_range": lr_range_page}
