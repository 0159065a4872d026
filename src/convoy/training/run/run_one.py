"""Trains one recipe into one run folder: calls the loop, and handles stop rules, checkpoints and the log.

`run_one` is a generator of events. If it is closed during training, it saves a checkpoint. The same recipe then resumes
from there; a killed run resumes from its last checkpoint.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from convoy.checkpoint import load_checkpoint, save_checkpoint, save_weights
from convoy.data.augment import build as build_augmentation
from convoy.data.batches import Batches
from convoy.evaluation.cost import PeakMemory
from convoy.events import Control, Ended, EpochEnded, Event, Note, OpenTest, Progress, Started
from convoy.files import write_arrays, write_json
from convoy.recipe import Recipe
from convoy.recipe.faults import Fault
from convoy.run_contents import RunState, StopReason
from convoy.runs import Run, Workspace, model_label
from convoy.training.machine.autosave import Autosave
from convoy.training.machine.denormals import denormals_as_zero
from convoy.training.machine.device import precision_notes
from convoy.training.machine.environment import describe
from convoy.training.machine.memory import MemoryRetention
from convoy.training.machine.threads import fix_threads, restored_threads
from convoy.training.run import faults, finish, finished, lines, reloaded, reuse, stopping
from convoy.training.run.failures import Failures
from convoy.training.run.ledger import Ledger
from convoy.training.run.plan import Plan, plan
from convoy.training.run.revisions import TRAINING_REVISION
from convoy.training.run.scoring import score_training
from convoy.training.run.selection import Selection
from convoy.training.step.loop import Record, train
from convoy.training.step.probe import StepProbe
from convoy.training.step.schedules import horizon_of, lr_factor

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
                yield from finished.finished_run(existing, ready, workspace, test=test)
            return
    recipe = ready.recipe
    run = workspace.open_run(recipe, ready.fingerprint)
    if (lock := run.lock()) is None:
        yield Note(f"{run.path} is being trained by another process; waiting for it")
        while (lock := run.lock()) is None:
            if control() is not Control.CONTINUE:
                text = "stopped while waiting for another process; repeat the command to continue"
                yield Ended(text, run.path, RunState.INTERRUPTED)
                return
            time.sleep(WAITING_SECONDS)
    try:
        with Failures(run, recipe) as failures:
            if run.finished and not fresh:  # by another process in the meantime
                yield from finished.finished_run(run, ready, workspace, test=test)
                return
            twin = None if fresh or until else reuse.twin_of(ready, workspace)
            if twin is not None:
                yield from finished.run_from_twin(run, ready, twin, workspace, test=test)
                return
            if fresh or not (run.path / "data.json").is_file():  # the rest of a deleted run cannot be resumed
                run.clear()
            with denormals_as_zero(), restored_threads():
                training = _Training(run, ready, workspace, failures, fresh=fresh)
                yield from training.events(test=test, until=until, control=control)
    finally:
        lock.release()


class _Training:
    """A run in progress: its network, its batches and its ledger."""

    def __init__(self, run: Run, ready: Plan, workspace: Workspace, failures: Failures, *, fresh: bool) -> None:
        self.run, self.ready, self.workspace, self.failures, self.fresh = run, ready, workspace, failures, fresh
        recipe = self.recipe = ready.recipe
        self.memory = MemoryRetention()
        self.device = ready.device
        self.peak = PeakMemory(self.device)
        torch.use_deterministic_algorithms(recipe.compute.deterministic and self.device.type == "cuda", warn_only=True)
        self.faults = recipe.protocol.faults
        self.learner = ready.learner()
        self.batches = Batches(
            ready.prepared.train if ready.resplit is None else ready.resplit,
            batch_size=recipe.train.batch_size,
            seed=recipe.seed,
            normaliser=ready.normaliser,
            augmentation=build_augmentation(recipe.data.augment),
            sampling=recipe.data.sampling,
        )
        self.steps_per_epoch = self.batches.steps_per_epoch
        self.ledger = Ledger()
        self.steps: dict[str, list[np.ndarray]] = {"loss": [], "lr": [], "grad_norm": []}
        self.probe = StepProbe(recipe.probe.every_steps, recipe.seed) if recipe.probe.every_steps else None
        self.best: dict[str, torch.Tensor] = {}  # the weights of the ledger's best epoch; empty in the first
        self.best_outputs: np.ndarray | None = None  # their outputs for the first selection images

    def events(self, *, test: bool, until: int | None, control: Callable[[], Control]) -> Iterator[Event]:
        epochs = self.recipe.train.epochs
        resumed = self._resume()
        before = self.run.environment if resumed else {}
        fix_threads(self.recipe.compute.threads, started_with=before.get("threads"))
        if self.ledger.step == 0:
            self._keep_on_path(0)
        self.selection = Selection(self.run, self.ready, self.workspace, resumed=resumed)
        self._describe(before)
        yield self._say(Started(lines.start(self.ready, self.device, resumed)))
        for note in (*self.flags, *precision_notes(self.recipe), *self.ready.prepared.notes, *self.ready.start_notes):
            yield self._say(Note(note))
        self.begun = time.perf_counter() - self.ledger.total_seconds
        self.autosave = Autosave(time.perf_counter())
        reason = self._stopped_before()
        try:
            for record in self._records(min(epochs, until or epochs)) if reason is None else ():
                self.failures.check_folder()
                self._add(record)
                self._update_total_seconds()
                progress = self._progress(record)
                # Complete the step before the caller can close this generator, which saves the run.
                ended = self._end_epoch(record) if record.epoch_ended else None
                yield progress
                reason = stopping.diverged(self.ledger)
                if ended is not None:
                    yield ended
                    reason = reason or stopping.at_epoch_end(
                        self.recipe.stop, self.ledger, record.epoch + 1, self.faults
                    )
                reason = reason or stopping.out_of_time(self.recipe.stop, self.ledger)
                if reason:
                    break
                if (answer := control()) is not Control.CONTINUE:
                    text = self._interrupt() if answer is Control.PAUSE else self._prune()
                    yield self._say(Ended(text, self.run.path, self.run.state))
                    return
                if self.autosave.due(time.perf_counter()):
                    self._save()
                self.memory.trim()
            if reason is None and until is not None and until < epochs:
                yield self._say(Ended(self._prune(), self.run.path, RunState.PRUNED))
                return
            self._save()
        except GeneratorExit:
            self._interrupt()
            raise
        reason = reason or StopReason.EPOCHS
        if self.ledger.skipped_in_a_row:
            last = self.ledger.skipped_in_a_row
            flag = f"the last {f'{last} steps were' if last > 1 else 'step was'} not finite and skipped"
            self.flags.append(flag)
            self.run.write_status(flags=self.flags)
            yield self._say(Note(flag))
        yield self._say(Note(f"stopped: {lines.stopped(reason, self.recipe, self.ledger)}"))
        yield from self._finish(reason, test=test)

    def _records(self, epochs: int) -> Iterator[Record]:
        spec, ledger = self.recipe.schedule, self.ledger
        horizon = horizon_of(self.steps_per_epoch, self.recipe.train.epochs, self.faults)
        return train(
            self.learner,
            self.batches,
            lambda step: lr_factor(spec, step, horizon, ledger.selection_losses),
            seed=self.recipe.seed,
            epochs=epochs,
            start=ledger.step,
            probe=self.probe,
        )

    def _stopped_before(self) -> StopReason | None:
        """The stop rule that a resumed run had already met, if it was interrupted in its last evaluation."""
        metrics, reason = self.run.metrics, stopping.diverged(self.ledger)
        if metrics and self.ledger.step == metrics[-1]["step"]:
            reason = reason or stopping.at_epoch_end(self.recipe.stop, self.ledger, metrics[-1]["epoch"], self.faults)
        return reason or stopping.out_of_time(self.recipe.stop, self.ledger)

    def _update_total_seconds(self) -> None:
        """Includes evaluations and the time before a resume."""
        self.ledger.total_seconds = time.perf_counter() - self.begun

    def _add(self, record: Record) -> None:
        self.ledger.add(record)
        self.steps["loss"].append(record.loss)
        self.steps["grad_norm"].append(record.grad_norm)
        self.steps["lr"].append(record.lr_factor * np.float32(self.recipe.optim.lr))

    def _end_epoch(self, record: Record) -> Event:
        """Scores the selection part, saves the weights if they are the best, writes the epoch's line."""
        ledger, epoch = self.ledger, record.epoch + 1
        line: dict[str, Any] = {
            "epoch": epoch,
            "step": record.step,
            "lr": float(record.lr_factor[-1]) * self.recipe.optim.lr,
            **ledger.epoch_line(self.steps_per_epoch, self.faults),
            "best": True,
            **self.selection.end_epoch(self.learner.network, ledger, epoch),
        }
        if line["best"]:
            self._keep_best()
            self.best_outputs = self.selection.outputs
        self._keep_on_path(epoch)
        ledger.begin_epoch()
        self.run.append_metrics(line)
        text = lines.epoch(line, self.recipe.train.epochs, self.ready.selection)
        return self._say(EpochEnded(text, epoch, line.get(f"{self.ready.selection}_accuracy")))

    def _keep_best(self) -> None:
        weights = self.learner.network.state_dict()
        self.best = {name: tensor.detach().to("cpu", copy=True) for name, tensor in weights.items()}
        save_weights(self.run.path / "best.safetensors", self.best)

    def _keep_on_path(self, epoch: int) -> None:
        if self.recipe.probe.keep_weights:
            save_weights(self.run.path / "weights" / f"epoch-{epoch:05}.safetensors", self.learner.network.state_dict())

    def _finish(self, reason: StopReason, *, test: bool) -> Iterator[Event]:
        run, ready, ledger = self.run, self.ready, self.ledger
        self.failures.check_folder()
        flags, outputs = run.status.flags, None
        kept_epoch = finish.kept_epoch(ready, ledger.best_epoch, ledger.step)
        if finish.keeps_the_last(ready, ledger.best_epoch):
            self._keep_best()
        elif ledger.best_epoch < len(run.metrics):
            save_weights(run.path / "last.safetensors", self.learner.network.state_dict())
        if ready.selection is None or finish.keeps_the_last(ready, ledger.best_epoch):
            outputs = reloaded.outputs(ready, self.learner.network, kept_epoch)
        module = ready.network_with(run.file("best.safetensors"))
        finish.score_held_out(run, ready, module, kept_epoch)
        if ready.prepared.fold is not None:
            yield self._say(Note(lines.held_out(run.scores["fold"])))
        finish.save_arrays(run, module, {} if self.probe is None else self.probe.arrays)
        if test and ready.prepared.test is not None:
            yield self._say(Note(finish.open_test(run, ready, module, self.workspace, epoch=kept_epoch)))
        if outputs is not None:
            difference = reloaded.difference(outputs, reloaded.outputs(ready, module, kept_epoch))
        else:
            difference = reloaded.since_selection(run, ready, self.best_outputs)
        if difference is not None:
            finish.add_flag(run, difference.sentence)
        for note in (*run.status.flags, *lines.chance_levels(run)):
            if note not in flags:
                yield self._say(Note(note))
        self._update_total_seconds()
        finish.measure_cost(run, ready, module, asdict(ledger), self.peak.bytes())
        run.write_score("train", score_training(ready, module))  # last: not part of the run's cost
        self.failures.check_folder()
        steps, best_epoch = ledger.step, ledger.best_epoch
        text = lines.stopped(reason, self.recipe, ledger)
        run.finish(reason=text, stopped=reason, epochs=len(run.metrics), steps=steps, best_epoch=best_epoch)
        # No longer needed; with the optimizer's state they are several times the size of the weights.
        shutil.rmtree(run.path / "checkpoints", ignore_errors=True)
        yield self._say(Ended(f"run folder: {run.path}", run.path, RunState.FINISHED))

    def _resume(self) -> bool:
        """Loads the newest valid checkpoint and truncates the logs to it; False if there is none."""
        state = load_checkpoint(self.run.path / "checkpoints")
        if state is None:
            self.run.cut_metrics(0)
            return False
        self.learner.load(state["learner"])
        self.best = state["best"]
        self.best_outputs = None if (outputs := state.get("outputs")) is None else outputs.numpy()
        if self.best:  # epochs after the checkpoint may have written other weights
            save_weights(self.run.path / "best.safetensors", self.best)
        self.ledger = Ledger(**state["ledger"])
        if self.probe is not None:
            self.probe.load(state["probe"])
        self.run.cut_metrics(self.ledger.step // self.steps_per_epoch)
        steps = self.run.steps
        if any(len(steps.get(name, ())) < self.ledger.step for name in self.steps):
            hint = "delete the folder or use --fresh to train it again"
            raise ValueError(f"{self.run.path / 'steps.npz'} has fewer steps than the checkpoint; {hint}")
        self.steps = {name: [values[: self.ledger.step]] for name, values in steps.items()}
        return True

    def _save(self) -> None:
        begun = time.perf_counter()
        self.failures.check_folder()
        self._update_total_seconds()
        steps = {name: np.concatenate([*values, np.empty(0, np.float32)]) for name, values in self.steps.items()}
        write_arrays(self.run.path / "steps.npz", steps)
        outputs = None if self.best_outputs is None else torch.from_numpy(self.best_outputs)
        state = {"learner": self.learner.state(), "ledger": asdict(self.ledger), "best": self.best, "outputs": outputs}
        if self.probe is not None:
            state["probe"] = self.probe.state()
        save_checkpoint(self.run.path / "checkpoints", self.ledger.step, state)
        self.autosave.saved(begun, time.perf_counter())

    def _interrupt(self) -> str:
        self._save()
        self.run.write_status(state=RunState.INTERRUPTED, reason=f"stopped at step {self.ledger.step}")
        without = " without --fresh" if self.fresh else ""
        return f"stopped at step {self.ledger.step:,} and saved; repeat the command{without} to resume"

    def _prune(self) -> str:
        self._save()
        reason = f"pruned at epoch {len(self.run.metrics)}"
        self.run.write_status(state=RunState.PRUNED, reason=reason)
        return reason

    def _describe(self, before: Mapping[str, Any]) -> None:
        """`before`: the previous environment of a resumed run, otherwise empty."""
        run, ready = self.run, self.ready
        environment = describe(self.device, ready.recipe, before) | {"training_revision": TRAINING_REVISION}
        self.flags = [*ready.flags, *lines.resumed_elsewhere(environment["resumed_with"])]
        write_json(run.path / "environment.json", environment)
        write_json(run.path / "data.json", finish.describe_data(ready, self.selection.openings))
        finish.copy_code(run, ready)
        label, seed = model_label(ready.recipe), ready.recipe.seed
        run.write_status(state=RunState.RUNNING, reason="", label=label, seed=seed, flags=self.flags)

    def _progress(self, record: Record) -> Progress:
        epochs, per_epoch = self.recipe.train.epochs, self.batches.images_per_epoch
        loss, seconds = float(record.loss.mean()), max(record.seconds, 1e-9)
        return Progress(
            epoch=record.epoch + 1,
            epochs=epochs,
            images=record.epoch * per_epoch + (self.ledger.epoch_images or per_epoch),
            total=epochs * per_epoch,
            loss=loss if math.isfinite(loss) else None,
            accuracy=record.correct / record.images,
            images_per_second=record.images / seconds,
            batches_per_second=len(record.loss) / seconds,
        )

    def _say(self, event: Started | EpochEnded | Note | Ended) -> Event:
        self.run.log(event.text)
        return event
