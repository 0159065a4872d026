"""What this process gets from its machine: the cores that it may use, and the signals that ask it to stop."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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
