"""One training in several processes of torchrun, on this machine (gloo)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from ranks_worker import CASES

from convoy.runs import Run

Call = Callable[..., tuple[int, str, str]]

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node"]
TRAIN = ["-m", "convoy", "train", "lenet", "--limit", "1000", "--compute.precision", "float64"]
FOUR = ["--epochs", "4", "--compute.threads", "1"]


def torchrun(ranks: int, *arguments: object, folder: Path) -> subprocess.Popen[str]:
    command = [*TORCHRUN, str(ranks), *map(str, arguments)]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def trained_in(folder: Path) -> Run:
    (path,) = (folder / "convoy-runs" / "runs").iterdir()
    return Run(path)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The run of TRAIN in one process."""
    folder = tmp_path_factory.mktemp("alone")
    subprocess.run([sys.executable, *TRAIN, *FOUR], cwd=folder, check=True, capture_output=True)
    return trained_in(folder)


@pytest.mark.parametrize(("ranks", "cases"), [(2, list(CASES)), (4, ["lenet, three images", "norms, mixed images"])])
def test_ranks_have_the_losses_of_one_process(ranks: int, cases: list[str], tmp_path: Path) -> None:
    worker = Path(__file__).with_name("ranks_worker.py")
    process = torchrun(ranks, worker, "result.json", *cases, folder=tmp_path)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    differences = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    assert list(differences) == cases
    assert max(differences.values()) < 1e-10, differences


def test_run_that_two_ranks_began_and_one_process_resumes_has_the_losses_of_one_process(
    tmp_path: Path, alone: Run
) -> None:
    process = torchrun(2, *TRAIN, *FOUR, folder=tmp_path)
    until_first_epoch(process)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    run = trained_in(tmp_path)
    assert (run.status.state, run.environment.ranks, run.environment.threads) == ("interrupted", 2, 1)
    subprocess.run([sys.executable, *TRAIN, *FOUR], cwd=tmp_path, check=True, capture_output=True)
    assert [change.key for change in run.environment.resumed_with] == ["ranks"]
    assert np.allclose(run.steps["loss"], alone.steps["loss"], rtol=1e-6)
    assert run.scores["test"].correct == alone.scores["test"].correct
    assert [epoch.train.correct for epoch in run.metrics] == [epoch.train.correct for epoch in alone.metrics]


@pytest.mark.skipif(sys.platform != "linux", reason="finds the process in /proc")
@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_rank_ends_the_job(rank: int, tmp_path: Path) -> None:
    process = torchrun(2, *TRAIN, "--epochs", "1000", folder=tmp_path)
    until_first_epoch(process)
    os.kill(pid_of(rank, process), signal.SIGKILL)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert ("convoy: " in err) == (rank == 1)  # rank 0 reports it
    assert trained_in(tmp_path).status.state == ("running" if rank == 0 else "interrupted")


def test_a_finished_run_is_found(alone: Run) -> None:
    process = torchrun(2, *TRAIN, *FOUR, folder=alone.path.parents[2])
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert out.count(alone.name) == 1


def test_an_error_is_reported_by_rank_0_and_nothing_is_written(tmp_path: Path) -> None:
    process = torchrun(2, *TRAIN, "--data.augment", '[{name="nothing"}]', folder=tmp_path)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert err.count("convoy: unknown") == 1
    assert not (tmp_path / "convoy-runs").exists()


@pytest.mark.parametrize("command", [("compare", "lenet", "two_conv_cnn"), ("reproduce", "classics-mnist")])
def test_studies_are_refused_under_torchrun(
    command: Sequence[str], call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    code, _, err = call(*command, "--limit", 300)
    assert (code, "torchrun: " in err) == (2, True)


def until_first_epoch(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    assert any(line.startswith("epoch 1/") for line in process.stdout)


def pid_of(rank: int, process: subprocess.Popen[str]) -> int:
    """Returns the process of a rank."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="ascii").split()
    ranks = {pid: Path(f"/proc/{pid}/environ").read_bytes().split(b"\0") for pid in children}
    return next(int(pid) for pid, environment in ranks.items() if b"RANK=%d" % rank in environment)
