"""Runs a recipe: reuses its finished run, copies the training of another run, or trains.

`run_one` is a generator of events. If it is closed during training, it saves a checkpoint from which
the same recipe resumes. A killed run resumes from its last checkpoint.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

from convoy import run_files
from convoy.checkpoint import saved_step
from convoy.events import Control, Ended, Event, Note, OpenTest
from convoy.recipe import Recipe
from convoy.run_contents import RunState
from convoy.runs import Run, Workspace
from convoy.text import gettext as _
from convoy.training.machine.denormals import denormals_as_zero
from convoy.training.machine.threads import restored_threads
from convoy.training.run import fault_checks, reuse
from convoy.training.run.failures import Failures
from convoy.training.run.follow import plan_together
from convoy.training.run.plan import Plan, plan_one
from convoy.training.run.training import Training
from convoy.training.step.ranks import Ranks

WAITING_SECONDS = 0.5  # between two checks whether another process is still training the run


def run_one(
    recipe: Recipe | Plan,
    out: str | Path,
    *,
    fresh: bool = False,
    test: OpenTest = True,
    until: int | None = None,
    control: Callable[[], Control] = lambda: Control.CONTINUE,
    ranks: Ranks | None = None,
) -> Iterator[Event]:
    """Trains a recipe, or its plan, in OUT/runs, resumes its unfinished run, or reuses its finished one.

    `control` is called at every step, and also between layers, so it should be fast. On PAUSE, the run saves a
    checkpoint and ends, to be resumed later. On PRUNE, it ends at the next record and resumes only on request. With
    `until`, it is pruned after exactly that many epochs, even if `control` would ask for it later. The last event is
    `Ended`. Raises ValueError before writing anything if the recipe cannot be trained. With `ranks`, this is rank 0,
    and the other processes of torchrun `follow` it.
    """
    if isinstance(recipe, Plan):
        plan = recipe
    elif ranks is None:
        plan = plan_one(recipe)
    else:
        plan = plan_together(recipe, ranks)
    recipe = plan.recipe
    if test is not True:
        fault_checks.check_test_closed(recipe, may_select=test == "only with fault")
    test = test is True and plan.prepared.fold is None  # with folds the test set stays closed
    workspace = Workspace(out)
    existing = workspace.find(plan.fingerprint)
    if existing is not None and existing.finished and not fresh:
        # An archived run has no weights to score the test set with: retrain it.
        fresh = existing.is_archived and test and plan.prepared.test is not None and "test" not in existing.scores
        if not fresh:
            with Failures(existing, recipe):
                yield from reuse.finished_run(existing, plan, workspace, test=test)
            return
    if recipe.model.is_pretrained and (fresh or existing is None or not _has_checkpoint(existing, plan)):
        yield Note(_("loading the pretrained weights"))
        plan = plan.with_pretrained()
    run = workspace.open_run(recipe, plan.fingerprint)
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
                yield from reuse.finished_run(run, plan, workspace, test=test)
                return
            source = None if fresh or until else reuse.run_to_copy(plan, workspace)
            if source is not None:
                yield from reuse.copied_run(run, plan, source, workspace, test=test)
                return
            if fresh or not _has_checkpoint(run, plan):
                run.clear()
            run_files.remove_abandoned(run.path)
            with denormals_as_zero(), restored_threads():
                training = Training(run, plan, workspace, failures, ranks)
                yield from training.events(test=test, until=until, control=control)
    finally:
        lock.release()


def _has_checkpoint(run: Run, plan: Plan) -> bool:
    """Whether the run resumes from a checkpoint and therefore needs no initial weights."""
    return saved_step(run.path / "checkpoints", plan.fingerprint) is not None
