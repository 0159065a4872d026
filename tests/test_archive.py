"""Archived runs are small, are found by their fingerprint, and are sufficient for a report."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from convoy import api, archive
from convoy.archive import archive_run
from convoy.evaluation.load import network_of
from convoy.experiments.measures import MEASURES
from convoy.files import read_json, write_arrays, write_bytes, write_json
from convoy.recipe import Recipe
from convoy.runs import Run, Workspace

Make = Callable[..., Recipe]
LENET = {"compute.threads": 1, "model.name": "two_conv_cnn"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return api.train(data="digits", epochs=2, set=LENET, out=tmp_path_factory.mktemp("out"), show=False)


def test_an_archived_run_restored_into_an_empty_workspace_is_reused(trained: Run, tmp_path: Path) -> None:
    archive_run(trained, tmp_path / "archive")

    assert archive.restore(tmp_path / "archive", tmp_path / "out") == 1

    again = api.train(data="digits", epochs=2, set=LENET, out=tmp_path / "out", show=False)
    assert again.is_archived
    assert again.scores == trained.scores


def test_an_archived_run_has_predictions_but_no_weights_and_images(trained: Run, tmp_path: Path) -> None:
    archived = archive_run(trained, tmp_path)

    assert {path.suffix for path in archived.path.iterdir()} <= {".toml", ".json", ".jsonl", ".npz"}
    assert not archived.gallery
    assert not archived.arrays
    for ours, theirs in zip(archived.predicted("test"), trained.predicted("test"), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.usefixtures("words_alone")
def test_an_archived_run_has_a_report(trained: Run, tmp_path: Path) -> None:
    page = api.report(archive_run(trained, tmp_path))

    assert "two_conv_cnn" in page.read_text()


def test_restoring_twice_copies_once(trained: Run, tmp_path: Path) -> None:
    archive_run(trained, tmp_path / "archive")
    archive.restore(tmp_path / "archive", tmp_path / "out")

    assert archive.restore(tmp_path / "archive", tmp_path / "out") == 0
    assert len(list(Workspace(tmp_path / "out").runs())) == 1


def test_an_archived_run_without_a_test_score_is_retrained_to_open_the_test_set(tiny: Make, tmp_path: Path) -> None:
    untested = api.train(tiny(), test=False, out=tmp_path / "first", show=False)
    archive_run(untested, tmp_path / "archive")
    archive.restore(tmp_path / "archive", tmp_path / "out")

    run = api.train(tiny(), out=tmp_path / "out", show=False)

    assert "test" in run.scores
    assert run.scores["validation"] == untested.scores["validation"]


def test_a_folder_of_complete_runs_is_not_an_archive(trained: Run, tmp_path: Path) -> None:
    for name in ("scores.json", "steps.npz", "best.safetensors"):
        assert (trained.path / name).is_file()

    with pytest.raises(ValueError, match="has weights"):
        archive_run(trained, trained.path.parent)
    with pytest.raises(ValueError, match="has weights"):
        archive.restore(trained.path.parent, tmp_path)

    assert (trained.path / "best.safetensors").is_file()


def test_archiving_on_a_full_disk_leaves_no_incomplete_run(
    trained: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, content: bytes) -> None:
        if path.name == "predictions.npz":
            raise OSError(28, "No space left on device")
        write_bytes(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(archive, "write_bytes", full)
        with pytest.raises(OSError, match="No space"):
            archive_run(trained, tmp_path)
    assert list(tmp_path.iterdir()) == []

    assert archive_run(trained, tmp_path).predictions


def test_archiving_again_adds_a_later_test_score(tiny: Make, tmp_path: Path) -> None:
    archive_run(api.train(tiny(), test=False, out=tmp_path, show=False), tmp_path / "archive")

    archived = archive_run(api.train(tiny(), out=tmp_path, show=False), tmp_path / "archive")

    assert "test" in archived.scores


def test_an_archived_run_contains_no_absolute_path(tiny: Make, tmp_path: Path) -> None:
    run = api.train(tiny(), out=tmp_path, show=False)
    run.write_status(note=f"convoy train --data stripes={tmp_path}/stripes.npz")

    archived = archive_run(run, tmp_path / "archive")

    texts = [path.read_text() for path in archived.path.iterdir() if path.suffix in (".toml", ".json", ".jsonl")]
    assert not any(str(tmp_path) in text for text in texts)
    assert read_json(archived.path / "status.json")["note"].endswith(" stripes=stripes.npz")


def test_a_retrained_run_replaces_the_archived_one(trained: Run, tmp_path: Path) -> None:
    archived = archive_run(trained, tmp_path)
    archived.write_status(files={})
    write_json(archived.path / "environment.json", {**asdict(archived.environment), "date": "2000-01-01 00:00:00"})

    assert archive_run(trained, tmp_path).environment.date == trained.environment.date


def test_error_about_missing_weights_says_that_the_run_is_archived(trained: Run, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="archived without"):
        network_of(archive_run(trained, tmp_path))


def test_an_unfinished_run_is_not_archived(trained: Run, tmp_path: Path) -> None:
    recipe = trained.recipe.override({"seed": 7})
    unfinished = Workspace(tmp_path).open_run(recipe, "0" * 64)

    with pytest.raises(ValueError, match="interrupted: only finished runs are archived"):
        archive_run(unfinished, tmp_path / "archive")


def test_archived_steps_include_both_ends_and_their_indices() -> None:
    loss = np.linspace(2, 0.1, 30_000, dtype=np.float32)

    thin = archive.thin_steps({"loss": loss, "lr": np.ones_like(loss)})

    assert len(thin["loss"]) == len(thin["step"]) == archive.MAX_STEPS
    assert (thin["step"][0], thin["step"][-1]) == (0, 29_999)
    np.testing.assert_allclose(thin["loss"], loss[thin["step"]], rtol=2.0**-archive.MANTISSA_BITS)


def test_losses_that_are_not_finite_are_not_rounded() -> None:
    loss = np.array([1.5, np.nan, np.inf], dtype=np.float32)

    np.testing.assert_array_equal(archive.thin_steps({"loss": loss})["loss"], loss)


def test_an_archived_run_of_mnist_is_smaller_than_40_kilobytes(trained: Run, tmp_path: Path) -> None:
    """30 epochs and 12,000 steps, with random losses, learning rates and predictions."""
    draw = np.random.default_rng(0)
    run = Workspace(tmp_path).open_run(trained.recipe, "1" * 64)
    for path in trained.path.glob("*.json*"):
        (run.path / path.name).write_bytes(path.read_bytes())
    forget_hashes(run)
    (run.path / "metrics.jsonl").write_text(30 * (json.dumps(trained.metrics[0].as_line()) + "\n"))
    labels = {part: draw.integers(0, 10, count) for part, count in (("validation", 12_000), ("test", 10_000))}
    logits = {f"{part}_logits": np.eye(10, dtype=np.float32)[values] for part, values in labels.items()}
    np.savez(run.path / "predictions.npz", **logits, **{f"{part}_labels": values for part, values in labels.items()})
    steps = {name: draw.random(12_000, dtype=np.float32) for name in ("loss", "lr", "grad_norm")}
    np.savez(run.path / "steps.npz", **steps)

    archived = archive_run(run, tmp_path / "archive")

    assert sum(path.stat().st_size for path in archived.path.iterdir()) < 40 * 1024


def forget_hashes(run: Run) -> None:
    """As in a run of the first versions."""
    run.write_status(files={})
    (run.path / "doctor.json").unlink()


def writable_copy(tmp_path: Path, trained: Run, name: str) -> Run:
    run = Run(Path(shutil.copytree(trained.path, tmp_path / name)))
    forget_hashes(run)
    return run


def test_an_archived_run_has_the_bits_of_its_training(trained: Run, tmp_path: Path) -> None:
    assert archive.bits(archive_run(trained, tmp_path)) == archive.bits(trained)


def test_archived_bits_reveal_a_difference_that_omitted_steps_and_rounding_hide(trained: Run, tmp_path: Path) -> None:
    other = writable_copy(tmp_path, trained, trained.name)
    write_arrays(other.path / "steps.npz", other.steps | {"loss": np.nextafter(other.steps["loss"], np.float32(9))})

    ours, theirs = archive_run(trained, tmp_path / "a"), archive_run(other, tmp_path / "b")

    np.testing.assert_array_equal(ours.steps["loss"], theirs.steps["loss"])
    assert archive.bits(ours)["steps"] != archive.bits(theirs)["steps"]
    assert archive.bits(ours)["test"] == archive.bits(theirs)["test"]


def test_bits_do_not_include_seconds(trained: Run, tmp_path: Path) -> None:
    other = writable_copy(tmp_path, trained, trained.name)
    write_arrays(other.path / "steps.npz", other.steps | {"seconds": np.ones_like(other.steps["loss"])})

    assert archive.bits(other) == archive.bits(trained)


def test_bits_are_added_to_a_run_that_was_archived_without_them(trained: Run, tmp_path: Path) -> None:
    archived = archive_run(trained, tmp_path)
    write_json(
        archived.path / "status.json",
        {key: value for key, value in read_json(archived.path / "status.json").items() if key != "bits"},
    )
    assert archive.bits(archived) == {}

    assert archive.bits(archive_run(trained, tmp_path)) == archive.bits(trained)


def test_a_run_that_is_being_trained_is_not_replaced_by_an_archived_one(trained: Run, tmp_path: Path) -> None:
    archive_run(trained, tmp_path / "archive")
    run = Workspace(tmp_path / "out").open_run(trained.recipe, trained.status.fingerprint)
    lock = run.lock()

    try:
        assert archive.restore(tmp_path / "archive", tmp_path / "out") == 0
        assert not (run.path / "scores.json").exists()
    finally:
        lock.release()
    assert archive.restore(tmp_path / "archive", tmp_path / "out") == 1


def test_measures_over_all_steps_are_recorded_before_steps_are_omitted(trained: Run, tmp_path: Path) -> None:
    archived = archive_run(trained, tmp_path, measured={"gain_while_rising": 0.25})

    assert MEASURES["gain_while_rising"](archived) == 0.25
    assert MEASURES["gain_while_rising"](archive_run(archived, tmp_path / "again")) == 0.25
    assert MEASURES["gain_while_rising"](archive_run(trained, tmp_path / "without")) is None
