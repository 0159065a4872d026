"""Executes runs on a Dask cluster: the driver's side. The driver's workspace is the only one that counts.

A Dask worker trains one run at a time. The driver sends it the recipe, with the run folder if the run resumes and with
data and code that the host lacks, and copies the run folder back while the run goes on. Only the driver retries: a
lost worker's run resumes elsewhere from the last checkpoint that was copied. Each attempt has a topic of its own, so
that messages of an earlier attempt are ignored.
"""

from __future__ import annotations

import hashlib
import json
import logging
import platform
import queue
import shutil
import time
import uuid
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import dask
import filelock
from distributed import Client, Future, LocalCluster

from convoy.data import cache, sources
from convoy.data.imageset import DataSet
from convoy.evaluation.load import remember_code
from convoy.events import Control, Ended, EpochEnded, Event, Failed, Note, from_json
from convoy.files import write_bytes
from convoy.models import user
from convoy.models.run_code import RunCode
from convoy.recipe import Recipe
from convoy.registry import is_user_class
from convoy.run_contents import RunState
from convoy.run_files import sha256_of
from convoy.runs import Run, Workspace
from convoy.studies import cluster_host as host
from convoy.studies.cluster_tls import security_of
from convoy.studies.session import Session
from convoy.text import gettext as _
from convoy.text import ngettext
from convoy.training.run.finish import add_flag
from convoy.training.run.plan import plan_one
from convoy.training.run.run_one import run_one

MOST_ATTEMPTS = 3  # of a run whose workers are lost
COPY_SECONDS = 10.0  # between two copies of a run folder, at least
COPY_SHARE = 0.1  # of the time that copying may take
PIECE_BYTES = 16 << 20
MOST_DATA_BYTES = 2 << 30  # data above this size are not sent
LOST_WORKER_SECONDS = 60  # without a heartbeat

Prune = Callable[[int, EpochEnded], bool]


@dataclass
class _Job:
    position: int
    recipe: Recipe  # its precision is resolved by the first plan
    run: Run
    lock: filelock.BaseFileLock
    attempts: int = 0
    flags: list[str] = field(default_factory=list)  # about lost workers


@dataclass
class _Slot:
    """A Dask worker and what it trains."""

    address: str
    host: host.Host
    scratch: str
    job: _Job | None = None
    attempt: str = ""
    future: Future | None = None
    copied: dict[str, tuple[int, int]] = field(default_factory=dict)  # size and time of the files that were copied
    next_copy: float = 0.0  # time.monotonic()


def on_cluster(
    jobs: Iterator[tuple[int, Recipe]], session: Session, until: int | None, prune: Prune
) -> Iterator[tuple[int, Event]]:
    """As `execute`, on the cluster `session.where`. Raises ValueError if it cannot be reached."""
    assert session.where is not None
    if (first := next(jobs, None)) is None:
        return
    with _connected(session.where) as client:
        _check_security(client.scheduler.addr, session)
        driver = _Driver(client, session, until, prune)
        try:
            yield from driver.events(chain([first], jobs), first[0])
        finally:
            driver.close()


@contextmanager
def _connected(where: str) -> Iterator[Client]:
    kind, _separator, address = where.partition(":")
    logging.getLogger("distributed").setLevel(logging.ERROR)  # a lost worker is reported by us
    with dask.config.set({"distributed.scheduler.allowed-failures": 0, "distributed.comm.timeouts.connect": "15s"}):
        cluster = None
        try:
            if kind == "dask-file":
                path = _existing(address)
                client = Client(scheduler_file=str(path), security=security_of(path.parent))
            elif kind == "dask" and address.startswith("//"):
                client = Client(f"{'tls' if _has_tls() else 'tcp'}:{address}")
            elif kind == "dask" and address.isdecimal() and int(address) > 0:
                cluster = LocalCluster(  # a worker only relays, and in this process Ctrl-C does not end it
                    n_workers=int(address), threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0"
                )
                client = Client(cluster)
            else:
                raise ValueError(f"--where {where}: expected dask:N, dask://HOST:PORT or dask-file:FILE")
        except (OSError, TimeoutError) as error:
            raise ValueError(f"--where {where}: no scheduler answers: {error}") from None
        try:
            # Of a scheduler that is not ours: Dask must not restart a task by itself.
            client.run_on_scheduler(_configure_scheduler, LOST_WORKER_SECONDS)
            yield client
        finally:
            with suppress(OSError, TimeoutError):
                client.close(timeout=5)
            if cluster is not None:
                cluster.close(timeout=5)


