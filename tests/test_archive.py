"""Archived runs: small, found by their fingerprint, and sufficient for a report."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from convoy import api, archive
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


def kept(run: Run, folder: Path) -> Run:
    return archive.keep(run, folder)


def test_an_archived_run_is_found_in_an_empty_workspace_and_nothing_is_trained(trained: Run, tmp_path: Path) -> None:
    kept(trained, tmp_path / "archive")

    assert archive.adopt(tmp_path / "archive", tmp_path / "out") == 1

    again = api.train(data="digits", epochs=2, set=LENET, out=tmp_path / "out", show=False)
    assert again.is_archived
    assert again.scores == trained.scores


def test_an_archived_run_has_the_predictions_and_neither_weights_nor_images(trained: Run, tmp_path: Path) -> None:
    slim = kept(trained, tmp_path)

    assert {path.suffix for path in slim.path.iterdir()} <= {".toml", ".json", ".jsonl", ".npz"}
    assert not slim.gallery
    assert not slim.arrays
    for ours, theirs in zip(slim.predicted("test"), trained.predicted("test"), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_report_is_made_of_an_archived_run(trained: Run, tmp_path: Path) -> None:
    page = api.report(kept(trained, tmp_path))

    assert "two_conv_cnn" in page.read_text()


def test_adopting_twice_copies_once(trained: Run, tmp_path: Path) -> None:
    kept(trained, tmp_path / "archive")
    archive.adopt(tmp_path / "archive", tmp_path / "out")

    assert archive.adopt(tmp_path / "archive", tmp_path / "out") == 0
    assert len(list(Workspace(tmp_path / "out").runs())) == 1


def test_an_archived_run_without_a_test_score_is_retrained_to_open_the_test_set(tiny: Make, tmp_path: Path) -> None:
    shut = api.train(tiny(), test=False, out=tmp_path / "first", show=False)
    kept(shut, tmp_path / "archive")
    archive.adopt(tmp_path / "archive", tmp_path / "out")

    run = api.train(tiny(), out=tmp_path / "out", show=False)

    assert "test" in run.scores
    assert run.scores["validation"] == shut.scores["validation"]


def test_a_folder_of_complete_runs_is_not_an_archive(trained: Run, tmp_path: Path) -> None:
    for name in ("scores.json", "steps.npz", "best.safetensors"):
        assert (trained.path / name).is_file()

    with pytest.raises(ValueError, match="has weights"):
        kept(trained, trained.path.parent)
    with pytest.raises(ValueError, match="has weights"):
        archive.adopt(trained.path.parent, tmp_path)

    assert (trained.path / "best.safetensors").is_file()


def test_a_disk_that_is_full_leaves_no_half_of_a_run(
    trained: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, content: bytes) -> None:
        if path.name == "predictions.npz":
            raise OSError(28, "No space left on device")
        write_bytes(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(archive, "write_bytes", full)
        with pytest.raises(OSError, match="No space"):
            kept(trained, tmp_path)
    assert list(tmp_path.iterdir()) == []

    assert kept(trained, tmp_path).predictions


def test_the_test_score_that_came_later_is_archived_too(tiny: Make, tmp_path: Path) -> None:
    kept(api.train(tiny(), test=False, out=tmp_path, show=False), tmp_path / "archive")

    slim = kept(api.train(tiny(), out=tmp_path, show=False), tmp_path / "archive")

    assert "test" in slim.scores


def test_no_path_of_this_machine_goes_into_the_archive(tiny: Make, tmp_path: Path) -> None:
    run = api.train(tiny(), out=tmp_path, show=False)
    run.write_status(note=f"convoy train --data stripes={tmp_path}/stripes.npz")

    slim = kept(run, tmp_path / "archive")

    texts = [path.read_text() for path in slim.path.iterdir() if path.suffix in (".toml", ".json", ".jsonl")]
    assert not any(str(tmp_path) in text for text in texts)
    assert read_json(slim.path / "status.json")["note"].endswith(" stripes=stripes.npz")


def test_a_retrained_run_replaces_the_archived_one(trained: Run, tmp_path: Path) -> None:
    slim = kept(trained, tmp_path)
    slim.write_status(files={})
    write_json(slim.path / "environment.json", {**asdict(slim.environment), "date": "2000-01-01 00:00:00"})

    assert kept(trained, tmp_path).environment.date == trained.environment.date


def test_an_archived_run_says_that_it_has_no_weights(trained: Run, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="archived without"):
        network_of(kept(trained, tmp_path))


def test_an_unfinished_run_is_not_archived(trained: Run, tmp_path: Path) -> None:
    recipe = trained.recipe.override({"seed": 7})
    begun = Workspace(tmp_path).open_run(recipe, "0" * 64)

    with pytest.raises(ValueError, match="interrupted: only finished runs are archived"):
        archive.keep(begun, tmp_path / "archive")


def test_thinned_steps_keep_both_ends_and_their_indices() -> None:
    loss = np.linspace(2, 0.1, 30_000, dtype=np.float32)

    thin = archive.thinned({"loss": loss, "lr": np.ones_like(loss)})

    assert len(thin["loss"]) == len(thin["step"]) == archive.MAX_STEPS
    assert (thin["step"][0], thin["step"][-1]) == (0, 29_999)
    np.testing.assert_allclose(thin["loss"], loss[thin["step"]], rtol=2.0**-archive.MANTISSA_BITS)


def test_losses_that_are_not_finite_stay_so() -> None:
    loss = np.array([1.5, np.nan, np.inf], dtype=np.float32)

    np.testing.assert_array_equal(archive.thinned({"loss": loss})["loss"], loss)


def test_an_archived_run_of_mnist_is_smaller_than_40_kilobytes(trained: Run, tmp_path: Path) -> None:
    """Of 30 epochs and 12,000 updates, with random losses, rates and predictions."""
    draw = np.random.default_rng(0)
    run = Workspace(tmp_path).open_run(trained.recipe, "1" * 64)
    for path in trained.path.glob("*.json*"):
        (run.path / path.name).write_bytes(path.read_bytes())
    run.write_status(files={})
    (run.path / "metrics.jsonl").write_text(30 * (json.dumps(trained.metrics[0].as_line()) + "\n"))
    labels = {part: draw.integers(0, 10, count) for part, count in (("validation", 12_000), ("test", 10_000))}
    logits = {f"{part}_logits": np.eye(10, dtype=np.float32)[values] for part, values in labels.items()}
    np.savez(run.path / "predictions.npz", **logits, **{f"{part}_labels": values for part, values in labels.items()})
    steps = {name: draw.random(12_000, dtype=np.float32) for name in ("loss", "lr", "grad_norm")}
    np.savez(run.path / "steps.npz", **steps)

    slim = kept(run, tmp_path / "archive")

    assert sum(path.stat().st_size for path in slim.path.iterdir()) < 40 * 1024


def whole(tmp_path: Path, trained: Run, name: str) -> Run:
    """A copy whose files may be written to."""
    run = Run(Path(shutil.copytree(trained.path, tmp_path / name)))
    run.write_status(files={})
    return run


def test_an_archived_run_keeps_the_bits_of_its_training(trained: Run, tmp_path: Path) -> None:
    assert archive.bits(kept(trained, tmp_path)) == archive.bits(trained)


def test_archived_bits_reveal_a_difference_that_thinning_and_rounding_hide(trained: Run, tmp_path: Path) -> None:
    other = whole(tmp_path, trained, trained.name)
    write_arrays(other.path / "steps.npz", other.steps | {"loss": np.nextafter(other.steps["loss"], np.float32(9))})

    ours, theirs = kept(trained, tmp_path / "a"), kept(other, tmp_path / "b")

    np.testing.assert_array_equal(ours.steps["loss"], theirs.steps["loss"])
    assert archive.bits(ours)["steps"] != archive.bits(theirs)["steps"]
    assert archive.bits(ours)["test"] == archive.bits(theirs)["test"]


def test_seconds_are_no_part_of_the_bits(trained: Run, tmp_path: Path) -> None:
    other = whole(tmp_path, trained, trained.name)
    write_arrays(other.path / "steps.npz", other.steps | {"seconds": np.ones_like(other.steps["loss"])})

    assert archive.bits(other) == archive.bits(trained)


def test_a_run_archived_without_its_bits_gets_them_and_until_then_cannot_tell(trained: Run, tmp_path: Path) -> None:
    slim = kept(trained, tmp_path)
    write_json(
        slim.path / "status.json",
        {key: value for key, value in read_json(slim.path / "status.json").items() if key != "bits"},
    )
    assert archive.bits(slim) == {}

    assert archive.bits(kept(trained, tmp_path)) == archive.bits(trained)


def test_a_run_that_is_being_trained_is_left_alone_by_the_archive(trained: Run, tmp_path: Path) -> None:
    kept(trained, tmp_path / "archive")
    begun = Workspace(tmp_path / "out").open_run(trained.recipe, trained.status.fingerprint)
    lock = begun.lock()

    try:
        assert archive.adopt(tmp_path / "archive", tmp_path / "out") == 0
        assert not (begun.path / "scores.json").exists()
    finally:
        lock.release()
    assert archive.adopt(tmp_path / "archive", tmp_path / "out") == 1


def test_numbers_from_every_step_are_recorded_before_thinning(trained: Run, tmp_path: Path) -> None:
    slim = archive.keep(trained, tmp_path, measured={"gain_while_rising": 0.25})

    assert MEASURES["gain_while_rising"](slim) == 0.25
    assert MEASURES["gain_while_rising"](archive.keep(slim, tmp_path / "again")) == 0.25
    assert MEASURES["gain_while_rising"](kept(trained, tmp_path / "without")) is None
