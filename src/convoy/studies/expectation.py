"""Reports the expected time of a study's runs once, as soon as the speed of the first runs is known."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from convoy.events import Ended, Event, Note, Progress
from convoy.studies.session import Show
from convoy.text import gettext as _
from convoy.text import ngettext

TIMED_SECONDS = 5.0  # training time before the estimate
MIN_SECONDS = 10.0  # shorter times are not reported


class Expectation:
    """Passes the events of runs to `show`, and adds one note on the expected time.

    `work` is the work of each run by position, in any unit; `full` is the work of complete runs if not all runs are
    trained to the end. The estimate ignores scoring, the start of workers and different speeds of runs.
    """

    def __init__(
        self,
        show: Show,
        work: Sequence[float],
        full: Sequence[float] | None = None,
        *,
        at_most: bool = False,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._show, self._left, self._full, self._at_most = show, [*work], full or [*work], at_most
        self._clock = clock
        self._first: dict[int, float] = {}  # completed fraction of a run at its first event
        self._done: dict[int, float] = {}  # work since then
        self._started_at: float | None = None
        self._printed = False

    def __call__(self, position: int, event: Event) -> None:
        self._show(position, event)
        if self._printed:
            return
        if isinstance(event, Progress):
            if self._started_at is None:
                self._started_at = self._clock()
            share = event.images / event.total
            self._done[position] = (share - self._first.setdefault(position, share)) * self._full[position]
            seconds = self._clock() - self._started_at
            if seconds >= TIMED_SECONDS and (done := sum(self._done.values())):
                self._printed = True
                self._report(seconds / done * max(0.0, sum(self._left) - done))
        elif isinstance(event, Ended) and position not in self._done:  # was already finished
            self._left[position] = 0.0

    def _report(self, seconds: float) -> None:
        if seconds < MIN_SECONDS:
            return
        count, time_left = sum(work > 0 for work in self._left), _rounded(seconds)
        text = _("{n} runs: about {time} left", n=count, time=time_left)
        if self._at_most:
            text = _("{n} runs: about {time} left at most", n=count, time=time_left)
        self._show(0, Note(text, of_study=True))


def _rounded(seconds: float) -> str:
    if seconds < 90:
        return _("{n} seconds", n=10 * round(seconds / 10))
    if seconds < 90 * 60:
        return ngettext("{n} minute", "{n} minutes", round(seconds / 60))
    return _("{n:.1f} hours", n=seconds / 3600)
