"""Runs that need no training: finished runs, and runs whose faults affect only the final scores.

The steps and epochs of a run with such faults are bit-identical to those of the same recipe without them. Such a run
copies the trained files of the other and computes only the final scores.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, replace

from convoy.events import Ended, Event, Note
from convoy.files import reading_once, write_json
from convoy.recipe import few_images
from convoy.recipe.faults import Fault
from convoy.record import contradictions, own_openings
from convoy.run_contents import RunState
from convoy.runs import Run, Workspace
from convoy.text import gettext as _
from convoy.training.run import finish, lines
from convoy.training.run.fault_checks import context_of
from convoy.training.run.plan import Plan

COPIED_FILES = (
    "best.safetensors",
    "last.safetensors",
    "steps.npz",
    "metrics.jsonl",
    "arrays.npz",
    "environment.json",
    "doctor.json",
)


def finished_run(run: Run, plan: Plan, workspace: Workspace, *, test: bool) -> Iterator[Event]:
    """Reports a finished run. Scores the test set if the run was trained with --no-test.

    Raises ValueError if its files have changed or contradict each other.
    """
    run.record_files()
    _check(run)
    finish.delete_checkpoints(run)  # left by a process that was killed after the run had finished
    scores = run.scores
    if not run.is_archived and plan.prepared.test is not None:
        own = own_openings(scores, run.metrics, run.data)
        count_openings(run, workspace, plan.prepared.test.content_hash, own)
    if test and plan.prepared.test is not None and "test" not in scores:
        started_at = time.perf_counter()
        with run.updating():
            module = plan.network_with(run.file("best.safetensors"))
            epoch = finish.kept_epoch(plan, run.status.best_epoch, run.status.steps)
            opened = finish.open_test(run, plan, module, workspace, epoch=epoch)
            seconds = (run.cost.total_seconds or 0.0) + time.perf_counter() - started_at
            run.update("cost.json", total_seconds=seconds)
        scores = run.scores
        yield Note(opened)
    for note in (*few_images.sentences(plan.recipe), *run.flags, *lines.chance_levels(run)):
        yield Note(note)
    yield Ended(lines.already_trained(run, scores), run.path, RunState.FINISHED, cached=True)


def _check(run: Run) -> None:
    """Raises ValueError if files of the run have changed or contradict each other."""
    with reading_once():
        run.check_files()
        for contradiction in contradictions(run):
            raise ValueError(
                _(
                    "{contradiction}; delete {path}, or use --fresh, to train the run again",
                    contradiction=contradiction,
                    path=run.path,
                )
            )


def count_openings(run: Run, workspace: Workspace, data_hash: str, count: int) -> None:
    """Adds a run's test set openings from another workspace to the count of this one. No opening is counted twice."""
    for _opening in range(count - workspace.openings().get(data_hash, []).count(run.name)):
        openings = workspace.record_opening(data_hash, run.name)
        with run.updating():
            run.update("data.json", test_openings=openings)


def copied_run(run: Run, plan: Plan, source: Run, workspace: Workspace, *, test: bool) -> Iterator[Event]:
    for text in _copy_and_score(run, plan, source, workspace, test=test):
        run.log(text)
        yield Note(text)
    yield Ended(_("run folder: {run}", run=run.path), run.path, RunState.FINISHED)


def run_to_copy(plan: Plan, workspace: Workspace) -> Run | None:
    """Returns the finished run without the faults that affect only scores, if it still has its weights."""
    faults = plan.recipe.protocol.faults
    if any(fault.info.opens_test for fault in faults):  # also changes the test scores during training
        return None
    others = [fault for fault in faults if not _affects_only_scores(fault, plan)]
    if len(others) == len(faults):
        return None
    source = workspace.find(replace(plan, recipe=plan.recipe.override({"protocol.faults": others})).fingerprint)
    return source if source is not None and source.finished and not source.is_archived else None


def _affects_only_scores(fault: Fault, plan: Plan) -> bool:
    return fault.info.only_scores or fault.info.has_no_effect(context_of(plan.recipe, plan.prepared))


def _copy_and_score(run: Run, plan: Plan, source: Run, workspace: Workspace, *, test: bool) -> Iterator[str]:
    """Finishes `run` with the training of `source`. Yields console lines."""
    run.clear()
    label, seed = plan.recipe.label, plan.recipe.seed
    run.write_status(label=label, seed=seed, flags=plan.flags)
    for name in COPIED_FILES:
        if (source.path / name).is_file():
            shutil.copyfile(source.file(name), run.path / name)
    if (source.path / "weights").is_dir():
        for path in (source.path / "weights").iterdir():
            source.check_file(f"weights/{path.name}")
        shutil.copytree(source.path / "weights", run.path / "weights")
    write_json(run.path / "data.json", asdict(finish.describe_data(plan, 0)))
    finish.copy_code(run, plan)
    yield _("already trained: {run}; the faults affect only the final scores", run=source.path)
    yield from (*plan.flags, *plan.notes)
    status = source.status
    module = plan.network_with(run.file("best.safetensors"))
    epoch = finish.kept_epoch(plan, status.best_epoch, status.steps)
    finish.score_held_out(run, plan, module, epoch)
    if test and plan.prepared.test is not None:
        yield finish.open_test(run, plan, module, workspace, epoch=epoch)
    yield from (flag for flag in run.status.flags if flag not in plan.flags)
    yield from lines.chance_levels(run)
    shutil.copyfile(source.file("cost.json"), run.path / "cost.json")
    run.update("cost.json", flops_per_image=finish.reported_flops(2 * (source.cost.macs_per_image or 0), plan))
    if (train_score := source.train_score) is not None:
        run.write_score("train", train_score)
    run.finish(
        stopped=status.stopped,
        reason=status.reason,
        epochs=status.epochs,
        steps=status.steps,
        best_epoch=status.best_epoch,
    )
