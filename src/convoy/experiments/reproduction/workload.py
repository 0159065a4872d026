"""The runs that a study within an experiment would train."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from convoy.experiments.experiment import Crossval, Part, Search
from convoy.experiments.reproduction.parts import design_of
from convoy.experiments.reproduction.scope import Scope
from convoy.recipe import Recipe
from convoy.studies.crossval import run as crossval
from convoy.studies.landscape import run as landscape
from convoy.studies.train_all import Entry


@dataclass(frozen=True)
class Job:
    """One run, or all trials of a search."""

    label: str
    recipe: Recipe
    runs: int = 1
    share: float = 1.0  # of the epochs that is trained; successive halving stops some runs early


def of_study(scope: Scope, study: Part) -> list[Job]:
    """The runs of one of the experiment's studies."""
    asked = study.asked(quick=scope.settings.quick)
    recipes = scope.recipes_of(study)
    label, recipe = recipes[0]
    if isinstance(asked, Crossval):
        entries = crossval.entries_of(recipe, asked.folds, asked.repeats)
        return jobs_of([Entry(f"{label}, {entry.label}", entry.recipe) for entry in entries])
    if isinstance(asked, Search):
        return _of_search(label, recipe, asked)
    return jobs_of(landscape.planned(recipes, design_of(asked), None))


def _of_search(label: str, recipe: Recipe, asked: Search) -> list[Job]:
    from convoy.studies.search.loop import rungs  # Optuna takes half a second to import

    points = math.prod(map(len, asked.grid.values()))
    trials, epochs = min(asked.trials or points, points), recipe.train.epochs
    share = 1.0
    if asked.pruner != "none":
        climbed = rungs(trials, epochs)
        starts = [0, *(rung.until for rung in climbed)]
        trained = sum(rung.trials * (rung.until - start) for rung, start in zip(climbed, starts, strict=False))
        share = trained / (trials * epochs)
    fresh = [recipe.override({"seed": recipe.seed + 1 + offset}) for offset in range(asked.seeds)]
    return [
        Job(f"{label}, {trials} trials", recipe, trials, share),
        *(Job(f"{label}, winner", each) for each in fresh),
    ]


def jobs_of(entries: Iterable[Entry]) -> list[Job]:
    return [Job(f"{entry.label}, seed {entry.recipe.seed}", entry.recipe) for entry in entries]
