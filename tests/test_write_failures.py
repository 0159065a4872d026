"""Write calls that fail, a sample of those that `make soak` lets fail one by one."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.interrupted import FAILURES, Subject, spread


@pytest.mark.parametrize(("name", "most"), [("training", 5), ("evaluation", 2), ("report", 2), ("export", 3)])
@pytest.mark.usefixtures("words_alone")
def test_a_failed_write_call_is_one_clear_error_and_the_same_work_then_ends_in_the_unbroken_bits(
    name: str, most: int, tmp_path: Path
) -> None:
    subject = Subject(name, tmp_path)
    for position, call in enumerate(spread(len(subject.calls), most)):
        number, lasting = FAILURES[position % len(FAILURES)]
        subject.fail(number, call, lasting=lasting)
