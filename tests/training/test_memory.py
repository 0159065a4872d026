from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from tests.forks import run_code

pytestmark = [pytest.mark.any_kernels, pytest.mark.skipif(sys.platform != "linux", reason="malloc of glibc")]

COUNT_FAULTS = """
import resource, torch
from convoy.training.machine.memory import MemoryRetention
MemoryRetention()
def faults(): return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def use(): return len([torch.ones(20 << 20, dtype=torch.uint8) for _ in range(12)])
for _ in range(3): use()
before = faults()
for _ in range(10): use()
print(faults() - before)
"""
PILE_UP = """
import json, torch
from convoy.training.machine import memory
memory.ROOM_BYTES = 100 << 20
retention = memory.MemoryRetention()
trims = [retention.trim()]
pile = [torch.ones(20 << 20, dtype=torch.uint8) for _ in range(30)]
small = [bytes(1000) for _ in range(1000)]  # above the pile, so that the heap cannot shrink
del pile
held = memory.resident_bytes()
trims += [retention.trim(), retention.trim()]
print(json.dumps([trims, (held - memory.resident_bytes()) >> 20]))
"""


def test_freed_memory_is_reused_without_being_mapped_again(tmp_path: Path) -> None:
    assert int(run_code(tmp_path, COUNT_FAULTS, []).out) < 100  # 600,000 pages of 4 KiB are used


def test_accumulated_memory_is_returned_once(tmp_path: Path) -> None:
    trims, returned_mib = json.loads(run_code(tmp_path, PILE_UP, []).out)
    assert trims == [False, True, False]
    assert returned_mib > 400
