"""The page of a study of seeds."""

from __future__ import annotations

from pathlib import Path

from convoy.reporting import sections
from convoy.reporting.content import Cell, Chart, Column, Page, Section, Table
from convoy.reporting.reading import chance_levels, every, of_study
from convoy.runs import Study
from convoy.studies.seeds import figures, words
from convoy.studies.seeds.finding import SeedsFinding, Spread


def page(study: Study, finding: SeedsFinding, folder: Path) -> Page:
    groups = of_study(study)
    readings = next(iter(groups.values()))
    spreads = figures.spreads(finding).panel()
    chart = Chart("spreads", "Accuracy by what is drawn again", (spreads,), figures.caption(finding))
    return Page(
        kicker=sections.kicker("Seeds", study.name, readings),
        title=f"How much of the accuracy of {finding.label} on {finding.data} is luck?",
        sentence=words.sentence(finding),
        caveats=(
            *chance_levels(every(groups), finding.part),
            *words.caveats(finding),
        ),
        tables=(_spreads(finding), _needed(finding)),
        sections=(
            Section("Spread", (chart,)),
            sections.data(groups),
            sections.setup(groups, folder, [study.table["command"]]),
        ),
        labels=tuple(groups),
    )


def _spreads(finding: SeedsFinding) -> Table:
    columns = (
        Column("drawn again", numeric=False),
        Column("mean", "%"),
        Column("standard deviation", "points"),
        Column("lowest", "%"),
        Column("highest", "%"),
        Column("n", "seeds"),
    )

    def row(spread: Spread) -> tuple[Cell, ...]:
        return (
            Cell(words.source_name(spread.source)),
            Cell(f"{100 * spread.mean:.2f}"),
            Cell(f"{100 * spread.sd:.2f}", note=f"{100 * spread.sd_low:.2f}–{100 * spread.sd_high:.2f}"),
            Cell(f"{100 * min(spread.accuracies):.2f}"),
            Cell(f"{100 * max(spread.accuracies):.2f}"),
            Cell(str(len(spread.accuracies))),
        )

    note = (
        "Each row draws one source again and keeps the seeds of the others. After the standard deviation: its 95 % "
        f"interval (chi-squared). For comparison: other {finding.part} images, {finding.images:,} of them, change one "
        f"accuracy with a standard deviation of {100 * finding.image_sd:.2f} points (binomial)."
    )
    return Table(columns, tuple(map(row, finding.spreads)), note=note, title="Spread")


def _needed(finding: SeedsFinding) -> Table:
    columns = (
        Column("difference of two models", "points"),
        Column("seeds per model"),
        Column("at the upper end of the interval"),
    )
    rows = tuple(
        (
            Cell(f"{100 * each.difference:g}"),
            Cell(words.seeds_text(each.seeds)),
            Cell(words.seeds_text(each.seeds_at_high)),
        )
        for each in finding.needed
    )
    return Table(columns, rows, title="Seeds that a comparison needs")
