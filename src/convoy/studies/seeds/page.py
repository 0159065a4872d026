"""The page of a study of seeds."""

from __future__ import annotations

from pathlib import Path

from convoy.reporting import sections
from convoy.reporting.content import Cell, Chart, Field, Page, Section, Table, table_of
from convoy.reporting.reading import all_readings, chance_levels, read_study
from convoy.reporting.words import part_name
from convoy.runs import Study
from convoy.studies.seeds import figures, words
from convoy.studies.seeds.finding import Needed, SeedsFinding, Spread
from convoy.text import gettext as _


def page(study: Study, finding: SeedsFinding, folder: Path) -> Page:
    groups = read_study(study)
    readings = next(iter(groups.values()))
    chart = Chart(
        "spreads", _("Accuracy by source of randomness"), (figures.spreads(finding).panel(),), figures.caption(finding)
    )
    return Page(
        kicker=sections.kicker(_("Seeds"), study.name, readings),
        title=_("How much of the accuracy of {label} on {data} is luck?", label=finding.label, data=finding.data),
        sentence=words.sentence(finding),
        caveats=(*chance_levels(all_readings(groups), finding.part), *words.caveats(finding)),
        tables=(_spreads(finding), _needed(finding)),
        sections=(
            Section(_("Spread"), (chart,)),
            sections.data(groups),
            sections.setup(groups, folder, [study.command]),
        ),
        labels=tuple(groups),
    )


def _spreads(finding: SeedsFinding) -> Table:
    fields: list[Field[Spread]] = [
        Field(_("Source of randomness"), lambda spread: words.source_name(spread.source), numeric=False),
        Field(_("Mean"), lambda spread: f"{100 * spread.mean:.2f}", "%"),
        Field(_("Standard deviation"), _sd, _("points")),
        Field(_("Lowest"), lambda spread: f"{100 * min(spread.accuracies):.2f}", "%"),
        Field(_("Highest"), lambda spread: f"{100 * max(spread.accuracies):.2f}", "%"),
        Field("n", lambda spread: str(len(spread.accuracies)), _("seeds")),
    ]
    note = _(
        "Each row draws one source again and keeps the seeds of the others. After the standard deviation: its 95 % "
        "interval (chi-squared). For comparison: other {part} images, {n:,} of them, change one accuracy with a "
        "standard deviation of {sd:.2f} points (binomial).",
        part=part_name(finding.part),
        n=finding.images,
        sd=100 * finding.image_sd,
    )
    return table_of(fields, finding.spreads, note, _("Spread"))


def _sd(spread: Spread) -> Cell:
    return Cell(f"{100 * spread.sd:.2f}", note=f"{100 * spread.sd_low:.2f}–{100 * spread.sd_high:.2f}")


def _needed(finding: SeedsFinding) -> Table:
    fields: list[Field[Needed]] = [
        Field(_("Difference of two models"), lambda needed: f"{100 * needed.difference:g}", _("points")),
        Field(_("Seeds per model"), lambda needed: words.seeds_text(needed.seeds)),
        Field(
            _("Seeds at the upper limit of the standard deviation"),
            lambda needed: words.seeds_text(needed.seeds_at_high),
        ),
    ]
    return table_of(fields, finding.needed, title=_("Seeds that a comparison needs"))
