"""Stop rules: why a run ends before its last epoch, in words, or None."""

from __future__ import annotations

from collections.abc import Collection

from convoy.recipe import Stop
from convoy.training.ledger import Ledger

DIVERGED_AFTER = 20  # updates in a row that were not finite


def at_epoch_end(stop: Stop, ledger: Ledger, epoch: int, faults: Collection[str] = ()) -> str | None:
    """`epoch` from 1, its selection part scored already."""
    if stop.target_accuracy and ledger.best_accuracy >= stop.target_accuracy:
        return f"an accuracy of {ledger.best_accuracy:.2%} reached the target of {stop.target_accuracy:.2%}"
    patience = stop.patience_epochs + ("patience_off_by_one" in faults)  # what is said stays what was set
    if stop.patience_epochs and epoch - ledger.best_epoch >= patience:
        return f"no better accuracy for {stop.patience_epochs} epochs (best: epoch {ledger.best_epoch})"
    return None


def out_of_time(stop: Stop, ledger: Ledger) -> str | None:
    limit = stop.max_seconds
    return f"{limit:g} seconds of training are over" if limit and ledger.train_seconds >= limit else None


def diverged(ledger: Ledger) -> str | None:
    """An update that is left out changes nothing, so that many in a row will not end by themselves."""
    if ledger.skipped_in_a_row < DIVERGED_AFTER:
        return None
    return (
        f"diverged: loss or gradient of {ledger.skipped_in_a_row} updates in a row was not finite; they were left out"
    )
