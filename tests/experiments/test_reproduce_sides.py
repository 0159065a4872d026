"""Studies of an experiment under both protocols: which of them run, and their names."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.experiments.small_digits import RECIPE, again, write

from convoy.api import report as write_report
from convoy.experiments import kinds
from convoy.experiments.reproduction.words import study_title
from convoy.runs import Study

PUBLISHED = """
extends = "corrected.toml"
[data]
split = { validation = 0, stratified = false, seed = 7 }
[protocol]
faults = ["macs_as_flops"]
"""
TESTED = """
extends = "corrected.toml"
[data]
split = { validation = 0 }
[stop]
patience_epochs = 1
[protocol]
faults = ["selection_on_test"]
"""
EXPERIMENT = """
title = "Small digits"
about = "For tests"
data = "digits"
seeds = 1

[[model]]
label = "net"
corrected = "corrected.toml"

[[study]]
kind = "crossval"
protocol = "as-published"
recipes = "folds-published.toml"
arguments = { folds = 2 }

[[study]]
kind = "crossval"
protocol = "corrected"
recipes = "corrected.toml"
arguments = { folds = 2 }

[[study]]
kind = "landscape"
protocol = "as-published"
recipes = "tested.toml"
arguments = { lrs = [1e-3, 1e-4], cut = "each", own_seeds = true, step_probes = false, surfaces = false }

[[study]]
kind = "landscape"
protocol = "corrected"
recipes = "corrected.toml"
set = { "train.epochs" = 3 }
arguments = { lrs = [1e-3, 1e-4], surfaces = false }
"""


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sides")
    return write(folder, corrected=RECIPE, folds_published=PUBLISHED, tested=TESTED, experiment=EXPERIMENT)


@pytest.fixture(scope="module")
def both(experiment: Path, tmp_path_factory: pytest.TempPathFactory) -> Study:
    return again(experiment, tmp_path_factory.mktemp("out"), only=["crossval", "landscape"])


def part(study: Study, kind: str, side: str) -> Study:
    result = next(each for each in kinds.finding_of(study).parts if (each.kind, each.side) == (kind, side))
    return Study(study.path / result.study)


def test_each_side_of_a_study_has_its_own_finding_and_folder(both: Study) -> None:
    sides = [(each.kind, each.side) for each in kinds.finding_of(both).parts]
    assert sides == [
        ("crossval", "as_published"),
        ("crossval", "corrected"),
        ("landscape", "as_published"),
        ("landscape", "corrected"),
    ]
    published, corrected = part(both, "crossval", "as_published"), part(both, "crossval", "corrected")
    assert "as_published" in published.name
    assert "as_published" not in corrected.name
    assert published.finding_json["label"] != corrected.finding_json["label"]


def test_a_single_protocol_runs_only_its_side(experiment: Path, both: Study) -> None:
    out = both.path.parents[1]
    study = again(experiment, out, only=["crossval", "landscape"], protocol="corrected")
    finding = kinds.finding_of(study)
    assert [each.side for each in finding.parts] == ["corrected", "corrected"]
    assert not {"crossval", "landscape"} & {*finding.left}


def test_cross_validation_as_published_trains_on_all_other_folds_and_scores_the_last_epoch(both: Study) -> None:
    for member in part(both, "crossval", "as_published").members:
        run = member.run
        assert run.data.counts.get("validation", 0) == 0
        assert run.data.counts["train"] + run.data.counts["fold"] == 300
        assert run.status.best_epoch == run.status.epochs == 2
        assert all(each.validation is each.test is None for each in run.metrics)
    assert not part(both, "crossval", "as_published").finding_json["stratified"]


def test_overrides_of_a_study_apply_before_overrides_of_the_command(
    experiment: Path, both: Study, tmp_path: Path
) -> None:
    assert {member.run.recipe.train.epochs for member in part(both, "landscape", "corrected").members} == {3}
    short = again(experiment, tmp_path, only=["landscape"], protocol="corrected", epochs=1)
    assert {member.run.recipe.train.epochs for member in part(short, "landscape", "corrected").members} == {1}


def test_landscape_as_published_is_selected_on_the_test_set_and_counts_it(both: Study) -> None:
    published, corrected = part(both, "landscape", "as_published"), part(both, "landscape", "corrected")
    assert all(member.run.data.test_openings > 0 for member in published.members)
    assert all(member.run.data.test_openings == 0 for member in corrected.members)
    assert any("selection_on_test" in caveat for caveat in kinds.caveats_of(published))


@pytest.mark.usefixtures("page_alone")
def test_page_names_the_protocol_of_each_study_and_of_its_figures(both: Study) -> None:
    page = write_report(both).read_text()
    titles = {study_title(part) for part in kinds.finding_of(both).parts}
    assert len(titles) == 4
    assert all(title in page for title in titles)
    for ending in ("", "_as_published"):
        assert f'id="cv_accuracy{ending}"' in page
        assert (both.path / "figures" / f"loss_band{ending}.svg").is_file()
