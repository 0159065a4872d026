"""Finds or makes the run folder of a recipe: a finished run, one that reuses another's training, or a training.

`run_one` is a generator of events. If it is closed during training, it saves a checkpoint. The same recipe then resumes
from there; a killed run resumes from its last checkpoint.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

from convoy.events import Control, Ended, Event, Note, OpenTest
from convoy.recipe import Recipe
from convoy.recipe.faults import Fault
from convoy.run_contents import RunState
from convoy.runs import Workspace
from convoy.text import gettext as _
from convoy.training.machine.denormals import denormals_as_zero
from convoy.training.machine.threads import restored_threads
from convoy.training.run import faults, reuse
from convoy.training.run.failures import Failures
from convoy.training.run.plan import plan
from convoy.training.run.training import Training

WAITING_SECONDS = 0.5  # between two checks whether another process still trains the run


def run_one(
    recipe: Recipe,
    out: str | Path,
    *,
    fresh: bool = False,
    test: OpenTest = True,
    until: int | None = None,
    control: Callable[[], Control] = lambda: Control.CONTINUE,
) -> Iterator[Event]:
    """Trains a recipe into OUT/runs, resumes its unfinished run, or finds its finished one.

    `control` is called at every record: on PAUSE the run saves itself and ends, to be resumed later; on PRUNE it ends
    permanently, unless it is requested again. With `until` it is pruned after exactly that many epochs, even if the
    caller answers late. The last event is `Ended`. Raises ValueError, before anything is written: the recipe cannot be
    trained.
    """
    ready = plan(recipe)
    if test is not True:
        faults.check_test_closed(recipe, allowed=(Fault.SELECTION_ON_TEST,) if test == "by fault" else ())
    test = test is True and ready.prepared.fold is None  # with folds the test set stays closed
    workspace = Workspace(out)
    existing = workspace.find(ready.fingerprint)
    if existing is not None and existing.finished and not fresh:
        # An archived run has no weights to score the test set with: retrain it.
        fresh = existing.is_archived and test and ready.prepared.test is not None and "test" not in existing.scores
        if not fresh:
            with Failures(existing, recipe):
                yield from reuse.finished_run(existing, ready, workspace, test=test)
            return
    recipe = ready.recipe
    run = workspace.open_run(recipe, ready.fingerprint)
    if (lock := run.lock()) is None:
        yield Note(_("{run} is being trained by another process; waiting for it", run=run.path))
        while (lock := run.lock()) is None:
            if control() is not Control.CONTINUE:
                text = _("stopped while waiting for another process; repeat the command to continue")
                yield Ended(text, run.path, RunState.INTERRUPTED)
                return
            time.sleep(WAITING_SECONDS)
    try:
        with Failures(run, recipe) as failures:
            if run.finished and not fresh:  # by another process in the meantime
                yield from reuse.finished_run(run, ready, workspace, test=test)
                return
            twin = None if fresh or until else reuse.twin_of(ready, workspace)
            if twin is not None:
                yield from reuse.run_from_twin(run, ready, twin, workspace, test=test)
                return
            if fresh or not (run.path / "data.json").is_file():  # the rest of a deleted run cannot be resumed
                run.clear()
            with denormals_as_zero(), restored_threads():
                training = Training(run, ready, workspace, failures)
                yield from training.events(test=test, until=until, control=control)
    finally:
        lock.release()
