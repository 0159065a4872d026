"""Chooses what a quick try trains, by timing the networks of the experiment on this machine for a few seconds.

A network is trained on enough images to learn, or not at all. The required numbers of images are measured
(benchmarks/images_to_learn.py) and stored in experiment.toml. A network gets 1.5 times as many images, or more if it is
cheap. Parts are processed in order, cheap networks first, until their share of the time is used.
"""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter

from convoy.data.sources import load
from convoy.experiments.experiment import Experiment, ExperimentStudy, Fault, Side
from convoy.experiments.measures import find
from convoy.experiments.parts import STUDIES
from convoy.experiments.quick import SCHEMA, SHARES, Choice, Size, SkippedPart, SkipReason, makespan
from convoy.experiments.reproduction import digests, studies
from convoy.experiments.reproduction.scope import Scope
from convoy.files import read_json, write_json
from convoy.process import cores
from convoy.recipe import Recipe
from convoy.training.machine.environment import describe
from convoy.training.run import pace
from convoy.training.run.plan import plan_one

MARGIN = 1.5  # factor on the measured number of images to learn
CHEAP_IMAGES, CHEAP_SHARE = 30_000, 0.1  # a network gets this many images if they take at most this share of the time
EPOCH_IMAGES = 10_000  # minimum per epoch; at this data.limit, all test images of MNIST are scored
MAX_EPOCHS = 3
START_SECONDS = 4.0  # to start the worker processes, per part


def chosen(scope: Scope, path: Path, *, again: bool) -> Choice:
    """Returns the choice stored at `path` for this experiment and these settings, or makes and stores it."""
    table = scope.experiment.model_dump(mode="json", exclude={"folder"})
    settings = scope.settings
    key = digests.digest(table, settings.protocol, scope.seeds, settings.models, settings.only, settings.set)
    if path.is_file() and not again:
        stored = read_json(path)
        if (stored.get("key"), stored.get("schema")) == (key, SCHEMA):
            return TypeAdapter(Choice).validate_python(stored)
    choice = _Fit(scope).choose(key)
    write_json(path, asdict(choice))
    return choice


def reduced(experiment: Experiment, choice: Choice) -> Experiment:
    """Returns the experiment without the parts left out. Layers of untrained networks are still counted."""
    trained = {model.label: {} if model.label in choice.models else {"seeds": 0} for model in experiment.model}
    parts = {
        "model": tuple(model.model_copy(update=trained[model.label]) for model in experiment.model),
        "fault": tuple(fault for fault in experiment.fault if fault.name in choice.faults),
        "claim": tuple(claim for claim in experiment.claim if claim.id in choice.claims),
        "study": tuple(experiment.study[position] for position in choice.studies),
    }
    return experiment.model_copy(update=parts)


