"""The studies of an experiment: their runs, and the digests by which an earlier study is found."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from convoy.experiments.experiment import (
    Arguments,
    Crossval,
    ExperimentStudy,
    Ladder,
    Landscape,
    Search,
    SeedsOfSources,
    Side,
)
from convoy.experiments.reproduction.finding import StudyResult
from convoy.experiments.reproduction.scope import Scope
from convoy.recipe import Recipe
from convoy.runs import Study
from convoy.studies import kinds
from convoy.studies.compare import ablation
from convoy.studies.crossval import run as crossval
from convoy.studies.ladder import run as ladder
from convoy.studies.landscape import run as landscape
from convoy.studies.landscape.design import Design, Spec
from convoy.studies.seeds import run as seeds
from convoy.studies.session import Entry, Session, Stage
from convoy.text import gettext as _
from convoy.training.run.plan import plan_all

Named = Sequence[tuple[str, Recipe]]


def study_of(recipes: Named, options: Arguments, session: Session, *, side: Side | None, stage: Stage) -> Study | None:
    """Runs a study. Returns None if interrupted; the same call resumes it."""
    recipe = recipes[0][1]
    label = f"{recipe.label} as published" if side == "as_published" else None
    if isinstance(options, Search):
        return _search(recipe, options, session, label=label, stage=stage)
    if isinstance(options, Ladder):
        built = ladder.build(recipes[0], recipes[1], seeds=options.seeds)
        with stage(_names(built.entries)) as show:
            return ladder.run(built, replace(session, show=show))
    if isinstance(options, Landscape):
        names = design_of(options).names(_varied(recipes, options)[1])
    else:
        names = _names(_entries(recipes, options))
    with stage(names) as show:
        quiet_session = replace(session, show=show)
        match options:
            case Crossval():
                return crossval.run(recipe, quiet_session, folds=options.folds, repeats=options.repeats, label=label)
            case SeedsOfSources():
                return seeds.run(recipe, quiet_session, seeds=options.seeds, differences=options.difference)
            case Landscape():
                varied, combined = _varied(recipes, options)
                spec = _surfaces_of(options)
                return landscape.run(combined, quiet_session, design_of(options), surfaces=spec, varied=varied)


def _search(recipe: Recipe, options: Search, session: Session, *, label: str | None, stage: Stage) -> Study | None:
    from convoy.studies.search import run as searching  # Optuna takes half a second to import
    from convoy.studies.search.space import Space, Values

    space = Space(tuple(Values(path, tuple(values)) for path, values in options.grid.items()))
    search = searching.prepare(recipe, space, **options.model_dump(exclude={"grid"}), custom_label=label)
    with stage(search.names) as show:
        return searching.run(search, replace(session, show=show))


def design_of(options: Landscape) -> Design:
    return Design(options.lrs, options.seeds, options.cut, options.own_seeds, options.step_probes)


def _varied(recipes: Named, options: Landscape) -> tuple[ablation.Design | None, Named]:
    """Returns the combinations of values that a landscape varies."""
    return ablation.combine(recipes, options.vary) if options.vary else (None, recipes)


def _surfaces_of(options: Landscape) -> Spec | None:
    if options.surfaces is False:
        return None
    return Spec(**options.surfaces.model_dump()) if options.surfaces else Spec()


def fingerprints(recipes: Mapping[str, Recipe]) -> dict[str, str]:
    """Returns the fingerprint of each recipe's run, by recipe name."""
    plans = plan_all(recipes.values())
    return {name: plan.fingerprint for name, plan in zip(recipes, plans, strict=True)}


def result_of(
    section: ExperimentStudy, study: Study, recipes: Named, *, relative_to: Study, digest: str
) -> StudyResult:
    path = Path(os.path.relpath(study.path, relative_to.path)).as_posix()
    labels = tuple(label if section.kind == "landscape" else recipe.label for label, recipe in recipes)
    accuracy = kinds.finding_of(study).accuracy if section.kind in ("crossval", "search") else None
    return StudyResult(section.part, section.side, path, digest, labels, accuracy)


# ---- their runs ----


def entries_of(scope: Scope, study: ExperimentStudy) -> list[Entry]:
    """Returns the runs that `study_of` trains. Raises ValueError for a search."""
    return _entries(scope.recipes_of(study), study.typed_arguments(quick=scope.settings.quick))


def _entries(recipes: Named, options: Arguments) -> list[Entry]:
    recipe = recipes[0][1]
    match options:
        case Crossval():
            return crossval.entries_of(recipe, options.folds, options.repeats)
        case SeedsOfSources():
            return seeds.entries_of(recipe, options.seeds)
        case Ladder():
            return ladder.build(recipes[0], recipes[1], seeds=options.seeds).entries
        case Landscape():
            return landscape.planned(_varied(recipes, options)[1], design_of(options), _surfaces_of(options))
        case Search():
            raise ValueError(_("the runs of a search are chosen while it runs"))


def _names(entries: Sequence[Entry]) -> list[str]:
    return [entry.title for entry in entries]


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
    recipes = scope.recipes_of(study)
    label, recipe = recipes[0]
    if isinstance(options, Search):
        return _of_search(label, recipe, options)
    if isinstance(options, Landscape):
        return jobs_of(landscape.planned(_varied(recipes, options)[1], design_of(options), None))
    return jobs_of([Entry(f"{label}, {entry.label}", entry.recipe) for entry in _entries(recipes, options)])


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
