"""Numbers below the normal range (1.2e-38 in float32) taken for zero while a network trains.

They add nothing to a result and cost a processor many times what others do. Late in a training they are common: a tenth
of Adam's means, where gradients have died out. How much slower that makes an update: benchmarks/denormals.py.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

_this_thread = threading.local()  # how many are open, for those that overlap


@contextmanager
def denormals_as_zero() -> Iterator[None]:
    """Holds for this thread, and for those that it makes meanwhile: torch's pool keeps what it was made with.

    Without effect where the processor has no such mode. Afterwards the thread's mode is what it was.
    """
    opened = getattr(_this_thread, "opened", 0)
    if opened == 0:
        _this_thread.before = taken_for_zero()
        torch.set_flush_denormal(True)
    _this_thread.opened = opened + 1
    try:
        yield
    finally:
        _this_thread.opened -= 1
        if _this_thread.opened == 0:
            torch.set_flush_denormal(_this_thread.before)


def taken_for_zero() -> bool:
    """Whether this thread takes denormal numbers for zero."""
    smallest = np.frombuffer(b"\x01\x00\x00\x00", np.float32)
    return bool(smallest * np.float32(1) == 0)
