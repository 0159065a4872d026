"""The thread count of a run: fixed when it starts, so that the same command gives the same weights.

Another count adds the terms of a sum in another order and changes the last bits of the weights. Other load therefore
never changes the count; `convoy.process.limit_spinning` limits how much a busy machine slows a run down.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch

from convoy.process import cores


def fix_threads(setting: int | Literal["auto"], *, started_with: int | None = None) -> int:
    """Sets torch's thread count for a run and returns it.

    "auto" is the count that a resumed run was `started_with`, if this machine has as many cores; otherwise torch's own:
    all cores that the process may use, one in a worker process.
    """
    count = torch.get_num_threads()
    if setting != "auto":
        count = setting
    elif started_with is not None and 1 <= started_with <= max(cores(), count):
        count = started_with
    torch.set_num_threads(count)
    return count


@contextmanager
def restored_threads() -> Iterator[None]:
    """Gives the process its thread count back when a run ends."""
    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)
