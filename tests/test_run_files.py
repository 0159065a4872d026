"""Changed files of a run are detected when they are used."""

from __future__ import annotations

import json
import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import convoy
from convoy import api, archive
from convoy.checkpoint import save_checkpoint
from convoy.counts import recount
from convoy.evaluation.load import network_of
from convoy.events import Control
from convoy.files import write_json
from convoy.recipe import Recipe
from convoy.runs import Run
from convoy.training.run.run_one import run_one

Make = Callable[..., Recipe]
Call = Callable[..., tuple[int, str, str]]
SET = {"compute.threads": 1, "train.batch_size": 256, "model.name": "two_conv_cnn"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return api.train(data="digits", epochs=1, set=SET, out=tmp_path_factory.mktemp("out"), show=False)


@pytest.fixture
def run(trained: Run, tmp_path: Path) -> Run:
    return Run(Path(shutil.copytree(trained.path, tmp_path / "runs" / trained.name)))


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def edit_accuracy(run: Run, accuracy: float = 0.9792) -> None:
    scores = json.loads((run.path / "scores.json").read_text())
    scores["test"]["accuracy"] = accuracy
    write_json(run.path / "scores.json", scores)


READS = {
    "best.safetensors": network_of,
    "predictions.npz": lambda run: run.predicted("test"),
    "steps.npz": lambda run: run.steps,
    "gallery.npz": lambda run: run.gallery,
    "scores.json": lambda run: run.scores,
    "cost.json": lambda run: run.cost,
    "data.json": lambda run: run.data,
    "environment.json": lambda run: run.environment,
    "metrics.jsonl": lambda run: run.metrics,
    "recipe.toml": lambda run: run.recipe,
}


def test_a_finished_run_records_all_that_it_wrote(run: Run) -> None:
    assert run.status.files.keys() == READS.keys() | {"arrays.npz"}
    assert all(len(digest) == 64 for digest in run.status.files.values())


@pytest.mark.parametrize("name", READS)
@pytest.mark.parametrize("damage", [flip, lambda path: path.write_bytes(b"")], ids=["flipped", "empty"])
def test_a_changed_file_is_refused_where_it_is_read(run: Run, name: str, damage: Callable[[Path], None]) -> None:
    READS[name](run)
    damage(run.path / name)
    with pytest.raises(ValueError, match=f"{name} has changed .*--fresh"):
        READS[name](Run(run.path))


@pytest.mark.parametrize("name", READS)
def test_a_run_with_a_changed_file_does_not_count_as_finished_and_fresh_trains_it_again(
    tiny: Make, tmp_path: Path, name: str
) -> None:
    recipe = tiny(("train.epochs", 1))
    run = api.train(recipe, out=tmp_path, show=False)
    flip(run.path / name)
    with pytest.raises(ValueError, match=f"{name} has changed"):
        list(run_one(recipe, tmp_path))
    again = api.train(recipe, out=tmp_path, show=False, fresh=True)
    again.check_files()
    assert again.recipe == recipe


def test_weights_named_by_their_path_and_weights_to_start_from_are_checked(run: Run, tmp_path: Path) -> None:
    flip(run.path / "best.safetensors")
    with pytest.raises(ValueError, match="has changed"):
        convoy.test(run.path / "best.safetensors", out=tmp_path)
    with pytest.raises(ValueError, match="has changed"):
        convoy.train(data="digits", init=run.path, set=SET, out=tmp_path, show=False)


def test_the_test_set_opened_later_is_recorded_too(tiny: Make, tmp_path: Path) -> None:
    shut = api.train(tiny(), test=False, out=tmp_path, show=False)
    before = shut.status.files
    run = api.train(tiny(), out=tmp_path, show=False)
    assert "test" in run.scores
    run.check_files()
    changed = {name for name, digest in run.status.files.items() if before.get(name) != digest}
    assert changed == {"scores.json", "predictions.npz", "gallery.npz", "data.json", "cost.json"}


def test_weights_of_single_epochs_are_checked_when_they_are_read(tiny: Make, tmp_path: Path) -> None:
    run = api.train(tiny(("probe.keep_weights", True)), out=tmp_path, show=False)
    assert "weights/epoch-00001.safetensors" in run.status.files
    flip(run.path / "weights" / "epoch-00001.safetensors")
    run.check_files()
    with pytest.raises(ValueError, match="epoch-00001.safetensors has changed"):
        run.file("weights/epoch-00001.safetensors")


def test_an_archived_run_has_hashes_of_its_own(run: Run, tmp_path: Path) -> None:
    slim = archive.keep(run, tmp_path / "archive")
    slim.check_files()
    assert slim.status.files.keys() >= {"predictions.npz", "steps.npz", "scores.json", "recipe.toml"}
    assert slim.status.files["predictions.npz"] != run.status.files["predictions.npz"]
    flip(slim.path / "predictions.npz")
    with pytest.raises(ValueError, match="predictions.npz has changed"):
        slim.predicted("test")


def test_a_run_of_an_older_version_records_nothing_and_is_read(run: Run) -> None:
    status = json.loads((run.path / "status.json").read_text())
    del status["files"]
    write_json(run.path / "status.json", status)
    run.check_files()
    assert run.scores["test"].n == len(run.predicted("test")[0])


def test_an_empty_recipe_is_refused_and_does_not_become_the_defaults(call: Call, run: Run) -> None:
    (run.path / "recipe.toml").write_text("")
    for command in ("test", "report"):
        code, _, err = call(command, run.path)
        assert code == 2
        assert "recipe.toml" in err


def test_an_unfinished_run_gets_back_the_recipe_that_it_is_trained_with(tiny: Make, tmp_path: Path) -> None:
    recipe = tiny(("train.epochs", 3))
    events = run_one(recipe, tmp_path, control=lambda: Control.PAUSE)
    run = Run(list(events)[-1].run)
    (run.path / "recipe.toml").write_text("")
    finished = api.train(recipe, out=tmp_path, show=False)
    assert tomllib.loads((finished.path / "recipe.toml").read_text()) == recipe.as_table()
    finished.check_files()


# ---- scores against predictions ----


def test_the_scores_of_a_run_follow_from_its_predictions(run: Run) -> None:
    assert recount(run) == (run.scores, ())


def test_a_report_names_both_numbers_where_the_scores_were_edited(call: Call, run: Run) -> None:
    right = run.scores["test"].accuracy
    edit_accuracy(run)
    code, out, _ = call("report", run.path)
    assert code == 0
    (difference,) = recount(run).differences
    assert (difference.part, difference.score, difference.stated) == ("test", "accuracy", 0.9792)
    assert difference.counted == right
    page = (run.path / "report.md").read_text()
    for text in (out, page):
        assert "0.9792" in text
        assert f"{right:.6g}" in text
    assert f"reaches {100 * right:.2f} %" in page


def test_edited_scores_of_a_run_without_hashes_are_reported_too(tiny: Make, tmp_path: Path) -> None:
    run = api.train(tiny(), out=tmp_path, show=False)
    right = run.scores["test"].accuracy
    run.write_status(files={})
    edit_accuracy(run, 0.125)
    texts = [event.text for event in run_one(tiny(), tmp_path)]
    assert any("0.125" in text and f"{right:.6g}" in text for text in texts)
    assert f"{right:.2%}" in texts[-1]


def test_edited_scores_that_no_prediction_contradicts_are_refused(call: Call, run: Run) -> None:
    scores = json.loads((run.path / "scores.json").read_text())
    scores["test"]["loss"] = 0.001
    write_json(run.path / "scores.json", scores)
    code, _, err = call("report", run.path)
    assert code == 2
    assert "scores.json" in err


def test_a_confusion_or_a_class_that_was_edited_is_noticed(run: Run) -> None:
    run.write_status(files={})
    for key in ("confusion", "per_class"):
        scores = json.loads((run.path / "scores.json").read_text())
        scores["test"][key] = scores["test"][key][::-1]
        write_json(run.path / "scores.json", scores)
    (difference,) = recount(run).differences
    assert difference.score == "per_class"
    assert recount(run).scores["test"].confusion == difference_free(run)


def difference_free(run: Run) -> list[list[int]]:
    labels, predicted = run.predicted("test")
    confusion = np.zeros((10, 10), int)
    np.add.at(confusion, (labels, predicted), 1)
    return confusion.tolist()


def test_a_study_names_the_run_whose_scores_were_edited(call: Call, tiny: Make, tmp_path: Path) -> None:
    study = convoy.compare({"a": tiny(), "b": tiny(("optim.lr", 0.02))}, seeds=1, out=tmp_path, show=False)
    run = study.members[0].run
    run.write_status(files={})
    edit_accuracy(run, 0.125)
    code, out, _ = call("report", study.path)
    assert code == 0
    for text in (out, (study.path / "report.md").read_text()):
        assert run.name in text
        assert "0.125" in text


def test_the_archived_results_agree_with_their_predictions() -> None:
    kept = Path(__file__).parents[1] / "docs" / "results" / "runs"
    for recipe in sorted(kept.glob("*/recipe.toml")):
        assert recount(Run(recipe.parent)).differences == ()


# ---- what is missing ----


def test_steps_that_are_missing_where_a_run_goes_on_are_named(tiny: Make, tmp_path: Path) -> None:
    recipe = tiny(("train.epochs", 3))
    events = run_one(recipe, tmp_path, control=lambda: Control.PAUSE)
    run = Run(list(events)[-1].run)
    (run.path / "steps.npz").unlink()
    with pytest.raises(ValueError, match=r"steps.npz .*--fresh"):
        api.train(recipe, out=tmp_path, show=False)
    assert api.train(recipe, out=tmp_path, show=False, fresh=True).finished


def test_checkpoint_of_another_format_is_answered_in_one_line(tiny: Make, tmp_path: Path) -> None:
    recipe = tiny(("train.epochs", 3))
    run = Run([*run_one(recipe, tmp_path, control=lambda: Control.PAUSE)][-1].run)
    save_checkpoint(run.path / "checkpoints", 10**6, {"members": [], "ledger": {}})
    with pytest.raises(ValueError, match="checkpoints: .* another version; .*--fresh") as caught:
        api.train(recipe, out=tmp_path, show=False)
    assert "\n" not in str(caught.value)
    assert api.train(recipe, out=tmp_path, show=False, fresh=True).finished


@pytest.mark.parametrize("command", ["report", "list"])
def test_an_empty_environment_is_answered_in_one_line(call: Call, run: Run, command: str) -> None:
    run.write_status(files={})
    (run.path / "environment.json").write_text("{}")
    target = ["runs", "--out", run.path.parents[1]] if command == "list" else [run.path]
    code, out, err = call(command, *target)
    if command == "list":
        assert (code, run.name in out) == (0, True)
    else:
        assert code == 2
        assert "environment.json" in err
