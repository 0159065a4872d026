"""The thread count of a run: fixed when it starts, so that the same command gives the same weights.

With another thread count, sums are computed in another order, which changes the last bits of the weights. The count
therefore does not depend on the load of the machine; `convoy.process.limit_spinning` limits how much other load slows a
run down.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch

from convoy.process import cores


def fix_threads(setting: int | Literal["auto"], *, started_with: int | None = None, default: int | None = None) -> int:
    """Sets torch's thread count for a run and returns it.

    "auto" uses the count that a resumed run was `started_with`, if this machine has enough cores; otherwise `default`.
    None means torch's default: all cores that the process may use, or one in a worker process.
    """
    count = torch.get_num_threads() if default is None else default
    if setting != "auto":
        count = setting
    elif started_with is not None and 1 <= started_with <= max(cores(), count):
        count = started_with
    torch.set_num_threads(count)
    return count


@contextmanager
def restored_threads() -> Iterator[None]:
    """Restores the process's thread count at the end of a run."""
    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)
