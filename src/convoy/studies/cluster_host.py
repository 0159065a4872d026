"""Functions that the driver of a study calls in the Dask workers on the hosts of a cluster.

`train` is the only Dask task. The other functions are called with `Client.run`, which does not wait for tasks. A Dask
worker itself never trains: it relays the messages of one persistent child process, so its heartbeat is never delayed.
Run folders are in a scratch folder of the worker; the driver copies them into its workspace. Does not import torch.
"""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from distributed import Worker, get_worker

from convoy.data import cache
from convoy.events import Control
from convoy.studies.child import Child, Job

CLOSING_SECONDS = 5.0  # time for a child to save its run and end
ABANDONED_SECONDS = 300.0  # after this time without a call from the driver, the run is saved and the child ends


@dataclass(frozen=True)
class Host:
    """The versions, which must be equal on all hosts, and the name and thread count that the console shows."""

    python: str
    convoy: str
    torch: str
    distributed: str
    name: str = field(compare=False)
    threads: int = field(compare=False)


@dataclass
class _Attempt:
    """A recipe that this worker trains."""

    child: Child
    contact: float  # time.monotonic() of the driver's last call


_children: dict[tuple[str, str], Child] = {}  # idle or training, by driver and worker
_attempts: dict[str, _Attempt] = {}


def here(threads: int = 1) -> Host:
    python = ".".join(platform.python_version_tuple()[:2])
    convoy, torch, distributed = (version(package) for package in ("convoy-ml", "torch", "distributed"))
    return Host(python, convoy, torch, distributed, platform.node(), threads)


def describe(dask_worker: Worker) -> Host:
    return here(dask_worker.state.nthreads)


def scratch(driver: str, dask_worker: Worker) -> str:
    """Returns the scratch folder of a driver; creates it if necessary."""
    path = Path(dask_worker.local_directory) / "convoy" / driver
    path.mkdir(parents=True, exist_ok=True)
    return str(path)


def train(driver: str, attempt: str, job: Job, command: str) -> int | None:
    """Trains a recipe in the child process and relays its lines as events of the topic `attempt`.

    Returns None after the last line, or the exit code if the child ended earlier.
    """
    worker = get_worker()
    child = _children.get((driver, worker.id))
    if child is None or child.process.poll() is not None:
        child = _children[driver, worker.id] = Child(command=command, threads=worker.state.nthreads, scratch=True)
    _attempts[attempt] = _Attempt(child, time.monotonic())
    threading.Thread(target=_watch, args=[attempt], daemon=True).start()
    try:
        child.send(job)
        for line in child.lines():
            worker.log_event(attempt, line)
            if json.loads(line)["event"] in ("Ended", "Failed"):
                return None
        return child.process.wait()
    finally:
        del _attempts[attempt]


def _watch(attempt: str) -> None:
    """Closes the child if the driver is gone."""
    while (entry := _attempts.get(attempt)) is not None:
        if time.monotonic() - entry.contact > ABANDONED_SECONDS:
            entry.child.close()
            return
        time.sleep(1)


def touch(attempt: str) -> None:
    """Records that the driver is still running."""
    if (entry := _attempts.get(attempt)) is not None:
        entry.contact = time.monotonic()


def control(attempt: str, request: Control) -> None:
    if (entry := _attempts.get(attempt)) is not None:
        entry.child.send({"control": request})


def close(driver: str, folder: str, dask_worker: Worker) -> None:
    """Ends the child of a driver and removes its scratch folder."""
    if (child := _children.pop((driver, dask_worker.id), None)) is not None:
        child.close()
        try:
            child.process.wait(CLOSING_SECONDS)
        except subprocess.TimeoutExpired:
            child.process.kill()
    shutil.rmtree(folder, ignore_errors=True)


# ---- files ----


class Stat(NamedTuple):
    """Size and modification time of a file: if both are unchanged, the file is unchanged."""

    size_bytes: int
    changed_ns: int


def listing(folder: str) -> dict[str, Stat]:
    """Returns the size and time of each file below a folder, by relative path.

    Checkpoints are listed first. A run writes its other files before a checkpoint, so they are listed in a state at
    least as new as the checkpoint.
    """
    stats = {}
    root, checkpoints = Path(folder), Path(folder, "checkpoints")
    for path in chain(checkpoints.rglob("*"), (path for path in root.rglob("*") if checkpoints not in path.parents)):
        try:
            if path.is_file():
                stats[path.relative_to(folder).as_posix()] = Stat(path.stat().st_size, path.stat().st_mtime_ns)
        except FileNotFoundError:  # an old checkpoint
            continue
    return stats


def changes(folder: str, copied: Mapping[str, Stat], most_bytes: int) -> tuple[dict[str, Stat], dict[str, bytes]]:
    """Returns `listing` and the contents of files that changed since they were copied, up to `most_bytes`."""
    stats, contents, total = listing(folder), {}, 0
    for name, stat in stats.items():
        if copied.get(name) != stat and total + stat.size_bytes <= most_bytes:
            total += stat.size_bytes
            if (content := read(f"{folder}/{name}", 0)) is not None:
                contents[name] = content
    return stats, contents


def read(path: str, start: int, size: int = -1) -> bytes | None:
    """Returns a part of a file, by default up to its end; None if the file no longer exists."""
    try:
        with open(path, "rb") as file:
            file.seek(start)
            return file.read(size)
    except FileNotFoundError:
        return None


def write(path: str, start: int, piece: bytes) -> None:
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("r+b" if start else "wb") as file:
        file.seek(start)
        file.write(piece)


def remove(folder: str) -> None:
    shutil.rmtree(folder, ignore_errors=True)


def has_data(key: str) -> bool:
    return cache.read(key) is not None


def incoming_data(key: str) -> str:
    """Returns the folder that receives the files of a data set; `accept_data` makes it an entry of the cache."""
    return str(cache.entry_of(f".writing-{key}"))


def accept_data(key: str, names: Sequence[str]) -> bool:
    """Returns whether the entry is complete."""
    incoming, entry = Path(incoming_data(key)), cache.entry_of(key)
    if not all((incoming / name).is_file() for name in names):
        return False
    shutil.rmtree(entry, ignore_errors=True)
    incoming.rename(entry)
    return has_data(key)
