"""Reports of published experiments from the runs included in Convoy."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import pytest

from convoy import api
from convoy import archive as archives
from convoy.api import experiments
from convoy.data import DataError
from convoy.evaluation import cost
from convoy.experiments import experiment
from convoy.experiments.experiment import SIDES, Settings
from convoy.experiments.measures import find
from convoy.experiments.reproduction import networks, profiles, run
from convoy.experiments.reproduction.archived import ArchivedReproduction
from convoy.experiments.reproduction.scope import Scope
from convoy.profiling.measure import shape_of, subject_of
from convoy.reporting import forks
from convoy.runs import Run, Workspace
from convoy.stats import Estimate
from convoy.studies.session import Session
from convoy.text import gettext, in_language


@pytest.mark.usefixtures("words_alone")
def test_a_report_of_archived_runs_has_their_scores(tmp_path: Path) -> None:
    study = api.reproduce("tensor-mnist", archived=True, out=tmp_path, show=False)

    (model,) = study.finding.models
    runs = [Run(tmp_path / "runs" / name) for name in model.corrected.runs]
    accuracy = model.corrected.values["test_accuracy"]
    assert isinstance(accuracy, Estimate)
    assert (accuracy.n, accuracy.mean) == (3, pytest.approx(sum(run.scores["test"].accuracy for run in runs) / 3))
    assert len(study.finding.faults) > 5
    page = (study.path / "report.html").read_text(encoding="utf-8")
    assert all(
        date[:10] in page for date in {max(r.environment.date for r in runs), min(r.environment.date for r in runs)}
    )


def test_studies_and_all_seeds_are_shown_without_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(name: str) -> None:
        raise DataError(f"no {name}")

    monkeypatch.setattr(run, "load", fails)
    monkeypatch.setattr(networks, "counted", lambda *arguments, **options: defaultdict(dict))
    settings, session = Settings(only=("models", "landscape")), Session(tmp_path)

    found = ArchivedReproduction(experiment.load("cifar-course"), settings, session, stage=lambda names: None).run()  # type: ignore[arg-type, return-value]

    assert found.finished
    assert found.parts
    assert all((part.path / "finding.json").is_file() for part in found.parts)
    names = [path.name for path in (archives.packaged() / "runs").iterdir()]
    assert sorted(run.name for run in Workspace(tmp_path).runs()) == sorted(names)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_reports_of_the_parts_are_written_in_a_fork(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def report(study: Path) -> Path:
        study.write_text(str(os.getpid()))
        return study

    monkeypatch.setattr(experiments, "report", report)
    monkeypatch.setattr(forks, "_can_fork", lambda: True)
    complete, *parts = (tmp_path / name for name in ("complete", "faults", "ladder"))

    assert experiments._write_reports(complete, parts) == complete  # type: ignore[arg-type]

    writers = [path.read_text() for path in (complete, *parts)]
    assert writers[0] == str(os.getpid()) != writers[1] == writers[2]


@pytest.mark.parametrize("options", [{"limit": 100}, {"fresh": True}, {"set": {"optim.lr": 0.1}}, {"where": "dask:2"}])
def test_options_of_training_are_an_error(options: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"--{next(iter(options))}"):
        api.reproduce("tensor-mnist", archived=True, out=tmp_path, show=False, **options)


@pytest.mark.parametrize("experiment_name", experiment.names())
def test_packaged_profiles_agree_with_the_networks(experiment_name: str) -> None:
    scope = Scope(experiment.load(experiment_name), Settings())
    recipes = scope.recipes
    stored = networks.packaged(scope)  # None if a recipe has changed: `make results MINUTES=0` renews the profiles

    counted = {
        model.label: {
            side: cost.parameters(shape_of(subject_of("", recipes[name], image=None, classes=None, from_data=False)))
            for side in SIDES
            if (name := getattr(model, side))
        }
        for model in scope.experiment.model
    }
    assert stored is not None
    assert stored.parameters == counted
    assert [profile.label for profile in stored.profiles] == [*counted]
    exact = [check for check in scope.claims if find(check.claim.measure).exact]
    known = networks.ClaimCounter(known=dict(stored.counts))
    assert all(known.of(check) for check in exact)
    assert len(known.known) == len(stored.counts)  # nothing had to be counted


def test_packaged_counts_agree_with_the_networks() -> None:
    scope = Scope(experiment.load("classics-mnist"), Settings())
    check = next(check for check in scope.claims if check.claim.measure == "macs_per_image")
    stored = networks.packaged(scope)

    assert stored is not None
    assert networks.ClaimCounter().of(check) == networks.ClaimCounter(known=dict(stored.counts)).of(check)


def test_stored_profiles_state_flaws_in_the_language_of_their_reader() -> None:
    scope = Scope(experiment.load("tensor-mnist"), Settings())
    flaw = gettext("attention on a 1x1 map: its average and its maximum branch see the same numbers")
    with in_language("zh_CN"):
        packaged = networks.packaged(scope)
        assert packaged is not None
        network = replace(packaged.profiles[0], flaws=(flaw,))
        written = profiles.read(profiles.as_json(replace(packaged, profiles=[network])))
        assert written is not None
    for stored in (packaged, written):
        (shown,) = stored.profiles[0].flaws
        assert re.search("[\u4e00-\u9fff]", shown)
