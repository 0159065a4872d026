"""Flushes denormal numbers (below 1.2e-38 in float32) to zero while a network trains.

They do not affect results, but arithmetic with them is many times slower. They are common late in training: once
gradients have vanished, a tenth of Adam's first moments are denormal. benchmarks/denormals.py measures the cost.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

_this_thread = threading.local()  # counts nested contexts


@contextmanager
def denormals_as_zero() -> Iterator[None]:
    """Affects this thread and threads created within the context; threads of torch's pool keep their mode.

    Restores the previous mode on exit. Has no effect on processors without this mode.
    """
    depth = getattr(_this_thread, "depth", 0)
    if depth == 0:
        _this_thread.before = flushes_denormals()
        torch.set_flush_denormal(True)
    _this_thread.depth = depth + 1
    try:
        yield
    finally:
        _this_thread.depth -= 1
        if _this_thread.depth == 0:
            torch.set_flush_denormal(_this_thread.before)


def flushes_denormals() -> bool:
    """Whether this thread treats denormal numbers as zero."""
    smallest = np.frombuffer(b"\x01\x00\x00\x00", np.float32)
    return bool(smallest * np.float32(1) == 0)
