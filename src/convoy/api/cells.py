"""Draws results in a notebook: runs, studies, findings, profiles, data sheets, explanations, recipes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, is_dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from convoy.api.describe import DataSheet, ExplainResult, ProfileResult
from convoy.datasheet import page as data_sheets
from convoy.datasheet.summary import DataSummary
from convoy.diagnosing import finding as doctor
from convoy.diagnosing import words as doctor_words
from convoy.diagnosing.finding import Diagnosis
from convoy.experiments import kinds
from convoy.explaining import page as explanations
from convoy.explaining.result import Explanation
from convoy.profiling import page as profiles
from convoy.profiling.result import Profile
from convoy.recipe import Recipe
from convoy.reporting import pages
from convoy.reporting.cells import cell_html, first_figure
from convoy.reporting.content import Code, Field, Page, Prose, Section, Table, TextField, short, table_of
from convoy.runs import Run, Study
from convoy.stats import Estimate
from convoy.text import gettext as _

MAX_LAYERS = 16  # longer tables of layers are collapsed
MAX_LETTERS = 90  # characters of a value


def html_of(result: Any) -> str:
    """Returns the HTML of a result, or the error message if its files are missing or damaged."""
    try:
        page = _page(result)
    except (ValueError, OSError) as error:
        page = Page(type(result).__name__, short(repr(result), MAX_LETTERS), str(error), (), (), (), ())
    return cell_html(page)


def _page(result: Any) -> Page:
    match result:
        case Run():
            page = pages.run_page(result, Path())
            return replace(page, sections=first_figure(page))
        case Study():
            page = pages.study_page(result, Path(), kinds.page_of)
            report = Prose(_("Report: {path}", path=result.path / "report.html"))
            return replace(page, sections=(*first_figure(page), Section("", (report,))))
        case Recipe():
            toml = Section("", (Code(result.to_toml(), columns=True),))
            return Page(_("Recipe"), result.label, result.about, (), (), (toml,), (result.label,))
        case Profile():
            return _profile([result])
        case ProfileResult():
            return _profile(result.profiles)
        case ExplainResult(explanation=explanation) | (Explanation() as explanation):
            return explanations.overview(explanation)
        case DataSheet(summary=summary) | (DataSummary() as summary):
            page = data_sheets.overview(summary)
            return replace(page, sections=first_figure(page))
        case Diagnosis():
            return _diagnosis(result)
    return _finding(result)


def _diagnosis(diagnosis: Diagnosis) -> Page:
    fields: list[Field[doctor.Finding]] = [
        TextField(_("Severity"), lambda finding: doctor_words.severity(finding.severity)),
        TextField(_("Check"), lambda finding: finding.check),
        TextField(_("Finding"), lambda finding: " · ".join(doctor_words.lines(finding))),
    ]
    sentence = doctor_words.sentence(diagnosis)
    tables = (table_of(fields, diagnosis.findings),) if diagnosis.findings else ()
    return Page(_("Doctor"), diagnosis.subject, sentence, (), tables, (), ())


def _profile(results: Sequence[Profile]) -> Page:
    page = profiles.overview(results)
    blocks = [_collapsed(block) if isinstance(block, Table) else block for block in page.blocks]
    return replace(page, sections=(Section("", tuple(blocks)),))


def _collapsed(layers: Table) -> Table:
    n = len(layers.rows) - 1  # the last row is the total
    return (
        layers if n <= MAX_LAYERS or layers.collapsed_title else replace(layers, collapsed_title=_("{n} layers", n=n))
    )


def _finding(finding: Any) -> Page:
    """Returns a page with the sentence of a finding and a table of its attributes."""
    words = import_module(f"{kinds.KINDS[finding.kind]}.words")
    columns: list[Field[str]] = [
        TextField(_("Attribute"), lambda name: name),
        TextField(_("Value"), lambda name: _summary(getattr(finding, name))),
    ]
    names = [field.name for field in fields(finding) if field.name not in ("kind", "schema")]
    return Page(
        kicker=_("Finding"),
        title=type(finding).__name__,
        sentence=words.sentence(finding),
        caveats=tuple(words.caveats(finding)),
        tables=(table_of(columns, names),),
        sections=(),
        labels=(),
    )


def _summary(value: Any) -> str:
    """Formats a value in one line: a record as its type, a sequence of records as its length."""
    match value:
        case Estimate():
            return value.text()
        case (first, *_rest) if is_dataclass(first):
            return f"{len(value)} × {type(first).__name__}"
    return type(value).__name__ if is_dataclass(value) else short(str(value), MAX_LETTERS)
