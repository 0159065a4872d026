"""Executes runs on a Dask cluster. This is the driver's side; all results are stored in the driver's workspace.

A Dask worker trains one run at a time. The driver sends it the recipe, the run folder if the run is resumed, and data
and code that are missing on its host. During training, the driver copies the run folder back. Only the driver retries:
if a worker is lost, another worker resumes its run from the last copied checkpoint. Each attempt has its own topic, so
messages of earlier attempts are ignored.
"""

from __future__ import annotations

import hashlib
import json
import platform
import queue
import time
import uuid
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import chain

import filelock
from distributed import Client, Future
from distributed.client import ClosedClientError
from distributed.comm import CommClosedError
from distributed.scheduler import KilledWorker

from convoy.data import PreparedDataCache
from convoy.evaluation.load import remember_code
from convoy.events import Control, Ended, EpochEnded, Event, Failed, Note, from_json
from convoy.models.run_code import RunCode
from convoy.recipe import Recipe
from convoy.run_contents import RunState
from convoy.runs import Run, Workspace
from convoy.studies import cluster_host as host
from convoy.studies.child import Job
from convoy.studies.cluster_connect import connected
from convoy.studies.cluster_remote import Remote, WorkerLostError
from convoy.studies.session import Session
from convoy.text import gettext as _
from convoy.text import ngettext
from convoy.text.lists import joined
from convoy.training.run.finish import add_flag
from convoy.training.run.plan import Plan, plan_one
from convoy.training.run.reuse import count_openings
from convoy.training.run.run_one import run_one

MAX_ATTEMPTS = 3  # attempts to train a run, if its workers are lost
COPY_SECONDS = 10.0  # minimum between two copies of a run folder
COPY_SHARE = 0.1  # maximum fraction of the time spent on copying
CONTACT_SECONDS = 5.0  # interval between calls of all workers, and between searches for new ones

Prune = Callable[[int, EpochEnded], bool]


@dataclass
class _Task:
    """A run to train. The driver holds its lock."""

    position: int
    recipe: Recipe  # its precision is resolved by the first plan
    run: Run
    lock: filelock.BaseFileLock
    attempts: int = 0
    flags: list[str] = field(default_factory=list)  # about lost workers


@dataclass
class _Slot:
    """A Dask worker and the run that it trains."""

    remote: Remote
    task: _Task | None = None
    attempt: str = ""
    future: Future | None = None
    next_copy: float = 0.0  # time.monotonic()
    is_lost: bool = False


def on_cluster(
    jobs: Iterator[tuple[int, Recipe]], session: Session, until: int | None, prune: Prune
) -> Iterator[tuple[int, Event]]:
    """Like `execute`, on the cluster `session.where`. Connects only if a run is not finished.

    Raises ValueError if the cluster cannot be reached.
    """
    data = PreparedDataCache()
    for position, recipe in jobs:
        plan = plan_one(recipe, data.prepare(recipe.data))
        if not _is_finished(plan, session):
            break
        for event in run_one(plan, session.out, test=session.test, until=until):
            yield position, event
    else:
        return
    with connected(session) as client:
        driver = _Driver(client, session, until, prune, data)
        try:
            yield from driver.events(chain([(position, recipe)], jobs), position)
        except (ClosedClientError, OSError) as error:  # the OSError of a connection or of a file
            if isinstance(error, (ClosedClientError, CommClosedError)) or client.status != "running":
                raise _scheduler_lost() from None
            raise
        finally:
            driver.close()


def _scheduler_lost() -> ValueError:
    return ValueError(_("the connection to the scheduler is lost; repeat the command to continue"))


def _is_finished(plan: Plan, session: Session) -> bool:
    run = Workspace(session.out).find(plan.fingerprint)
    return run is not None and run.finished and not session.fresh


