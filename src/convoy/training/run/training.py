"""Trains one run: calls the loop and handles stop rules, checkpoints and the log."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, replace

import numpy as np
import torch

from convoy.diagnosing.finding import SCHEMA, Severity
from convoy.diagnosing.table import TOO_SLOW
from convoy.evaluation.cost import PeakMemory
from convoy.evaluation.interruption import Interrupted, interruptible
from convoy.events import Control, Ended, EpochEnded, Event, Note, Progress, Started
from convoy.files import write_json
from convoy.run_contents import EpochMetrics, RunState
from convoy.runs import Run, Workspace
from convoy.text import gettext as _
from convoy.training.machine.autosave import Autosave
from convoy.training.machine.device import precision_notes
from convoy.training.machine.environment import describe
from convoy.training.machine.memory import MemoryRetention
from convoy.training.machine.threads import fix_threads
from convoy.training.run import finish, lines
from convoy.training.run.failures import Failures
from convoy.training.run.plan import Plan
from convoy.training.run.revisions import TRAINING_REVISION
from convoy.training.run.selection import Selection
from convoy.training.run.state import TrainingState
from convoy.training.run.stopping import ALL_EPOCHS, StopContext, StopRule, first_met
from convoy.training.step.loop import Record, train
from convoy.training.step.ranks import Command, Ranks
from convoy.training.step.schedules import horizon_of, lr_factor


class Training:
    """One run of a plan: its state, its batches, and the events that it yields."""

    def __init__(
        self, run: Run, plan: Plan, workspace: Workspace, failures: Failures, ranks: Ranks | None = None
    ) -> None:
        self.run, self.plan, self.workspace, self.failures = run, plan, workspace, failures
        self.ranks = ranks
        recipe = self.recipe = plan.recipe
        self.memory = MemoryRetention()
        self.peak = PeakMemory(plan.device)
        on_gpu = plan.device.type == "cuda"
        # Unlike use_deterministic_algorithms, this does not import the compiler.
        torch.set_deterministic_debug_mode("warn" if recipe.compute.deterministic and on_gpu else "default")
        self.findings = plan.findings  # computed here, while the network has its initial weights
        self.state = TrainingState(run, plan, ranks)
        self.batches = plan.batches()

    def events(self, *, test: bool, until: int | None, control: Callable[[], Control]) -> Iterator[Event]:
        try:
            yield from self._events(test=test, until=until, control=control)
        except Interrupted:
            yield self._interrupt()

    def _events(self, *, test: bool, until: int | None, control: Callable[[], Control]) -> Iterator[Event]:
        yield from self._start()
        epochs, ledger = self.recipe.train.epochs, self.state.ledger

        def interrupted() -> bool:
            return control() is Control.PAUSE

        try:
            if ledger.epoch_images and ledger.step % self.batches.steps_per_epoch == 0:  # interrupted in the evaluation
                yield self._end_epoch(interrupted)
            rule = self._rule_already_met()
            for record in self._records(min(epochs, until or epochs), interrupted) if rule is None else ():
                self.failures.check_folder()
                self.state.add(record)
                progress = self._progress(record)
                # End the epoch before yielding: the caller may close this generator, which saves the run.
                ended = self._end_epoch(interrupted) if record.epoch_ended else None
                yield progress
                if ended is not None:
                    yield ended
                rule = first_met(self._context(None if ended is None else ended.metrics))
                if rule is not None:
                    break
                if (request := control()) is not Control.CONTINUE:
                    yield self._interrupt() if request is Control.PAUSE else self._prune()
                    return
                if self.autosave.due(time.perf_counter()):
                    self._save()
                self.memory.trim()
            if rule is None and until is not None and until < epochs:
                yield self._prune()
                return
            self._save()
        except GeneratorExit:
            self._interrupt()
            raise
        yield from self._finish(rule or ALL_EPOCHS, interrupted, test=test)

    def _start(self) -> Iterator[Event]:
        """Resumes from a checkpoint if there is one. Writes environment, data description, code and findings."""
        run, plan, state = self.run, self.plan, self.state
        resumed = state.resume()
        before = state.environment
        started_with = None if before is None else before.threads
        if self.ranks is None:
            fix_threads(self.recipe.compute.threads, started_with=started_with)
        else:
            fix_threads(self.recipe.compute.threads, default=self.ranks.threads)
            self.ranks.announce(Command.LOAD)
            self.ranks.from_leader(state.learner.state())
        if state.ledger.step == 0:
            state.save_epoch_weights(0)
        self.selection = Selection(run, plan, self.workspace, openings=state.openings, ranks=self.ranks)
        weights = plan.weights if before is None else before.weights
        assert weights is not None or not self.recipe.model.is_pretrained
        environment = describe(plan.device, plan.recipe, before, ranks=1 if self.ranks is None else self.ranks.size)
        environment = replace(environment, training_revision=TRAINING_REVISION, weights=weights)
        state.environment = environment
        write_json(run.path / "environment.json", asdict(environment))
        write_json(run.path / "data.json", asdict(finish.describe_data(plan, self.selection.openings)))
        finish.copy_code(run, plan)
        write_json(run.path / "doctor.json", {"schema": SCHEMA, "findings": [asdict(each) for each in self.findings]})
        flags = [*plan.flags, *lines.resumed_elsewhere(environment.resumed_with)]
        label, seed = plan.recipe.label, plan.recipe.seed
        run.write_status(state=RunState.RUNNING, reason="", label=label, seed=seed, flags=flags)
        yield self._log(Started(lines.start(plan, environment, resumed), run.path, state.ledger.step))
        warnings = [
            each.sentence for each in self.findings if each.severity is Severity.WARNING or each.check == TOO_SLOW
        ]
        for note in (*flags, *warnings, *precision_notes(self.recipe), *plan.notes, *plan.start_notes):
            yield self._log(Note(note))
        state.start_clock()
        self.autosave = Autosave(time.perf_counter())

    def _records(self, epochs: int, interrupted: Callable[[], bool]) -> Iterator[Record]:
        def announced_lr_factor(step: int) -> float:
            factor = self._lr_factor(step)
            if self.ranks is not None:
                self.ranks.announce(Command.STEP, step, factor)
            return factor

        return train(
            self.state.learner,
            self.batches,
            announced_lr_factor,
            seed=self.recipe.seed,
            steps=range(self.state.ledger.step, epochs * self.batches.steps_per_epoch),
            probe=self.state.probe,
            interrupted=interrupted,
        )

    def _lr_factor(self, step: int) -> float:
        recipe = self.recipe
        horizon = horizon_of(self.batches.steps_per_epoch, recipe.train.epochs, recipe.protocol.faults)
        return lr_factor(recipe.schedule, step, horizon, self.state.ledger.selection_losses)

    def _rule_already_met(self) -> StopRule | None:
        """Returns the stop rule that a resumed run had already met when its last evaluation was interrupted."""
        metrics = self.run.metrics
        ended = metrics[-1] if metrics and self.state.ledger.step == metrics[-1].step else None
        return first_met(self._context(ended))

    def _context(self, ended: EpochMetrics | None = None) -> StopContext:
        return StopContext(self.recipe, self.state.ledger, ended)

    def _end_epoch(self, interrupted: Callable[[], bool]) -> EpochEnded:
        """Scores the part that selects the epoch, saves the weights if they are the best, writes the epoch's metrics.

        If the evaluation is interrupted, the state before it is kept, and the resumed run repeats the evaluation.
        """
        state, ledger, per_epoch = self.state, self.state.ledger, self.batches.steps_per_epoch
        epoch = ledger.step // per_epoch
        lr = float(np.float32(self._lr_factor(ledger.step - 1))) * self.recipe.optim.lr
        metrics = ledger.metrics(epoch, lr, per_epoch, self.recipe.protocol.faults)
        with self._evaluating(interrupted):
            metrics = self.selection.end_epoch(state.learner.network, ledger, metrics)
        self.failures.check_folder()
        if metrics.best:
            state.keep_best()
            state.best_outputs = self.selection.outputs
        state.save_epoch_weights(epoch)
        ledger.begin_epoch()
        state.append_metrics(metrics)
        text = lines.epoch(metrics, self.recipe.train.epochs, self.plan.selection)
        self.run.log(text)
        return EpochEnded(text, metrics, self.run.path)

    def _evaluating(self, interrupted: Callable[[], bool]) -> AbstractContextManager[None]:
        """Ends an evaluation at an interruption, unless other ranks would wait for its results."""
        return interruptible(interrupted) if self.ranks is None else nullcontext()

    def _finish(self, rule: StopRule, interrupted: Callable[[], bool], *, test: bool) -> Iterator[Event]:
        self.failures.check_folder()
        ledger = self.state.ledger
        if ledger.skipped_in_a_row:
            flag = lines.skipped_last(ledger)
            finish.add_flag(self.run, flag)
            yield self._log(Note(flag))
        sentence = rule.sentence(self._context())
        epoch = finish.kept_epoch(self.plan, ledger.best_epoch, ledger.step)
        yield self._log(Note(lines.stopped(sentence, epoch, self.plan.selection, epochs=len(self.run.metrics))))
        notes = finish.score_and_describe(self.state, self.workspace, self.peak, test=test)
        while True:
            with self._evaluating(interrupted):
                note = next(notes, None)
            if note is None:
                break
            yield self._log(Note(note))
        self.failures.check_folder()
        finish.close(self.state, rule, sentence)
        yield self._log(Ended(_("run folder: {run}", run=self.run.path), self.run.path, RunState.FINISHED))

    def _save(self) -> None:
        started_at = time.perf_counter()
        self.failures.check_folder()
        self.state.openings = self.selection.openings
        self.state.save()
        self.autosave.saved(started_at, time.perf_counter())

    def _interrupt(self) -> Event:
        self._save()
        step = self.state.ledger.step
        self.run.write_status(state=RunState.INTERRUPTED, reason=_("stopped at step {step}", step=step))
        return self._log(Ended(_("stopped at step {step:,} and saved", step=step), self.run.path, RunState.INTERRUPTED))

    def _prune(self) -> Event:
        self._save()
        reason = _("pruned at epoch {epoch}", epoch=len(self.run.metrics))
        self.run.write_status(state=RunState.PRUNED, reason=reason)
        return self._log(Ended(reason, self.run.path, RunState.PRUNED))

    def _progress(self, record: Record) -> Progress:
        epochs, per_epoch = self.recipe.train.epochs, self.batches.images_per_epoch
        loss, seconds = float(record.loss.mean()), max(record.seconds, 1e-9)
        return Progress(
            epoch=record.epoch + 1,
            epochs=epochs,
            images=record.epoch * per_epoch + (self.state.ledger.epoch_images or per_epoch),
            total=epochs * per_epoch,
            loss=loss if math.isfinite(loss) else None,
            accuracy=record.correct / record.images,
            images_per_second=record.images / seconds,
            batches_per_second=len(record.loss) / seconds,
        )

    def _log(self, event: Started | Note | Ended) -> Event:
        self.run.log(event.text)
        return event
