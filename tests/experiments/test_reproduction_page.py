"""The page of a reproduction: from small real runs, from archived runs, and without runs."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.fake_runs import fake_study
from tests.reporting.parsed import Page

import convoy
from convoy import archive
from convoy.agreement import Reason, Verdict
from convoy.api import report as write_report
from convoy.experiments import kinds
from convoy.experiments.experiment import SIDES, Side
from convoy.experiments.reproduction.finding import (
    FaultResult,
    FaultVerdict,
    ModelMeasurements,
    ModelResult,
    Options,
    Reproduction,
    StudyResult,
)
from convoy.experiments.reproductions.run import gather
from convoy.experiments.verdicts import Inconclusive, JudgedClaim
from convoy.experiments.verdicts import Side as JudgedSide
from convoy.experiments.words import reason_text
from convoy.runs import Member, Run, Study, Workspace
from convoy.stats import paired_t, t_interval
from convoy.studies import findings

OPTIONS = Options("both", None, False, None, None, False, (), None, "")
PUBLISHED = {
    "test_accuracy": 0.4,
    "parameters": 1.0,
    "test_accuracy_by_epoch": [0.3, 0.4, 0.45],
    "test_loss_by_epoch": [0.0001, 0.0],
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory, stripes) -> dict[str, list[Run]]:
    out = tmp_path_factory.mktemp("runs")
    shared = {"compute.threads": 1, "optim.lr": 0.01, "train.batch_size": 20}
    faults = {"as_published": ["selection_on_test"], "corrected": []}
    return {
        side: [
            convoy.train(
                "defaults/images", model="two_conv_cnn", data=str(stripes), epochs=2, limit=300, seed=seed, out=out,
                set={**shared, "protocol.faults": faults[side]}, show=False,
            )
            for seed in (1, 2)
        ]
        for side in SIDES
    }  # fmt: skip


@pytest.fixture(scope="module")
def study(runs, tmp_path_factory) -> Study:
    out = tmp_path_factory.mktemp("study")
    part = fake_study(out, name="compare-part")
    study = reproduction(out, runs, parts=(StudyResult("search", None, f"../{part.name}", "", ("lenet",), None),))
    with pytest.MonkeyPatch.context() as patch:  # the files of its charts are empty
        patch.setattr("convoy.reporting.canvas.FigureCanvasAgg.print_figure", lambda *of, **options: None)
        write_report(study)
    return study


@pytest.fixture(scope="module")
def text(study) -> str:
    return Page((study.path / "report.html").read_text()).text


def reproduction(out: Path, runs: Mapping[Side, Sequence[Run]], *, parts: tuple[StudyResult, ...] = ()) -> Study:
    """A finding of `convoy reproduce` for one model, written by hand."""
    accuracies = {side: [run.scores["test"].accuracy for run in runs[side]] for side in runs}

    def measured(side: Side) -> ModelMeasurements:
        if side not in runs:
            return ModelMeasurements()
        names = tuple(run.name for run in runs[side])
        accuracy = t_interval(accuracies[side], step=0.01)
        return ModelMeasurements(names, {"test_accuracy": accuracy, "parameters": runs[side][0].cost.parameters})

    difference = {"test_accuracy": paired_t(*accuracies.values()).difference} if runs else {}
    model = ModelResult("two_conv_cnn", PUBLISHED, measured("as_published"), measured("corrected"), difference)
    effect = paired_t([0.3, 0.31], [0.4, 0.4])
    fault = FaultResult(
        "sampled_labels", "The class is drawn from the softmax", "test_accuracy", "seed", True, FaultVerdict.CHANGED,
        t_interval([0.4, 0.4]), t_interval([0.3, 0.31]), effect.difference, effect.p, effect.p,
    )  # fmt: skip
    claim = JudgedClaim(
        "faster", "Adam is faster", "epochs", {}, "above", "difference", 0, 0, (JudgedSide("Adam", 2.0, False),), None,
        Verdict.INCONCLUSIVE, Inconclusive.NOT_MEASURED, 0, (), "300 images", "",
    )  # fmt: skip
    finding = Reproduction(
        "tensor-mnist", "A small CNN", "", "an old laptop", {}, ("The report has a note",), OPTIONS, None, "",
        ("search",), (), (model,), (fault,), (claim,), parts,
    )  # fmt: skip
    members = [Member("two_conv_cnn", run.recipe.seed, run) for side in runs for run in runs[side]]
    study = Workspace(out).write_study("reproduce", "reproduction", members, "convoy reproduce x")
    findings.write(study, finding)
    return study


def changed(study: Study, **values: Any) -> Study:
    findings.write(study, replace(kinds.finding_of(study), **values))
    return study


def test_top_of_the_page_has_missing_parts_caveats_and_agreement(text):
    first = text[: text.index("Effect of each protocol fault")]
    for words in ("Not run yet: search", "The report has a note", "prediction interval", "fewer than counted"):
        assert words in first


@pytest.mark.usefixtures("words_alone")
@pytest.mark.parametrize("withheld", [Reason.QUICK_TRY, Reason.REDUCED, Reason.LONGER])
def test_page_without_verdicts_has_none(runs, tmp_path, withheld):
    study = reproduction(tmp_path, runs)
    faults = [replace(fault, verdict=FaultVerdict.WITHHELD) for fault in kinds.finding_of(study).faults]
    changed(study, options=replace(OPTIONS, withheld=withheld), faults=faults)
    text = Page(write_report(study).read_text()).text
    first = text[: text.index("Setup and runs")]
    assert "no verdict" in first
    for word in ("outside", "inside the", "changed the", "Bold:"):
        assert word not in first


def test_every_figure_of_the_report_is_a_file(study):
    files = {path.name for path in (study.path / "figures").iterdir()}
    charts = ("faults", "comparison", "training_curve", "training_loss", "confusion", "confusion-corrected")
    assert {f"{name}.{kind}" for name in charts for kind in ("png", "svg")} <= files
    assert {"predictions.png", "predictions-corrected.png", "samples.png", "filters.png"} <= files


def test_epochs_have_rows_with_correct_images_and_published_accuracies(text, runs):
    line = runs["as_published"][0].metrics[1]
    assert f"({line.test.correct} / {line.test.total})" in text
    table = text[text.index("Epochs, as published") : text.index("Epochs, corrected")]
    assert "40.00" in table
    assert "45.00" in table  # of an epoch that this run does not have
    assert "0.0001" in table  # a loss as the report printed it
    assert "0.0000" in table


def test_part_has_its_sentence_its_figure_and_a_link_to_its_report(study):
    html = (study.path / "report.html").read_text()
    part = f"../{kinds.finding_of(study).parts[0].study.rpartition('/')[2]}/report"
    assert {"href": f"{part}.html"} in Page(html).all("a")
    assert 'id="accuracy_bars"' in html
    assert f"({part}.md)" in (study.path / "report.md").read_text()


def test_both_protocols_of_a_model_have_one_colour(study):
    html = (study.path / "report.html").read_text()
    curves = html[html.index('<figure id="training_curve"') : html.index('<figure id="training_loss"')]
    assert "var(--m0)" in curves
    assert "var(--m1)" not in curves


def test_every_run_is_linked_under_its_protocol(study, runs, text):
    links = {link["href"] for link in Page((study.path / "report.html").read_text()).all("a")}
    for side in SIDES:
        assert f"two_conv_cnn, {side.replace('_', ' ')}" in text
        assert all(any(run.name in link for link in links) for run in runs[side])


@pytest.mark.usefixtures("words_alone")
def test_page_of_archived_runs_explains_why_it_has_no_images(runs, tmp_path):
    slim = {side: [archive.archive_run(run, tmp_path / "runs") for run in group] for side, group in runs.items()}
    study = reproduction(tmp_path, slim)
    html = write_report(study).read_text()
    assert Page(html).text.count("do not contain") == 3
    assert 'id="samples"' not in html


@pytest.mark.usefixtures("page_alone")
def test_experiment_without_runs_shows_published_values(tmp_path):
    study = reproduction(tmp_path, {})
    text = Page(write_report(study).read_text()).text
    assert "not measured" in text
    assert "40.00" in text


@pytest.mark.usefixtures("words_alone")
def test_missing_part_is_named(runs, tmp_path):
    study = reproduction(tmp_path, runs, parts=(StudyResult("search", None, "../gone", "", ("lenet",), None),))
    text = Page(write_report(study).read_text()).text
    assert "gone" in text


def test_finding_with_a_run_that_is_not_in_the_study_is_an_error(runs, tmp_path):
    study = reproduction(tmp_path, runs)
    (model,) = kinds.finding_of(study).models
    changed(study, models=[replace(model, corrected=replace(model.corrected, runs=("lenet-s1-000000000000",)))])
    with pytest.raises(ValueError, match="names the run 'lenet-s1-000000000000'"):
        write_report(study)


@pytest.mark.usefixtures("page_alone")
def test_several_experiments_have_one_row_each_with_a_link(study, tmp_path):
    copy = tmp_path / "studies" / "reproduce"
    shutil.copytree(study.path, copy)
    index = gather(
        {"tensor-mnist": Study(copy)}, ["cifar-course"], tmp_path, name="all", command="convoy reproduce all"
    )
    page = Page(write_report(index).read_text())
    assert {"href": "../reproduce/report.html"} in page.all("a")
    for words in ("sampled labels: −9.50", "changed the test accuracy", "Not run yet"):
        assert words in page.text


def test_experiments_without_verdicts_are_named_by_reason(runs, tmp_path):
    studies = {}
    for name, withheld in (("full", None), ("quick", Reason.QUICK_TRY), ("short", Reason.REDUCED)):
        options = replace(OPTIONS, withheld=withheld)
        studies[name] = changed(reproduction(tmp_path / name, runs), experiment=name, options=options)
    sentence = kinds.sentence_of(gather(studies, [], tmp_path, name="all", command=""))
    for words in ("1 of 1 tests of faults", "quick (quick try)", f"short ({reason_text(Reason.REDUCED)})"):
        assert words in sentence


@pytest.mark.usefixtures("words_alone")
def test_classes_have_the_names_of_the_published_report(runs, tmp_path):
    study = reproduction(tmp_path, runs)
    classes = runs["corrected"][0].data.classes
    write_report(changed(study, class_names={classes[0]: "zebra"}))
    table = (study.path / "report.md").read_text()
    assert "zebra" in table
    assert runs["corrected"][0].data.classes == classes
