"""Makes reports (HTML, Markdown, figures) from run folders, without torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from convoy.reporting.content import Page
    from convoy.runs import Run, Study

EXPLORED = "explore.html"  # the page of `convoy explore`, in the folder of a run or study
EXPLAINED = "explain/explain.html"  # the page of `convoy explain`, in the folder of a run


def write_report(target: Run | Study, *, page_of: Callable[[Study, Path], Page]) -> Path:
    """Writes report.html, report.md and figures/ into the folder of the run or study.

    `page_of` creates the page of a study, because this package does not depend on the kinds of studies. Returns the
    path of report.html. Raises ValueError if files of the run or study are missing or damaged.
    """
    from convoy.files import reading_once
    from convoy.reporting import render

    with reading_once():
        return render.write(_page(target, page_of), target.path)


def report_text(target: Run | Study, *, page_of: Callable[[Study, Path], Page]) -> str:
    """Returns the text of report.md without writing it. Arguments and errors: see `write_report`."""
    from convoy.files import reading_once
    from convoy.reporting import render

    with reading_once():
        return render.markdown(_page(target, page_of))


def _page(target: Run | Study, page_of: Callable[[Study, Path], Page]) -> Page:
    from convoy.reporting import pages
    from convoy.runs import Study

    if isinstance(target, Study):
        return pages.study_page(target, target.path, page_of)
    return pages.run_page(target, target.path)
