from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from convoy.training import threads
from convoy.training.threads import ThreadGovernor


@pytest.fixture(autouse=True)
def _two_cores(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = torch.get_num_threads()
    monkeypatch.setattr(threads, "cores", lambda: 2)
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


class Machine:
    """A /proc/stat on which other processes use a given number of cores."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._begun = time.monotonic()
        self._others = 0.0
        self.pass_time(0.0)

    def pass_time(self, busy_cores: float) -> None:
        self._others += 0.25 * busy_cores
        time.sleep(0.25)
        own = os.times()
        ticks = round((own.user + own.system + self._others) * os.sysconf("SC_CLK_TCK"))
        core = min(os.sched_getaffinity(0))
        elsewhere = 10**9 * round(10 * self._others)  # cores that this process may not use do not count
        self.path.write_text(f"cpu  7 0 0 0 0 0 0\ncpu{core} {ticks} 0 0 0 0 0 0\ncpu999 {elsewhere} 0 0 0 0 0 0\n")


def test_core_that_another_process_uses_is_left_to_it_and_taken_back_later(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "stat")
    governor = ThreadGovernor(machine.path)
    changes = []
    for busy in (0.0, 1.0, 1.0, 0.0, 0.0, 0.0):
        machine.pass_time(busy)
        changes.append(governor.adjust())
    assert changes == [None, 1, None, None, 2, None]


def test_governor_gives_back_the_thread_count_that_it_found(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "stat")
    governor = ThreadGovernor(machine.path)
    machine.pass_time(1.0)
    assert governor.adjust() == 1
    governor.release()
    assert torch.get_num_threads() == 2


def test_system_without_proc_stat_keeps_its_threads(tmp_path: Path) -> None:
    assert ThreadGovernor(tmp_path / "absent").adjust() is None
