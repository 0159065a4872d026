"""Stop signals of a command: Ctrl-C (SIGINT) and SIGTERM."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from convoy.text import gettext as _

EXIT_CODE = 130
_DEFAULTS = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
_IMPORT = "<frozen importlib._bootstrap>"  # the file of the frames of an import


@contextmanager
def stop_signals() -> Iterator[None]:
    """Raises KeyboardInterrupt for SIGINT and SIGTERM: a command then ends its processes and deletes temporary files.

    During an import, which has nothing to save, the process exits immediately: an exception in the C++ code of torch
    would abort it. Does nothing for a signal that is ignored, as SIGINT in a background job.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    own = os.getpid()

    def on_signal(number: int, frame: FrameType | None) -> None:
        if _is_import(frame):
            if os.getpid() == own:  # not in a fork
                with suppress(OSError):
                    sys.stdout.flush()
                    print(_("stopped"), file=sys.stderr, flush=True)
            os._exit(EXIT_CODE)
        raise KeyboardInterrupt

    before = {number: signal.getsignal(number) for number in _DEFAULTS}
    replaced = [number for number, handler in _DEFAULTS.items() if before[number] is handler]
    for number in replaced:
        signal.signal(number, on_signal)
    try:
        yield
    finally:
        for number in replaced:
            signal.signal(number, before[number])


def _is_import(frame: FrameType | None) -> bool:
    while frame is not None and frame.f_code.co_filename != _IMPORT:
        frame = frame.f_back
    return frame is not None
