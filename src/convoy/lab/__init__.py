"""The lab report of a run or study: its page with method, discussion and references, in one of several formats."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from convoy.text import gettext as _

if TYPE_CHECKING:
    from convoy.reporting.about import About
    from convoy.reporting.content import Page
    from convoy.runs import Run, Study

NAME = "lab-report"


def write_lab_report(
    target: Run | Study,
    suffix: str,
    *,
    page_of: Callable[[Study, Path], Page],
    about: About,
    author: str | None = None,
    overwrite: bool = False,
) -> Path:
    """Writes lab-report.SUFFIX and figures/ into the folder of the run or study; returns its path.

    `page_of` creates the page of a study; `about` is the text of its kind of study. Raises ValueError, before
    writing anything, for an unknown format, a missing package or program, an existing file, and missing or damaged
    results.
    """
    from convoy.lab.page import lab_page
    from convoy.registry import unknown
    from convoy.reporting import formats

    if suffix not in formats.FORMATS:
        raise unknown(_("format"), suffix, formats.FORMATS)
    path = target.path / f"{NAME}.{suffix}"
    if path.exists() and not overwrite:
        raise ValueError(_("{path} already exists and may have been edited; rename it or use --overwrite", path=path))
    formats.FORMATS[suffix].check()
    return formats.write(lab_page(target, page_of, author, about), target.path, NAME, suffix)
