"""Interrupts a scenario by a failed write call, lets it continue, and compares the result."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.scenarios import SCENARIOS, Scenario, recipe_in, saving_each_step
from tests.write_calls import Calls, counted, failing

# Errors of a full, a broken and a read-only disk, and whether all later calls fail, too.
FAILURES = ((errno.ENOSPC, True), (errno.EIO, False), (errno.EROFS, True))


def spread(count: int, most: int | None) -> Sequence[int]:
    """All numbers below `count`, or `most` of them."""
    return range(count) if most is None or most >= count else [count * (2 * i + 1) // (2 * most) for i in range(most)]


def never(call: str, path: str) -> None:
    raise AssertionError("the range of calls is empty")


@dataclass
class Subject:
    """A scenario with the result and the number of write calls of work that was not interrupted."""

    name: str
    folder: Path  # of all its attempts
    attempts: int = 0
    expected: Any = None
    calls: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.recipe = recipe_in(self.folder / "source")
        self.unbroken = self.new_attempt()
        seen = Calls(self.unbroken, never, first=0, last=-1)
        with saving_each_step(), counted(seen):
            self.scenario.work(self.unbroken, self.recipe)
        self.calls, self.expected = seen.seen, self.scenario.result(self.unbroken)

    @property
    def scenario(self) -> Scenario:
        return SCENARIOS[self.name]

    def new_attempt(self) -> Path:
        """A folder in which the work can begin."""
        if self.scenario.replaces and self.attempts:  # its files: what the work wrote before
            return self.unbroken
        self.attempts += 1
        folder = self.folder / f"attempt-{self.attempts}"
        folder.mkdir()
        with saving_each_step():
            self.scenario.prepare(folder, self.recipe)
        return folder

    def finish(self, folder: Path) -> None:
        """Continues the work to its end and compares the result with that of unbroken work."""
        with saving_each_step():
            self.scenario.work(folder, self.recipe)
        self.check(folder)

    def check(self, folder: Path) -> None:
        result = self.scenario.result(folder)
        if result != self.expected:
            raise AssertionError(f"{folder}: {_difference(result, self.expected)}")

    def fail(self, number: int, call: int, *, lasting: bool) -> str:
        """Lets a write call fail, and all later ones too if the failure is lasting. Returns the error's text.

        Checks that the error is clear, that the same work can then be finished, and that nothing was lost.
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


def _difference(result: Any, expected: Any) -> str:
    if isinstance(result, dict) and isinstance(expected, dict):
        different = [key for key in result | expected if result.get(key) != expected.get(key)]
        return f"{different[0]}: {_difference(result.get(different[0]), expected.get(different[0]))}"
    return f"got {result}, expected {expected}"
