"""The processor: its name, and the instruction sets that affect training speed."""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
FLAGS = ("amx_bf16", "avx512_bf16", "avx512f", "avx2", "bf16", "asimd")  # Linux names; the last two are ARM's
FAST_BFLOAT16 = {"amx_bf16", "avx512_bf16"}  # ARM's bf16 was not measured


@cache
def name() -> str:
    return next(iter(_values("model name")), "") or platform.processor() or platform.machine()


@cache
def flags() -> tuple[str, ...]:
    """Returns the FLAGS that the processor has; empty if unknown."""
    listed = {flag for key in ("flags", "Features") for line in _values(key) for flag in line.split()}
    return tuple(flag for flag in FLAGS if flag in listed)


def has_fast_bfloat16() -> bool:
    """Whether the processor has bfloat16 arithmetic. Others convert each number, which is much slower than float32."""
    return not FAST_BFLOAT16.isdisjoint(flags())


def _values(key: str) -> list[str]:
    try:
        lines = CPUINFO.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return []
    pairs = (line.partition(":") for line in lines)
    return [value.strip() for field, _, value in pairs if field.strip() == key]
