"""The page of a study of seeds."""

from __future__ import annotations

from pathlib import Path

from convoy.reporting import sections
from convoy.reporting.content import Cell, Chart, Field, Page, Section, Table, table_of
from convoy.reporting.reading import chance_levels, every, of_study
from convoy.runs import Study
from convoy.studies.seeds import figures, words
from convoy.studies.seeds.finding import Needed, SeedsFinding, Spread


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
    fields: list[Field[Spread]] = [
        Field("drawn again", lambda spread: words.source_name(spread.source), numeric=False),
        Field("mean", lambda spread: f"{100 * spread.mean:.2f}", "%"),
        Field("standard deviation", _sd, "points"),
        Field("lowest", lambda spread: f"{100 * min(spread.accuracies):.2f}", "%"),
        Field("highest", lambda spread: f"{100 * max(spread.accuracies):.2f}", "%"),
        Field("n", lambda spread: str(len(spread.accuracies)), "seeds"),
    ]
    note = (
        "Each row draws one source again and keeps the seeds of the others. After the standard deviation: its 95 % "
        f"interval (chi-squared). For comparison: other {finding.part} images, {finding.images:,} of them, change one "
        f"accuracy with a standard deviation of {100 * finding.image_sd:.2f} points (binomial)."
    )
    return table_of(fields, finding.spreads, note, "Spread")


def _sd(spread: Spread) -> Cell:
    return Cell(f"{100 * spread.sd:.2f}", note=f"{100 * spread.sd_low:.2f}–{100 * spread.sd_high:.2f}")


def _needed(finding: SeedsFinding) -> Table:
    fields: list[Field[Needed]] = [
        Field("difference of two models", lambda needed: f"{100 * needed.difference:g}", "points"),
        Field("seeds per model", lambda needed: words.seeds_text(needed.seeds)),
        Field("at the upper end of the interval", lambda needed: words.seeds_text(needed.seeds_at_high)),
    ]
    return table_of(fields, finding.needed, title="Seeds that a comparison needs")
