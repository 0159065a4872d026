"""The kinds of studies that are a folder each, one row per kind. Its functions are loaded when they are needed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convoy.studies import findings

if TYPE_CHECKING:
    from convoy.reporting.content import Page
    from convoy.runs import Study


@dataclass(frozen=True)
class Kind:
    """Each is "module:name" under this package; none of these modules reaches torch."""

    finding: str  # the type
    sentence: str  # finding -> the sentence
    caveats: str  # finding -> the list of caveats
    page: str  # (study, finding, folder) -> Page


KINDS = {
    "seeds": Kind("seeds.finding:SeedsFinding", "seeds.words:sentence", "seeds.words:caveats", "seeds.page:page"),
}


def finding_of(study: Study) -> Any:
    """The typed finding. Raises ValueError: another version, damaged."""
    return findings.read(study, _load(KINDS[study.table["kind"]].finding))


def sentence_of(study: Study) -> str:
    kind = KINDS.get(study.table.get("kind", ""))
    return study.finding.get("sentence", "") if kind is None else _load(kind.sentence)(finding_of(study))


def caveats_of(study: Study) -> list[str]:
    kind = KINDS.get(study.table.get("kind", ""))
    if kind is None:
        return [*study.finding.get("missing", ()), *study.finding["caveats"]]
    return _load(kind.caveats)(finding_of(study))


def page_of(study: Study) -> Callable[[Study, Path], Page] | None:
    """What makes the page of a study; None for a kind that has no row here."""
    kind = KINDS.get(study.table.get("kind", ""))
    if kind is None:
        return None
    page = _load(kind.page)
    return lambda study, folder: page(study, finding_of(study), folder)


def _load(name: str) -> Any:
    module, _, attribute = name.partition(":")
    return getattr(import_module(f"convoy.studies.{module}"), attribute)
