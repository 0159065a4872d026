from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import fmean, stdev

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import t as student
from tests.conftest import NET

import convoy
from convoy import api, archive, cli, text
from convoy.data import load, prepare
from convoy.data.batches import Normaliser
from convoy.evaluation.load import network_of
from convoy.evaluation.predict import predict
from convoy.events import Ended
from convoy.recipe import Recipe
from convoy.reporting import pages
from convoy.reporting.palette import Look
from convoy.reporting.reading import read_study
from convoy.runs import Study, Workspace
from convoy.studies import kinds
from convoy.studies.crossval import page as crossval_page
from convoy.studies.crossval.finding import CrossvalFinding
from convoy.studies.crossval.page import folds_chart
from convoy.studies.crossval.run import entries_of
from convoy.studies.crossval.run import run as crossval
from convoy.studies.crossval.words import caveats, sentence
from convoy.studies.session import Session
from convoy.training.run.plan import plan_one

Make = Callable[..., Recipe]


def validated(recipe: Recipe, out: Path, *, folds: int = 3, repeats: int = 1) -> Study:
    study = crossval(recipe, Session(out), folds=folds, repeats=repeats)
    assert study is not None
    return study


def finding_of(study: Study) -> CrossvalFinding:
    return kinds.finding_of(study)


@pytest.fixture(scope="module")
def study(stripes: Path, tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Three folds, repeated twice, of a small network with a medium accuracy."""
    folder = tmp_path_factory.mktemp("crossval")
    (folder / "net.py").write_text(NET)
    overrides = {
        "model.name": f"{folder / 'net.py'}:Tiny",
        "data.name": str(stripes),
        "data.limit": 300,
        "train.epochs": 2,
        "train.batch_size": 60,
        "optim.lr": 0.002,
        "compute.threads": 1,
    }
    recipe = Recipe.load("defaults/images", list(overrides.items()))
    return validated(recipe, folder / "out", repeats=2)


def oof_of(study: Study) -> dict[str, np.ndarray]:
    with np.load(study.path / "oof.npz", allow_pickle=False) as arrays:
        return dict(arrays)


# Images of training and scoring


def test_each_image_is_predicted_out_of_fold_once_in_each_repeat(study: Study, stripes: Path) -> None:
    oof = oof_of(study)
    for repeat in (0, 1):
        index = oof["index"][oof["repeat"] == repeat]
        assert len(index) == len(np.unique(index)) == 300
    assert np.array_equal(oof["labels"], load(str(stripes)).train.labels[oof["index"]])
    assert np.array_equal(oof["predicted"], oof["logits"].argmax(axis=1))
    assert oof["logits"].dtype == np.float32
    assert not np.array_equal(oof["fold"][oof["repeat"] == 0], oof["fold"][oof["repeat"] == 1])


def test_an_image_is_predicted_by_a_network_that_had_not_seen_it(study: Study) -> None:
    oof = oof_of(study)
    for member in study.members[:2]:
        run, split = member.run, member.run.recipe.data.split
        prepared = prepare(run.recipe.data)
        assert not set(prepared.split.fold) & (set(prepared.split.train) | set(prepared.split.validation))
        of_fold = (oof["repeat"] == split.repeat) & (oof["fold"] == split.fold)
        assert np.array_equal(oof["index"][of_fold], prepared.split.fold)
        assert prepared.fold is not None
        normaliser = Normaliser(tuple(run.data.mean), tuple(run.data.std), torch.device("cpu"), torch.float32)
        logits = predict(network_of(run, trust_code=True).eval(), prepared.fold.images, normaliser)
        assert np.allclose(logits, oof["logits"][of_fold], atol=1e-5)


def test_epochs_are_chosen_and_images_normalised_without_the_scored_fold(study: Study) -> None:
    for member in study.members:
        data, prepared = member.run.data, prepare(member.run.recipe.data)
        assert data.selection == "validation"
        assert data.counts == {"train": 160, "validation": 40, "fold": 100, "test": 150}
        assert {line.validation.total for line in member.run.metrics} == {40}
        assert data.mean == pytest.approx([prepared.train.images.mean() / 255])
        best = max(member.run.metrics, key=lambda line: (line.validation.accuracy, -line.validation.loss))
        assert member.run.status.best_epoch == best.epoch


def test_test_set_stays_closed(study: Study, tiny: Make, tmp_path: Path) -> None:
    assert not list(study.path.parents[1].glob("test_openings.json"))
    assert all(set(member.run.scores) == {"validation", "fold"} for member in study.members)
    convoy.train(tiny(("data.split.folds", 3)), out=tmp_path, show=False)
    assert not (tmp_path / "test_openings.json").exists()


def test_groups_are_part_of_the_fingerprint_by_their_split_and_not_by_the_file_name(tiny: Make, tmp_path: Path) -> None:
    files = {"a.npy": np.arange(600) // 10, "same.npy": np.arange(600) // 10, "other.npy": np.arange(600) // 20}
    for name, groups in files.items():
        np.save(tmp_path / name, groups)
    a, same, other = (
        plan_one(tiny(("data.split", {"folds": 3, "group_by": str(tmp_path / name)}))).fingerprint for name in files
    )
    assert a == same != other


def test_labels_and_folders_name_the_fold(study: Study) -> None:
    labels = [member.label for member in study.members]
    assert labels[0] == "fold 1 of 3, repeat 1"
    assert labels[-1] == "fold 3 of 3, repeat 2"
    assert study.members[1].run.name.startswith("Tiny-f2of3-s42-")
    assert study.members[-1].run.name.startswith("Tiny-f3of3r2-s43-")
    assert [entry.label for entry in entries_of(Recipe(), 2, 1)] == ["fold 1 of 2", "fold 2 of 2"]


# Finding


def test_interval_is_corrected_for_shared_training_images(study: Study) -> None:
    finding = finding_of(study)
    values = [member.run.scores["fold"].accuracy for member in study.members]
    half = student.ppf(0.975, 5) * stdev(values) * (1 / 6 + 100 / 200) ** 0.5
    corrected, naive = finding.accuracy, finding.naive

    assert corrected.mean == pytest.approx(fmean(values))
    assert corrected.sd == pytest.approx(stdev(values))
    assert corrected.high - corrected.mean == pytest.approx(half)
    assert naive.high - naive.mean == pytest.approx(half * (1 / 6 / (1 / 6 + 1 / 2)) ** 0.5)
    assert naive.parts(scale=100, digits=1)[1] in " ".join(kinds.caveats_of(study))


def test_out_of_fold_accuracy_is_computed_over_all_images_of_a_repeat(study: Study) -> None:
    oof = oof_of(study)
    right = oof["labels"] == oof["predicted"]
    assert [images.mean for images in finding_of(study).out_of_fold] == [
        pytest.approx(right[oof["repeat"] == repeat].mean()) for repeat in (0, 1)
    ]
    assert {images.n for images in finding_of(study).out_of_fold} == {300}


def test_sentence_has_the_mean_of_all_folds_and_the_images_of_one_repeat(study: Study) -> None:
    finding = finding_of(study)
    assert finding.accuracy.text() in sentence(finding)
    assert finding.out_of_fold[0].text() in sentence(finding)


def test_flags_of_runs_are_the_first_caveats(study: Study) -> None:
    assert {row.flags for row in finding_of(study).rows} == {(kinds.caveats_of(study)[0],)}
    assert "300 training" in kinds.caveats_of(study)[0]


def test_caveats_list_what_the_protocol_does_not_cover(tiny: Make, tmp_path: Path) -> None:
    recipe = tiny(("data.split.validation", 0), ("data.split.stratified", False), ("train.epochs", 1))
    study = validated(recipe, tmp_path, folds=2)
    finding, printed = finding_of(study), " ".join(kinds.caveats_of(study))
    assert (finding.stratified, finding.rows[0].validation_images, finding.repeats) == (False, 0, 1)
    for words in ("2 folds", "not stratified", "No inner validation", "--repeats"):
        assert words in printed


# Interruption, second call, archive


def test_resumed_study_trains_no_finished_fold_again_and_has_the_same_finding(tiny: Make, tmp_path: Path) -> None:
    recipe, ends = tiny(), []
    session = Session(
        tmp_path / "a",
        interrupted=lambda: len(ends) == 1,
        show=lambda position, event: ends.extend([position] * (isinstance(event, Ended))),
    )
    stopped = crossval(recipe, session, folds=2, repeats=1)
    assert stopped is None
    assert not list(Workspace(tmp_path / "a").studies())
    (finished,) = [run for run in Workspace(tmp_path / "a").runs() if run.finished]
    weights = finished.path / "best.safetensors"
    written = weights.stat().st_mtime_ns

    resumed, complete = validated(recipe, tmp_path / "a", folds=2), validated(recipe, tmp_path / "b", folds=2)

    assert weights.stat().st_mtime_ns == written
    assert resumed.finding_json == complete.finding_json
    assert all(np.array_equal(values, oof_of(complete)[name]) for name, values in oof_of(resumed).items())


def test_a_second_call_trains_nothing(study: Study) -> None:
    before = study.finding_json, oof_of(study)
    cached: list[bool] = []
    session = Session(
        study.path.parents[1],
        show=lambda position, event: cached.extend([event.cached] if isinstance(event, Ended) else []),
    )
    recipe = study.members[0].run.recipe.override({"data.split.fold": 0})
    again = crossval(recipe, session, folds=3, repeats=2)
    assert again is not None
    assert cached == [True] * 6
    assert again.path == study.path
    assert again.finding_json == before[0]
    assert all(np.array_equal(values, before[1][name]) for name, values in oof_of(again).items())


@pytest.mark.usefixtures("words_alone")
def test_archived_folds_are_found_and_reported(study: Study, tmp_path: Path) -> None:
    for member in study.members:
        archive.archive_run(member.run, tmp_path / "kept")
    archive.restore(tmp_path / "kept", tmp_path / "out")
    slim = validated(study.members[0].run.recipe, tmp_path / "out", repeats=2)
    assert slim.finding_json == study.finding_json
    oof = oof_of(slim)
    assert "logits" not in oof
    assert all(np.array_equal(values, oof_of(study)[name]) for name, values in oof.items())
    assert "Accuracy by fold" in api.report(slim).read_text()


# Errors


@pytest.mark.parametrize(("folds", "repeats"), [(1, 1), (5, 0)])
def test_too_few_folds_or_repeats_are_an_error(tiny: Make, tmp_path: Path, folds: int, repeats: int) -> None:
    with pytest.raises(ValueError, match="2 folds and 1 repeat or more"):
        validated(tiny(), tmp_path, folds=folds, repeats=repeats)


@pytest.mark.parametrize("fault", ["selection_on_test", "test_opened_at_each_best"])
def test_a_fault_that_opens_the_test_set_is_an_error(tiny: Make, tmp_path: Path, fault: str) -> None:
    with pytest.raises(ValueError, match=f"{fault} opens the test set"):
        validated(tiny(("protocol.faults", [fault])), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_keys_set_by_the_study_cannot_be_overridden(stripes: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="sets data.split.fold itself"):
        convoy.crossval("lenet", data=str(stripes), set={"data.split.fold": 1}, out=tmp_path, show=False)


# The page and the command


def test_page_shows_each_fold_and_the_interval(study: Study) -> None:
    page = api.report(study).read_text()
    markdown = (study.path / "report.md").read_text()
    assert "3 folds × 2" in page
    for member in study.members:
        assert f"{100 * member.run.scores['fold'].accuracy:.2f}" in markdown
        assert member.run.name in markdown
    assert "plain t interval" in markdown
    for name in ("cv_accuracy", "curves", "confusion", "hardest"):
        assert (study.path / "figures" / f"{name}.png").stat().st_size > 3_000


@pytest.mark.usefixtures("words_alone")
def test_chinese_page_translates_the_folds_and_counts_images_with_a_measure_word(study: Study) -> None:
    with text.in_language("zh_CN"):
        page = api.report(study).read_text()
    assert "第 1/3 折" in page
    assert not re.search(r"fold \d+ of", re.sub(r"<svg.*?</svg>|<pre.*?</pre>", "", page, flags=re.DOTALL))
    assert '300 <span class="note">张</span>' in page


def test_page_with_more_folds_than_colours_has_one_line_per_repeat(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups = read_study(study)
    assert list(crossval_page.curve_groups(groups)) == [member.label for member in study.members]
    monkeypatch.setattr(crossval_page, "MODELS", crossval_page.MODELS[:5])
    lines = crossval_page.curve_groups(groups)
    assert {label: len(group) for label, group in lines.items()} == {"repeat 1": 3, "repeat 2": 3}


def test_run_of_a_fold_has_its_own_page(study: Study, tmp_path: Path) -> None:
    run = study.members[0].run
    page = pages.run_page(run, tmp_path)
    assert f"{100 * run.scores['fold'].accuracy:.2f} %" in page.sentence


@pytest.mark.usefixtures("words_alone")
def test_command_groups_the_images_of_a_folder_by_their_paths(
    net: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    draw = np.random.default_rng(0)
    for class_name, darkest in (("sick", 0), ("well", 120)):
        for number in range(60):
            path = tmp_path / "scans" / class_name / f"p{number // 4}_{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(draw.integers(darkest, darkest + 99, (12, 12), dtype=np.uint8)).save(path)
    command = ["crossval", f"{net}:Tiny", "--data", "scans", "--folds", "3", "--group-by", r"(\w+/p\d+)_", "--json"]
    cli.main([*command, "--epochs", "1", "--compute.threads", "1"])

    printed = json.loads(capfd.readouterr().out)
    study = Study(Path(printed["study"]))
    paths = load("scans").paths
    assert paths is not None
    oof = oof_of(study)
    fold_of: dict[str, set[int]] = {}
    for index, fold in zip(oof["index"], oof["fold"], strict=True):
        fold_of.setdefault(paths[index].split("_")[0], set()).add(int(fold))
    assert {len(folds) for folds in fold_of.values()} == {1}
    assert printed["finding"]["grouped"]
    assert Path(printed["report"]).is_file()


def test_a_note_on_many_folds_lists_a_few(study: Study) -> None:
    finding = finding_of(study)
    rows = [replace(row, flags=("odd",) if row.repeat == 0 or row.fold < 2 else ()) for row in finding.rows]
    (note,) = [caveat for caveat in caveats(replace(finding, rows=tuple(rows))) if caveat.endswith("odd")]
    assert note.count("fold") == 4
    assert "1 more" in note


def test_equal_folds_have_no_spread(tiny: Make, tmp_path: Path) -> None:
    study = validated(tiny(("data.limit", 60), ("optim.lr", 1e-9)), tmp_path, folds=2)
    first, second = (row.accuracy.mean for row in finding_of(study).rows)
    assert any("no spread" in caveat for caveat in kinds.caveats_of(study)) == (first == second)
    assert "± 0.0 " not in kinds.sentence_of(study)


def test_class_without_an_image_in_a_fold_is_a_caveat(study: Study) -> None:
    finding = finding_of(study)
    first = replace(finding.rows[0], missing_classes=("odd",))
    (note,) = [caveat for caveat in caveats(replace(finding, rows=(first, *finding.rows[1:]))) if "odd" in caveat]
    assert note.startswith("fold 1 of 3, repeat 1: ")


def test_run_that_diverged_is_marked(study: Study) -> None:
    finding = finding_of(study)
    assert not any(row.diverged for row in finding.rows)
    first = replace(finding.rows[0], diverged=True)
    labels = [member.label for member in study.members]
    rows = folds_chart(replace(finding, rows=(first, *finding.rows[1:])), Look(tuple(labels)), labels).rows
    diverged = [value.diverged for row in rows for value in row.values]
    assert diverged == [(100 * first.accuracy.mean,), (), (), (), (), ()]
