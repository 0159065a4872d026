"""Computes half of several results in a fork of this process, on a second core."""

from __future__ import annotations

import gc
import os
import pickle
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from convoy.process import cores

T = TypeVar("T")


def computed(jobs: Sequence[Callable[[], T]]) -> list[T]:
    """Returns the results of the jobs, in their order. Every second job runs in a fork, which sends its results.

    One fork runs many jobs, because after a fork, each process copies every page of memory that it changes. Without
    a second core, outside Linux and in a process with several Python threads, whose locks a fork would copy, all jobs
    run here.
    They also run here if the fork cannot start or fails; an error is therefore raised in this process.
    """
    if len(jobs) < 2 or not _can_fork():
        return [job() for job in jobs]
    try:
        fork = _Fork(jobs[1::2])
    except OSError:  # not enough memory or processes
        return [job() for job in jobs]
    try:
        first = [job() for job in jobs[::2]]
        received = fork.wait()
    finally:
        fork.end()
    second = [job() for job in jobs[1::2]] if received is None else received
    return [(first if i % 2 == 0 else second)[i // 2] for i in range(len(jobs))]


def _can_fork() -> bool:
    return sys.platform == "linux" and cores() > 1 and threading.active_count() == 1


class _Fork:
    def __init__(self, jobs: Sequence[Callable[[], object]]) -> None:
        self._reader, writer = os.pipe()
        with warnings.catch_warnings():
            # Python 3.12 also counts the idle threads of BLAS and OpenMP.
            warnings.filterwarnings("ignore", message=".*fork", category=DeprecationWarning)
            gc.freeze()  # otherwise garbage collection in either process would copy all pages with objects
            try:
                self._pid = os.fork()
            except OSError:
                gc.unfreeze()
                os.close(self._reader)
                os.close(writer)
                raise
        if self._pid == 0:
            failed = 1
            try:
                os.close(self._reader)
                with open(writer, "wb") as pipe:
                    pipe.write(pickle.dumps([job() for job in jobs]))
                failed = 0
            finally:
                os._exit(failed)  # without the exit handlers, open files and traceback of this process
        os.close(writer)
        self._is_running = True

    def wait(self) -> list[Any] | None:
        """Returns the results, or None if the fork failed."""
        with open(self._reader, "rb", closefd=False) as pipe:
            results = pipe.read()
        status = os.waitpid(self._pid, 0)[1]
        self._is_running = False
        return pickle.loads(results) if status == 0 else None

    def end(self) -> None:
        """Kills the process if it is running, after an error or Ctrl-C in this process."""
        if self._is_running:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
        os.close(self._reader)
        gc.unfreeze()
