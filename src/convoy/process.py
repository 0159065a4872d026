"""What this process gets from its machine: cores, threads that wait without spinning, signals that ask it to stop."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def limit_spinning() -> None:
    """Lets the OpenMP threads of torch give up their core soon when they wait for each other.

    By default libgomp's threads spin for milliseconds, and next to another busy process a training with two threads
    then waits for a thread that has no core (benchmarks/contention.py). libgomp reads the variable when it is loaded,
    so nothing is changed where torch is loaded already or the user has chosen; other systems ignore it.
    """
    if "torch" not in sys.modules and "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")


@contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Yields a function that returns whether Ctrl-C (or a termination) was asked for.

    Until that function is called for the first time, nothing has been trained that could be saved: a signal raises
    KeyboardInterrupt at once, also out of a network whose `__init__` never ends. After that the first signal is only
    noted, and a second one stops at once.
    """
    asked, listening = threading.Event(), threading.Event()

    def interrupted() -> bool:
        listening.set()
        return asked.is_set()

    if threading.current_thread() is not threading.main_thread():
        yield interrupted
        return

    def note(number: int, frame: object) -> None:
        asked.set()
        for each, handler in before.items():
            signal.signal(each, handler)
        if not listening.is_set():
            raise KeyboardInterrupt

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, note)
    try:
        yield interrupted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
