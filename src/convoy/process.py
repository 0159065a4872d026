"""Properties of this process: available cores, OpenMP spinning, interruption by signals, command line."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

AUTOGROUP = Path("/proc/self/autogroup")  # niceness of the session; only with Linux's autogroup scheduling


def cores() -> int:
    """Returns the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_torchrun() -> bool:
    """Whether torchrun started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ and os.environ.get("WORLD_SIZE", "1") != "1"


def limit_spinning() -> None:
    """Sets GOMP_SPINCOUNT, so that waiting OpenMP threads of torch soon release their core.

    By default, libgomp's threads spin for milliseconds. If another process is busy, training with two threads then
    waits for a thread that has no core (benchmarks/contention.py). Does nothing if torch is loaded, because libgomp
    reads the variable when it is loaded, or if the user has set OMP_WAIT_POLICY. Other OpenMP libraries ignore it.
    """
    if "torch" not in sys.modules and "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")


def apply_niceness_to_session() -> None:
    """Sets the session's niceness to that of this process: a new session does not inherit it.

    Linux divides processor time between sessions, and considers niceness only within each (sched(7), autogroup).
    """
    if AUTOGROUP.exists() and (niceness := os.nice(0)) > 0:
        with suppress(OSError):
            AUTOGROUP.write_text(str(niceness))


@contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Yields a function that returns whether SIGINT (Ctrl-C) or SIGTERM was received.

    Before the first call of that function, there is nothing to save: a signal acts as it would without this context, or
    raises KeyboardInterrupt, even in a network whose `__init__` never returns. After that call, the first signal is
    only recorded; a second one acts as before that call.
    """
    received, listening = threading.Event(), threading.Event()

    def interrupted() -> bool:
        listening.set()
        return received.is_set()

    if threading.current_thread() is not threading.main_thread():
        yield interrupted
        return

    def on_signal(number: int, frame: FrameType | None) -> None:
        received.set()
        restore()
        if not listening.is_set():
            handler = before[signal.Signals(number)]
            if callable(handler):
                handler(number, frame)
            raise KeyboardInterrupt

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, on_signal)
    try:
        yield interrupted
    finally:
        restore()


def command_line() -> str:
    """Returns the command line that repeats this command; in a worker process, the command line of the parent.

    In a notebook, returns "notebook", because the process has the command line of the kernel.
    """
    program = Path(sys.argv[0] or "python")
    is_convoy = program.name == "__main__.py" and "convoy" in program.parts[-3:-1]
    if program.name in ("ipykernel_launcher.py", "colab_kernel_launcher.py"):
        return "notebook"
    name = "convoy" if is_convoy else program.name
    return os.environ.get("CONVOY_COMMAND") or shlex.join([name, *sys.argv[1:]])


def continuing_command() -> str:
    """Returns the `convoy` command that continues this one, without `--fresh`.

    Empty in a script or a notebook, and under torchrun, whose own command is unknown.
    """
    program, *words = shlex.split(command_line())
    if in_torchrun() or program.removesuffix(".exe") != "convoy":
        return ""
    return shlex.join(["convoy", *(word for word in words if word != "--fresh")])
