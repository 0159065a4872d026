"""Studies on a local Dask cluster of two workers."""

from __future__ import annotations

import errno
import json
import os
import shlex
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from distributed import Client, LocalCluster

from convoy import api
from convoy.checkpoint import load_weights
from convoy.events import Ended, EpochEnded, Event, Note, Progress
from convoy.recipe import Recipe, resolve
from convoy.runs import Run, Workspace
from convoy.studies import cluster_host
from convoy.studies.cluster_tls import become_scheduler
from convoy.studies.execute import execute
from convoy.studies.session import Session

NETWORK = """
from torch import nn
from parts import Head

class Net(nn.Sequential):
    def __init__(self, in_chans, num_classes, image_size):
        super().__init__(nn.Flatten(), Head(in_chans * image_size**2, num_classes))
"""
HEAD = """
from torch import nn

class Head(nn.Linear):
    pass
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    import dask

    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as started,
    ):
        yield started


def where(cluster: LocalCluster) -> str:
    return "dask:" + cluster.scheduler_address.removeprefix("tcp:")


def recipes(stripes: Path, folder: Path, epochs: int = 2) -> list[Recipe]:
    """A built-in network, and a user's of two files, on a user's data."""
    folder.mkdir(exist_ok=True)
    (folder / "net.py").write_text(NETWORK, encoding="utf-8")
    (folder / "parts.py").write_text(HEAD, encoding="utf-8")
    names = ("lenet", f"{folder / 'net.py'}:Net")
    return [
        resolve(
            name, data=str(stripes), overrides=[("train.epochs", epochs), ("train.batch_size", 50), ("data.size", 16)]
        )
        for name in names
    ]


def ended(events: Iterator[tuple[int, Event]]) -> dict[int, Run]:
    return {position: Run(event.run) for position, event in events if isinstance(event, Ended)}


def test_a_cluster_gives_the_weights_of_worker_processes(cluster: LocalCluster, stripes: Path, tmp_path: Path) -> None:
    some = recipes(stripes, tmp_path / "code")
    here = ended(execute(some, Session(tmp_path / "here"), where="processes"))
    there = ended(execute(some, Session(tmp_path / "there", where=where(cluster)), where="cluster"))
    assert there.keys() == here.keys() == {0, 1}
    for position, run in there.items():
        ours, theirs = (load_weights(each.path / "best.safetensors") for each in (here[position], run))
        assert all(np.array_equal(ours[name], theirs[name]) for name in ours)
        assert run.path == tmp_path / "there" / "runs" / here[position].path.name
        assert run.scores == here[position].scores
        assert run.recipe == some[position].override({"compute.precision": run.recipe.compute.precision})
        run.check_files()
    openings = sorted(run.data.test_openings for run in there.values())
    assert openings == [1, 2]
    assert Workspace(tmp_path / "there").openings_by([run.name for run in there.values()]) == 2
    again = list(execute(some, Session(tmp_path / "there", where=where(cluster)), where="cluster"))
    assert [event.cached for _, event in again if isinstance(event, Ended)] == [True, True]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_run_of_a_lost_worker_resumes_elsewhere_from_the_last_copy(
    cluster: LocalCluster, stripes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr("convoy.studies.cluster.COPY_SECONDS", 0.5)
    recipe = recipes(stripes, tmp_path / "code", epochs=30)[0].override({"compute.precision": "float64"})
    session = Session(tmp_path / "there", where=where(cluster))
    texts, killed = [], False
    for _, event in execute([recipe], session, where="cluster"):
        if isinstance(event, Note | Ended):
            texts.append(event.text)
        if isinstance(event, EpochEnded) and event.metrics.epoch == 3 and not killed:
            killed = True
            os.kill(trainer_of(cluster), number)
    (run,) = Workspace(session.out).runs()
    assert run.finished
    assert any("lost" in flag for flag in run.status.flags)
    alone = ended(execute([recipe], Session(tmp_path / "here"), where="processes"))[0]
    assert np.array_equal(run.steps["loss"], alone.steps["loss"])
    assert run.scores == alone.scores


def test_a_killed_driver_leaves_runs_that_the_same_command_finishes(
    cluster: LocalCluster, stripes: Path, tmp_path: Path
) -> None:
    (recipe, _other), out = recipes(stripes, tmp_path / "code", epochs=60), tmp_path / "there"
    recipe = recipe.override({"compute.precision": "float64"})
    (tmp_path / "recipe.toml").write_text(recipe.to_toml(), encoding="utf-8")
    program = (
        "from convoy.recipe import Recipe\nfrom convoy.studies import cluster\n"
        "from convoy.studies.execute import execute\nfrom convoy.studies.session import Session\n"
        "cluster.COPY_SECONDS = 0.2\n"
        f"session = Session({str(out)!r}, where={where(cluster)!r})\n"
        "for _, event in execute([Recipe.load('recipe.toml')], session, where='cluster'):\n"
        "    print(type(event).__name__, flush=True)\n"
    )
    driver = subprocess.Popen([sys.executable, "-c", program], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    assert driver.stdout is not None
    assert any(line.strip() == "EpochEnded" for line in driver.stdout)
    driver.kill()
    driver.communicate()
    with Client(cluster) as client:
        client.run(end_abandoned)  # instead of five minutes later
    session = Session(out, where=where(cluster))
    run = ended(execute([recipe], session, where="cluster"))[0]
    alone = ended(execute([recipe], Session(tmp_path / "here"), where="processes"))[0]
    assert run.finished
    assert np.array_equal(run.steps["loss"], alone.steps["loss"])


def end_abandoned() -> None:
    """Runs in a Dask worker."""
    cluster_host.ABANDONED_SECONDS = 0.0
    deadline = time.monotonic() + 20
    while cluster_host._attempts and time.monotonic() < deadline:
        time.sleep(0.1)
    cluster_host.ABANDONED_SECONDS = 300.0
    assert not cluster_host._attempts


def test_a_killed_scheduler_is_one_error_and_the_same_command_continues_with_a_new_one(
    stripes: Path, tmp_path: Path
) -> None:
    recipe = recipes(stripes, tmp_path / "code", epochs=60)[0].override({"compute.precision": "float64"})
    file = tmp_path / "scheduler.json"
    session = Session(tmp_path / "there", where=f"dask-file:{file}")
    with own_cluster(file) as scheduler:

        def kill_it(position: int, event: EpochEnded) -> bool:
            scheduler.kill()
            return False

        with pytest.raises(ValueError, match="repeat the command"):
            list(execute([recipe], session, where="cluster", prune=kill_it))
    file.unlink()
    with own_cluster(file):
        run = ended(execute([recipe], session, where="cluster"))[0]
    alone = ended(execute([recipe], Session(tmp_path / "here"), where="processes"))[0]
    assert np.array_equal(run.steps["loss"], alone.steps["loss"])


@contextmanager
def own_cluster(file: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A scheduler, which is yielded, and its worker."""
    start, quiet = [sys.executable, "-m"], {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    own = ["--scheduler-file", str(file)]
    scheduler = subprocess.Popen(
        [*start, "distributed.cli.dask_scheduler", *own, "--host", "127.0.0.1", "--port", "0", "--no-dashboard"],
        cwd=file.parent,
        **quiet,
    )
    worker = subprocess.Popen(
        [*start, "distributed.cli.dask_worker", *own, "--nthreads", "1", "--no-nanny", "--no-dashboard"],
        cwd=file.parent,
        **quiet,
    )
    try:
        wait_for(file)
        yield scheduler
    finally:
        for program in (worker, scheduler):
            program.kill()
            program.wait()


def test_an_interrupted_study_has_checkpoints_in_its_own_workspace(
    cluster: LocalCluster, stripes: Path, tmp_path: Path
) -> None:
    recipe, stop = recipes(stripes, tmp_path / "code", epochs=500)[0], threading.Event()
    session = Session(tmp_path / "there", where=where(cluster), interrupted=stop.is_set)
    started_at = 0.0
    for _, event in execute([recipe], session, where="cluster"):
        if isinstance(event, Progress) and not stop.is_set():
            started_at = time.monotonic()
            stop.set()
    assert time.monotonic() - started_at < 10
    (run,) = Workspace(session.out).runs()
    assert run.state == "interrupted"
    assert list((run.path / "checkpoints").glob("*/manifest.json"))


def test_a_scheduler_with_tls_takes_workers_and_studies_with_its_key(stripes: Path, tmp_path: Path) -> None:
    folder, programs = tmp_path / "keys", []
    start = [sys.executable, "-m", "convoy", "cluster", "start", "127.0.0.1", "--port", "0", "--folder", str(folder)]
    try:
        programs.append(subprocess.Popen(start, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True))
        assert programs[0].stdout is not None
        line = next(line for line in programs[0].stdout if "dask worker" in line)
        wait_for(folder / "scheduler.json")
        worker = [sys.executable, "-m", "distributed.cli.dask_worker", *shlex.split(line.partition("worker")[2])]
        programs.append(subprocess.Popen(worker, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        assert stat.S_IMODE((folder / "key.pem").stat().st_mode) == 0o600
        session = Session(tmp_path / "out", where=f"dask-file:{folder / 'scheduler.json'}")
        (run,) = ended(execute(recipes(stripes, tmp_path / "code")[:1], session, where="cluster")).values()
        assert run.finished
        assert json.loads((folder / "scheduler.json").read_text(encoding="utf-8"))["address"].startswith("tls://")
    finally:
        for program in programs:
            program.terminate()
            program.communicate()


def test_a_full_disk_of_the_driver_is_named(
    cluster: LocalCluster, stripes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def is_full(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("convoy.studies.cluster_remote.write_bytes", is_full)
    session = Session(tmp_path / "there", where=where(cluster))
    with pytest.raises(ValueError, match="No space left on device"):
        list(execute(recipes(stripes, tmp_path / "code")[:1], session, where="cluster"))
    (run,) = Workspace(session.out).runs()
    lock = run.lock()
    assert lock is not None
    lock.release()


@pytest.mark.parametrize("address", ["dask:0", "dask:many", "slurm:4", "dask-file:none.json"])
def test_an_address_that_is_none_is_refused(
    address: str, call: Callable[..., tuple[int, str, str]], stripes: Path
) -> None:
    options = ["--data", stripes, "--data.size", 16, "--epochs", 1, "--seeds", 1]
    code, _, err = call("compare", "lenet", "two_conv_cnn", *options, "--where", address)
    assert (code, "dask" in err) == (2, True)


def test_experiments_and_claims_are_trained_on_the_cluster_too(tmp_path: Path) -> None:
    quick = {"out": tmp_path, "where": "dask:0", "show": False}
    with pytest.raises(ValueError, match="dask:0"):
        api.reproduce("classics-mnist", only="models", models="lenet", limit=100, epochs=1, **quick)
    sides = {side: {"label": side, "recipe": "lenet", "set": {"seed": seed}} for seed, side in enumerate("ab")}
    claim = {"id": "x", "sentence": "X", "measure": "test_accuracy", "relation": "above", **sides}
    with pytest.raises(ValueError, match="dask:0"):
        api.check_claim(claim, seeds=1, set={"data.limit": 100}, **quick)


def test_a_port_in_use_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.execv", lambda *arguments: None)
    with socket.create_server(("127.0.0.1", 0)) as used, pytest.raises(ValueError, match="127.0.0.1, port"):
        become_scheduler(tmp_path, "127.0.0.1", used.getsockname()[1])


def wait_for(path: Path) -> None:
    for _ in range(600):
        if path.is_file():
            return
        time.sleep(0.1)
    raise TimeoutError(path)


def trainer_of(cluster: LocalCluster) -> int:
    """Returns the process of the Dask worker that is training."""
    state = cluster.scheduler
    address = next(worker.address for worker in state.workers.values() if worker.processing)
    return next(nanny.pid for nanny in cluster.workers.values() if nanny.worker_address == address)
