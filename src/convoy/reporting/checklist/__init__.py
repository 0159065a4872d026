"""Checklists of journals and conferences, answered from run folders as far as possible.

A row is a question in our words with its number in the published checklist. Its answer comes from `evidence`, or is
left to the author. Sources: the NeurIPS paper checklist of 2024 and 2025; REFORMS, Kapoor et al. (2024), Science
Advances 10, eadk3452.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from convoy.registry import unknown
from convoy.reporting.about import NOTHING, About
from convoy.reporting.checklist import neurips, reforms
from convoy.reporting.checklist.answers import Item, Row
from convoy.reporting.checklist.evidence import Subject
from convoy.runs import Run, Study
from convoy.text import gettext as _

CHECKLISTS: Mapping[str, Callable[[], tuple[Row, ...]]] = {"neurips": neurips.rows, "reforms": reforms.rows}


def items(target: Run | Study, name: str, about: About = NOTHING) -> tuple[Item, ...]:
    """Returns the answered questions of a checklist. Raises ValueError for an unknown name or a damaged run."""
    if name not in CHECKLISTS:
        raise unknown(_("checklist"), name, CHECKLISTS)
    subject = Subject.of(target, about)
    return tuple(row.answered(subject) for row in CHECKLISTS[name]())


def write_checklist(target: Run | Study, name: str, about: About = NOTHING, *, overwrite: bool = False) -> Path:
    """Writes checklist-NAME.html and .md into the folder of the run or study; returns the path of the page.

    Raises ValueError for an unknown name, an existing checklist, and a missing or damaged run.
    """
    from convoy.reporting import render
    from convoy.reporting.checklist.page import page

    answered = items(target, name, about)
    for path in (target.path / f"checklist-{name}{suffix}" for suffix in (".html", ".md")):
        if path.exists() and not overwrite:
            raise ValueError(
                _("{path} already exists and may have been edited; rename it or use --overwrite", path=path)
            )
    return render.write(page(target, name, answered), target.path, f"checklist-{name}")
