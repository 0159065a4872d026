"""The kinds of studies that are a folder each, one row per kind. Its modules are loaded when they are needed."""

from __future__ import annotations

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
    """A folder of this package, of whose modules these never reach torch:

    finding.py (the type of the finding), words.py (`sentence` and `caveats` of a finding) and page.py (`page` of study,
    finding and folder).
    """

    finding: str  # the type's name
    example: str  # its command on MNIST, as its --help shows it; the tests run it on a few images


KINDS = {
    "crossval": Kind("CrossvalFinding", "crossval lenet --data mnist --folds 5 --epochs 3"),
    "lr_range": Kind("LrRangeFinding", "lr-range lenet --data mnist --from 1e-5 --to 1"),
    "search": Kind(
        "SearchFinding",
        "search lenet --data mnist --epochs 3 --grid train.batch_size=32,64 --grid optim.lr=1e-4,1e-3",
    ),
    "seeds": Kind("SeedsFinding", "seeds lenet --data mnist --epochs 1 --seeds 3"),
}


def finding_of(study: Study) -> Any:
    """The typed finding. Raises ValueError: another version, damaged."""
    name = study.table["kind"]
    return findings.read(study, getattr(_module(name, "finding"), KINDS[name].finding))


def sentence_of(study: Study) -> str:
    name = study.table.get("kind", "")
    if name not in KINDS:
        return study.finding.get("sentence", "")
    return _module(name, "words").sentence(finding_of(study))


def caveats_of(study: Study) -> list[str]:
    name = study.table.get("kind", "")
    if name not in KINDS:
        return [*study.finding.get("missing", ()), *study.finding["caveats"]]
    return _module(name, "words").caveats(finding_of(study))


def page_of(study: Study, folder: Path) -> Page | None:
    """The page of a study, to be written into `folder`; None for a kind that has no row here."""
    name = study.table.get("kind", "")
    return _module(name, "page").page(study, finding_of(study), folder) if name in KINDS else None


def _module(kind: str, part: str) -> Any:
    return import_module(f"convoy.studies.{kind}.{part}")
