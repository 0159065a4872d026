from __future__ import annotations

import subprocess
import sys

import pytest

COUNT_FAULTS = """
import resource, sys, torch
from convoy.training.memory import keep_freed_memory
kept = sys.argv[1] == "kept" and keep_freed_memory()
def faults(): return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def use(): return len([torch.ones(20 << 20, dtype=torch.uint8) for _ in range(12)])
for _ in range(3): use()
before = faults()
for _ in range(10): use()
print(faults() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="malloc of glibc")
def test_memory_that_is_freed_and_asked_for_again_is_not_mapped_again() -> None:
    def faults(way: str) -> int:
        done = subprocess.run([sys.executable, "-c", COUNT_FAULTS, way], capture_output=True, text=True, check=True)
        return int(done.stdout)

    assert faults("kept") < 0.1 * faults("given back")
