"""What a quick try of an experiment takes: which networks, on how many images, and what it leaves out for which reason.

Decided once by quick_fit and stored next to the finding, so that the same command finds the same runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

from convoy.recipe import Recipe
from convoy.recipe.sections import Section

SCHEMA = 1


class Reason(StrEnum):
    TIME = "time"  # it needs more time than its share
    SEEDS = "seeds"  # it compares seeds, and there is one
    NO_VERDICT = "no_verdict"  # a quick try decides no claim by training


class Size(Section):
    """Images and epochs of a network's runs."""

    limit: int | None  # images of the data set, the validation part among them; None: all
    epochs: int
    images: int  # to train on, epochs counted


class LeftOut(Section):
    part: str  # models, faults, claims, crossval, search, landscape
    name: str  # a network's label, a fault's name, a claim's id, a study's recipes
    side: str | None = None  # of a network: as_published or corrected
    reason: Reason
    seconds: float | None = None  # that it would take on a core of this machine
    images_per_second: float | None = None  # of training, of a network that is timed only


class Choice(Section):
    version: int = SCHEMA  # of this table
    key: str  # a digest of what it was made for
    cpu: str
    cores: int
    seconds: float  # that the chosen runs are expected to take
    sizes: dict[str, Size]  # of the networks that are trained, by the model's registered name
    models: dict[str, tuple[str, ...]]  # label of a network that is trained -> as_published, corrected, or both
    faults: tuple[str, ...]
    claims: tuple[str, ...]
    studies: tuple[int, ...]  # positions among the experiment's
    left_out: tuple[LeftOut, ...]
    decided: bool = True  # False: only the sizes are known yet

    def sized(self, recipe: Recipe) -> Recipe:
        size = self.sizes.get(recipe.model.name)
        if size is None:
            return recipe
        return recipe.override({"data.limit": size.limit, "train.epochs": size.epochs})


class Shares(NamedTuple):
    """Of the time, up to which each part may go; what one part leaves is the next one's."""

    models: float = 0.6
    faults: float = 0.8
    crossval: float = 1.0
    search: float = 1.0
    landscape: float = 1.0


def makespan(seconds: Sequence[float], workers: int) -> float:
    """How long the jobs take on so many workers, the longest first."""
    loads = [0.0] * workers
    for each in sorted(seconds, reverse=True):
        loads[loads.index(min(loads))] += each
    return max(loads)
