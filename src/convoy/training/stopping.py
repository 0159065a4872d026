"""Stop rules: why a run ends before its last epoch, as a sentence, or None."""

from __future__ import annotations

from collections.abc import Collection

from convoy.recipe import Stop
from convoy.recipe.faults import Fault
from convoy.training.ledger import Ledger

DIVERGED_AFTER = 20  # skipped steps in a row


def at_epoch_end(stop: Stop, ledger: Ledger, epoch: int, faults: Collection[Fault] = ()) -> str | None:
    """For `epoch` (from 1), after its selection part was scored."""
    if stop.target_accuracy and ledger.best_accuracy >= stop.target_accuracy:
        return f"accuracy {ledger.best_accuracy:.2%} reached the target {stop.target_accuracy:.2%}"
    patience = stop.patience_epochs + (Fault.PATIENCE_OFF_BY_ONE in faults)  # the reported number does not change
    if stop.patience_epochs and epoch - ledger.best_epoch >= patience:
        return f"no higher accuracy for {stop.patience_epochs} epochs (best: epoch {ledger.best_epoch})"
    return None


def out_of_time(stop: Stop, ledger: Ledger) -> str | None:
    limit = stop.max_seconds
    return f"stop.max_seconds = {limit:g} reached" if limit and ledger.train_seconds >= limit else None


def diverged(ledger: Ledger) -> str | None:
    """A skipped step changes nothing, so training would not recover."""
    if ledger.skipped_in_a_row < DIVERGED_AFTER:
        return None
    return f"diverged: loss or gradient was not finite in {ledger.skipped_in_a_row} steps in a row, which were skipped"
