"""Executes runs in this process or in worker processes; no other module decides which.

One run uses this process and all threads. Several runs use persistent worker processes, one per core with one thread
each, which for small networks is faster than two threads in one process.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from convoy.events import Control, Ended, EpochEnded, Event, Failed, OpenTest, from_json
from convoy.process import command_line, cores
from convoy.recipe import Recipe
from convoy.training.run.run_one import run_one

Prune = Callable[[int, EpochEnded], bool]
Where = Literal["here", "processes"]

# A worker starts in about 2.5 s (import of torch, data). With fewer training images in total, about three seconds of
# LeNet in one process, workers are not worth it.
IMAGES_WORTH_WORKERS = 50_000


def choose(recipes: list[Recipe], images: int) -> Where:
    """`images`: training images times epochs, summed over all runs."""
    import torch

    on_cpu = all(recipe.compute.device == "cpu" or not torch.cuda.is_available() for recipe in recipes)
    return "processes" if len(recipes) > 1 and cores() > 1 and on_cpu and images > IMAGES_WORTH_WORKERS else "here"


def execute(
    recipes: Iterable[Recipe],
    out: str | Path,
    *,
    where: Where = "processes",
    fresh: bool = False,
    test: OpenTest = True,
    until: int | None = None,
    interrupted: Callable[[], bool] = lambda: False,
    prune: Prune = lambda position, event: False,
) -> Iterator[tuple[int, Event]]:
    """Runs a lazy iterable of recipes and yields (position, event) as they arrive.

    A run ends as "pruned at epoch n" if `prune` returns True after an epoch, or after `until` epochs; it does not count
    as finished, and a later call resumes it. When `interrupted` returns True, the runs in progress are saved and the
    iterator ends. If a recipe fails, raises ValueError after saving the runs in progress.
    """
    if where == "here":
        yield from _here(recipes, out, fresh=fresh, test=test, until=until, interrupted=interrupted, prune=prune)
        return
    with WorkerPool(cores(), out, fresh=fresh, test=test, until=until) as pool:
        yield from pool.run(enumerate(recipes), interrupted, prune)


def _here(
    recipes: Iterable[Recipe],
    out: str | Path,
    *,
    fresh: bool,
    test: OpenTest,
    until: int | None,
    interrupted: Callable[[], bool],
    prune: Prune,
) -> Iterator[tuple[int, Event]]:
    for position, recipe in enumerate(recipes):
        pruned = False

        def control() -> Control:
            if interrupted():
                return Control.PAUSE
            return Control.PRUNE if pruned else Control.CONTINUE  # noqa: B023 (called within this turn)

        for event in run_one(recipe, out, fresh=fresh, test=test, until=until, control=control):
            pruned = pruned or (isinstance(event, EpochEnded) and prune(position, event))
            yield position, event
        if interrupted():
            return


class _Worker:
    def __init__(self, events: queue.Queue[tuple[_Worker, Event | Failed | None]]) -> None:
        environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "CONVOY_COMMAND": command_line()}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "convoy.studies.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            env=environment,
            start_new_session=True,  # Ctrl-C reaches only the parent, which has the runs saved
        )
        self.position: int | None = None
        self._events = events
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._events.put((self, from_json(line)))
        self._events.put((self, None))

    def send(self, message: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):  # the end of its output reports a dead worker
            self.process.stdin.write(json.dumps(message) + "\n")
            self.process.stdin.flush()


class WorkerPool:
    """Worker processes and the position of the recipe that each one trains."""

    def __init__(self, size: int, out: str | Path, *, fresh: bool, test: OpenTest, until: int | None) -> None:
        self._events: queue.Queue[tuple[_Worker, Event | Failed | None]] = queue.Queue()
        self._size = size
        self._workers: list[_Worker] = []
        self._job = {"out": str(out), "fresh": fresh, "test": test, "until": until}
        self._failure: str | None = None

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, *exception: object) -> None:
        """A worker whose input is closed saves its run and ends."""
        for worker in self._workers:
            assert worker.process.stdin is not None
            with suppress(BrokenPipeError):
                worker.process.stdin.close()
        for worker in self._workers:
            worker.process.wait()

    def run(
        self, recipes: Iterator[tuple[int, Recipe]], interrupted: Callable[[], bool], prune: Prune
    ) -> Iterator[tuple[int, Event]]:
        for first in islice(recipes, self._size):
            self._workers.append(_Worker(self._events))
            self._hand(self._workers[-1], first)
        stopping = False
        while any(worker.position is not None for worker in self._workers):
            if not stopping and (interrupted() or self._failure is not None):
                stopping, recipes = True, iter(())
                self._stop_all()
            try:
                worker, message = self._events.get(timeout=0.2)
            except queue.Empty:
                continue
            position = worker.position
            event = self._understand(worker, message)
            if event is not None and position is not None:
                if isinstance(event, EpochEnded) and prune(position, event):
                    worker.send({"control": Control.PRUNE})
                yield position, event
            if event is None or isinstance(event, Ended):
                # After the caller has seen the end, because a search chooses its next recipe by it.
                self._give(worker, recipes)
        if self._failure is not None:
            raise ValueError(self._failure)

    def _give(self, worker: _Worker, recipes: Iterator[tuple[int, Recipe]]) -> None:
        worker.position = None
        if worker.process.poll() is None and (following := next(recipes, None)) is not None:
            self._hand(worker, following)

    def _hand(self, worker: _Worker, job: tuple[int, Recipe]) -> None:
        worker.position, recipe = job
        worker.send({"recipe": recipe.as_table(), **self._job})

    def _understand(self, worker: _Worker, message: Event | Failed | None) -> Event | None:
        """The event of a message; None if the worker failed or died."""
        if message is None:
            if worker.position is not None:
                code = worker.process.wait()
                self._failure = f"a worker process died (exit code {code}); the same command resumes its run"
            return None
        if isinstance(message, Failed):
            if message.is_bug:
                raise RuntimeError(f"in a worker process: {message.text}")
            self._failure = message.text
            return None
        return message

    def _stop_all(self) -> None:
        for worker in self._workers:
            if worker.position is not None:
                worker.send({"control": Control.PAUSE})
