"""A tracker that fails, hangs or is missing does not affect training. Uses fake trackers."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.conftest import Call
from tests.fake_runs import fake_run, write_metrics

import convoy
from convoy import tracking
from convoy.runs import Run
from convoy.tracking import live

Library = Callable[[str], None]


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Library:
    """Replaces the package tensorboard by this code, also in the tracker's process."""

    def write(code: str) -> None:
        folder = tmp_path / "packages" / "tensorboard"
        folder.mkdir(parents=True)
        (folder / "__init__.py").write_text(code)
        monkeypatch.setenv("PYTHONPATH", f"{folder.parent}:{Path(convoy.__file__).parents[1]}")

    return write


@pytest.fixture
def train(stripes: Path, tmp_path: Path) -> Callable[[], Run]:
    def tracked() -> Run:
        options = {"data": str(stripes), "epochs": 2, "limit": 200, "out": tmp_path / "out", "show": False}
        return convoy.train("two_conv_cnn", track="tensorboard", set={"compute.threads": 1}, **options)  # type: ignore[arg-type]

    return tracked


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("raise RuntimeError('no key:\\nlog in first')", "RuntimeError: no key: log in first;"),
        ("import os; print('{}'); os._exit(3)", "exit code 3;"),
        ("import missing_package", "No module named 'missing_package';"),
    ],
)
def test_a_tracker_that_fails_is_one_line_and_the_run_finishes(
    library: Library, train: Callable[[], Run], capfd: pytest.CaptureFixture[str], code: str, message: str
) -> None:
    library(code)

    run = train()

    assert run.finished
    assert len(run.metrics) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert message in line


def test_a_tracker_that_hangs_delays_the_end_by_its_patience_at_most(
    library: Library,
    train: Callable[[], Run],
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    library("import time; time.sleep(600)")
    monkeypatch.setattr(live, "PATIENCE", 0.5)

    started_at = time.perf_counter()
    run = train()

    assert run.finished
    assert time.perf_counter() - started_at < 300
    (line,) = capfd.readouterr().err.splitlines()
    assert "not finished after" in line


def test_a_full_pipe_does_not_block_the_sender(library: Library, tmp_path: Path) -> None:
    library("import time; time.sleep(600)")
    feed = live.Feed("tensorboard", str(tmp_path))
    for _ in range(5000):  # more than a pipe holds
        feed.update(tmp_path, None)

    assert feed.close(0.2).error


@pytest.mark.parametrize(
    ("error", "message"),
    [
        ("RuntimeError('no')", "tensorboard: RuntimeError: no$"),
        ("OSError(28, 'Disk full')", "/tensorboard: Disk full$"),
    ],
)
def test_a_failing_tracker_is_the_error_of_an_export(
    library: Library, tmp_path: Path, error: str, message: str
) -> None:
    library(f"raise {error}")
    with pytest.raises(ValueError, match=message):
        convoy.export(fake_run(tmp_path), to="tensorboard", out=tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "lenet", "--track", "tensorbord"], "unknown tracker 'tensorbord'.*'tensorboard'"),
        (["export", "RUN", "--to", "tensorbord"], "unknown format 'tensorbord'.*'tensorboard'"),
        (["train", "lenet", "--track", "absent"], "absent needs the package absent: pip install 'absent'"),
        (["export", "RUN", "--to", "absent"], "absent needs the package absent: pip install 'absent'"),
        (["export", "RUN", "--to", "tensorboard", "a", "b"], "at most one name"),
        (["export", "RUN", "--to", "tensorboard", "--preprocessing", "inside"], "no --preprocessing"),
        (["export", "RUN", "--to", "tensorboard", "file"], "expected a folder, got a file"),
        (["export", "STARTED", "--to", "tensorboard"], "no finished epoch"),
    ],
)
def test_invalid_arguments_are_one_line_errors_and_nothing_is_trained(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.setitem(tracking.TRACKERS, "absent", tracking.Row("", "'absent'"))
    run = fake_run(tmp_path / "fake")
    started = fake_run(tmp_path / "fake", seed=43)
    write_metrics(started, [])
    (tmp_path / "file").touch()
    paths = {"RUN": run.path, "STARTED": started.path}

    code, _, err = call(*(paths.get(argument, argument) for argument in arguments))

    assert (code, err.count("\n")) == (2, 1)
    assert re.search(message, err), err
    assert not (tmp_path / "convoy-runs").exists()


def test_parameters_contain_no_local_paths(tmp_path: Path) -> None:
    from convoy.recipe.files import flattened
    from convoy.tracking.contents import head_of

    run = fake_run(tmp_path, changes={"data.name": "/home/ada/images", "model.init": "/home/ada/w.safetensors"})
    run.update("environment.json", command="convoy train lenet --data /home/ada/images")

    parameters = flattened(head_of(run, None, "").parameters)

    assert parameters["model.init"] == "w.safetensors"
    assert [value for value in parameters.values() if "/home" in str(value)] == []


def test_an_interrupted_run_has_its_epochs_and_no_scores(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = fake_run(tmp_path)
    run.write_status(state="interrupted")

    convoy.export(run, tmp_path / "logs", to="tensorboard")

    names = EventAccumulator(str(tmp_path / "logs" / run.name)).Reload().Tags()["scalars"]
    assert "train/loss" in names
    assert [name for name in names if name.startswith("scores/")] == []
