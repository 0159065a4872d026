"""Where every random draw comes from: a seed that is a function of what it is for, never hidden state.

A draw depends on (seed, purpose, epoch, step, member) and on nothing that happened before it, so a resumed run and an
unbroken one draw the same numbers, and so do a member in company and the same member alone.
"""

from __future__ import annotations

from hashlib import blake2b


def derive_seed(seed: int, purpose: str, epoch: int = 0, step: int = 0, member: int = 0) -> int:
    """A 32-bit seed: torch's CPU generator ignores the high half of a longer one."""
    key = f"{seed}/{purpose}/{epoch}/{step}/{member}".encode()
    return int.from_bytes(blake2b(key, digest_size=4).digest(), "little")
