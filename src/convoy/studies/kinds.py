"""The kinds of studies that are a folder each, one row per kind. Its modules are loaded when they are needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from convoy.reporting.content import Page
    from convoy.runs import Study


@dataclass(frozen=True)
class Kind:
    """A folder of `package`; the row's name is that of its public function, and so of its command.

    These of its modules never reach torch: options.py (the keywords of the function, the flags of the command),
    finding.py (the type of the finding), words.py (`sentence` and `caveats` of a finding) and page.py (`page` of study,
    finding and folder).
    """

    finding: str  # the type's name
    example: str  # its command on MNIST, as its --help shows it; the tests run it on a few images
    package: str = "convoy.studies"


KINDS = {
    "compare": Kind("CompareFinding", "compare lenet two_conv_cnn --data mnist --epochs 3 --seeds 3"),
    "crossval": Kind("CrossvalFinding", "crossval lenet --data mnist --folds 5 --epochs 3"),
    "landscape": Kind(
        "LandscapeFinding",
        "landscape lenet two_conv_cnn --data mnist --lrs 1e-3,1e-2 --epochs 3 --resolution 9",
    ),
    "lr_range": Kind("LrRangeFinding", "lr-range lenet --data mnist --from 1e-5 --to 1"),
    "search": Kind(
        "SearchFinding",
        "search lenet --data mnist --epochs 3 --grid train.batch_size=32,64 --grid optim.lr=1e-4,1e-3",
    ),
    "seeds": Kind("SeedsFinding", "seeds lenet --data mnist --epochs 1 --seeds 3"),
}


def finding_of(study: Study, kinds: Mapping[str, Kind] = KINDS) -> Any:
    """The typed finding. Raises ValueError: unknown kind, another version, damaged."""
    from convoy.studies import findings  # pydantic is not needed for --help

    module, kind = _module(study, "finding", kinds), kinds[study.table["kind"]]
    return findings.read(study, getattr(module, kind.finding))


def sentence_of(study: Study, kinds: Mapping[str, Kind] = KINDS) -> str:
    return _module(study, "words", kinds).sentence(finding_of(study, kinds))


def caveats_of(study: Study, kinds: Mapping[str, Kind] = KINDS) -> list[str]:
    return _module(study, "words", kinds).caveats(finding_of(study, kinds))


def page_of(study: Study, folder: Path, kinds: Mapping[str, Kind] = KINDS) -> Page:
    """The page of a study, to be written into `folder`."""
    return _module(study, "page", kinds).page(study, finding_of(study, kinds), folder)


def _module(study: Study, part: str, kinds: Mapping[str, Kind]) -> Any:
    name = study.table.get("kind", "")
    if name not in kinds:
        raise ValueError(f"{study.path}: expected a study of kind {', '.join(kinds)}; found {name!r}")
    return import_module(f"{kinds[name].package}.{name}.{part}")
