"""The runs that a reproduction would train, and their expected time on this machine."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from convoy.experiments.experiment import Crossval, Part, Search
from convoy.experiments.reproduction.parts import design_of
from convoy.experiments.reproduction.scope import Scope
from convoy.recipe import Recipe
from convoy.studies.crossval import run as crossval
from convoy.studies.landscape import run as landscape
from convoy.studies.train_all import Entry
from convoy.training.run import pace
from convoy.training.run.plan import Plan, plan_all


@dataclass(frozen=True)
class Job:
    """One run, or all trials of a search."""

    part: str  # models, faults, claims, crossval, search, landscape
    label: str
    recipe: Recipe
    runs: int = 1
    share: float = 1.0  # of the epochs that is trained; successive halving stops some runs early


@dataclass(frozen=True)
class Cost:
    """Expected cost of a job, from the measured speed."""

    job: Job
    fingerprint: str
    images: int  # training images times epochs
    flops: float  # forward and backward
    seconds: float  # on one thread


def jobs(scope: Scope, parts: Sequence[str]) -> list[Job]:
    """The jobs of the given parts, in order. Several parts may need the same run."""
    found = []
    for part in parts:
        match part:
            case "models":
                entries = list(scope.models(chosen=True).values())
            case "faults":
                pairs = [pair for fault in scope.experiment.fault for pair in scope.pairs(fault)]
                entries = [entry for pair in pairs for entry in pair if entry is not None]
            case "claims":
                entries = [Entry(trial.label, trial.recipe) for check in scope.claims for trial in check.trials]
            case _:
                found += [job for study in scope.studies if study.kind == part for job in of_study(scope, study)]
                continue
        found += _jobs(part, entries)
    return found


def of_study(scope: Scope, study: Part) -> list[Job]:
    """The runs of one of the experiment's studies."""
    asked = study.asked(quick=scope.settings.quick)
    recipes = scope.recipes_of(study)
    label, recipe = recipes[0]
    if isinstance(asked, Crossval):
        entries = crossval.entries_of(recipe, asked.folds, asked.repeats)
        return _jobs(study.kind, [Entry(f"{label}, {entry.label}", entry.recipe) for entry in entries])
    if isinstance(asked, Search):
        return _of_search(label, recipe, asked)
    return _jobs(study.kind, landscape.planned(recipes, design_of(asked), None))


def _of_search(label: str, recipe: Recipe, asked: Search) -> list[Job]:
    from convoy.studies.search.loop import rungs  # Optuna takes half a second to import

    points = 1
    for values in asked.grid.values():
        points *= len(values)
    trials, epochs = min(asked.trials or points, points), recipe.train.epochs
    share = 1.0
    if asked.pruner != "none":
        climbed, before, trained = rungs(trials, epochs), 0, 0
        for rung in climbed:
            trained += rung.trials * (rung.until - before)
            before = rung.until
        share = trained / (trials * epochs)
    fresh = [recipe.override({"seed": recipe.seed + 1 + offset}) for offset in range(asked.seeds)]
    return [
        Job("search", f"{label}, {trials} trials", recipe, trials, share),
        *(Job("search", f"{label}, winner", each) for each in fresh),
    ]


def _jobs(part: str, entries: Iterable[Entry]) -> list[Job]:
    return [Job(part, f"{entry.label}, seed {entry.recipe.seed}", entry.recipe) for entry in entries]


class Stopwatch:
    """Times each network once; networks with equal speed-relevant settings share the result."""

    def __init__(self, clock: pace.Clock = time.perf_counter) -> None:
        self._clock = clock
        self._known: dict[str, pace.Pace] = {}

    def pace(self, ready: Plan) -> pace.Pace:
        recipe, prepared = ready.recipe, ready.prepared
        parts = [recipe.model.model_dump_json(), recipe.train.batch_size, recipe.optim.name, recipe.compute.precision]
        key = repr([*parts, recipe.data.augment, prepared.in_chans, prepared.image_size])
        if key not in self._known:
            self._known[key] = pace.measure(ready, self._clock)
        return self._known[key]


def costs(wanted: Sequence[Job], stopwatch: Stopwatch) -> Iterator[Cost]:
    """Yields each run once. Raises ValueError for a recipe that cannot be trained."""
    seen: set[str] = set()
    for job, ready in zip(wanted, plan_all(job.recipe for job in wanted), strict=True):
        if job.runs == 1 and ready.fingerprint in seen:
            continue
        seen.add(ready.fingerprint)
        speed = stopwatch.pace(ready)
        times = job.runs * job.share
        images = round(pace.images_to_train(ready) * times)
        flops = pace.FORWARD_AND_BACKWARD * speed.flops_per_image * images
        yield Cost(job, ready.fingerprint, images, flops, pace.seconds(ready, speed) * times)
