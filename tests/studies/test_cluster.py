"""Studies on a local Dask cluster of two workers."""

from __future__ import annotations

import errno
import json
import os
import re
import shlex
import signal
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path

import dask
import numpy as np
import pytest
from distributed import Client, LocalCluster
from tests.forks import CONTEXT, start_command, start_dask

from convoy.checkpoint import load_weights
from convoy.data import cache
from convoy.events import Control, Ended, Event, Note, Progress, Started
from convoy.recipe import Recipe, resolve
from convoy.runs import Run, Workspace
from convoy.studies import cluster_host
from convoy.studies.cluster import _Driver, _Slot
from convoy.studies.cluster_remote import Remote
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
# In a worker of a cluster, saves after each epoch and waits in its twentieth step until a file exists.
WAITING = """
import sys
import time
from pathlib import Path
from convoy.training.machine import autosave
from torch import nn

is_remote = "--scratch" in sys.argv
if is_remote:
    autosave.SECONDS, autosave.SHARE = 0.0, 1e9


class Net(nn.Linear):
    def __init__(self, in_chans, num_classes, image_size):
        super().__init__(in_chans * image_size**2, num_classes)
        self.step = 0

    def forward(self, images):
        self.step += self.training
        deadline = time.monotonic() + 120
        while is_remote and self.step == 20 and not Path({go_on!r}).exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        return super().forward(images.flatten(1))
"""


pytestmark = pytest.mark.usefixtures("forked_workers")  # not in Dask workers that are processes of their own


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    """Two Dask workers in this process."""
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        LocalCluster(
            n_workers=2, threads_per_worker=1, processes=False, protocol="tcp://", dashboard_address=None
        ) as started,
    ):
        yield started


@pytest.fixture
def processes() -> Iterator[LocalCluster]:
    """Two Dask workers in processes of their own, `.trainers`, which can be killed."""
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        LocalCluster(n_workers=0, processes=False, protocol="tcp://", dashboard_address=None) as started,
    ):
        options = [started.scheduler_address, "--nthreads", "1", "--no-nanny", "--no-dashboard", "--name"]
        started.trainers = {name: start_dask("worker", [*options, name]) for name in ("first", "second")}
        started.wait_for_workers(2)
        yield started
        for process in started.trainers.values():
            process.kill()
            process.join()


def where(cluster: LocalCluster) -> str:
    return "dask:" + cluster.scheduler_address.removeprefix("tcp:")


def recipes(stripes: Path, folder: Path, epochs: int = 2) -> list[Recipe]:
    """A built-in network, and a user's network of two files, on a user's data."""
    folder.mkdir(exist_ok=True)
    (folder / "net.py").write_text(NETWORK, encoding="utf-8")
    (folder / "parts.py").write_text(HEAD, encoding="utf-8")
    return [recipe_of(name, stripes, epochs) for name in ("lenet", f"{folder / 'net.py'}:Net")]


def recipe_of(name: str, stripes: Path, epochs: int) -> Recipe:
    keys = {"train.epochs": epochs, "train.batch_size": 50, "data.size": 16, "compute.threads": 1}
    return resolve(name, data=str(stripes), overrides=list(keys.items()))


class Waiting:
    """A run of a few seconds in a worker of a cluster that does not end before `go_on`."""

    def __init__(self, folder: Path, stripes: Path) -> None:
        self.go_on = folder / "go-on"
        (folder / "waiting.py").write_text(WAITING.format(go_on=str(self.go_on)), encoding="utf-8")
        self.recipe = recipe_of(f"{folder / 'waiting.py'}:Net", stripes, epochs=4)

    def check_resumed(self, events: list[Event], folder: Path) -> None:
        """Checks that the last worker did not start at step 0 and that the run equals an uninterrupted one."""
        begun = [event.step for event in events if isinstance(event, Started)]
        assert begun[-1] > 0
        run = Run(next(event.run for event in reversed(events) if isinstance(event, Ended)))
        alone = ended(execute([self.recipe], Session(folder / "alone"), where="here"))[0]
        assert np.array_equal(run.steps["loss"], alone.steps["loss"])
        assert (run.state, run.scores) == ("finished", alone.scores)


