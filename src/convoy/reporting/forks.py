"""Computes the content of files in forks of this process, on the second core, while this process goes on."""

from __future__ import annotations

import os
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from convoy.files import write_bytes
from convoy.process import cores


class Writer:
    """Writes files whose content is computed in a fork, one at a time; all files are written when the context ends.

    A fork starts in milliseconds, with everything that this process has loaded. Without a second core, outside Linux
    and in a process with several Python threads, whose locks a fork would copy, the content is computed here.
    The fork only computes: this process writes the file, and computes the content itself if the fork fails.
    """

    def __init__(self) -> None:
        self._pending: Callable[[], None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._finish()

    def write(self, path: Path, content: Callable[[], bytes]) -> None:
        self._finish()
        computed = _in_fork(content) if _can_fork() else content
        self._pending = lambda: write_bytes(path, computed())
        if computed is content:
            self._finish()

    def _finish(self) -> None:
        pending, self._pending = self._pending, None
        if pending:
            pending()


def _can_fork() -> bool:
    return sys.platform == "linux" and cores() > 1 and threading.active_count() == 1


def _in_fork(content: Callable[[], bytes]) -> Callable[[], bytes]:
    """Starts to compute the content and returns a function that waits for it."""
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        # Python 3.12 also counts the idle threads of BLAS and OpenMP.
        warnings.filterwarnings("ignore", message=".*fork", category=DeprecationWarning)
        fork = os.fork()
    if fork == 0:
        failed = 1
        try:
            os.close(reader)
            with open(writer, "wb") as pipe:
                pipe.write(content())
            failed = 0
        finally:
            os._exit(failed)  # without the exit handlers, open files and traceback of this process
    os.close(writer)

    def wait() -> bytes:
        with open(reader, "rb") as pipe:
            computed = pipe.read()
        status = os.waitpid(fork, 0)[1]
        return computed if status == 0 else content()

    return wait
