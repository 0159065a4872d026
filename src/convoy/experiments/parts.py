"""The parts of an experiment, and what an experiment knows about each kind of study that it can contain.

reproduction/studies.py, which imports torch, plans their runs: `planned` has a case for each class of arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from pydantic import Field

from convoy.recipe.sections import Section
from convoy.studies.landscape.design import Cut
from convoy.text import gettext as _

Seeds = Annotated[int, Field(ge=1, le=1000)]
StudyKind = Literal["crossval", "search", "landscape", "seeds", "ladder"]
StudyPart = Literal[StudyKind, "ablation"]  # "ablation": a landscape that varies settings


class Crossval(Section):
    folds: Annotated[int, Field(ge=2)]
    repeats: Seeds = 1


class Search(Section):
    """Fields that are None use the defaults of `convoy search`."""

    grid: Annotated[dict[str, list[Any]], Field(min_length=1)]
    trials: Annotated[int, Field(ge=2)] | None = None
    sampler: str | None = None
    pruner: str | None = None
    seeds: Seeds = 3  # seeds of the winner


class Surfaces(Section):
    images: Annotated[int, Field(ge=1)]
    resolution: Annotated[int, Field(ge=3, le=501)]


class Landscape(Section):
    lrs: Annotated[list[float], Field(min_length=2)]
    vary: dict[str, Annotated[list[Any], Field(min_length=2)]] = Field(default_factory=dict)  # key -> values
    seeds: Seeds = 1
    surfaces: Surfaces | Literal[False] | None = None  # None: the defaults of `convoy landscape`
    cut: Cut = "all"
    own_seeds: bool = False
    step_probes: bool = Field(True, serialization_alias="looks")  # the name in earlier digests of studies


class SeedsOfSources(Section):
    seeds: Annotated[int, Field(ge=2, le=1000)] = 5  # for each source of randomness
    difference: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = (0.002, 0.005, 0.01)  # fractions


class Ladder(Section):
    seeds: Seeds = 3


Arguments = Crossval | Search | Landscape | SeedsOfSources | Ladder


@dataclass(frozen=True, kw_only=True)
class StudyInfo:
    """What an experiment knows about the studies of a part. No field has a default."""

    kind: StudyKind
    arguments: type[Arguments]
    title: Callable[[], str]  # within a sentence
    recipes: Literal[1, 2] | None  # number of recipes; None: any number
    compares_seeds: bool  # left out of a quick try, which has one seed
    has_accuracy: bool  # whether its finding has the field `accuracy`
    figures: Mapping[str, str]  # figures of the published report: name on the page of the study -> name in the report


_LANDSCAPE = StudyInfo(
    kind="landscape",
    arguments=Landscape,
    title=lambda: _("loss landscape"),
    recipes=None,
    compares_seeds=False,
    has_accuracy=False,
    figures={"loss_band": "loss_band", "along_the_step": "along_the_step"},
)
STUDIES: Mapping[StudyPart, StudyInfo] = {
    "crossval": StudyInfo(
        kind="crossval",
        arguments=Crossval,
        title=lambda: _("cross-validation"),
        recipes=1,
        compares_seeds=False,
        has_accuracy=True,
        figures={"cv_accuracy": "cv_accuracy"},
    ),
    "search": StudyInfo(
        kind="search",
        arguments=Search,
        title=lambda: _("search"),
        recipes=1,
        compares_seeds=False,
        has_accuracy=True,
        figures={"search_3d": "train2", "search_heat": "search_heat"},
    ),
    "landscape": _LANDSCAPE,
    "ablation": replace(
        _LANDSCAPE, title=lambda: _("ablation of the loss landscape"), figures={"loss_band": "loss_band"}
    ),
    "seeds": StudyInfo(
        kind="seeds",
        arguments=SeedsOfSources,
        title=lambda: _("spread over seeds"),
        recipes=1,
        compares_seeds=True,
        has_accuracy=False,
        figures={},
    ),
    "ladder": StudyInfo(
        kind="ladder",
        arguments=Ladder,
        title=lambda: _("ladder of changes"),
        recipes=2,
        compares_seeds=True,
        has_accuracy=False,
        figures={"ladder": "ladder", "effects": "effects"},
    ),
}
OWN_PARTS = ("models", "faults", "claims")  # all other parts are studies
EXPERIMENT_PARTS: tuple[str, ...] = (*OWN_PARTS, *STUDIES)  # in the order in which they are trained