@pytest.fixture
def waiting(tmp_path: Path, stripes: Path) -> Waiting:
    return Waiting(tmp_path, stripes)


def when_saved(action: Callable[[], object], patch: pytest.MonkeyPatch) -> None:
    """Makes the driver call `action` once, after it has copied the first checkpoint of a run."""
    copy_run, done = Remote.copy_run, []

    def copy_and_act(self: Remote, run: Run) -> None:
        copy_run(self, run)
        if not done and any(run.path.glob("checkpoints/*/manifest.json")):
            done.append(run)
            action()

    patch.setattr(Remote, "copy_run", copy_and_act)
    patch.setattr("convoy.studies.cluster.COPY_SECONDS", 0.1)
    patch.setattr("convoy.studies.cluster.CONTACT_SECONDS", 0.5)


def ended(events: Iterator[tuple[int, Event]]) -> dict[int, Run]:
    return {position: Run(event.run) for position, event in events if isinstance(event, Ended)}


def test_a_cluster_gives_the_weights_of_this_process(cluster: LocalCluster, stripes: Path, tmp_path: Path) -> None:
    some = recipes(stripes, tmp_path / "code")
    here = ended(execute(some, Session(tmp_path / "here"), where="here"))
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
    no_scheduler = Session(tmp_path / "there", where="dask://127.0.0.1:1")
    again = list(execute(some, no_scheduler, where="cluster"))
    assert [event.cached for _, event in again if isinstance(event, Ended)] == [True, True]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_run_of_a_lost_worker_is_resumed_by_another_from_the_last_copy(
    processes: LocalCluster, waiting: Waiting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    when_saved(lambda: os.kill(trainer_of(processes), number), monkeypatch)
    events = []
    for _, event in execute([waiting.recipe], Session(tmp_path / "there", where=where(processes)), where="cluster"):
        events.append(event)
        if isinstance(event, Note) and "lost" in event.text:  # messages of this worker are no longer accepted
            waiting.go_on.touch()
    waiting.check_resumed(events, tmp_path)
    (run,) = Workspace(tmp_path / "there").runs()
    assert any("lost" in flag for flag in run.status.flags)


def test_a_run_whose_worker_is_lost_after_an_interruption_is_not_started_again(
    processes: LocalCluster, waiting: Waiting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = threading.Event()
    when_saved(stop.set, monkeypatch)
    session = Session(tmp_path / "there", where=where(processes), interrupted=stop.is_set)
    control = _Driver._control

    def lose(driver: _Driver, slot: _Slot, request: Control) -> None:
        """Ends the worker when it is to pause its run."""
        control(driver, slot, request)
        os.kill(trainer_of(processes), signal.SIGKILL)
        waiting.go_on.touch()

    monkeypatch.setattr(_Driver, "_control", lose)
    begun = [event for _, event in execute([waiting.recipe], session, where="cluster") if isinstance(event, Started)]
    assert len(begun) == 1
    (run,) = Workspace(session.out).runs()
    assert run.state == "interrupted"
    monkeypatch.undo()
    again = execute([waiting.recipe], Session(session.out, where=session.where), where="cluster")
    waiting.check_resumed([event for _, event in again], tmp_path)


def test_a_killed_driver_leaves_runs_that_the_same_command_finishes(
    processes: LocalCluster, waiting: Waiting, tmp_path: Path
) -> None:
    session, saved = Session(tmp_path / "there", where=where(processes)), tmp_path / "saved"
    driver = CONTEXT.Process(target=drive, args=(waiting.recipe, str(session.out), session.where, saved))
    driver.start()
    wait_for(saved)
    driver.kill()
    driver.join()
    waiting.go_on.touch()
    with Client(processes) as client:
        client.run(end_abandoned)  # instead of five minutes later
    waiting.check_resumed([event for _, event in execute([waiting.recipe], session, where="cluster")], tmp_path)


def drive(recipe: Recipe, out: str, where: str, saved: Path) -> None:
    """Runs in a process that is killed."""
    with pytest.MonkeyPatch.context() as patch:
        when_saved(saved.touch, patch)
        list(execute([recipe], Session(out, where=where), where="cluster"))


def end_abandoned() -> None:
    """Runs in a Dask worker."""
    cluster_host.ABANDONED_SECONDS = 0.0
    deadline = time.monotonic() + 20
    while cluster_host._attempts and time.monotonic() < deadline:
        time.sleep(0.1)
    cluster_host.ABANDONED_SECONDS = 300.0
    assert not cluster_host._attempts


def test_a_killed_scheduler_is_one_error_and_the_same_command_continues_with_a_new_one(
    waiting: Waiting, tmp_path: Path
) -> None:
    file = tmp_path / "scheduler.json"
    session = Session(tmp_path / "there", where=f"dask-file:{file}")
    with own_cluster(file) as scheduler, pytest.MonkeyPatch.context() as patch:
        when_saved(scheduler.kill, patch)
        with pytest.raises(ValueError, match="repeat the command"):
            list(execute([waiting.recipe], session, where="cluster"))
    file.unlink()
    waiting.go_on.touch()
    with own_cluster(file):
        waiting.check_resumed([event for _, event in execute([waiting.recipe], session, where="cluster")], tmp_path)


def test_a_scheduler_that_ends_while_the_driver_connects_is_one_error(
    stripes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "scheduler.json"
    with own_cluster(file) as scheduler:

        def end_scheduler(address: str, session: Session) -> None:
            scheduler.kill()
            scheduler.join()

        monkeypatch.setattr("convoy.studies.cluster_connect._check_security", end_scheduler)
        session = Session(tmp_path / "there", where=f"dask-file:{file}")
        with pytest.raises(ValueError, match="no scheduler answers"):
            list(execute([recipe_of("lenet", stripes, 1)], session, where="cluster"))


def test_a_scheduler_that_ends_while_it_is_asked_is_one_error(
    stripes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "scheduler.json"
    with own_cluster(file) as scheduler:

        def time_out(driver: _Driver) -> None:
            scheduler.kill()
            while driver.client.status == "running":
                time.sleep(0.01)
            raise OSError("Timed out trying to connect")

        monkeypatch.setattr(_Driver, "_contact", time_out)
        session = Session(tmp_path / "there", where=f"dask-file:{file}")
        with pytest.raises(ValueError, match="repeat the command"):
            list(execute([recipe_of("lenet", stripes, 1)], session, where="cluster"))


def test_a_file_that_cannot_be_written_is_no_lost_scheduler(
    stripes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(driver: _Driver) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(_Driver, "_contact", fail)
    with own_cluster(file := tmp_path / "scheduler.json"):
        session = Session(tmp_path / "there", where=f"dask-file:{file}")
        with pytest.raises(OSError, match="No space left"):
            list(execute([recipe_of("lenet", stripes, 1)], session, where="cluster"))


@contextmanager
def own_cluster(file: Path) -> Iterator[BaseProcess]:
    """A scheduler, which is yielded, and its worker."""
    own = ["--scheduler-file", str(file), "--no-dashboard"]
    scheduler = start_dask("scheduler", [*own, "--host", "127.0.0.1", "--port", "0"])
    worker = start_dask("worker", [*own, "--nthreads", "1", "--no-nanny"])
    try:
        wait_for(file)
        yield scheduler
    finally:
        for program in (worker, scheduler):
            program.kill()
            program.join()


def test_an_interrupted_study_has_checkpoints_in_its_own_workspace(
    cluster: LocalCluster, stripes: Path, tmp_path: Path
) -> None:
    recipe, stop = recipe_of("lenet", stripes, epochs=500), threading.Event()
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
    folder = tmp_path / "keys"
    programs = [start_command(tmp_path, ["cluster", "start", "127.0.0.1", "--port", "0", "--folder", str(folder)])]
    try:
        wait_for(folder / "scheduler.json")
        (line,) = (line for line in (tmp_path / "out.command").read_text().splitlines() if "dask worker" in line)
        programs.append(start_dask("worker", shlex.split(line.partition("worker")[2])))
        assert stat.S_IMODE((folder / "key.pem").stat().st_mode) == 0o600
        session = Session(tmp_path / "out", where=f"dask-file:{folder / 'scheduler.json'}")
        (run,) = ended(execute([recipe_of("lenet", stripes, epochs=1)], session, where="cluster")).values()
        assert run.finished
        assert json.loads((folder / "scheduler.json").read_text(encoding="utf-8"))["address"].startswith("tls://")
    finally:
        for program in programs:
            program.terminate()
            program.join()


def test_error_names_a_full_disk_of_the_driver(stripes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def is_full(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("convoy.studies.cluster_remote.write_bytes", is_full)
    session = Session(tmp_path / "there", where="dask:1")
    with pytest.raises(ValueError, match="No space left on device"):
        list(execute([recipe_of("lenet", stripes, epochs=1)], session, where="cluster"))
    (run,) = Workspace(session.out).runs()
    lock = run.lock()
    assert lock is not None
    lock.release()


def test_data_above_the_limit_are_one_error_before_a_run_begins(
    cluster: LocalCluster, stripes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_host, "has_data", lambda key: False)
    monkeypatch.setattr("convoy.studies.cluster_remote.MAX_DATA_BYTES", 1000)
    session = Session(tmp_path, where=where(cluster))
    with pytest.raises(ValueError, match=str(cache.cache_folder())):
        list(execute([recipe_of("lenet", stripes, epochs=1)], session, where="cluster"))
    assert not any((run.path / "data.json").is_file() for run in Workspace(tmp_path).runs())


def test_error_names_a_worker_with_other_versions(
    processes: LocalCluster, stripes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = cluster_host.here()
    monkeypatch.setattr(cluster_host, "here", lambda: replace(theirs, convoy="9.0", torch="9.1"))
    with pytest.raises(ValueError, match=rf"{theirs.name}: .*9\.0.*9\.1.*{theirs.convoy}.*{re.escape(theirs.torch)}"):
        list(execute([recipe_of("lenet", stripes, 1)], Session(tmp_path, where=where(processes)), where="cluster"))
    assert not list(Workspace(tmp_path).runs())


@pytest.mark.parametrize("address", ["dask:0", "dask:many", "slurm:4", "dask-file:none.json"])
def test_an_invalid_address_is_an_error(address: str, call: Callable[..., tuple[int, str, str]], stripes: Path) -> None:
    options = ["--data", stripes, "--data.size", 16, "--epochs", 1, "--seeds", 1]
    code, _, err = call("compare", "lenet", "two_conv_cnn", *options, "--where", address)
    assert (code, "dask" in err) == (2, True)


def test_a_port_in_use_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
    name = next(worker.name for worker in cluster.scheduler.workers.values() if worker.processing)
    return cluster.trainers[name].pid  # type: ignore[no-any-return]


def test_a_copied_run_has_the_steps_of_its_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a run is saved while it is listed, the copy has no checkpoint without its steps."""
    (tmp_path / "checkpoints").mkdir()
    steps = tmp_path / "steps.npz"
    steps.write_bytes(b"old")
    copied = cluster_host.listing(str(tmp_path))
    original, old = Path.stat, steps.stat()

    def stat_before_a_save(path: Path, **options: bool) -> os.stat_result:
        if path != steps:
            return original(path, **options)
        steps.write_bytes(b"new steps")
        (tmp_path / "checkpoints" / "manifest.json").write_bytes(b"{}")
        return old

    monkeypatch.setattr(Path, "stat", stat_before_a_save)
    listed, contents = cluster_host.changes(str(tmp_path), copied, 1 << 20)
    assert ("checkpoints/manifest.json" in listed) <= (contents.get("steps.npz") == b"new steps")
