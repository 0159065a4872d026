"""Starts a worker process (convoy.studies.worker) and talks to it. Does not import torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from convoy.events import Control, OpenTest

SCRATCH = "--scratch"


@dataclass(frozen=True)
class Data:
    """The cache entry on a cluster's host that contains the data of a recipe."""

    key: str
    name: str  # name of the data set
    paths: Sequence[str] | None  # DataSet.paths


@dataclass(frozen=True)
class Job:
    """The message that starts the training of a recipe. Most fields are arguments of `run_one`."""

    recipe: Mapping[str, Any]  # the recipe as a table
    out: str
    fresh: bool
    test: OpenTest
    until: int | None
    data: Data | None = None  # None: the data that the recipe names

    @classmethod
    def of(cls, message: Mapping[str, Any]) -> Job:
        data = message["data"]
        return cls(**{**message, "data": None if data is None else Data(**data)})


class Child:
    def __init__(self, *, command: str, threads: int = 1, scratch: bool = False) -> None:
        """`command` is the command line stored in its runs. `scratch`: its runs are in a temporary
        folder, from which another process copies them."""
        count = str(threads)
        environment = os.environ | {"OMP_NUM_THREADS": count, "MKL_NUM_THREADS": count, "CONVOY_COMMAND": command}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "convoy.studies.worker", *[SCRATCH] * scratch],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            env=environment,
            start_new_session=True,  # Ctrl-C then reaches only the parent, which asks its children to save their runs
        )

    def lines(self) -> Iterator[str]:
        """Yields the child's messages until it ends."""
        assert self.process.stdout is not None
        for line in self.process.stdout:  # noqa: UP028 (`yield from` would close the pipe with the generator)
            yield line

    def send(self, message: Job | Mapping[str, Control]) -> None:
        assert self.process.stdin is not None
        with suppress(BrokenPipeError, ValueError):  # a dead or closed process is detected at the end of its output
            self.process.stdin.write(json.dumps(asdict(message) if isinstance(message, Job) else message) + "\n")
            self.process.stdin.flush()

    def close(self) -> None:
        """Closes the child's input, so that it saves its run and ends."""
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):
            self.process.stdin.close()
