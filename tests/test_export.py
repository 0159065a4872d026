"""Export of weights and logs for other tools."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tests.conftest import Call

import convoy
from convoy import models
from convoy.checkpoint import load_weights
from convoy.runs import Run

Train = Callable[..., Run]


@pytest.fixture(scope="module")
def train(stripes: Path, tmp_path_factory: pytest.TempPathFactory) -> Train:
    out = tmp_path_factory.mktemp("runs")
    shared = {"compute.threads": 1, "optim.lr": 0.003, "train.batch_size": 20}

    def train_run(*faults: str, **more: object) -> Run:
        options = {**shared, **more, "protocol.faults": list(faults)}
        return convoy.train(
            "defaults/images", model="two_conv_cnn", data=str(stripes), epochs=3, limit=200, out=out, set=options,
            show=False,
        )  # fmt: skip

    return train_run


def test_weights_are_exported_as_plain_tensors_under_the_exact_name(train: Train, tmp_path: Path) -> None:
    run = train()
    (path,), parity = convoy.export(run, tmp_path / "weights of mine", to="pth")
    assert parity is None
    assert path.name == "weights of mine"
    assert [file.name for file in tmp_path.iterdir()] == ["weights of mine"]

    loaded = torch.load(path, weights_only=True)
    best = load_weights(run.path / "best.safetensors")
    assert all(type(tensor) is torch.Tensor for tensor in loaded.values())
    assert all(torch.equal(loaded[name], best[name]) for name in best)
    size = {"in_chans": run.data.in_chans, "num_classes": 3, "image_size": run.data.image_size}
    models.create("two_conv_cnn", **size, options=run.recipe.model.options).load_state_dict(loaded)


def test_exported_weights_have_the_score_of_the_run(train: Train, tmp_path: Path) -> None:
    run = train()
    convoy.export(run, tmp_path / "w.pth", to="pth")
    options = {"data": run.recipe.data.name, "limit": 200, "out": tmp_path}
    tested = convoy.test(tmp_path / "w.pth", model="two_conv_cnn", **options)  # type: ignore[arg-type]
    assert tested.score.correct == run.scores["test"].correct


def test_logs_have_a_line_for_each_epoch_and_for_each_new_best_epoch(train: Train, tmp_path: Path) -> None:
    run = train("test_opened_at_each_best")
    epochs, bests = convoy.export(run, tmp_path / "log.txt", tmp_path / "test.txt", to="logs").files

    first, *lines = epochs.read_text().splitlines()
    assert first == "0 0 0 0 0"
    assert len(lines) == 3
    for number, (text, line) in enumerate(zip(lines, run.metrics, strict=True), start=1):
        assert re.fullmatch(rf"00{number}( \d+\.\d{{5}}){{4}}", text)
        values = (line.train.loss, line.train.accuracy, line.validation.loss, line.validation.accuracy)
        assert [float(value) for value in text.split()[1:]] == pytest.approx(values, abs=1e-5)

    first, *lines = bests.read_text().splitlines()
    assert first == "0 0"
    opened = [line for line in run.metrics if line.best]
    assert lines == [f"{line.epoch:03d} {line.test.accuracy:.5f}" for line in opened]


def test_log_of_the_epochs_needs_no_test_scores(train: Train, tmp_path: Path) -> None:
    assert convoy.export(train(), tmp_path / "log.txt", to="logs").files == [tmp_path / "log.txt"]


def test_error_names_missing_scores_and_no_file_is_written(train: Train, tmp_path: Path) -> None:
    names = (tmp_path / "log.txt", tmp_path / "test.txt")
    with pytest.raises(ValueError, match="test_opened_at_each_best"):
        convoy.export(train(), *names, to="logs")
    with pytest.raises(ValueError, match=r"validation.*the test set"):
        convoy.export(train("selection_on_test", **{"data.split.validation": 0}), names[0], to="logs")
    with pytest.raises(ValueError, match=r"validation.*nothing"):
        convoy.export(train(**{"data.split.validation": 0}), names[0], to="logs")
    assert not list(tmp_path.iterdir())


def test_an_existing_file_is_replaced_only_with_overwrite(train: Train, tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    path.write_text("mine")
    with pytest.raises(ValueError, match="overwrite"):
        convoy.export(train(), path, to="pth")
    assert path.read_text() == "mine"
    convoy.export(train(), path, to="pth", overwrite=True)
    assert torch.load(path, weights_only=True)


@pytest.mark.parametrize(
    ("names", "to", "message"),
    [
        (["w.pth"], "onx", "unknown format 'onx'.*'onnx'"),
        ([], "pth", "got 0 names"),
        ([], None, "a file name with one of the suffixes .onnx"),
        (["net.bin"], None, r"net\.bin: expected .*\.zip \(bundle\), or --to with one of .*pth, .*logs"),
        (["a.pth", "b.pth"], "pth", "got 2 names"),
        (["a", "a"], "logs", "different name"),
        (["no/w.pth"], "pth", "the folder no does not exist"),
        (["."], "pth", "folder"),
    ],
)
def test_invalid_arguments_of_export_are_one_line_errors(
    call: Call, train: Train, tmp_path: Path, names: list[str], to: str | None, message: str
) -> None:
    code, _, err = call("export", str(train().path), *(["--to", to] if to else []), *names)
    assert (code, err.count("\n")) == (2, 1)
    assert re.search(message, err)


def test_command_writes_the_file_and_prints_its_name(call: Call, train: Train) -> None:
    code, out, err = call("export", str(train().path), "mine.pth")
    assert (code, out) == (0, "mine.pth\n"), err
    assert torch.load("mine.pth", weights_only=True)
