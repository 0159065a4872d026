"""The studies of an experiment: their runs, and the digests by which an earlier study is found."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from convoy.events import OpenTest
from convoy.experiments.experiment import ExperimentStudy
from convoy.experiments.parts import STUDIES, Crossval, Ladder, Landscape, Search, SeedsOfSources
from convoy.experiments.reproduction.finding import StudyResult
from convoy.experiments.reproduction.scope import Scope
from convoy.recipe import Recipe
from convoy.runs import Study
from convoy.studies import kinds
from convoy.studies.compare import ablation
from convoy.studies.crossval import run as crossval
from convoy.studies.ladder import run as ladder
from convoy.studies.landscape import run as landscape
from convoy.studies.landscape.design import Design, Named, Spec
from convoy.studies.seeds import run as seeds
from convoy.studies.session import Entry, Session, Stage
from convoy.training.run.plan import plan_all


class PlannedStudy(NamedTuple):
    names: Sequence[str]  # names of its runs
    entries: Callable[[], Sequence[Entry]] | None  # None: its runs are chosen while it runs
    opens_test: OpenTest
    run: Callable[[Session], Study | None]  # returns None if interrupted; the same call resumes it

    def train(self, session: Session, stage: Stage) -> Study | None:
        with stage(self.names) as show:
            return self.run(replace(session, show=show))


def planned(scope: Scope, study: ExperimentStudy) -> PlannedStudy:
    """Raises ValueError for a study that cannot be trained."""
    recipes, options = scope.recipes_of(study), study.typed_arguments(quick=scope.settings.quick)
    recipe = recipes[0][1]
    label = f"{recipe.label} as published" if study.side == "as_published" else None
    match options:
        case Crossval():
            entries = crossval.entries_of(recipe, options.folds, options.repeats)
            run = partial(crossval.run, recipe, folds=options.folds, repeats=options.repeats, label=label)
            return PlannedStudy(_names(entries), lambda: entries, crossval.OPENS_TEST, run)
        case Search():
            from convoy.studies.search import run as searching  # Optuna takes half a second to import
            from convoy.studies.search.space import Space, Values

            space = Space(tuple(Values(path, tuple(values)) for path, values in options.grid.items()))
            search = searching.prepare(recipe, space, **options.model_dump(exclude={"grid"}), custom_label=label)
            return PlannedStudy(search.names, None, True, partial(searching.run, search))
        case Landscape():
            varied, combined = ablation.combine(recipes, options.vary) if options.vary else (None, recipes)
            design = Design(options.lrs, options.seeds, options.cut, options.own_seeds, options.step_probes)
            chosen = options.surfaces.model_dump() if options.surfaces else {}
            spec = None if options.surfaces is False else Spec(**chosen)
            run = partial(landscape.run, combined, design=design, surfaces=spec, varied=varied)
            planned_runs = partial(landscape.planned, combined, design, spec)
            return PlannedStudy(design.names(combined), planned_runs, landscape.OPENS_TEST, run)
        case SeedsOfSources():
            entries = seeds.entries_of(recipe, options.seeds)
            run = partial(seeds.run, recipe, seeds=options.seeds, differences=options.difference)
            return PlannedStudy(_names(entries), lambda: entries, True, run)
        case Ladder():
            built = ladder.build(recipes[0], recipes[1], seeds=options.seeds)
            return PlannedStudy(_names(built.entries), lambda: built.entries, True, partial(ladder.run, built))


def _names(entries: Sequence[Entry]) -> list[str]:
    return [entry.title for entry in entries]


def fingerprints(recipes: Mapping[str, Recipe]) -> dict[str, str]:
    """Returns the fingerprint of each recipe's run, by recipe name."""
    plans = plan_all(recipes.values())
    return {name: plan.fingerprint for name, plan in zip(recipes, plans, strict=True)}


def result_of(
    section: ExperimentStudy, study: Study, recipes: Named, *, relative_to: Study, digest: str
) -> StudyResult:
    path = Path(os.path.relpath(study.path, relative_to.path)).as_posix()
    info = STUDIES[section.part]
    labels = tuple(recipe.label if info.recipes == 1 else label for label, recipe in recipes)
    accuracy = kinds.finding_of(study).accuracy if info.has_accuracy else None
    return StudyResult(section.part, section.side, path, digest, labels, accuracy)


# ---- the cost of their runs ----


@dataclass(frozen=True)
class Job:
    """One run, or all trials of a search."""

    label: str
    recipe: Recipe
    runs: int = 1
    share: float = 1.0  # fraction of the epochs that is trained; successive halving stops some runs early


def jobs_of_study(scope: Scope, study: ExperimentStudy) -> list[Job]:
    """The runs of a study of the experiment."""
    options = study.typed_arguments(quick=scope.settings.quick)
    if isinstance(options, Search):
        return _of_search(*scope.recipes_of(study)[0], options)
    entries = planned(scope, study).entries
    assert entries is not None
    return jobs_of(entries())


def _of_search(label: str, recipe: Recipe, options: Search) -> list[Job]:
    from convoy.studies.search.loop import rungs  # Optuna

    points = math.prod(map(len, options.grid.values()))
    trials, epochs = min(options.trials or points, points), recipe.train.epochs
    share = 1.0
    if options.pruner != "none":
        used_rungs = rungs(trials, epochs)
        starts = [0, *(rung.until for rung in used_rungs)]
        trained = sum(rung.trials * (rung.until - start) for rung, start in zip(used_rungs, starts, strict=False))
        share = trained / (trials * epochs)
    fresh = [recipe.override({"seed": recipe.seed + 1 + offset}) for offset in range(options.seeds)]
    return [
        Job(f"{label}, {trials} trials", recipe, trials, share),
        *(Job(f"{label}, winner", seeded) for seeded in fresh),
    ]


def jobs_of(entries: Iterable[Entry]) -> list[Job]:
    return [Job(f"{entry.label}, seed {entry.recipe.seed}", entry.recipe) for entry in entries]