class _Driver:
    def __init__(
        self, client: Client, session: Session, until: int | None, prune: Prune, data: PreparedDataCache
    ) -> None:
        self.client, self.session, self.until, self.prune, self.data = client, session, until, prune, data
        self.workspace = Workspace(session.out)
        self.name = hashlib.sha256(f"{platform.node()} {self.workspace.path.resolve()}".encode()).hexdigest()[:12]
        self.slots: dict[str, _Slot] = {}  # by address
        self.waiting: deque[_Task] = deque()  # runs of lost workers
        self.lines: queue.Queue[tuple[str, str]] = queue.Queue()  # attempt, line
        self.failure = ""
        self.is_stopping = False  # starts no more runs; the current ones are interrupted
        self._next_contact = 0.0  # time.monotonic()

    # ---- the loop ----

    def events(self, jobs: Iterator[tuple[int, Recipe]], first: int) -> Iterator[tuple[int, Event]]:
        """`first`: the position of the first job, for the note on the hosts."""
        announced = False
        while True:
            if not self.is_stopping and (self.session.interrupted() or self.failure):
                self.is_stopping = True
                while self.waiting:
                    self.waiting.popleft().lock.release()
                for slot in self._busy():
                    self._control(slot, Control.PAUSE)
            self._contact()
            if not announced:
                announced = True
                yield first, Note(self._hosts() if self.slots else _("waiting for a Dask worker"))
            is_done = self.is_stopping
            for slot in [slot for slot in self.slots.values() if slot.task is None]:
                task = None if is_done else (yield from self._next_task(jobs))
                if task is None:
                    is_done = True
                    break
                self._start(slot, task)
            if is_done and not self._busy():
                break
            yield from self._handle_line()
            yield from self._handle_lost()
            self._copy_due()
        if self.failure:
            raise ValueError(self.failure)

    def _busy(self) -> list[_Slot]:
        return [slot for slot in self.slots.values() if slot.task is not None]

    def _contact(self) -> None:
        """Finds new and lost workers, and signals to busy workers that the driver is alive."""
        if self.client.status != "running":
            raise _scheduler_lost()
        if time.monotonic() < self._next_contact:
            return
        self._next_contact = time.monotonic() + CONTACT_SECONDS
        addresses = self.client.scheduler_info(n_workers=-1)["workers"].keys()
        for address in addresses - self.slots.keys():
            with suppress(WorkerLostError):  # the worker has just ended
                remote = Remote(self.client, address, self.name)
                if remote.host != (ours := host.here()):
                    raise ValueError(
                        _(
                            "{name}: expected {ours}, got {theirs}",
                            name=remote.host.name,
                            ours=_versions(ours),
                            theirs=_versions(remote.host),
                        )
                    )
                self.slots[address] = _Slot(remote)
        for address, slot in list(self.slots.items()):
            if address in addresses and slot.task is not None:
                with suppress(WorkerLostError):
                    slot.remote.call(host.touch, slot.attempt)
            elif address not in addresses:
                slot.is_lost = True
                if slot.task is None:
                    del self.slots[address]

    def _hosts(self) -> str:
        hosts = joined(sorted({slot.remote.host.name for slot in self.slots.values()}))
        text = ngettext("{n} Dask worker on {hosts}", "{n} Dask workers on {hosts}", len(self.slots), hosts=hosts)
        return f"{text}; {self.client.dashboard_link}" if self.client.dashboard_link else text

    def _next_task(self, jobs: Iterator[tuple[int, Recipe]]) -> Generator[tuple[int, Event], None, _Task | None]:
        """Returns the next run to train, or None if none is waiting. Yields the events of finished runs."""
        if self.waiting:
            return self.waiting.popleft()
        for position, recipe in jobs:
            plan = plan_one(recipe, self.data.prepare(recipe.data))
            if (task := self._opened(position, plan)) is not None:
                return task
            # Finished, or being trained by another process.
            for event in run_one(plan, self.session.out, test=self.session.test, until=self.until):
                yield position, event
        return None

    def _opened(self, position: int, plan: Plan) -> _Task | None:
        """Opens and locks the run of a plan. Returns None if the run needs no worker."""
        if _is_finished(plan, self.session):
            return None
        run = self.workspace.open_run(plan.recipe, plan.fingerprint)
        if (lock := run.lock()) is None:
            return None
        if self.session.fresh or not (run.path / "data.json").is_file():
            run.clear()
        return _Task(position, plan.recipe, run, lock)

    def _start(self, slot: _Slot, task: _Task) -> None:
        task.attempts += 1
        slot.task, slot.attempt = task, f"{task.run.name}-{task.attempts}-{uuid.uuid4().hex[:8]}"
        slot.next_copy = time.monotonic() + COPY_SECONDS
        try:
            job = self._job(slot.remote, task)
        except WorkerLostError:
            slot.is_lost = True
            return
        self.client.subscribe_topic(slot.attempt, partial(self._receive, slot.attempt))
        slot.future = self.client.submit(
            host.train,
            self.name,
            slot.attempt,
            job,
            self.session.command,
            key=f"convoy-{slot.attempt}",
            workers=[slot.remote.address],
            allow_other_workers=False,
            retries=0,
            pure=False,
        )

    def _job(self, remote: Remote, task: _Task) -> Job:
        """Sends files that are missing on the host. Returns the message for the worker's child process."""
        remote.send_run(task.run)
        if (openings := self.workspace.path / "test_openings.json").is_file():
            remote.send(openings, f"{remote.scratch}/{openings.name}")
        return Job(
            recipe=remote.send_recipe(task.recipe).as_table(),
            out=remote.scratch,
            fresh=False,
            test=self.session.test,
            until=self.until,
            data=remote.send_data(task.recipe),
        )

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
        if slot is None or slot.task is None:  # the message is from an earlier attempt
            return
        task = slot.task
        scratch, own = (json.dumps(str(path))[1:-1] for path in (slot.remote.scratch, self.workspace.path))
        message = from_json(line.replace(scratch, own))
        if isinstance(message, Failed):
            self._free(slot)
            task.lock.release()
            if message.is_bug:
                raise RuntimeError(_("on {host}: {error}", host=slot.remote.host.name, error=message.text))
            self.failure = message.text
            return
        if isinstance(message, Ended):
            try:
                slot.remote.copy_run(task.run)
                self._finish(slot.remote, task, message)
            except WorkerLostError:
                slot.is_lost = True  # the last files could not be copied: another worker resumes the run
                return
            self._free(slot)
            task.lock.release()
        elif isinstance(message, EpochEnded) and self.prune(task.position, message):
            self._control(slot, Control.PRUNE)
        yield task.position, message

    def _finish(self, remote: Remote, task: _Task, ended: Ended) -> None:
        run = task.run
        for flag in task.flags:
            add_flag(run, flag)
        if ended.state is not RunState.FINISHED:
            return
        openings = json.loads(remote.read(f"{remote.scratch}/test_openings.json") or b"{}")
        for data_hash, names in openings.items():  # openings in the worker's folder
            count_openings(run, self.workspace, data_hash, names.count(run.name))
        if (run.path / "code").is_dir():
            remember_code(run, RunCode.read(run.path / "code"))
        remote.call(host.remove, remote.folder_of(run))

    def _free(self, slot: _Slot) -> None:
        """Marks the worker as free and releases Dask's future of the attempt."""
        if slot.future is not None:
            self.client.unsubscribe_topic(slot.attempt)
            slot.future.release()
        slot.task, slot.future, slot.attempt = None, None, ""

    def _control(self, slot: _Slot, request: Control) -> None:
        with suppress(WorkerLostError):
            slot.remote.call(host.control, slot.attempt, request)

    # ---- lost workers, copies ----

    def _handle_lost(self) -> Iterator[tuple[int, Event]]:
        for slot in self._busy():
            task, future = slot.task, slot.future
            assert task is not None
            if future is not None and future.status == "error":
                if not isinstance(error := future.exception(), KilledWorker):
                    raise RuntimeError(_("on {host}: {error}", host=slot.remote.host.name, error=error))
                slot.is_lost = True
            has_child = future is not None and (
                future.status == "pending" or (future.status == "finished" and future.result() is None)
            )
            if has_child and not slot.is_lost:
                continue
            self._free(slot)
            if slot.is_lost:
                self.slots.pop(slot.remote.address, None)
            if self.is_stopping:  # the same command continues it from the last copy
                task.lock.release()
                continue
            if task.attempts == MAX_ATTEMPTS:
                task.lock.release()
                self.failure = _("{run}: {n} workers in a row were lost", run=task.run.name, n=MAX_ATTEMPTS)
                continue
            task.flags.append(_("resumed after its worker on {host} was lost", host=slot.remote.host.name))
            self.waiting.append(task)
            yield task.position, Note(task.flags[-1])

    def _copy_due(self) -> None:
        for slot in self._busy():
            began = time.monotonic()
            if slot.task is not None and began >= slot.next_copy:
                with suppress(WorkerLostError):
                    slot.remote.copy_run(slot.task.run)
                ended = time.monotonic()
                slot.next_copy = ended + max(COPY_SECONDS, (ended - began) / COPY_SHARE)

    def close(self) -> None:
        for task in [*self.waiting, *(slot.task for slot in self._busy())]:
            if task is not None:
                task.lock.release()
        for slot in self.slots.values():
            with suppress(Exception):
                slot.remote.call(host.close, self.name, slot.remote.scratch)


def _versions(of: host.Host) -> str:
    return f"Python {of.python}, Convoy {of.convoy}, torch {of.torch}, distributed {of.distributed}"