class _Fit:
    def __init__(self, scope: Scope) -> None:
        self.scope, self.experiment = scope, scope.experiment
        self.workers = cores()
        self.seconds = float(scope.experiment.quick.seconds)
        self.times = _Times(scope)
        self.trained: set[str] = set()  # canonical recipes chosen so far
        self.networks: set[str] = set()  # names of their models
        self.parts: dict[str, list[float]] = {}  # seconds of the runs chosen so far
        self.left_out: list[SkippedPart] = []

    def choose(self, key: str) -> Choice:
        experiment, cpu = self.experiment, describe(torch.device("cpu"), Recipe()).cpu
        with other_cores_busy(self.workers - 1):
            sizes = self._sizes()
            choice = Choice(key, cpu, self.workers, sizes=sizes, decided=False)
            self.scope = replace(self.scope, quick=choice)
            models = self._models()
            faults = [fault.name for fault in experiment.fault if self._fault(fault)]
            studies = [at for at, study in enumerate(experiment.study) if self._study(study)]
            exact = [claim.id for claim in experiment.claim if find(claim.measure).exact]
            trained = [claim.id for claim in experiment.claim if claim.id not in exact]
            self.left_out += [SkippedPart("claims", name, SkipReason.NO_VERDICT) for name in trained]
        return replace(
            choice,
            sizes={name: size for name, size in sizes.items() if name in self.networks},
            seconds=round(self._elapsed(), 1),
            models=models,
            faults=tuple(faults),
            claims=tuple(exact),
            studies=tuple(studies),
            left_out=tuple(self.left_out),
            decided=True,
        )

    # ---- sizes ----

    def _sizes(self) -> dict[str, Size]:
        """Sizes of the networks that may be trained, by registered name."""
        counted = [model for model in self.experiment.model if not self.scope.count(model.seeds)]
        names = {name for model in counted for name in (model.as_published, model.corrected)}
        by_model: dict[str, list[Recipe]] = {}
        for name, recipe in self.scope.recipes.items():
            if name not in names:
                by_model.setdefault(recipe.model.name, []).append(recipe)
        return {name: self._size(name, group) for name, group in by_model.items()}

    def _size(self, model: str, recipes: Sequence[Recipe]) -> Size:
        needed = math.ceil(MARGIN * self.experiment.quick.images_to_learn(model))
        if needed < CHEAP_IMAGES:
            needed = max(needed, min(CHEAP_IMAGES, int(CHEAP_SHARE * self.seconds * self.times.pace(recipes[0]).train)))
        validation = max(recipe.data.split.validation for recipe in recipes)
        available = round(self.times.images * (1 - validation))  # images in the smallest training set
        epochs = max(1, min(MAX_EPOCHS, needed // EPOCH_IMAGES))
        if needed >= epochs * available:
            epochs = math.ceil(needed / available)
            return Size(limit=None, epochs=epochs, images=epochs * available)
        return Size(limit=math.ceil(needed / epochs / (1 - validation)), epochs=epochs, images=needed)

    # ---- what fits ----

    def _models(self) -> dict[str, tuple[str, ...]]:
        entries: dict[str, dict[Side, list[Recipe]]] = {}
        for (label, side, _), entry in self.scope.models(chosen=True).items():
            entries.setdefault(label, {}).setdefault(side, []).append(entry.recipe)
        fitting: dict[str, tuple[str, ...]] = {}
        for label in sorted(entries, key=lambda label: sum(map(self._sum, entries[label].values()))):
            for side, recipes in entries[label].items():
                if self._take("models", recipes):
                    fitting[label] = (*fitting.get(label, ()), side)
                else:
                    speed = self.times.pace(recipes[0]).train
                    self._late("models", label, recipes, side=side, images_per_second=speed)
        return fitting

    def _fault(self, fault: Fault) -> bool:
        if fault.of_one_seed and (fault.against is not None or self.scope.count(fault.pairs) < 2):
            self.left_out.append(SkippedPart("faults", fault.name, SkipReason.SEEDS))
            return False
        recipes = [entry.recipe for pair in self.scope.pairs(fault) for entry in pair]
        return self._take("faults", recipes) or self._late("faults", fault.name, recipes)

    def _study(self, study: ExperimentStudy) -> bool:
        if study not in self.scope.studies:  # the study belongs to the other protocol
            return False
        if STUDIES[study.part].compares_seeds:
            self.left_out.append(SkippedPart(study.part, ", ".join(study.recipes), SkipReason.SEEDS))
            return False
        jobs = studies.jobs_of_study(self.scope, study)
        recipes = [job.recipe for job in jobs for _ in range(math.ceil(job.runs * job.share))]
        # All trials of a search are represented by one recipe, although they differ; none is reused.
        fits = self._take(study.part, recipes, reuse=all(job.runs == 1 for job in jobs))
        return fits or self._late(study.part, ", ".join(study.recipes), recipes)

    def _sum(self, recipes: Sequence[Recipe]) -> float:
        return sum(self.times.seconds(recipe) for recipe in recipes)

    def _take(self, part: str, recipes: Sequence[Recipe], *, reuse: bool = True) -> bool:
        """Adds the recipes that are not chosen yet if they fit into the part's share. Returns whether they fit."""
        by_identity = {_identity(recipe): recipe for recipe in recipes}
        new = [recipe for key, recipe in by_identity.items() if key not in self.trained] if reuse else recipes
        before = self.parts.get(part, [])
        self.parts[part] = [*before, *(self.times.seconds(recipe) for recipe in new)]
        share = SHARES.get(part, 1.0) if self.trained else 1.0  # the first network may take all of the time
        if self._elapsed() > share * self.seconds:
            self.parts[part] = before
            return False
        self.trained |= by_identity.keys()
        self.networks |= {recipe.model.name for recipe in recipes}
        return True

    def _elapsed(self) -> float:
        return sum(START_SECONDS + makespan(each, self.workers) for each in self.parts.values() if each)

    def _late(self, part: str, name: str, recipes: Sequence[Recipe], **more: Any) -> bool:
        """Records that a part is left out because it takes too long. Returns False."""
        self.left_out.append(SkippedPart(part, name, SkipReason.TIME, seconds=self._sum(recipes), **more))
        return False


def _identity(recipe: Recipe) -> str:
    """Identifies a training run. Faults that affect only scores do not need a separate run."""
    faults = [fault for fault in recipe.protocol.faults if not fault.info.only_scores]
    return json.dumps(recipe.override({"protocol.faults": faults}).canonical(), sort_keys=True)


class _Times:
    """Estimated durations of runs, from one timing per network that ignores options and batch size."""

    def __init__(self, scope: Scope) -> None:
        dataset = load(scope.data_name or scope.experiment.data)
        self.images, self._test = len(dataset.train), 0 if dataset.test is None else len(dataset.test)
        self._paces: dict[tuple[str, int | None], pace.Pace] = {}

    def pace(self, recipe: Recipe) -> pace.Pace:
        key = recipe.model.name, recipe.data.size
        if key not in self._paces:
            self._paces[key] = pace.measure(plan_one(recipe.override({"data.limit": None, "data.split.folds": 0})))
        return self._paces[key]

    def seconds(self, recipe: Recipe) -> float:
        """Duration of one run on one thread."""
        split, limit = recipe.data.split, recipe.data.limit or self.images
        pool = min(limit, self.images)
        fold = pool // split.folds if split.folds else 0
        held_out = round((pool - fold) * split.validation)
        counts = pace.Counts(pool - fold - held_out, held_out, 0 if fold else min(limit, self._test), fold)
        return pace.seconds_of(recipe, counts, self.pace(recipe))


@contextmanager
def other_cores_busy(count: int) -> Iterator[None]:
    """Keeps `count` threads busy with matrix products, because parallel workers slow each other down."""
    done = threading.Event()

    def work() -> None:
        torch.set_num_threads(1)
        one = torch.ones(256, 256)
        while not done.is_set():
            torch.mm(one, one)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        done.set()
        for thread in threads:
            thread.join()
