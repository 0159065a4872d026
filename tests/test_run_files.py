"""Changed files of a run are detected when they are read."""

from __future__ import annotations

import json
import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import convoy
from convoy import api
from convoy.archive import archive_run
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


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def edit_accuracy(run: Run, accuracy: float = 0.9792) -> None:
    scores = json.loads((run.path / "scores.json").read_text())
    scores["test"]["accuracy"] = accuracy
    write_json(run.path / "scores.json", scores)


READERS = {
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


def test_a_finished_run_records_the_hashes_of_its_files(run: Run) -> None:
    assert run.status.files.keys() == READERS.keys() | {"arrays.npz", "doctor.json"}
    assert all(len(digest) == 64 for digest in run.status.files.values())


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("damage", [flip_a_bit, lambda path: path.write_bytes(b"")], ids=["flipped", "empty"])
def test_reading_a_changed_file_raises(run: Run, name: str, damage: Callable[[Path], None]) -> None:
    READERS[name](run)
    damage(run.path / name)
    with pytest.raises(ValueError, match=f"{name} has changed .*--fresh"):
        READERS[name](Run(run.path))


@pytest.mark.parametrize("name", READERS)
def test_a_run_with_a_changed_file_is_not_reused_and_fresh_retrains_it(tiny: Make, tmp_path: Path, name: str) -> None:
    recipe = tiny(("train.epochs", 1))
    run = api.train(recipe, out=tmp_path, show=False)
    flip_a_bit(run.path / name)
    with pytest.raises(ValueError, match=f"{name} has changed"):
        list(run_one(recipe, tmp_path))
    again = api.train(recipe, out=tmp_path, show=False, fresh=True)
    again.check_files()
    assert again.recipe == recipe


def test_weights_given_by_path_and_initial_weights_are_checked(run: Run, tmp_path: Path) -> None:
    flip_a_bit(run.path / "best.safetensors")
    with pytest.raises(ValueError, match="has changed"):
        convoy.test(run.path / "best.safetensors", out=tmp_path)
    with pytest.raises(ValueError, match="has changed"):
        convoy.train(data="digits", init=run.path, set=SET, out=tmp_path, show=False)


def test_scoring_the_test_set_later_records_the_new_hashes(tiny: Make, tmp_path: Path) -> None:
    before = api.train(tiny(), test=False, out=tmp_path, show=False).status.files
    run = api.train(tiny(), out=tmp_path, show=False)
    assert "test" in run.scores
    run.check_files()
    changed = {name for name, digest in run.status.files.items() if before.get(name) != digest}
    assert changed == {"scores.json", "predictions.npz", "gallery.npz", "data.json", "cost.json"}


def test_weights_of_single_epochs_are_checked_only_when_they_are_read(tiny: Make, tmp_path: Path) -> None:
    run = api.train(tiny(("probe.keep_weights", True)), out=tmp_path, show=False)
    assert "weights/epoch-00001.safetensors" in run.status.files
    flip_a_bit(run.path / "weights" / "epoch-00001.safetensors")
    run.check_files()
    with pytest.raises(ValueError, match="epoch-00001.safetensors has changed"):
        run.file("weights/epoch-00001.safetensors")


def test_an_archived_run_has_its_own_hashes(run: Run, tmp_path: Path) -> None:
    archived = archive_run(run, tmp_path / "archive")
    archived.check_files()
    assert archived.status.files.keys() >= {"predictions.npz", "steps.npz", "scores.json", "recipe.toml"}
    assert archived.status.files["predictions.npz"] != run.status.files["predictions.npz"]
    flip_a_bit(archived.path / "predictions.npz")
    with pytest.raises(ValueError, match="predictions.npz has changed"):
        archived.predicted("test")


def test_a_run_of_an_older_version_without_hashes_is_read(run: Run) -> None:
    status = json.loads((run.path / "status.json").read_text())
    del status["files"]
    write_json(run.path / "status.json", status)
    run.check_files()
    assert run.scores["test"].n == len(run.predicted("test")[0])


def test_an_empty_recipe_is_an_error_and_not_the_default_recipe(call: Call, run: Run) -> None:
    (run.path / "recipe.toml").write_text("")
    for command in ("test", "report"):
        code, _, err = call(command, run.path)
        assert code == 2
        assert "recipe.toml" in err


def test_resuming_restores_an_emptied_recipe(tiny: Make, tmp_path: Path) -> None:
    recipe = tiny(("train.epochs", 3))
    events = run_one(recipe, tmp_path, control=lambda: Control.PAUSE)
    run = Run(list(events)[-1].run)
    (run.path / "recipe.toml").write_text("")
    finished = api.train(recipe, out=tmp_path, show=False)
    assert tomllib.loads((finished.path / "recipe.toml").read_text()) == recipe.as_table()
    finished.check_files()


# ---- scores against predictions ----


def test_recounted_scores_of_an_unchanged_run_are_equal(run: Run) -> None:
    assert recount(run) == (run.scores, ())


def test_a_report_shows_the_edited_and_the_recounted_score(call: Call, run: Run) -> None:
    accuracy = run.scores["test"].accuracy
    edit_accuracy(run)
    code, out, _ = call("report", run.path)
    assert code == 0
    (difference,) = recount(run).differences
    assert (difference.part, difference.score, difference.stated) == ("test", "accuracy", 0.9792)
    assert difference.counted == accuracy
    page = (run.path / "report.md").read_text()
    for text in (out, page):
        assert "0.9792" in text
        assert f"{accuracy:.6g}" in text
    assert f"reaches {100 * accuracy:.2f} %" in page


def test_edited_scores_of_a_run_without_hashes_are_reported(tiny: Make, tmp_path: Path) -> None:
    run = api.train(tiny(), out=tmp_path, show=False)
    accuracy = run.scores["test"].accuracy
    run.write_status(files={})
    edit_accuracy(run, 0.125)
    texts = [event.text for event in run_one(tiny(), tmp_path)]
    assert any("0.125" in text and f"{accuracy:.6g}" in text for text in texts)
    assert f"{accuracy:.2%}" in texts[-1]


def test_an_edited_score_that_cannot_be_recounted_is_an_error(call: Call, run: Run) -> None:
    scores = json.loads((run.path / "scores.json").read_text())
    scores["test"]["loss"] = 0.001
    write_json(run.path / "scores.json", scores)
    code, _, err = call("report", run.path)
    assert code == 2
    assert "scores.json" in err


def test_an_edited_confusion_matrix_is_recounted(run: Run) -> None:
    run.write_status(files={})
    for key in ("confusion", "per_class"):
        scores = json.loads((run.path / "scores.json").read_text())
        scores["test"][key] = scores["test"][key][::-1]
        write_json(run.path / "scores.json", scores)
    (difference,) = recount(run).differences
    assert difference.score == "per_class"
    confusion = np.zeros((10, 10), int)
    np.add.at(confusion, run.predicted("test"), 1)
    assert recount(run).scores["test"].confusion == confusion.tolist()


def test_the_report_of_a_study_names_the_run_with_edited_scores(call: Call, tiny: Make, tmp_path: Path) -> None:
    study = convoy.compare({"a": tiny(), "b": tiny(("optim.lr", 0.02))}, seeds=1, out=tmp_path, show=False)
    run = study.members[0].run
    run.write_status(files={})
    edit_accuracy(run, 0.125)
    code, out, _ = call("report", study.path)
    assert code == 0
    for text in (out, (study.path / "report.md").read_text()):
        assert run.name in text
        assert "0.125" in text


def test_scores_of_the_committed_archive_agree_with_their_predictions() -> None:
    archive = Path(__file__).parents[1] / "docs" / "results" / "runs"
    for recipe in sorted(archive.glob("*/recipe.toml")):
        assert recount(Run(recipe.parent)).differences == ()


# ---- missing and unreadable files ----


def test_resuming_without_steps_npz_raises(tiny: Make, tmp_path: Path) -> None:
    recipe = tiny(("train.epochs", 3))
    events = run_one(recipe, tmp_path, control=lambda: Control.PAUSE)
    run = Run(list(events)[-1].run)
    (run.path / "steps.npz").unlink()
    with pytest.raises(ValueError, match=r"steps.npz .*--fresh"):
        api.train(recipe, out=tmp_path, show=False)
    assert api.train(recipe, out=tmp_path, show=False, fresh=True).finished


def test_a_checkpoint_of_another_format_is_a_one_line_error(tiny: Make, tmp_path: Path) -> None:
    recipe = tiny(("train.epochs", 3))
    run = Run([*run_one(recipe, tmp_path, control=lambda: Control.PAUSE)][-1].run)
    save_checkpoint(run.path / "checkpoints", 10**6, {"members": [], "ledger": {}})
    with pytest.raises(ValueError, match="checkpoints: .* another version; .*--fresh") as caught:
        api.train(recipe, out=tmp_path, show=False)
    assert "\n" not in str(caught.value)
    assert api.train(recipe, out=tmp_path, show=False, fresh=True).finished


@pytest.mark.parametrize("command", ["report", "list"])
def test_an_empty_environment_is_a_one_line_error(call: Call, run: Run, command: str) -> None:
    run.write_status(files={})
    (run.path / "environment.json").write_text("{}")
    target = ["runs", "--out", run.path.parents[1]] if command == "list" else [run.path]
    code, out, err = call(command, *target)
    if command == "list":
        assert (code, run.name in out) == (0, True)
    else:
        assert code == 2
        assert "environment.json" in err
