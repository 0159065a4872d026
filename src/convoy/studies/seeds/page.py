"""The page of a study of seeds."""

from __future__ import annotations

from pathlib import Path

from convoy.power import seeds_text
from convoy.reporting import calibration, sections
from convoy.reporting.content import Cell, Chart, Field, Page, Section, Table, TextField, table_of
from convoy.reporting.palette import MODELS, MUTED
from convoy.reporting.reading import all_views, chance_levels, read_study
from convoy.reporting.rows import ChartRow, RowChart, Value
from convoy.reporting.words import accuracy_name
from convoy.run_contents import part_name
from convoy.runs import Study
from convoy.studies.seeds import words
from convoy.studies.seeds.finding import SeedsFinding, SeedsNeeded, Source, Spread
from convoy.text import gettext as _
from convoy.text.labels import label_text
from convoy.text.numbers import interval


def page(study: Study, finding: SeedsFinding, folder: Path) -> Page:
    groups = read_study(study)
    views = next(iter(groups.values()))
    rows = (*map(_row, finding.spreads), _images_row(finding))
    panel = RowChart(rows, accuracy_name(finding.part), "%").panel()
    n = len(finding.spreads[0].accuracies)
    caption = _(
        "Points: runs, n = {n} per row. Vertical line: mean. Bar: one standard deviation to either side, measured "
        "over the runs; in the last row, computed from the mean accuracy (binomial).",
        n=n,
    )
    chart = Chart("spreads", _("Accuracy by source of randomness"), (panel,), caption)
    return Page(
        kicker=sections.kicker(_("Seeds"), study.name, views),
        title=_(
            "How much does randomness change the accuracy of {label} on {data}?", label=finding.label, data=finding.data
        ),
        sentence=words.sentence(finding),
        caveats=(*chance_levels(all_views(groups), finding.part), *words.caveats(finding)),
        tables=(_spreads(finding), _needed(finding)),
        sections=sections.present(
            Section(_("Accuracies"), (chart,)),
            calibration.spread_section(groups, finding.part, _("Source of randomness")),
            sections.data(groups),
            sections.setup(groups, folder, [study.command]),
        ),
        labels=tuple(groups),
    )


def _row(spread: Spread) -> ChartRow:
    mean, sd = 100 * spread.mean, 100 * spread.sd
    points = tuple(100 * accuracy for accuracy in spread.accuracies)
    value = Value(mean, (mean - sd, mean + sd), MODELS[0][0], points=points)
    return ChartRow(label_text(spread.source.label), (value,), f"{mean:.2f} %")


def _images_row(finding: SeedsFinding) -> ChartRow:
    mean, sd = 100 * finding.of(Source.ALL).mean, 100 * finding.image_sd
    return ChartRow(words.images_name(finding.part), (Value(mean, (mean - sd, mean + sd), MUTED),), f"{mean:.2f} %")


def _spreads(finding: SeedsFinding) -> Table:
    """One row per source, and one for the spread over other images, which is computed, not measured."""
    fields: list[Field[Spread | None]] = [
        TextField(
            _("Source of randomness"),
            lambda spread: label_text(spread.source.label) if spread else words.images_name(finding.part),
        ),
        Field(_("Mean"), lambda spread: f"{100 * spread.mean:.2f}" if spread else "", "%"),
        Field(_("Standard deviation"), lambda spread: _sd(finding, spread), _("points")),
        Field(_("Lowest"), lambda spread: f"{100 * min(spread.accuracies):.2f}" if spread else "", "%"),
        Field(_("Highest"), lambda spread: f"{100 * max(spread.accuracies):.2f}" if spread else "", "%"),
        Field("n", lambda spread: str(len(spread.accuracies)) if spread else "", _("seeds")),
    ]
    note = _(
        "First row: all sources vary; next rows: one source varies, and the others keep their seeds. "
        "After the standard deviation: its 95 % interval (chi-squared). Last row: spread over other "
        "sets of {n:,} {part} images (binomial, computed from the mean accuracy).",
        part=part_name(finding.part),
        n=finding.images,
    )
    return table_of(fields, [*finding.spreads, None], note, _("Spread"))


def _sd(finding: SeedsFinding, spread: Spread | None) -> Cell:
    if spread is None:
        return Cell(f"{100 * finding.image_sd:.2f}")
    return Cell(f"{100 * spread.sd:.2f}", note=interval(100 * spread.sd_low, 100 * spread.sd_high, 2))


def _needed(finding: SeedsFinding) -> Table:
    fields: list[Field[SeedsNeeded]] = [
        Field(_("Difference between two models"), lambda needed: f"{100 * needed.difference:g}", _("points")),
        Field(_("Seeds per model"), lambda needed: seeds_text(needed.seeds)),
        Field(_("Seeds per model, if the spread is at its upper limit"), lambda row: seeds_text(row.seeds_at_high)),
    ]
    return table_of(fields, finding.needed, title=_("Seeds needed for a comparison"))
