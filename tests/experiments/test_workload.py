"""The number and duration of a reproduction's runs, without training them."""

from __future__ import annotations

import pytest
from tools import items

from convoy.experiments import experiment as experiments
from convoy.experiments.experiment import Settings
from convoy.experiments.reproduction.scope import Scope
from convoy.experiments.reproduction.studies import jobs_of_study
from convoy.training.run import pace
from convoy.training.run.plan import plan_one


def scope(name: str, **asked: object) -> Scope:
    return Scope(experiments.load(name), Settings(limit=100, epochs=9, **asked))  # type: ignore[arg-type]


def test_a_run_that_two_parts_need_is_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "measure", lambda plan, clock: pace.Pace(10.0, 100.0, 1))
    small = scope("course-mnist", seeds=1)
    models = list(items.costs(items.jobs(small, ["models"]), items.Stopwatch()))
    both = list(items.costs(items.jobs(small, ["models", "models"]), items.Stopwatch()))

    assert len(models) == len({cost.fingerprint for cost in models})
    assert [cost.fingerprint for cost in both] == [cost.fingerprint for cost in models]


def test_halving_trains_a_part_of_the_epochs_of_a_search() -> None:
    """64 trials and 9 epochs: 64 to epoch 1, 22 to epoch 3, 8 to epoch 9."""
    small = scope("course-mnist")
    study = next(study for study in small.experiment.study if study.kind == "search")
    trials = jobs_of_study(small, study)[0]

    assert trials.runs == 64
    assert trials.share * 64 * 9 == pytest.approx(64 * 1 + 22 * 2 + 8 * 6)


def test_the_seconds_of_a_run_grow_with_its_epochs_by_the_measured_pace() -> None:
    recipe = scope("tensor-mnist").recipe("tensor-mnist/corrected")
    once, twice = (plan_one(recipe.override({"train.epochs": epochs})) for epochs in (1, 2))
    speed = pace.Pace(train=10.0, evaluate=100.0, flops_per_image=1)
    trained, validated = len(once.prepared.train), len(once.prepared.validation or ())

    assert pace.seconds(twice, speed) - pace.seconds(once, speed) == pytest.approx(trained / 10 + validated / 100)


def test_a_pace_is_measured_and_larger_networks_are_slower() -> None:
    small, large = (
        pace.measure(plan_one(scope("classics-mnist").recipe(f"classics-mnist/{name}")))
        for name in ("lenet", "googlenet")
    )

    assert large.train < small.train
    assert large.evaluate < small.evaluate
