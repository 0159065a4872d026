"""The pages of reproductions, and of all other kinds of studies."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from convoy.studies import kinds

if TYPE_CHECKING:
    from convoy.reporting.content import Page
    from convoy.runs import Study


def page_of(study: Study, folder: Path) -> Page | None:
    """The page of a study, to be written into `folder`; None for a kind that reporting knows."""
    kind = study.table.get("kind")
    if kind == "reproduction":
        from convoy.experiments.reproduction.page import reproduction_page

        return reproduction_page(study, folder)
    if kind == "reproductions":
        from convoy.experiments.reproductions.page import reproductions_page

        return reproductions_page(study, folder)
    return kinds.page_of(study, folder)
