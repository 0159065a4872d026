"""Runs that need no training: finished runs, and runs that reuse the weights of another run."""

from __future__ import annotations

import time
from collections.abc import Iterator

from convoy.counts import recount
from convoy.events import Ended, Event, Note
from convoy.run_contents import RunState
from convoy.runs import Run, Workspace
from convoy.training.run import finish, lines, reuse
from convoy.training.run.plan import Plan


def finished_run(run: Run, ready: Plan, workspace: Workspace, *, test: bool) -> Iterator[Event]:
    """Reports a finished run; scores the test set if the run was trained with --no-test."""
    run.check_files()
    if test and ready.prepared.test is not None and "test" not in run.scores:
        begun = time.perf_counter()
        with run.updating():
            module = ready.network_with(run.file("best.safetensors"))
            epoch = finish.kept_epoch(ready, run.status.best_epoch, run.status.steps)
            opened = finish.open_test(run, ready, module, workspace, epoch=epoch)
            seconds = (run.cost.total_seconds or 0.0) + time.perf_counter() - begun
            run.update("cost.json", total_seconds=seconds)
        yield Note(opened)
    scores, differences = recount(run)
    for note in (*map(str, differences), *run.status.flags, *lines.chance_levels(run)):
        yield Note(note)
    text = f"already trained: {run.path}{lines.accuracies(scores)}"
    yield Ended(text, run.path, RunState.FINISHED, cached=True)


def run_from_twin(run: Run, ready: Plan, twin: Run, workspace: Workspace, *, test: bool) -> Iterator[Event]:
    for text in reuse.score(run, ready, twin, workspace, test=test):
        run.log(text)
        yield Note(text)
    yield Ended(f"run folder: {run.path}", run.path, RunState.FINISHED)
