"""The items of docs/results/items.toml, the runs that they need, and the expected cost on this machine."""

from __future__ import annotations

import shlex
import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter

from convoy.cli.main import app, split_overrides
from convoy.experiments import experiment as experiments
from convoy.experiments.experiment import Settings
from convoy.experiments.parts import EXPERIMENT_PARTS
from convoy.experiments.reproduction import digests
from convoy.experiments.reproduction import studies as experiment_studies
from convoy.experiments.reproduction.scope import Scope, data_name
from convoy.experiments.reproduction.studies import Job, jobs_of, jobs_of_study
from convoy.recipe import Recipe
from convoy.recipe.files import Override
from convoy.runs import Run
from convoy.studies.train_all import Entry
from convoy.training.machine.environment import describe
from convoy.training.run import pace
from convoy.training.run.plan import Plan, plan_all

AUTO = "auto"  # precision: bfloat16 where it is fast, otherwise float32
Finished = Mapping[str, Run | None]  # by fingerprint; None for a study, by digest


@dataclass(frozen=True)
class Item:
    name: str
    command: str
    about: str
    share: float = 1.0
    cifar: bool = False

    def _parsed(self) -> tuple[Mapping[str, Any], Sequence[Override]]:
        """Arguments and overrides of the `convoy reproduce` command. Raises ValueError if it is invalid."""
        overrides, tokens = split_overrides(shlex.split(self.command)[1:])
        return app.parse_args(tokens, exit_on_error=False, print_error=False)[1].arguments, overrides

    @property
    def precision_is_auto(self) -> bool:
        return f"compute.precision={AUTO}" in shlex.split(self.command)

    @property
    def experiment(self) -> experiments.Experiment:
        return experiments.load(self._parsed()[0]["experiment"])

    def settings(self, cifar: Path | None = None) -> Settings:
        """Raises ValueError for a part or a model that the experiment does not have."""
        arguments, overrides = self._parsed()
        listed = {name: tuple(filter(None, arguments.get(name, "").split(","))) for name in ("only", "models")}
        allowed = {"only": EXPERIMENT_PARTS, "models": [model.label for model in self.experiment.model]}
        for name, values in listed.items():
            if unknown := [value for value in values if value not in allowed[name]]:
                raise ValueError(f"item {self.name!r}: expected one of {', '.join(allowed[name])}, got {unknown[0]!r}")
        return Settings(
            protocol=arguments.get("protocol", "both"),
            seeds=arguments.get("seeds"),
            limit=arguments.get("limit"),
            epochs=arguments.get("epochs"),
            only=listed["only"] or EXPERIMENT_PARTS,
            models=listed["models"],
            full_size=arguments.get("full_size", False),
            data=f"cifar10={cifar}" if self.cifar and cifar is not None else None,
            set=tuple(overrides),
        )


def read_items(path: Path) -> list[Item]:
    items = [Item(**table) for table in tomllib.loads(path.read_text(encoding="utf-8"))["item"]]
    names = [item.name for item in items]
    if duplicates := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"{path}: two items are named {duplicates[0]!r}")
    return items


@dataclass(frozen=True)
class Need:
    """A run, or a study of several runs, that an item needs."""

    label: str
    flops: float
    seconds: float  # on one core


@dataclass(frozen=True)
class Status:
    """The status of an item, as stored in status.json."""

    date: str  # of the estimate
    machine: str
    needs: dict[str, Need]  # runs by fingerprint, studies by digest
    begun: bool = False

    def missing(self, *finished: Finished) -> dict[str, Need]:
        return {key: need for key, need in self.needs.items() if not any(key in keys for keys in finished)}


STATUSES = TypeAdapter(dict[str, Status])


def estimate(item: Item, cifar: Path | None, stopwatch: Stopwatch, *, begun: bool) -> Status:
    """Estimates the runs and studies of an item, in seconds on one core of this machine."""
    settings, experiment = item.settings(cifar), item.experiment
    scope = Scope(experiment, settings, data_name(experiment, settings.data))
    runs = costs(jobs(scope, settings.only), stopwatch)
    needs = {cost.fingerprint: _need(cost.job.label, [cost], item.share) for cost in runs}
    studies = [study for study in scope.studies if study.part in settings.only]
    fingerprints = experiment_studies.fingerprints(scope.recipes) if studies else {}
    for study in studies:
        digest = digests.of_study(study, fingerprints, quick=False)
        label = f"{study.part}, {', '.join(study.recipes)}"
        needs[digest] = _need(label, [*costs(jobs_of_study(scope, study), stopwatch)], item.share)
    machine = describe(torch.device("cpu"), Recipe()).cpu
    return Status(date.today().isoformat(), machine, needs, begun)


def _need(label: str, costs: Sequence[Cost], share: float) -> Need:
    flops = sum(float(f"{cost.flops * share:.3g}") for cost in costs)
    return Need(label, flops, sum(round(cost.seconds * share, 1) for cost in costs))


@dataclass(frozen=True)
class Cost:
    """The expected cost of a job, from the measured speed."""

    job: Job
    fingerprint: str
    images: int  # training images times epochs
    flops: float  # forward and backward
    seconds: float  # on one thread


def jobs(scope: Scope, parts: Sequence[str]) -> list[Job]:
    """The runs of these parts: models, faults, claims. Several parts may need the same run."""
    entries: list[Entry] = []
    if "models" in parts:
        entries += scope.models(chosen=True).values()
    if "faults" in parts:
        entries += [entry for fault in scope.experiment.fault for pair in scope.pairs(fault) for entry in pair]
    if "claims" in parts:
        entries += [Entry(trial.label, trial.recipe) for check in scope.claims for trial in check.trials]
    return jobs_of(entries)


class Stopwatch:
    """Measures the training speed of networks, once per combination of settings that affect it."""

    def __init__(self, clock: pace.Clock = time.perf_counter) -> None:
        self._clock = clock
        self._paces: dict[str, pace.Pace] = {}

    def pace(self, plan: Plan) -> pace.Pace:
        recipe, prepared = plan.recipe, plan.prepared
        settings = [recipe.model.model_dump_json(), recipe.train.batch_size, recipe.optim.name]
        settings += [recipe.compute.precision, recipe.data.augment, prepared.in_chans, prepared.image_size]
        if (key := repr(settings)) not in self._paces:
            self._paces[key] = pace.measure(plan, self._clock)
        return self._paces[key]


def costs(jobs: Sequence[Job], stopwatch: Stopwatch) -> Iterator[Cost]:
    """Yields the cost of each run once. Raises ValueError for a recipe that cannot be trained."""
    seen: set[str] = set()
    for job, plan in zip(jobs, plan_all(job.recipe for job in jobs), strict=True):
        if job.runs == 1 and plan.fingerprint in seen:
            continue
        seen.add(plan.fingerprint)
        speed = stopwatch.pace(plan)
        times = job.runs * job.share
        images = round(pace.images_to_train(plan) * times)
        flops = pace.FORWARD_AND_BACKWARD * speed.flops_per_image * images
        yield Cost(job, plan.fingerprint, images, flops, pace.seconds(plan, speed) * times)
