"""One training in several processes on this machine (gloo): one test uses torchrun, the others start its ranks."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import pytest
import torch
from ranks_worker import CASES, losses, run_command, train_cases
from tests.forks import CONTEXT

from convoy.runs import Run

pytestmark = pytest.mark.any_kernels

Call = Callable[..., tuple[int, str, str]]

TRAIN = ["train", "lenet", "--limit", "400", "--compute.precision", "float64"]
FOUR = ["--epochs", "4", "--compute.threads", "1"]


def start(target: Callable[..., None], size: int, folder: Path, arguments: list[str]) -> list[BaseProcess]:
    """Starts the ranks of a job with the environment that torchrun gives them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        "TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": str(size), "LOCAL_WORLD_SIZE": str(size),
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    ranks = [CONTEXT.Process(target=target, args=(rank, environment, folder, arguments)) for rank in range(size)]
    for process in ranks:
        process.start()
    return ranks


def end(ranks: list[BaseProcess]) -> list[int | None]:
    """Returns the exit codes."""
    for process in ranks:
        process.join(timeout=300)
    return [process.exitcode for process in ranks]


def output(name: str, folder: Path, size: int = 2) -> str:
    return "".join((folder / f"{name}.{rank}").read_text(encoding="utf-8") for rank in range(size))


def trained_in(folder: Path) -> Run:
    (path,) = (folder / "convoy-runs" / "runs").iterdir()
    return Run(path)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The run of TRAIN in one process."""
    folder = tmp_path_factory.mktemp("alone")
    assert end(start(run_command, 1, folder, [*TRAIN, *FOUR])) == [0]
    return trained_in(folder)


@pytest.fixture(scope="module")
def losses_alone() -> dict[str, torch.Tensor]:
    return {case: losses(case, None) for case in CASES}


@pytest.mark.parametrize(("size", "cases"), [(2, list(CASES)), (4, ["lenet, three images", "norms, mixed images"])])
def test_ranks_have_the_losses_of_one_process(
    size: int, cases: list[str], tmp_path: Path, losses_alone: dict[str, torch.Tensor]
) -> None:
    assert end(start(train_cases, size, tmp_path, cases)) == [0] * size, output("err", tmp_path, size)
    shared = torch.load(tmp_path / "losses.pt")
    assert list(shared) == cases
    differences = {case: ((shared[case] - losses_alone[case]) / losses_alone[case]).abs().max() for case in cases}
    assert max(differences.values()) < 1e-10, differences


def test_a_run_started_by_torchrun_and_resumed_in_one_process_has_the_losses_of_one_process(
    tmp_path: Path, alone: Run
) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "convoy"]
    with subprocess.Popen([*torchrun, *TRAIN, *FOUR], cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert any(line.startswith("epoch 1/") for line in process.stdout)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=300)
    run = trained_in(tmp_path)
    assert (run.status.state, run.environment.ranks, run.environment.threads) == ("interrupted", 2, 1)
    assert end(start(run_command, 1, tmp_path, [*TRAIN, *FOUR])) == [0]
    assert [change.key for change in run.environment.resumed_with] == ["ranks"]
    assert np.allclose(run.steps["loss"], alone.steps["loss"], rtol=1e-6)
    assert run.scores["test"].correct == alone.scores["test"].correct
    assert [epoch.train.correct for epoch in run.metrics] == [epoch.train.correct for epoch in alone.metrics]


@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_rank_ends_the_others(rank: int, tmp_path: Path) -> None:
    ranks = start(run_command, 2, tmp_path, [*TRAIN, "--epochs", "1000"])
    until_first_epoch(tmp_path, ranks)
    ranks[rank].kill()
    assert end(ranks) == ([-9, 0] if rank == 0 else [2, -9])
    assert ("convoy: " in output("err", tmp_path)) == (rank == 1)  # rank 0 reports it
    assert trained_in(tmp_path).status.state == ("running" if rank == 0 else "interrupted")


def test_a_finished_run_is_reused(alone: Run) -> None:
    folder = alone.path.parents[2]
    assert end(start(run_command, 2, folder, [*TRAIN, *FOUR])) == [0, 0], output("err", folder)
    assert output("out", folder).count(alone.name) == 1


def test_an_error_is_reported_by_rank_0_and_nothing_is_written(tmp_path: Path) -> None:
    codes = end(start(run_command, 2, tmp_path, [*TRAIN, "--data.augment", '[{name="nothing"}]']))
    assert codes == [2, 0]  # the others end in silence
    assert output("err", tmp_path).count("convoy: unknown") == 1
    assert not (tmp_path / "convoy-runs").exists()


@pytest.mark.parametrize("command", [("compare", "lenet", "two_conv_cnn"), ("reproduce", "classics-mnist")])
def test_studies_under_torchrun_are_an_error(
    command: Sequence[str], call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    code, _, err = call(*command, "--limit", 300)
    assert (code, "torchrun: " in err) == (2, True)


def until_first_epoch(folder: Path, ranks: list[BaseProcess]) -> None:
    while not any(path.stat().st_size for path in folder.glob("convoy-runs/runs/*/metrics.jsonl")):
        assert all(process.is_alive() for process in ranks), output("err", folder, len(ranks))
        time.sleep(0.05)
