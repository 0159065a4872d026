"""The page of several reproduced experiments: one row with a link to the report of each."""

from __future__ import annotations

from pathlib import Path

from convoy.experiments.reproduction.page_parts import report_link
from convoy.experiments.reproduction.words import sentence as sentence_of_one
from convoy.experiments.reproductions import words
from convoy.experiments.reproductions.finding import Entry, Reproductions
from convoy.prediction import CLAIM_VERDICTS
from convoy.reporting.content import Cell, Code, Column, Page, Section, Table
from convoy.runs import Study


def page(study: Study, finding: Reproductions, folder: Path) -> Page:
    columns = (
        Column("Experiment", numeric=False),
        Column("Result", numeric=False),
        Column("Largest effect of a fault", numeric=False),
        *(Column(verdict.capitalize(), "claims") for verdict in CLAIM_VERDICTS),
    )
    rows = tuple(_row(entry, study, folder) for entry in finding.experiments)
    return Page(
        kicker=f"Reproductions · {study.name}",
        title=f"Reproduction of {len(rows)} published experiments",
        sentence=words.sentence(finding),
        caveats=tuple(words.caveats(finding)),
        tables=(Table(columns, rows),),
        sections=(Section("Setup", (Code(study.table["command"], "Command"),)),),
        labels=(),
    )


def _row(entry: Entry, study: Study, folder: Path) -> tuple[Cell, ...]:
    if entry.finding is None:
        return (Cell(entry.experiment), Cell("Not run yet"), *[Cell("")] * (1 + len(CLAIM_VERDICTS)))
    path = study.path / entry.study
    link = report_link(path, folder) if path.is_dir() else ""
    verdicts = [claim.verdict for claim in entry.finding.claims]
    return (
        Cell(entry.experiment, link=link),
        Cell(sentence_of_one(entry.finding)),
        Cell(words.largest_effect(entry.finding)),
        *(Cell(str(verdicts.count(verdict))) for verdict in CLAIM_VERDICTS),
    )
