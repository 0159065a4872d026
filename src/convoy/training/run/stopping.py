"""Stop rules: why a run ends before its last epoch, or None."""

from __future__ import annotations

from collections.abc import Collection

from convoy.recipe import Stop
from convoy.recipe.faults import Fault
from convoy.run_contents import StopReason
from convoy.training.run.ledger import Ledger

DIVERGED_AFTER = 20  # skipped steps in a row


def at_epoch_end(stop: Stop, ledger: Ledger, epoch: int, faults: Collection[Fault] = ()) -> StopReason | None:
    """For `epoch` (from 1), after its selection part was scored."""
    if stop.target_accuracy and ledger.best_accuracy >= stop.target_accuracy:
        return StopReason.TARGET
    patience = stop.patience_epochs + (Fault.PATIENCE_OFF_BY_ONE in faults)  # the reported number does not change
    if stop.patience_epochs and epoch - ledger.best_epoch >= patience:
        return StopReason.PATIENCE
    return None


def out_of_time(stop: Stop, ledger: Ledger) -> StopReason | None:
    return StopReason.TIME if stop.max_seconds and ledger.train_seconds >= stop.max_seconds else None


def diverged(ledger: Ledger) -> StopReason | None:
    """A skipped step changes nothing, so training would not recover."""
    return StopReason.DIVERGED if ledger.skipped_in_a_row >= DIVERGED_AFTER else None
