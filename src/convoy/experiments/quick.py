"""What `convoy reproduce --quick` trains: which networks, on how many images, and why other parts are left out.

quick_fit chooses once and stores the choice next to the finding, so that the same command finds the same runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from convoy.recipe import Recipe

SCHEMA = 2


class SkipReason(StrEnum):
    TIME = "time"  # needs more time than its share
    SEEDS = "seeds"  # compares seeds, but there is only one
    NO_VERDICT = "no_verdict"  # a quick try gives no verdict on claims that need training


@dataclass(frozen=True)
class Size:
    """Images and epochs of the runs of one network."""

    limit: int | None  # images of the data set, including the validation set; None: all
    epochs: int
    images: int  # training images times epochs


@dataclass(frozen=True)
class SkippedPart:
    part: str  # a part of the experiment
    name: str  # a network's label, a fault's name, a claim's id, a study's recipes
    reason: SkipReason
    side: Literal["as_published", "corrected"] | None = None  # for a network
    seconds: float | None = None  # expected time on one core of this machine
    images_per_second: float | None = None  # in training, for a network that was only timed


@dataclass(frozen=True)
class Choice:
    key: str  # digest of the experiment and settings
    cpu: str
    cores: int
    seconds: float = 0.0  # expected time of the chosen runs
    sizes: dict[str, Size] = field(default_factory=dict)  # size of each trained network, by the model's registered name
    models: dict[str, tuple[str, ...]] = field(default_factory=dict)  # label of a trained network -> its protocols
    faults: tuple[str, ...] = ()
    claims: tuple[str, ...] = ()
    studies: tuple[int, ...] = ()  # positions in the experiment
    left_out: tuple[SkippedPart, ...] = ()
    decided: bool = True  # False: only the sizes are chosen so far
    schema: int = SCHEMA

    def sized(self, recipe: Recipe) -> Recipe:
        size = self.sizes.get(recipe.model.name)
        if size is None:
            return recipe
        return recipe.override({"data.limit": size.limit, "train.epochs": size.epochs})


SHARES = {"models": 0.6, "faults": 0.8}  # cumulative fraction of the time limit up to this part; other parts: 1


def makespan(seconds: Sequence[float], workers: int) -> float:
    """Total time of the jobs on `workers` workers, longest first."""
    loads = [0.0] * workers
    for each in sorted(seconds, reverse=True):
        loads[loads.index(min(loads))] += each
    return max(loads)
