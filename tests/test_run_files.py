"""Changed files of a run are detected when they are read."""

from __future__ import annotations

import json
import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.fake_runs import FakeModel, fake_study

import convoy
from convoy import api
from convoy.archive import archive_run
from convoy.checkpoint import save_checkpoint
from convoy.counts import count_scores
from convoy.evaluation.load import network_of
from convoy.events import Control
from convoy.files import read_arrays, write_arrays, write_json
from convoy.recipe import Recipe
from convoy.record import contradictions, scores_of
from convoy.run_files import HASH, UPDATED, sealed, sha256_of
from convoy.runs import Run
from convoy.training.run.run_one import run_one
from convoy.verifying.result import State

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
def test_a_run_with_a_changed_file_is_not_reused(run: Run, name: str) -> None:
    flip_a_bit(run.path / name)
    with pytest.raises(ValueError, match=f"{name} has changed"):
        api.train(data="digits", epochs=1, set=SET, out=run.path.parents[1], show=False)


@pytest.mark.parametrize("name", ["recipe.toml", "best.safetensors"])
def test_fresh_retrains_a_run_with_a_changed_file(tiny: Make, tmp_path: Path, name: str) -> None:
    recipe = tiny(("train.epochs", 1))
    flip_a_bit(api.train(recipe, out=tmp_path, show=False).path / name)
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
    del status["files"], status["seal"]
    write_json(run.path / "status.json", status)
    (run.path / "doctor.json").unlink()
    run.check_files()
    assert contradictions(run) == ()
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


# ---- files against each other ----


def contents(run: Run, name: str) -> dict[str, Any]:
    table: dict[str, Any] = json.loads((run.path / name).read_text())
    return table


def forge_hashes(run: Run) -> None:
    """Replaces the recorded hashes by those of the files as they are now."""
    status = contents(run, "status.json")
    files = {name: sha256_of(run.path / name) for name in status["files"]}
    write_json(run.path / "status.json", sealed(status | {"files": files}))


def forget_hashes(run: Run) -> None:
    """As in a run of the first versions."""
    run.write_status(files={})
    (run.path / "doctor.json").unlink()


def edit_curve(run: Run) -> None:
    *lines, last = (run.path / "metrics.jsonl").read_text().splitlines()
    edited = json.loads(last) | {"validation_accuracy": 1.0, "validation_correct": json.loads(last)["validation_total"]}
    (run.path / "metrics.jsonl").write_text("\n".join([*lines, json.dumps(edited)]) + "\n")


def edit_arrays(run: Run, name: str, key: str, factor: float) -> None:
    arrays = read_arrays(run.path / name)
    write_arrays(run.path / name, arrays | {key: arrays[key] * np.float32(factor)})


def edit_status(**values: object) -> Callable[[Run], None]:
    return lambda run: write_json(run.path / "status.json", sealed(contents(run, "status.json") | values))


def edit_seed(run: Run) -> None:
    text = (run.path / "recipe.toml").read_text()
    (run.path / "recipe.toml").write_text(text.replace("seed = 42", "seed = 7"))


def halve_losses(run: Run) -> None:
    edit_arrays(run, "steps.npz", "loss", 0.5)


def negate_logits(run: Run) -> None:
    edit_arrays(run, "predictions.npz", "test_logits", -1.0)


EDITS = (  # change, and the first contradiction: file, contradicting file, quantity
    (edit_accuracy, "scores.json", "predictions.npz", "test.accuracy"),
    (edit_curve, "metrics.jsonl", "scores.json", "validation of epoch 1: correct images"),
    (halve_losses, "metrics.jsonl", "steps.npz", "train loss of epoch 1"),
    (negate_logits, "scores.json", "predictions.npz", "test.accuracy"),
    (edit_seed, "recipe.toml", "the folder's name", "seed"),
    (edit_status(epochs=20), "status.json", "recipe.toml", "epochs"),
    (edit_status(best_epoch=0), "status.json", "metrics.jsonl", "best_epoch"),
    (edit_status(fingerprint="0" * 64), "status.json", "the folder's name", "fingerprint"),
)


@pytest.mark.parametrize(("change", "file", "against", "quantity"), EDITS)
def test_an_edit_whose_hash_is_forged_contradicts_another_file(
    run: Run, change: Callable[[Run], None], file: str, against: str, quantity: str
) -> None:
    change(run)
    forge_hashes(run)
    first = contradictions(Run(run.path))[0]
    assert (first.file, first.against, first.quantity) == (file, against, quantity)


