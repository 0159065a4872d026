"""The studies within an experiment: of each its sentence, its main figures, and the way to its own report."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from convoy.reporting.content import Chart, Page, Prose, Section, Table, Turnable, clean
from convoy.reporting.palette import Look
from convoy.reporting.reproduction_tables import PROTOCOLS
from convoy.runs import Study

TITLES = {"crossval": "Cross-validation", "search": "Search", "landscape": "Loss landscape"}
# What the published reports show: the figure's name on its own page, and the name that it was published under.
FIGURES = {
    "crossval": {"cv_accuracy": "cv_accuracy"},
    "search": {"search_3d": "train2", "search_heat": "search_heat"},
    "landscape": {"loss_band": "loss_band", "along_the_step": "along_the_step"},
}


def part_sections(
    study: Study, parts: Sequence[Mapping[str, Any]], folder: Path, page_of: Callable[[Study, Path], Page]
) -> list[Section]:
    sections = []
    taken: Counter[str] = Counter()
    for part in parts:
        side = PROTOCOLS.get(part.get("side") or "")
        title, sentence = TITLES.get(part["kind"], clean(part["kind"]).capitalize()), clean(part["sentence"])
        title += f", {side}" if side else ""
        path = study.path / part["study"]
        if not (path / "finding.json").is_file():
            told = f"{sentence}. The study itself ({clean(path.name)}) is not here."
            sections.append(Section(title, (Prose(told),)))
            continue
        page = page_of(Study(path), folder)
        figures = []
        for figure in main_figures(page, part["kind"]):
            figure = replace(figure, name=f"{figure.name}_as_published") if side == "as published" else figure
            taken[figure.name] += 1
            again = taken[figure.name] > 1  # two cross-validations: a figure's name is that of its file
            figures.append(replace(figure, name=f"{figure.name}-{taken[figure.name]}") if again else figure)
        way = Prose(f"{sentence}.", report_link(path, folder), "Its own report")
        caveats = " ".join(f"{_begun(caveat)}." for caveat in page.caveats)
        mind = [Prose(caveats)] if caveats else []
        sections.append(Section(title, (way, *mind, *figures, *map(_unmarked, page.tables))))
    return sections


def main_figures(page: Page, kind: str) -> list[Chart | Turnable]:
    """Those of a published name; of a page without them the first figure. They keep that page's colours."""
    look = Look(page.labels, page.alike)
    figures: list[Chart | Turnable] = []
    for section in page.sections:
        for block in section.blocks:
            if isinstance(block, Chart):
                figures.append(replace(block, look=look))
            elif isinstance(block, Turnable):
                figures.append(block)
    names = FIGURES.get(kind, {})
    return [replace(figure, name=names[figure.name]) for figure in figures if figure.name in names] or figures[:1]


def _begun(sentence: str) -> str:
    """With a capital, unless it begins with a key of the recipe."""
    return sentence[:1].upper() + sentence[1:] if sentence.split(" ")[0].isalpha() else sentence


def _unmarked(table: Table) -> Table:
    """Without the marks of models, which are the other page's."""
    return replace(table, rows=tuple(tuple(replace(cell, key="") for cell in row) for row in table.rows))


def report_link(study: Path, folder: Path) -> str:
    """From a report in `folder` to that of a study."""
    return quote(os.path.relpath(study.resolve() / "report.html", folder.resolve()).replace(os.sep, "/"))
