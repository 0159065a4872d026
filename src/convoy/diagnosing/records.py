"""The subject of the checks of finished runs: a run, or the runs of a study, and other runs of their workspace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from convoy.diagnosing.images import Images
from convoy.recipe import Recipe
from convoy.record import contradictions
from convoy.runs import Run

PARTS = ("test", "fold", "validation")


@dataclass(frozen=True, eq=False)
class Records:
    runs: Sequence[Run]  # one run, or those of a study
    others: Sequence[Run] = ()  # finished runs of the same workspace, whose scores can be read
    openings: int = 0  # openings of the test set in this workspace
    images: Images | None = None  # images of the first run, including the test set

    @cached_property
    def finished(self) -> list[Run]:
        """The finished runs, without runs whose files contradict each other."""
        return [run for run in self.runs if run.finished and not contradictions(run)]

    @property
    def part(self) -> str | None:
        """The part by which the runs are compared."""
        scored = [part for part in PARTS if self.finished and all(part in run.scores for run in self.finished)]
        return scored[0] if scored else None


def is_correct(run: Run, part: str) -> np.ndarray:
    """Returns whether each image of a part is classified correctly, bool [N]."""
    labels, predicted = run.predicted(part)
    correct: np.ndarray = labels == predicted
    return correct


def without_faults(recipe: Recipe) -> Recipe:
    return recipe.override({"protocol.faults": []})


def without_seed(recipe: Recipe) -> Recipe:
    return recipe.override({"seed": 0})