def test_an_unchanged_run_has_no_contradictions(run: Run) -> None:
    assert contradictions(run) == ()


def test_a_deleted_file_and_a_deleted_hash_are_named(run: Run) -> None:
    (run.path / "predictions.npz").unlink()
    status = contents(run, "status.json")
    del status["files"]["scores.json"]
    write_json(run.path / "status.json", sealed(status))
    for read in (lambda: run.predictions, lambda: run.scores, lambda: run.check_file("scores.json")):
        with pytest.raises(ValueError, match=r"(predictions|scores).json|predictions.npz"):
            read()
    missing, without_hash = sorted(contradictions(run), key=lambda each: each.file)
    assert (missing.file, missing.stated, without_hash.file, without_hash.found) == (
        "predictions.npz", None, "scores.json", None,
    )  # fmt: skip


def test_hashes_and_seal_deleted_from_a_run_that_had_them_are_named(run: Run) -> None:
    status = contents(run, "status.json")
    del status["files"], status["seal"]
    write_json(run.path / "status.json", status)
    named = {(each.file, each.quantity) for each in contradictions(run)}
    assert named == {(name, HASH) for name in (*READERS, "arrays.npz", "status.json")}


def test_a_finished_run_with_only_the_hash_of_its_recipe_is_not_taken_for_one_being_written(
    call: Call, run: Run
) -> None:
    run.write_status(files={"recipe.toml": run.status.files["recipe.toml"]})
    edit_accuracy(run)
    missing = {each.file for each in contradictions(run) if each.quantity == HASH}
    assert missing == {*READERS, "arrays.npz"} - {"recipe.toml"}
    verification = convoy.verify(run)
    assert {each.check: each.state for each in verification.checks}["files"] is State.DIFFERS
    assert [call(*command, run.path)[0] for command in (("report",), ("doctor", "--quick"))] == [2, 1]
    with pytest.raises(ValueError, match="status.json"):
        api.train(data="digits", epochs=1, set=SET, out=run.path.parents[1], show=False)


def test_a_process_killed_while_it_writes_to_a_finished_run_leaves_a_sign_and_the_other_hashes(run: Run) -> None:
    with pytest.MonkeyPatch.context() as patch, run.updating():
        patch.setattr(Run, "write_status", lambda *_, **__: None)  # as if the process was killed here
    assert run.status.updating
    assert run.status.files.keys() == (READERS.keys() - {*UPDATED}) | {"arrays.npz", "doctor.json"}
    assert contradictions(run) == ()
    [files] = [each for each in convoy.verify(run).checks if each.check == "files"]
    assert files.state is State.UNKNOWN
    edit_curve(run)
    with pytest.raises(ValueError, match="metrics.jsonl has changed"):
        run.record_files()


def test_fewer_openings_of_the_test_set_than_the_run_needed_contradict_its_scores(run: Run) -> None:
    write_json(run.path / "data.json", contents(run, "data.json") | {"test_openings": 0})
    forge_hashes(run)
    (found,) = contradictions(run)
    assert (found.file, found.quantity, found.stated, found.found) == ("data.json", "test_openings", 0, 1)


def test_a_run_whose_weights_were_deleted_is_not_an_archived_run(run: Run) -> None:
    (run.path / "best.safetensors").unlink()
    assert not run.is_archived
    with pytest.raises(ValueError, match=r"best.safetensors is missing"):
        network_of(run)


@pytest.mark.usefixtures("words_alone")
def test_a_report_shows_the_edited_and_the_recounted_score(call: Call, run: Run) -> None:
    accuracy = run.scores["test"].accuracy
    edit_accuracy(run)
    code, out, _ = call("report", run.path)
    assert code == 0
    first, second = contradictions(run)
    assert (first.file, first.quantity) == ("scores.json", HASH)
    assert (second.quantity, second.stated, second.found) == ("test.accuracy", 0.9792, accuracy)
    assert scores_of(run)["test"].accuracy == accuracy
    page = (run.path / "report.md").read_text()
    for text in (out, page):
        assert "0.9792" in text
        assert f"{accuracy:.6g}" in text
    assert f"reaches {100 * accuracy:.2f} %" in page


def test_list_test_and_doctor_name_an_edited_score_whose_hash_is_forged(call: Call, run: Run) -> None:
    edit_accuracy(run)
    forge_hashes(run)
    code, out, _ = call("list", "runs", "--out", run.path.parents[1], "--json")
    (row,) = json.loads(out)["runs"]
    assert (code, row["state"], row["test"]) == (0, "damaged", None)
    assert "0.9792" in row["warnings"]
    code, out, _ = call("test", run.path, "--json")
    assert (code, json.loads(out)["contradictions"][0]["stated"]) == (0, 0.9792)
    code, out, _ = call("doctor", run.path, "--quick", "--json")
    assert (code, {each["check"] for each in json.loads(out)["findings"]}) == (1, {"changed_record"})


