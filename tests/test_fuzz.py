"""A few changed files for each parser; `make fuzz` has millions."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from tests.fuzz_targets import TARGETS, Target, check

EXAMPLES = 40


def changed(target: Target) -> st.SearchStrategy[bytes]:
    """A valid file of which a part is deleted or replaced, and any bytes."""

    @st.composite
    def edited(draw: st.DrawFn) -> bytes:
        content = draw(st.sampled_from(list(target.seeds())))
        for _ in range(draw(st.integers(0, 3))):
            start, count = draw(st.integers(0, len(content))), draw(st.integers(0, 8))
            content = content[:start] + draw(st.binary(max_size=8)) + content[start + count :]
        return content[: draw(st.none() | st.integers(0, len(content)))]

    return edited() | st.binary(max_size=64)


@pytest.mark.parametrize("name", TARGETS)
def test_a_damaged_file_is_only_a_data_error(name: str, tmp_path: Path) -> None:
    target = TARGETS[name]

    @seed(0)
    @settings(max_examples=EXAMPLES, database=None, suppress_health_check=list(HealthCheck))
    @given(changed(target))
    def check_changed(content: bytes) -> None:
        check(target, content, tmp_path / "input")

    for content in target.seeds():
        check(target, content, tmp_path / "input")
    check_changed()
