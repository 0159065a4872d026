"""40 kills, half of them in a write call; `make soak` has 300."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.interrupted import kill_elsewhere


@pytest.mark.parametrize(("name", "count"), [("training", 24), ("evaluation", 14), ("study in processes", 2)])
def test_killed_work_that_is_repeated_ends_bit_exactly(name: str, count: int, tmp_path: Path) -> None:
    assert kill_elsewhere(name, count, tmp_path) == 0