def test_a_test_of_the_weights_contradicts_forged_predictions_and_scores(run: Run) -> None:
    arrays = read_arrays(run.path / "predictions.npz")
    logits = np.eye(10, dtype=np.float32)[arrays["test_labels"]]
    write_arrays(run.path / "predictions.npz", arrays | {"test_logits": logits})
    score = count_scores(arrays["test_labels"], arrays["test_labels"], run.data.classes).as_table()
    write_json(run.path / "scores.json", contents(run, "scores.json") | {"test": score})
    forge_hashes(run)
    assert contradictions(run) == ()
    tested = convoy.test(run)
    (only,) = tested.contradictions
    assert (only.file, only.against, only.stated, only.found) == (
        "scores.json", "best.safetensors", tested.score.n, tested.score.correct,
    )  # fmt: skip


def test_a_run_with_edited_scores_is_not_reused(tiny: Make, tmp_path: Path) -> None:
    run = api.train(tiny(("train.epochs", 1)), out=tmp_path, show=False)
    edit_accuracy(run, 0.125)
    forget_hashes(run)
    with pytest.raises(ValueError, match=r"0\.125"):
        list(run_one(tiny(("train.epochs", 1)), tmp_path))


def test_an_edited_score_that_cannot_be_recounted_is_an_error(call: Call, run: Run) -> None:
    scores = contents(run, "scores.json")
    scores["test"]["loss"] = 0.001
    write_json(run.path / "scores.json", scores)
    code, _, err = call("report", run.path)
    assert code == 2
    assert "scores.json" in err


def test_an_edited_confusion_matrix_is_recounted(run: Run) -> None:
    forget_hashes(run)
    for key in ("confusion", "per_class"):
        scores = contents(run, "scores.json")
        scores["test"][key] = scores["test"][key][::-1]
        write_json(run.path / "scores.json", scores)
    (difference,) = contradictions(run)
    assert difference.quantity == "test.per_class"
    confusion = np.zeros((10, 10), int)
    np.add.at(confusion, run.predicted("test"), 1)
    assert scores_of(run)["test"].confusion == confusion.tolist()


@pytest.mark.usefixtures("words_alone")
def test_the_report_of_a_study_names_the_run_with_edited_scores(call: Call, tmp_path: Path) -> None:
    study = fake_study(tmp_path / "out", {"lenet": FakeModel(), "two_conv_cnn": FakeModel()}, seeds=(1,))
    run = study.members[0].run
    edit_accuracy(run, 0.125)
    code, out, _ = call("report", study.path)
    assert code == 0
    for text in (out, (study.path / "report.md").read_text()):
        assert run.name in text
        assert "0.125" in text


def test_the_files_of_the_committed_archive_do_not_contradict_each_other() -> None:
    archive = Path(__file__).parents[1] / "docs" / "results" / "runs"
    runs = [Run(recipe.parent) for recipe in sorted(archive.glob("*/recipe.toml"))]
    assert runs
    assert {run.name: contradictions(run) for run in runs} == {run.name: () for run in runs}


# ---- missing and unreadable files ----


def test_a_checkpoint_of_another_format_is_a_one_line_error(tiny: Make, tmp_path: Path) -> None:
    recipe = tiny(("train.epochs", 3))
    run = Run([*run_one(recipe, tmp_path, control=lambda: Control.PAUSE)][-1].run)
    save_checkpoint(run.path / "checkpoints", 10**6, {"members": [], "ledger": {}}, run.status.fingerprint)
    with pytest.raises(ValueError, match="checkpoints: .* another version; .*--fresh") as caught:
        api.train(recipe, out=tmp_path, show=False)
    assert "\n" not in str(caught.value)
    assert api.train(recipe, out=tmp_path, show=False, fresh=True).finished


def test_report_refuses_a_run_with_an_empty_environment_and_list_shows_it(call: Call, run: Run) -> None:
    forget_hashes(run)
    (run.path / "environment.json").write_text("{}")
    code, _, err = call("report", run.path)
    assert code == 2
    assert "environment.json" in err
    code, out, _ = call("list", "runs", "--out", run.path.parents[1])
    assert code == 0
    assert run.name in out
