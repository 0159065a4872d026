"""The process of a tracker: reads the names of runs and copies new results from their folders to the tracker.

arguments:  name of the tracker, its folder or project ("": the default)
in:         {"run": "PATH", "group": "NAME of the study" or null}, one JSON line each; after the last, runs are closed
out:        {"view": "..."} or {"error": "one line"}
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TextIO

from convoy.process import apply_niceness_to_session
from convoy.run_contents import RunState
from convoy.runs import Run
from convoy.tracking import TRACKERS
from convoy.tracking.contents import Head, Tracker, curves_of, head_of, results_of

NICENESS = 5  # training has priority


@dataclass
class _Tracked:
    tracker: Tracker
    head: Head
    epochs: int = 0  # written so far
    is_open: bool = True


class Writer:
    def __init__(self, tracker: type[Tracker], place: str) -> None:
        self._tracker, self._place = tracker, place
        self._runs: dict[Path, _Tracked] = {}

    def update(self, path: Path, group: str | None) -> None:
        """Writes the epochs that finished since the last call and, at the end of the run, its results."""
        run = Run(path)
        finished = run.status.state == RunState.FINISHED
        if path not in self._runs:
            head = head_of(run, group, self._place)
            self._runs[path] = _Tracked(self._tracker(head), head)
        tracked = self._runs[path]
        if not tracked.is_open:
            return
        for metrics in run.metrics[tracked.epochs :]:
            tracked.tracker.log(curves_of(metrics), metrics.epoch, tracked.head.started + metrics.total_seconds)
            tracked.epochs = metrics.epoch
        if finished:
            tracked.is_open = False
            tracked.tracker.close(results_of(run, tracked.head.started))

    def close(self) -> str:
        """Closes the runs that are not finished. Returns the command or URL that shows the last run."""
        for tracked in self._runs.values():
            if tracked.is_open:
                tracked.tracker.close(None)
        return tracked.tracker.view if self._runs else ""


def main() -> None:
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # output of the library must not be read as an answer
    if hasattr(os, "nice"):
        os.nice(NICENESS)
        apply_niceness_to_session()
    name, place = sys.argv[1:]
    try:
        _write(name, place, answers)
    except Exception as error:  # libraries fail in many ways
        text = f"{type(error).__name__}: {' '.join(str(error).split())}"
        if isinstance(error, OSError) and error.strerror:
            text = f"{error.filename or place}: {error.strerror}"
        json.dump({"error": text}, answers)
        answers.flush()
        os._exit(1)  # skips the library's clean-up, which may wait for a network


def _write(name: str, place: str, answers: TextIO) -> None:
    module, _colon, tracker = TRACKERS[name].tracker.partition(":")
    writer = Writer(getattr(import_module(module), tracker), place)
    for message in map(json.loads, sys.stdin):
        writer.update(Path(message["run"]), message["group"])
    json.dump({"view": writer.close()}, answers)
    answers.flush()


if __name__ == "__main__":
    main()
