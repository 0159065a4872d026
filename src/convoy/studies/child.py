"""A worker process (convoy.studies.worker) from the side of its parent. No torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, NotRequired, TypedDict

from convoy.events import Control, OpenTest

SCRATCH = "--scratch"


class Data(TypedDict):
    """The entry in the cache of a cluster's host that holds the data of a recipe."""

    key: str
    name: str  # of the data set
    paths: Sequence[str] | None  # DataSet.paths


class Job(TypedDict):
    """The message to train a recipe; see `run_one`."""

    recipe: Mapping[str, Any]  # its table
    out: str
    fresh: bool
    test: OpenTest
    until: int | None
    data: NotRequired[Data]


class Child:
    def __init__(self, *, command: str, threads: int = 1, scratch: bool = False) -> None:
        """`command` is the command line that its runs record. `scratch`: another process copies its run folders."""
        count = str(threads)
        environment = os.environ | {"OMP_NUM_THREADS": count, "MKL_NUM_THREADS": count, "CONVOY_COMMAND": command}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "convoy.studies.worker", *[SCRATCH] * scratch],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            env=environment,
            start_new_session=True,  # Ctrl-C reaches only the parent, which has the runs saved
        )

    def lines(self) -> Iterator[str]:
        """Yields its messages until it ends."""
        assert self.process.stdout is not None
        for line in self.process.stdout:  # noqa: UP028 (`yield from` would close the pipe with the generator)
            yield line

    def send(self, message: Job | Mapping[str, Control]) -> None:
        assert self.process.stdin is not None
        with suppress(BrokenPipeError, ValueError):  # the end of its output reports a dead or closed process
            self.process.stdin.write(json.dumps(message) + "\n")
            self.process.stdin.flush()

    def close(self) -> None:
        """Closes its input, so that it saves its run and ends."""
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):
            self.process.stdin.close()
