"""Executes runs in this process, in worker processes or on a cluster. Only this module makes that choice.

One run uses this process and all threads. Several runs use persistent worker processes, one per core with one thread
each, which for small networks is faster than two threads in one process.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Literal

from convoy.data import PreparedDataCache
from convoy.events import Control, Ended, EpochEnded, Event, Failed, from_json
from convoy.process import command_line, cores
from convoy.recipe import Recipe
from convoy.studies.child import Child, Job
from convoy.studies.session import Session
from convoy.text import gettext as _
from convoy.training.run.plan import plan_one
from convoy.training.run.run_one import run_one

Prune = Callable[[int, EpochEnded], bool]
Where = Literal["here", "processes", "cluster"]

# A worker takes about 2.5 s to start (import of torch, data). With fewer training images in total than this (about
# three seconds of LeNet in one process), workers are slower.
IMAGES_WORTH_WORKERS = 50_000


def choose(recipes: list[Recipe], images: int, session: Session) -> Where:
    """Chooses where to execute. `images`: training images times epochs, summed over all runs."""
    if session.where is not None:
        return "cluster"
    import torch

    on_cpu = all(recipe.compute.device == "cpu" or not torch.cuda.is_available() for recipe in recipes)
    return "processes" if len(recipes) > 1 and cores() > 1 and on_cpu and images > IMAGES_WORTH_WORKERS else "here"


def execute(
    recipes: Iterable[Recipe],
    session: Session,
    *,
    where: Where = "processes",
    until: int | None = None,
    prune: Prune = lambda position, event: False,
) -> Iterator[tuple[int, Event]]:
    """Runs a lazy iterable of recipes and yields (position, event) as they arrive.

    A run ends as "pruned at epoch n" if `prune` returns True after an epoch, or after `until` epochs. Such a run is not
    finished, and a later call resumes it. When the session is interrupted, the runs in progress are saved and the
    iterator ends. If a recipe fails, raises ValueError after saving the runs in progress.
    """
    if where == "cluster":
        try:
            from convoy.studies.cluster import on_cluster
        except ImportError:
            raise ValueError(_("--where needs Dask: pip install 'convoy-ml[cluster]'")) from None

        return on_cluster(enumerate(recipes), session, until, prune)
    return (_here if where == "here" else _in_workers)(enumerate(recipes), session, until, prune)


def _here(
    jobs: Iterator[tuple[int, Recipe]], session: Session, until: int | None, prune: Prune
) -> Iterator[tuple[int, Event]]:
    data = PreparedDataCache()
    for position, recipe in jobs:
        pruned = False

        def control() -> Control:
            if session.interrupted():
                return Control.PAUSE
            return Control.PRUNE if pruned else Control.CONTINUE  # noqa: B023 (called within this turn)

        fresh = bool(session.fresh)
        plan = plan_one(recipe, data.prepare(recipe.data))
        for event in run_one(plan, session.out, fresh=fresh, test=session.test, until=until, control=control):
            pruned = pruned or (isinstance(event, EpochEnded) and prune(position, event))
            yield position, event
        if session.interrupted():
            return


class _Worker(Child):
    """A worker process on this machine, and the position of the recipe that it trains."""

    def __init__(self, events: queue.Queue[tuple[_Worker, Event | Failed | None]]) -> None:
        super().__init__(command=command_line())
        self.position: int | None = None
        self._events = events
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        """Reads messages until None, the last one."""
        for line in self.lines():
            self._events.put((self, from_json(line)))
        self._events.put((self, None))


def _in_workers(
    jobs: Iterator[tuple[int, Recipe]], session: Session, until: int | None, prune: Prune
) -> Iterator[tuple[int, Event]]:
    events: queue.Queue[tuple[_Worker, Event | Failed | None]] = queue.Queue()
    workers: list[_Worker] = []
    failure, stopping = "", False

    def give(worker: _Worker, job: tuple[int, Recipe] | None) -> None:
        worker.position = None
        if job is not None:
            worker.position, recipe = job
            worker.send(
                Job(
                    recipe=recipe.as_table(),
                    out=str(session.out),
                    fresh=bool(session.fresh),
                    test=session.test,
                    until=until,
                )
            )

    try:
        for job in islice(jobs, cores()):
            workers.append(_Worker(events))
            give(workers[-1], job)
        while busy := [worker for worker in workers if worker.position is not None]:
            if not stopping and (session.interrupted() or failure):
                stopping, jobs = True, iter(())
                for worker in busy:
                    worker.send({"control": Control.PAUSE})
            try:
                worker, message = events.get(timeout=0.2)
            except queue.Empty:
                continue
            if message is None and worker.position is not None:
                code = worker.process.wait()
                failure = _("a worker process died (exit code {code}); run the same command again to resume", code=code)
            elif isinstance(message, Failed):
                if message.is_bug:
                    raise RuntimeError(_("in a worker process: {text}", text=message.text))
                failure = message.text
            elif message is not None and worker.position is not None:
                if isinstance(message, EpochEnded) and prune(worker.position, message):
                    worker.send({"control": Control.PRUNE})
                yield worker.position, message
            if message is None or isinstance(message, Ended | Failed):
                # Only after the caller has handled the end: a search uses the result to choose the next recipe.
                give(worker, next(jobs, None) if worker.process.poll() is None else None)
    finally:
        for worker in workers:
            worker.close()
        for worker in workers:
            worker.process.wait()
    if failure:
        raise ValueError(failure)
