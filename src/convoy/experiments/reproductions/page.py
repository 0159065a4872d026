"""The page of several reproduced experiments: one row with a link to the report of each."""

from __future__ import annotations

from pathlib import Path

from convoy.agreement import CLAIM_VERDICTS, Verdict
from convoy.experiments.reproduction.page_sections import report_link
from convoy.experiments.reproduction.words import sentence as sentence_of_one
from convoy.experiments.reproductions import words
from convoy.experiments.reproductions.finding import Entry, Reproductions
from convoy.experiments.words import verdict_name
from convoy.reporting.content import Cell, Code, Field, Page, Section, TextField, table_of
from convoy.runs import Study
from convoy.text import gettext as _


def page(study: Study, finding: Reproductions, folder: Path) -> Page:
    def name(entry: Entry) -> Cell:
        path = study.path / entry.study
        return Cell(entry.experiment, link=report_link(path, folder) if entry.finding and path.is_dir() else "")

    def count(verdict: Verdict) -> Field[Entry]:
        def of(entry: Entry) -> str:
            return "" if entry.finding is None else str(sum(claim.verdict is verdict for claim in entry.finding.claims))

        return Field(verdict_name(verdict).capitalize(), of, _("claims"))

    fields: list[Field[Entry]] = [
        TextField(_("Experiment"), name),
        TextField(
            _("Result"), lambda entry: _("Not run yet") if entry.finding is None else sentence_of_one(entry.finding)
        ),
        TextField(
            _("Largest effect of a fault"),
            lambda entry: "" if entry.finding is None else words.largest_effect(entry.finding),
        ),
        *map(count, CLAIM_VERDICTS),
    ]
    return Page(
        kicker=_("Reproductions · {study}", study=study.name),
        title=_("Reproduction of {n} published experiments", n=len(finding.experiments)),
        sentence=words.sentence(finding),
        caveats=tuple(words.caveats(finding)),
        tables=(table_of(fields, finding.experiments),),
        sections=(Section(_("Setup"), (Code(study.command, _("Command")),)),),
        labels=(),
    )