def _configure_scheduler(ttl_seconds: float, dask_scheduler: Any) -> None:
    dask_scheduler.allowed_failures = 0
    dask_scheduler.worker_ttl = ttl_seconds


def _check_security(address: str, session: Session) -> None:
    """Raises ValueError for a scheduler on another machine without TLS: anyone could execute code on its workers."""
    protocol, _separator, rest = address.partition("://")
    if protocol == "tls" or session.insecure or protocol == "inproc" or rest.startswith(("127.", "localhost", "[::1]")):
        return
    raise ValueError(
        f"--where {session.where}: {address} has no TLS, so anyone on its network can execute code on its workers; "
        "configure distributed.comm.tls of Dask, or use --insecure on a network that you trust"
    )


def _existing(path: str) -> Path:
    if not Path(path).is_file():
        raise ValueError(
            f"dask-file:{path}: this file does not exist; the scheduler writes it: dask scheduler "
            f"--scheduler-file {path}"
        )
    return Path(path)


def _has_tls() -> bool:
    return bool(dask.config.get("distributed.comm.tls.ca-file", None))


class _Driver:
    def __init__(self, client: Client, session: Session, until: int | None, prune: Prune) -> None:
        self.client, self.session, self.until, self.prune = client, session, until, prune
        self.workspace = Workspace(session.out)
        self.name = hashlib.sha256(f"{platform.node()} {self.workspace.path.resolve()}".encode()).hexdigest()[:12]
        self.slots: dict[str, _Slot] = {}  # by address
        self.waiting: deque[_Job] = deque()  # runs of lost workers
        self.lines: queue.Queue[tuple[str, str]] = queue.Queue()  # attempt, line
        self.failure = ""

    # ---- the loop ----

    def events(self, jobs: Iterator[tuple[int, Recipe]], first: int) -> Iterator[tuple[int, Event]]:
        """`first`: the position of the first job, for the note on the hosts."""
        stopping, announced, exhausted = False, False, False
        while True:
            if not stopping and (self.session.interrupted() or self.failure):
                stopping, exhausted = True, True
                self.waiting.clear()
                for slot in self._busy():
                    self._control(slot, Control.PAUSE)
            self._find_workers()
            if not announced:
                announced = True
                yield first, Note(self._hosts() if self.slots else _("waiting for a Dask worker"))
            for slot in [slot for slot in self.slots.values() if slot.job is None and not stopping]:
                job = None
                while job is None and not (exhausted and not self.waiting):
                    if self.waiting:
                        job = self.waiting.popleft()
                    elif (next_job := next(jobs, None)) is None:
                        exhausted = True
                    else:
                        job = yield from self._opened(*next_job)
                if job is not None:
                    self._start(slot, job)
            if not self._busy() and exhausted and not self.waiting:
                break
            yield from self._handle_line()
            yield from self._handle_lost()
            self._copy_due()
        if self.failure:
            raise ValueError(self.failure)

    def _busy(self) -> list[_Slot]:
        return [slot for slot in self.slots.values() if slot.job is not None]

    def _find_workers(self) -> None:
        if self.client.status != "running":
            raise ValueError("the connection to the scheduler is lost; repeat the command to continue")
        known = self.client.scheduler_info(n_workers=-1)["workers"]
        for address in known.keys() - self.slots.keys():
            try:
                described = self._run_on(address, host.describe)
                scratch = self._run_on(address, host.scratch, self.name)
            except OSError:  # it has just gone
                continue
            if described != (ours := host.here()):
                raise ValueError(f"{described.name}: expected {_versions(ours)}, got {_versions(described)}")
            self.slots[address] = _Slot(address, described, scratch)
        for address in self.slots.keys() - known.keys():
            if self.slots[address].job is None:
                del self.slots[address]

    def _hosts(self) -> str:
        hosts = sorted({slot.host.name for slot in self.slots.values()})
        text = ngettext(
            "{n} Dask worker on {hosts}", "{n} Dask workers on {hosts}", len(self.slots), hosts=", ".join(hosts)
        )
        return f"{text}; {self.client.dashboard_link}" if self.client.dashboard_link else text

    def _opened(self, position: int, recipe: Recipe) -> Generator[tuple[int, Event], None, _Job | None]:
        """Opens and locks the run of a recipe; returns its job, or None if no worker is needed for it."""
        plan = plan_one(recipe)
        existing = self.workspace.find(plan.fingerprint)
        fresh = bool(self.session.fresh)
        if existing is None or not existing.finished or fresh:
            run = self.workspace.open_run(plan.recipe, plan.fingerprint)
            if (lock := run.lock()) is not None:
                if fresh or not (run.path / "data.json").is_file():
                    run.clear()
                return _Job(position, plan.recipe, run, lock)
        # Finished, or being trained by another process.
        for event in run_one(recipe, self.session.out, test=self.session.test, until=self.until):
            yield position, event
        return None

    def _start(self, slot: _Slot, job: _Job) -> None:
        job.attempts += 1
        slot.job, slot.copied = job, {}
        slot.attempt = f"{job.run.name}-{job.attempts}-{uuid.uuid4().hex[:8]}"
        slot.next_copy = time.monotonic() + COPY_SECONDS
        try:
            message = self._message(slot, job)
            self.client.subscribe_topic(slot.attempt, partial(self._receive, slot.attempt))
            slot.future = self.client.submit(
                host.train,
                self.name,
                slot.attempt,
                message,
                self.session.command,
                key=f"convoy-{slot.attempt}",
                workers=[slot.address],
                allow_other_workers=False,
                retries=0,
                pure=False,
            )
        except OSError:  # lost: `_handle_lost` sees it
            slot.future = None

    def _message(self, slot: _Slot, job: _Job) -> dict[str, Any]:
        """Sends what the host lacks, and returns the message for its child."""
        folder = self._remote(slot)
        self._run_on(slot.address, host.remove, folder)
        for path in job.run.path.rglob("*"):
            if path.is_file() and path.name != ".lock":
                self._send(slot, path, f"{folder}/{path.relative_to(job.run.path).as_posix()}")
        if (openings := self.workspace.path / "test_openings.json").is_file():
            self._send(slot, openings, f"{slot.scratch}/{openings.name}")
        recipe, model = job.recipe.as_table(), job.recipe.model
        if is_user_class(model.name):
            recipe["model"]["name"] = self._send_code(slot, model.name)
        if model.init is not None:
            target = f"{slot.scratch}/init/{sha256_of(Path(model.init))[:16]}{Path(model.init).suffix}"
            self._send(slot, Path(model.init), target)
            recipe["model"]["init"] = target
        options = {"out": slot.scratch, "fresh": False, "test": self.session.test, "until": self.until}
        return {"recipe": recipe, **options, **self._data(slot, job.recipe)}

    def _remote(self, slot: _Slot) -> str:
        assert slot.job is not None
        return f"{slot.scratch}/runs/{slot.job.run.name}"

    # ---- messages ----

    def _receive(self, attempt: str, event: tuple[float, str]) -> None:
        """Called in Dask's thread."""
        self.lines.put((attempt, event[1]))

    def _handle_line(self) -> Iterator[tuple[int, Event]]:
        try:
            attempt, line = self.lines.get(timeout=0.2)
        except queue.Empty:
            return
        slot = next((slot for slot in self._busy() if slot.attempt == attempt), None)
        if slot is None or slot.job is None:  # of an earlier attempt
            return
        job = slot.job
        scratch, own = (json.dumps(str(path))[1:-1] for path in (slot.scratch, self.workspace.path))
        message = from_json(line.replace(scratch, own))
        if isinstance(message, Failed):
            self._free(slot)
            if message.is_bug:
                raise RuntimeError(f"on {slot.host.name}: {message.text}")
            self.failure = message.text
        elif isinstance(message, Ended):
            try:
                self._copy(slot)
                self._finish(slot, job, message)
            except OSError:
                return  # the worker is gone with the last files: `_handle_lost` starts the run again
            self._free(slot)
            yield job.position, message
        else:
            if isinstance(message, EpochEnded) and self.prune(job.position, message):
                self._control(slot, Control.PRUNE)
            yield job.position, message

    def _finish(self, slot: _Slot, job: _Job, ended: Ended) -> None:
        for flag in job.flags:
            add_flag(job.run, flag)
        if ended.state is not RunState.FINISHED:
            return
        content = self._read(slot, f"{slot.scratch}/test_openings.json") or b"{}"
        counted: dict[str, list[str]] = self.workspace._openings()
        for data_hash, names in json.loads(content).items():
            new = names.count(job.run.name) - counted.get(data_hash, []).count(job.run.name)
            openings = [self.workspace.record_opening(data_hash, job.run.name) for _each in range(new)]
            if openings:
                with job.run.updating():
                    job.run.update("data.json", test_openings=openings[-1])
        if (job.run.path / "code").is_dir():
            remember_code(job.run, RunCode.read(job.run.path / "code"))
        self._run_on(slot.address, host.remove, self._remote(slot))

    def _free(self, slot: _Slot) -> None:
        assert slot.job is not None
        self.client.unsubscribe_topic(slot.attempt)
        slot.job.lock.release()
        slot.job, slot.future, slot.attempt = None, None, ""

    def _control(self, slot: _Slot, request: Control) -> None:
        with suppress(OSError):
            self._run_on(slot.address, host.control, slot.attempt, request)

    # ---- lost workers ----

    def _handle_lost(self) -> Iterator[tuple[int, Event]]:
        for slot in self._busy():
            future, job = slot.future, slot.job
            assert job is not None
            if future is not None and future.status == "pending":
                continue
            if future is not None and future.status == "finished" and future.result() is None:
                continue  # its last line is in the queue
            if future is not None and future.status == "error" and slot.address in self._alive():
                raise RuntimeError(f"on {slot.host.name}: {future.exception()}")
            lock, where = job.lock, slot.host.name
            self.client.unsubscribe_topic(slot.attempt)
            slot.job, slot.future = None, None
            if slot.address not in self._alive():
                del self.slots[slot.address]
            if job.attempts == MOST_ATTEMPTS:
                lock.release()
                self.failure = _("{run}: {n} workers in a row were lost", run=job.run.name, n=MOST_ATTEMPTS)
                continue
            flag = _("resumed after its worker on {host} was lost", host=where)
            job.flags.append(flag)
            self.waiting.append(job)
            yield job.position, Note(flag)

    def _alive(self) -> set[str]:
        return set(self.client.scheduler_info(n_workers=-1)["workers"])

    # ---- copies ----

    def _copy_due(self) -> None:
        now = time.monotonic()
        for slot in self._busy():
            if now >= slot.next_copy:
                with suppress(OSError):
                    self._copy(slot)
                took = time.monotonic() - now
                slot.next_copy = time.monotonic() + max(COPY_SECONDS, took / COPY_SHARE)

    def _copy(self, slot: _Slot) -> None:
        """Copies a run's changed files from its worker, manifests of checkpoints last; deletes those that are gone."""
        assert slot.job is not None
        run, folder = slot.job.run, self._remote(slot)
        files = self._run_on(slot.address, host.listing, folder, slot.attempt)
        if "status.json" not in files:  # not begun
            return
        for name in sorted(files, key=lambda name: (name.endswith("manifest.json"), name)):
            if name in (".lock", "recipe.toml") or slot.copied.get(name) == files[name]:
                continue  # the recipe here has the paths of this machine
            content = self._read(slot, f"{folder}/{name}")
            if content is None:
                continue
            if name == "status.json":
                status = json.loads(content)
                status["files"] = {**status.get("files", {}), "recipe.toml": sha256_of(run.path / "recipe.toml")}
                content = json.dumps(status, indent=1).encode()
            (run.path / name).parent.mkdir(parents=True, exist_ok=True)
            write_bytes(run.path / name, content)
            slot.copied[name] = files[name]
        for path in list(run.path.rglob("*")):
            name = path.relative_to(run.path).as_posix()
            if path.is_file() and name not in files and name not in (".lock", "recipe.toml"):
                path.unlink()
        for path in (run.path / "checkpoints").glob("*"):
            if path.is_dir() and not any(path.iterdir()):
                path.rmdir()
        if not any((run.path / "checkpoints").glob("*")):
            shutil.rmtree(run.path / "checkpoints", ignore_errors=True)

    def _read(self, slot: _Slot, path: str) -> bytes | None:
        pieces: list[bytes] = []
        while True:
            piece = self._run_on(slot.address, host.read, path, len(pieces) * PIECE_BYTES, PIECE_BYTES)
            if piece is None:
                return None
            pieces.append(piece)
            if len(piece) < PIECE_BYTES:
                return b"".join(pieces)

    def _send(self, slot: _Slot, path: Path, target: str) -> None:
        with path.open("rb") as file:
            start = 0
            while (piece := file.read(PIECE_BYTES)) or start == 0:
                self._run_on(slot.address, host.write, target, start, piece)
                start += len(piece)
                if len(piece) < PIECE_BYTES:
                    return

    def _send_code(self, slot: _Slot, spec: str) -> str:
        """Sends the files of a user's network; returns its name on the host."""
        sources_, name = user.source_files(spec), spec.rpartition(":")[2]
        digest = hashlib.sha256(b"\0".join(path.read_bytes() for path in sources_)).hexdigest()[:16]
        folder = f"{slot.scratch}/code/{digest}"
        for path in sources_:
            self._send(slot, path, f"{folder}/{path.relative_to(sources_[0].parent).as_posix()}")
        return f"{folder}/{sources_[0].name}:{name}"

    def _data(self, slot: _Slot, recipe: Recipe) -> dict[str, Any]:
        """Sends the data that the host does not have; returns the part of the message about them."""
        name = recipe.data.name
        if name in sources.DATA_SETS and sources.availability(name) == "packaged":
            return {}
        dataset = sources.load(name, size=recipe.data.size)
        if (key := dataset.cache_key) is None:
            raise ValueError(
                f"data {name!r} cannot be sent to a cluster: the cache {cache.cache_folder()} is not writable"
            )
        if not self._run_on(slot.address, host.has_data, key):
            self._send_data(slot, dataset, key)
        return {"data": {"key": key, "name": dataset.name, "paths": dataset.paths}}

    def _send_data(self, slot: _Slot, dataset: DataSet, key: str) -> None:
        files = [path for path in cache.entry_of(key).iterdir() if path.is_file()]
        size_bytes = sum(path.stat().st_size for path in files)
        if size_bytes > MOST_DATA_BYTES:
            raise ValueError(
                f"{dataset.name} has {size_bytes / 2**30:.1f} GiB, more than the {MOST_DATA_BYTES >> 30} GiB that are "
                f"sent to a host: copy {cache.entry_of(key)} to the same folder of the cache on {slot.host.name}"
            )
        incoming = self._run_on(slot.address, host.incoming_data, key)
        for path in files:
            self._send(slot, path, f"{incoming}/{path.name}")
        if not self._run_on(slot.address, host.accept_data, key, [path.name for path in files]):
            raise ValueError(f"{dataset.name}: the data could not be stored on {slot.host.name}")

    def _run_on(self, address: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """Calls a function on a host. Raises OSError if the worker does not answer."""
        try:
            return self.client.run(function, *arguments, workers=[address], on_error="raise")[address]
        except (KeyError, TimeoutError) as error:
            raise OSError(f"{address} does not answer") from error

    def close(self) -> None:
        for slot in self.slots.values():
            if slot.job is not None:
                slot.job.lock.release()
            with suppress(Exception):
                self._run_on(slot.address, host.close, self.name, slot.scratch)


def _versions(of: host.Host) -> str:
    return f"Python {of.python}, Convoy {of.convoy}, torch {of.torch}, distributed {of.distributed}"
