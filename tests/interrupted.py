"""Interrupts a scenario by a failed write call or by `kill -9`, repeats it, and compares the result."""

from __future__ import annotations

import errno
import gc
import multiprocessing
import os
import random
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from tests.forks import CONTEXT, use_forks_of_this_process, write_output
from tests.scenarios import SCENARIOS, Scenario, recipe_in, saving_each_step
from tests.write_calls import Calls, counted, failing, kill

from convoy.recipe import Recipe

# Errors of a full, a broken and a read-only disk, and whether all later calls fail, too.
FAILURES = ((errno.ENOSPC, True), (errno.EIO, False), (errno.EROFS, True))


def spread(count: int, most: int | None) -> Sequence[int]:
    """All numbers below `count`, or `most` of them."""
    return range(count) if most is None or most >= count else [count * (2 * i + 1) // (2 * most) for i in range(most)]


FORK: Any = multiprocessing.get_context("fork")  # of this process, which has the imports and caches of the work


def never(call: str, path: str) -> None:
    raise AssertionError("the range of calls is empty")


@dataclass
class Subject:
    """A scenario, with the result and the write calls of uninterrupted work."""

    name: str
    folder: Path  # of all its attempts
    attempts: int = 0
    expected: Any = None
    calls: list[tuple[str, str]] = field(default_factory=list)
    seconds: float = 0.0
    kills: int = 0
    in_write_calls: list[str] = field(default_factory=list)  # output of each process killed in a write call

    def __post_init__(self) -> None:
        self.recipe = recipe_in(self.folder / "source")
        self.uninterrupted = self.new_attempt()
        seen, started_at = Calls(self.uninterrupted, never, first=0, last=-1), time.monotonic()
        with saving_each_step(), counted(seen):
            self.scenario.work(self.uninterrupted, self.recipe)
        self.seconds = time.monotonic() - started_at
        self.calls, self.expected = seen.seen, self.scenario.result(self.uninterrupted)

    @property
    def scenario(self) -> Scenario:
        return SCENARIOS[self.name]

    def new_attempt(self) -> Path:
        """Returns a folder in which the work can begin."""
        if self.scenario.replaces and self.attempts:  # the work replaces its earlier files
            return self.uninterrupted
        self.attempts += 1
        folder = self.folder / f"attempt-{self.attempts}"
        folder.mkdir()
        with saving_each_step():
            self.scenario.prepare(folder, self.recipe)
        return folder

    def finish(self, folder: Path) -> None:
        """Repeats the work and compares the result with that of uninterrupted work."""
        with saving_each_step():
            self.scenario.work(folder, self.recipe)
        self.check(folder)

    def check(self, folder: Path) -> None:
        result = self.scenario.result(folder)
        if result != self.expected:
            raise AssertionError(f"{folder}: {_difference(result, self.expected)}")

    def fail(self, number: int, call: int, *, lasting: bool) -> str:
        """Makes a write call fail, and all later ones if the failure is lasting. Returns the message of the error.

        Checks that the message names the reason and the file, and that the repeated work has the expected result.
        """
        folder, message = self.new_attempt(), ""
        calls = Calls(folder, failing(number), first=call, last=sys.maxsize if lasting else call)
        try:
            with saving_each_step(), counted(calls):
                self.scenario.work(folder, self.recipe)
        except (ValueError, OSError) as error:
            message = str(error)
            assert os.strerror(number) in message, message
            assert str(folder) in message, message
            assert "\n" not in message, message
        if self.scenario.replaces:
            self.check(folder)
        self.finish(folder)
        return message

    def kill(self, count: int, draw: random.Random) -> None:
        """Kills the work `count` times and checks the result each time that it ends.

        Half of the kills are in a write call, after half of its bytes; the others are at a random time. Killed work is
        repeated, and may be killed again.
        """
        target = self.kills + count
        while self.kills < target:
            folder, begun = self.new_attempt(), self.kills
            while self.kills < target and self._is_killed(folder, draw):
                self.kills += 1
                if self.scenario.replaces:
                    self.check(folder)
            if self.kills > begun:
                self.finish(folder)

    def _is_killed(self, folder: Path, draw: random.Random) -> bool:
        call = draw.randrange(len(self.calls)) if draw.random() < 0.5 else None
        process = start(self.name, folder, self.recipe, call)
        if call is None:
            process.join(draw.uniform(0, self.seconds))
            with suppress(ProcessLookupError):
                os.kill(draw.choice([process.pid, *children_of(process.pid)]), signal.SIGKILL)
        process.join()
        output = folder / "err.work"  # missing if the process was killed before it opened the file
        error = output.read_text(encoding="utf-8") if process.exitcode and output.exists() else ""
        if process.exitcode not in (0, -signal.SIGKILL) and "exit code -9" not in error:  # of a worker process
            raise AssertionError(error)
        if call is not None and process.exitcode != 0:
            self.in_write_calls.append(error)
        return process.exitcode != 0


WORK_FAILED = 2  # exit code of work that raised ValueError


def children_of(pid: int) -> list[int]:
    try:
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _difference(result: Any, expected: Any) -> str:
    if isinstance(result, dict) and isinstance(expected, dict):
        different = [key for key in result | expected if result.get(key) != expected.get(key)]
        return f"{different[0]}: {_difference(result.get(different[0]), expected.get(different[0]))}"
    return f"got {result}, expected {expected}"


def start(name: str, folder: Path, recipe: Recipe, call: int | None = None) -> BaseProcess:
    """Runs a scenario in a separate process, which is killed in the write call with this number."""
    process = FORK.Process(target=_work, args=(name, folder, recipe, call))
    process.start()
    return process  # type: ignore[no-any-return]


def _work(name: str, folder: Path, recipe: Recipe, call: int | None) -> None:
    os.chdir(folder)
    write_output("work")
    gc.freeze()
    use_forks_of_this_process()
    number = -1 if call is None else call
    try:
        with saving_each_step(), counted(Calls(folder, kill, first=number, last=number)):
            SCENARIOS[name].work(folder, recipe)
    except ValueError as error:
        print(error, file=sys.stderr)
        sys.exit(WORK_FAILED)


def kill_elsewhere(name: str, count: int, folder: Path) -> int | None:
    """Kills a scenario `count` times, from a process without threads, because it forks. Returns its exit code."""
    process = CONTEXT.Process(target=_kill, args=(name, count, folder))
    process.start()
    process.join()
    return process.exitcode  # type: ignore[no-any-return]


def _kill(name: str, count: int, folder: Path) -> None:
    os.environ["CONVOY_CACHE"] = str(folder / "cache")
    os.fsync = lambda handle: None
    use_forks_of_this_process()
    Subject(name, folder).kill(count, random.Random(0))
