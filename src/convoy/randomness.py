"""Random seeds as a function of (seed, purpose, epoch, step), without hidden state.

A resumed run therefore draws the same numbers as an uninterrupted one.
"""

from __future__ import annotations

from hashlib import blake2b


def derive_seed(seed: int, purpose: str, epoch: int = 0, step: int = 0) -> int:
    """Returns a 32-bit seed, because torch's CPU generator ignores the high half of a longer seed."""
    # The trailing 0 replaces a removed index. Without it, all seeds would change.
    key = f"{seed}/{purpose}/{epoch}/{step}/0".encode()
    return int.from_bytes(blake2b(key, digest_size=4).digest(), "little")
