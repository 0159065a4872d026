from __future__ import annotations

import subprocess
import sys

import pytest

COUNT_FAULTS = """
import resource, torch
from convoy.training.memory import keep_freed_memory
assert keep_freed_memory()
def faults(): return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def use(): return len([torch.ones(20 << 20, dtype=torch.uint8) for _ in range(12)])
for _ in range(3): use()
before = faults()
for _ in range(10): use()
print(faults() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="malloc of glibc")
def test_memory_that_is_freed_and_asked_for_again_is_not_mapped_again() -> None:
    done = subprocess.run([sys.executable, "-c", COUNT_FAULTS], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 100  # 600,000 pages of 4 KiB are used
