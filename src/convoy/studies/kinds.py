"""The kinds of studies: each folder of this package is one. Their modules are loaded when needed.

command.py has the public function with its options; convoy/api/__init__.py imports it. These modules never import
torch, not even indirectly: finding.py has the type of the finding, whose field `kind` is the folder's name, and the
function `recompute`; words.py has the functions `sentence` and `caveats` of a finding and, optionally,
`about`, what lab reports and checklists say about the kind; page.py has the function `page` of study, finding and
folder.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any

from convoy import studies
from convoy.text import gettext as _
from convoy.text.lists import joined

if TYPE_CHECKING:
    from types import ModuleType

    from convoy.reporting.about import About
    from convoy.reporting.content import Page
    from convoy.runs import Run, Study


def folders_of(package: ModuleType) -> dict[str, str]:
    """Maps each kind to the dotted name of its folder."""
    folders = [module.name for module in iter_modules(package.__path__) if module.ispkg]
    return {kind: f"{package.__name__}.{kind}" for kind in sorted(folders)}


KINDS = folders_of(studies)


def finding_of(study: Study, kinds: Mapping[str, str] = KINDS) -> Any:
    """Returns the typed finding. Raises ValueError for an unknown kind, another version or a damaged file."""
    from convoy.studies import findings  # pydantic is not needed for --help

    module = _module(study, "finding", kinds)
    types = [each for each in vars(module).values() if getattr(each, "kind", None) == study.contents.kind]
    return findings.read(study, types[0])


def recompute_finding(study: Study) -> Any:
    """Recomputes the finding from the study's runs. Only the settings of the study, such as labels, are read from the
    stated finding. Raises ValueError like `finding_of`, and if it cannot be recomputed.
    """
    return _module(study, "finding", KINDS).recompute(finding_of(study), study)


def sentence_of(study: Study, kinds: Mapping[str, str] = KINDS) -> str:
    return _module(study, "words", kinds).sentence(finding_of(study, kinds))


def caveats_of(study: Study, kinds: Mapping[str, str] = KINDS) -> list[str]:
    return _module(study, "words", kinds).caveats(finding_of(study, kinds))


def about_of(target: Run | Study, kinds: Mapping[str, str] = KINDS) -> About:
    from convoy.reporting.about import NOTHING
    from convoy.runs import Run

    if isinstance(target, Run):
        return NOTHING
    about: Callable[[], About] = getattr(_module(target, "words", kinds), "about", lambda: NOTHING)
    return about()


def page_of(study: Study, folder: Path, kinds: Mapping[str, str] = KINDS) -> Page:
    """Creates the page of a study, to be written into `folder`."""
    return _module(study, "page", kinds).page(study, finding_of(study, kinds), folder)


def _module(study: Study, part: str, kinds: Mapping[str, str]) -> ModuleType:
    name = study.contents.kind
    if name not in kinds:
        raise ValueError(
            _(
                "{path}: expected a study of kind {kinds}; found {name!r}",
                path=study.path,
                kinds=joined(kinds),
                name=name,
            )
        )
    return import_module(f"{kinds[name]}.{part}")
