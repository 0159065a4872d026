"""How many threads a run on the CPU uses, given what else the machine is doing.

Two OpenMP threads that share two cores with another busy process wait for each other at every operator: LeNet at batch
128 was seen to fall from 18,600 to 4,400 images/s, while one thread kept 11,600 (2 cores, torch 2.13).
So a run with `compute.threads = "auto"` leaves a core to a process that is using it. Thread counts change the last bits
of a sum: where a run must be repeatable to the bit, the recipe names a number.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import torch

from convoy.process import cores

BUSY = 0.6  # of a core used by others: leave it to them
QUIET = 0.25  # of a core: take it back, after two quiet readings in a row


class ThreadGovernor:
    """Sets torch's thread count between two records; `adjust` says the new count where it changed.

    It never goes above the count that it found, and `release` gives that one back.
    """

    def __init__(self, ticks: Path = Path("/proc/stat")) -> None:
        self._most = torch.get_num_threads()
        self._ticks = ticks
        self._quiet = 0
        self._last = self._read()

    def release(self) -> None:
        torch.set_num_threads(self._most)

    def adjust(self) -> int | None:
        now = self._read()
        if now is None or self._last is None or now[0] - self._last[0] < 0.2:
            return None
        elapsed = now[0] - self._last[0]
        others = max(0.0, (now[1] - self._last[1]) - (now[2] - self._last[2])) / elapsed
        self._last = now
        threads = torch.get_num_threads()
        wanted = self._wanted(others, threads)
        if wanted == threads:
            return None
        torch.set_num_threads(wanted)
        return wanted

    def _wanted(self, others: float, threads: int) -> int:
        if others >= BUSY:
            self._quiet = 0
            return max(1, min(threads, cores() - round(others)))
        self._quiet = self._quiet + 1 if others < QUIET else 0
        return self._most if self._quiet >= 2 else threads

    def _read(self) -> tuple[float, float, float] | None:
        """Seconds: wall, CPU of the cores that this process may use, CPU of this process. None where nobody tells."""
        try:
            lines = self._ticks.read_text().splitlines()
        except OSError:
            return None
        own = {f"cpu{core}" for core in os.sched_getaffinity(0)}
        ticks = 0
        for name, *fields in (line.split() for line in lines if line.startswith("cpu")):
            if name in own:
                user, nice, system, _idle, _iowait, irq, softirq = (int(field) for field in fields[:7])
                ticks += user + nice + system + irq + softirq
        times = os.times()
        return time.monotonic(), ticks / os.sysconf("SC_CLK_TCK"), times.user + times.system
