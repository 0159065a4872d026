from __future__ import annotations

import re
from pathlib import Path

import pytest

from convoy.events import Ended, Event, Note, Progress
from convoy.run_contents import RunState
from convoy.studies.expectation import Expectation


def progress(images: int, total: int = 1000) -> Progress:
    return Progress(1, 10, images, total, 0.5, 0.9, 100.0, 1.0)


def notes(
    work: list[float], events: list[tuple[float, int, Event]], full: list[float] | None = None
) -> list[list[str]]:
    """The numbers and units of the notes after events at (second, position)."""
    seconds, shown = 0.0, []
    expectation = Expectation(lambda position, event: shown.append(event), work, full, clock=lambda: seconds)
    for second, position, event in events:
        seconds = second
        expectation(position, event)
    assert [event for event in shown if not isinstance(event, Note)] == [event for _, _, event in events]
    return [re.findall(r"\d+|second|minute", event.text) for event in shown if isinstance(event, Note)]


def test_the_remaining_time_is_printed_once() -> None:
    # After 5 s, two workers have done 8 % of 100 units each: 3.2 units/s, and 284 are left.
    events = [(float(second), second % 2, progress(20 * second)) for second in range(12)]
    assert notes([100.0, 100.0, 100.0], events) == [["3", "90", "second"]]


def test_an_already_finished_run_is_not_counted() -> None:
    found = Ended("already trained", Path("run"), RunState.FINISHED, cached=True)
    events = [(0.0, 1, found), (0.0, 0, progress(0)), (6.0, 0, progress(100))]
    assert notes([100.0, 100.0, 900.0], events) == [["2", "10", "minute"]]


def test_resumed_and_partial_runs_are_counted_from_their_first_step() -> None:
    events: list[tuple[float, int, Event]] = [(0.0, 0, progress(500)), (6.0, 0, progress(600))]
    assert notes([3.0, 3.0], events, full=[10.0, 10.0]) == [["2", "30", "second"]]


@pytest.mark.parametrize("last", [(4.0, 100), (6.0, 950)])
def test_nothing_is_printed_before_the_speed_is_known_or_for_seconds(last: tuple[float, int]) -> None:
    assert not notes([100.0], [(0.0, 0, progress(0)), (last[0], 0, progress(last[1]))])
