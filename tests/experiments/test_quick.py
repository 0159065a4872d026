"""A quick try trains networks that fit into the time limit and lists the others with the reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.experiments.small_digits import RECIPE, write

from convoy import api
from convoy.api import report as write_report
from convoy.experiments import kinds
from convoy.experiments.quick import makespan
from convoy.experiments.reproduction import quick_fit
from convoy.runs import Study, Workspace
from convoy.training.run.pace import Pace
from convoy.training.run.plan import Plan

LARGE = 'extends = "small.toml"\n[model]\nname = "basic_cnn"\n'
EXPERIMENT = """
title = "Small digits"
about = "For tests"
data = "digits"
[[model]]
label = "small"
corrected = "small.toml"
published = { test_accuracy = 0.99, parameters = 1234 }
[[model]]
label = "large"
corrected = "large.toml"
published = { test_accuracy = 0.98, parameters = 99 }
[[fault]]
name = "log_softmax"
sentence = "A log-softmax in front of the loss"
base = "small.toml"
faults = ["log_softmax"]
[[fault]]
name = "one_seed"
sentence = "One seed"
base = "small.toml"
[[claim]]
id = "counted"
sentence = "The small network is smaller"
measure = "parameters"
a = { label = "small", recipe = "small.toml" }
b = { label = "large", recipe = "large.toml" }
relation = "below"
[[claim]]
id = "measured"
sentence = "The large network is better"
measure = "test_accuracy"
a = { label = "large", recipe = "large.toml" }
b = { label = "small", recipe = "small.toml" }
relation = "above"
[[study]]
kind = "crossval"
recipes = "small.toml"
arguments = { folds = 5 }
quick = { folds = 2 }
[quick]
seconds = 60
[quick.learns_after]
two_conv_cnn = 400
basic_cnn = 400
"""


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    return write(tmp_path, small=RECIPE, large=LARGE, experiment=EXPERIMENT)


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the networks that were timed; the large one is slow."""
    names: list[str] = []

    def measure(ready: Plan) -> Pace:
        names.append(ready.recipe.model.name)
        slow = ready.recipe.model.name == "basic_cnn"
        return Pace(train=1.0 if slow else 100.0, evaluate=1000.0, flops_per_image=1)

    monkeypatch.setattr(quick_fit.pace, "measure", measure)
    monkeypatch.setattr(quick_fit, "cores", lambda: 2)
    monkeypatch.setattr(api.experiments, "report", lambda study: study.path / "report.html")
    return names


def again(experiment: Path, **options: Any) -> Study:
    return api.reproduce(experiment, quick=True, out=experiment.parent / "out", show=False, **options)


def left_out(study: Study) -> dict[str, str]:
    return {each.name: each.reason for each in kinds.finding_of(study).choice.left_out}


def test_networks_that_fit_are_trained_and_others_are_listed_with_the_reason(
    experiment: Path, timed: list[str]
) -> None:
    study = again(experiment)
    finding = kinds.finding_of(study)
    small, large = finding.models

    assert set(timed) == {"two_conv_cnn", "basic_cnn"}
    assert small.corrected.values["test_accuracy"]
    assert large.corrected.values.keys() == {"parameters"}
    assert finding.choice.sizes.keys() == {"two_conv_cnn"}
    assert left_out(study) == {"large": "time", "one_seed": "seeds", "measured": "no_verdict"}
    assert [fault.name for fault in finding.faults] == ["log_softmax"]
    assert [claim.id for claim in finding.claims] == ["counted"]
    assert [part.kind for part in finding.parts] == ["crossval"]
    assert finding.complete


def test_a_network_gets_one_and_a_half_times_the_images_that_it_needs(experiment: Path, timed: list[str]) -> None:
    study = again(experiment, only=["models"])

    recipe = study.members[0].run.recipe
    assert (recipe.data.limit, recipe.train.epochs) == (750, 1)  # 600 to train on, and a fifth for validation
    assert study.members[0].run.data.counts["train"] == 600


def test_a_second_call_times_nothing_and_reuses_the_runs(
    experiment: Path, timed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = again(experiment, only=["models", "faults"])
    timed.clear()

    second = again(experiment, only=["models", "faults"])

    assert not timed
    assert second.finding_json == first.finding_json
    assert len(list(Workspace(experiment.parent / "out").runs())) == 2


def test_the_first_network_may_use_all_of_the_time_and_later_ones_only_their_share(
    experiment: Path, timed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 60 seconds, 600 images take about 46 each: more than the 36 of all networks."""
    monkeypatch.setattr(quick_fit.pace, "measure", lambda ready: Pace(train=15.0, evaluate=1000.0, flops_per_image=1))

    study = again(experiment, only=["models"])

    assert [bool(model.runs) for model in kinds.finding_of(study).models] == [True, False]
    assert left_out(study)["large"] == "time"
    assert left_out(study)["log_softmax"] == "time"


def test_if_no_network_fits_all_are_listed_and_none_is_missing(
    experiment: Path, timed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quick_fit.pace, "measure", lambda ready: Pace(train=0.1, evaluate=1.0, flops_per_image=1))

    study = again(experiment)

    assert {name for name, reason in left_out(study).items() if reason == "time"} >= {"small", "large", "log_softmax"}
    finding = kinds.finding_of(study)
    assert all(model.corrected.values.keys() == {"parameters"} for model in finding.models)
    assert finding.complete


def test_a_given_number_of_images_is_not_chosen_by_a_timing(experiment: Path, timed: list[str]) -> None:
    study = again(experiment, only=["models"], limit=100)

    assert not timed
    assert kinds.finding_of(study).choice is None
    assert {member.run.recipe.data.limit for member in study.members} == {100}
    assert {member.label for member in study.members} == {"small, corrected", "large, corrected"}


@pytest.mark.usefixtures("words_alone")
def test_the_page_lists_skipped_networks_with_the_reason(experiment: Path, timed: list[str]) -> None:
    page = write_report(again(experiment, only=["models"])).with_suffix(".md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("|")]

    assert any("large, corrected" in row and "timed only" in row for row in rows)
    assert not any("large" in row and "98.00" in row for row in rows)  # its published accuracy, with none measured
    assert any("large" in row and "99" in row for row in rows)  # its parameters, which are counted


def test_the_longest_job_is_started_first() -> None:
    assert makespan([2, 3, 5, 4], 2) == 7
    assert makespan([], 2) == 0
