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
    from convoy.reporting import pages, render
    from convoy.runs import Study

    folder = target.path
    with reading_once():
        page = (
            pages.study_page(target, folder, page_of) if isinstance(target, Study) else pages.run_page(target, folder)
        )
        return render.write(page, folder)
