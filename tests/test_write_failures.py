"""Write calls that fail, a sample of those that `make soak` lets fail one by one."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.interrupted import FAILURES, Subject, spread


@pytest.mark.parametrize(("name", "most"), [("training", 5), ("evaluation", 2), ("report", 2), ("export", 3)])
@pytest.mark.usefixtures("words_alone")
def test_a_failed_write_call_is_a_one_line_error_and_the_repeated_work_ends_bit_exactly(
    name: str, most: int, tmp_path: Path
) -> None:
    subject = Subject(name, tmp_path)
    for position, call in enumerate(spread(len(subject.calls), most)):
        number, lasting = FAILURES[position % len(FAILURES)]
        subject.fail(number, call, lasting=lasting)
