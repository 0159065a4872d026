"""The studies within an experiment: key sentence, main figures, and a link to the report of each."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

from convoy.experiments.reproduction.finding import PartResult
from convoy.experiments.reproduction.words import part_sentence, part_title
from convoy.reporting.content import Chart, Page, Prose, Scene3D, Section, Table
from convoy.reporting.pages import study_page
from convoy.reporting.palette import Look
from convoy.runs import Study
from convoy.studies import kinds
from convoy.text import gettext as _

# Figures of the published reports: name on the page of the study -> name in the published report.
FIGURES = {
    "crossval": {"cv_accuracy": "cv_accuracy"},
    "search": {"search_3d": "train2", "search_heat": "search_heat"},
    "landscape": {"loss_band": "loss_band", "along_the_step": "along_the_step"},
}


def part_sections(study: Study, parts: Sequence[PartResult], folder: Path) -> list[Section]:
    sections = []
    name_counts: Counter[str] = Counter()
    for part in parts:
        title, path = part_title(part), study.path / part.study
        if not (path / "finding.json").is_file():
            missing = _("The study {name} is missing.", name=path.name)
            sections.append(Section(title, (Prose(f"{_capitalized(part_sentence(part))}. {missing}"),)))
            continue
        page = study_page(Study(path), folder, kinds.page_of)
        figures = []
        for figure in main_figures(page, part.kind):
            name = f"{figure.name}_as_published" if part.side == "as_published" else figure.name
            name_counts[name] += 1
            count = name_counts[name]  # with two cross-validations, file names must differ
            figures.append(replace(figure, name=f"{name}-{count}" if count > 1 else name))
        link = Prose(f"{page.sentence}.", report_link(path, folder), _("Full report"))
        caveats = [Prose(" ".join(f"{_capitalized(caveat)}." for caveat in page.caveats))] if page.caveats else []
        sections.append(Section(title, (link, *caveats, *figures, *map(_unmarked, page.tables))))
    return sections


def main_figures(page: Page, kind: str) -> list[Chart | Scene3D]:
    """Figures with a published name, or else the first figure. They keep the colours of the page."""
    look = Look(page.labels, page.aliases)
    figures = [
        replace(block, look=look) if isinstance(block, Chart) else block
        for block in page.blocks
        if isinstance(block, Chart | Scene3D)
    ]
    names = FIGURES.get(kind, {})
    return [replace(figure, name=names[figure.name]) for figure in figures if figure.name in names] or figures[:1]


def _capitalized(sentence: str) -> str:
    """Capitalized unless the sentence begins with a recipe key."""
    return sentence[:1].upper() + sentence[1:] if sentence.split(" ")[0].isalpha() else sentence


def _unmarked(table: Table) -> Table:
    """Without the marks of models, which belong to the other page."""
    return replace(table, rows=tuple(tuple(replace(cell, model="") for cell in row) for row in table.rows))


def report_link(study: Path, folder: Path) -> str:
    """Relative link from a report in `folder` to the report of a study."""
    return quote(os.path.relpath(study.resolve() / "report.html", folder.resolve()).replace(os.sep, "/"))
