"""The stop rules: why a run ends before its last epoch. One row of RULES each, and the only list of them.

A rule that can be configured has a field in `convoy.recipe.sections.Stop`, where 0 means off; the row names it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from convoy.recipe import Recipe
from convoy.recipe.faults import Fault
from convoy.run_contents import DIVERGED, EpochMetrics
from convoy.text import gettext as _
from convoy.text import ngettext
from convoy.training.run.ledger import Ledger

DIVERGED_AFTER = 20  # skipped steps in a row


@dataclass(frozen=True)
class Seen:
    """What a rule decides by, after each record of the loop."""

    recipe: Recipe
    ledger: Ledger
    ended: EpochMetrics | None = None  # if an epoch has just ended


@dataclass(frozen=True)
class StopRule:
    name: str  # `stopped` in status.json: stays as it is, because finished runs have it
    is_met: Callable[[Seen], bool]
    sentence: Callable[[Seen], str]
    field: str = ""  # of `Stop`; empty: always on
    needs_selection: bool = False  # a part that selects the best epoch


def _patience_is_over(seen: Seen) -> bool:
    # With the fault the reported number does not change.
    patience = seen.recipe.stop.patience_epochs + (Fault.PATIENCE_OFF_BY_ONE in seen.recipe.protocol.faults)
    return seen.ended is not None and seen.ended.epoch - seen.ledger.best_epoch >= patience


RULES = (  # the first that is met is reported
    StopRule(
        DIVERGED,  # a skipped step changes nothing, so training would not recover
        lambda seen: seen.ledger.skipped_in_a_row >= DIVERGED_AFTER,
        lambda seen: _(
            "diverged: loss or gradient was not finite in {steps} steps in a row, which were skipped",
            steps=seen.ledger.skipped_in_a_row,
        ),
    ),
    StopRule(
        "target",
        lambda seen: seen.ended is not None and seen.ledger.best_accuracy >= seen.recipe.stop.target_accuracy,
        lambda seen: _(
            "accuracy {accuracy:.2%} reached the target {target:.2%}",
            accuracy=seen.ledger.best_accuracy,
            target=seen.recipe.stop.target_accuracy,
        ),
        field="target_accuracy",
        needs_selection=True,
    ),
    StopRule(
        "patience",
        _patience_is_over,
        lambda seen: _(
            "no higher accuracy for {patience} epochs (best: epoch {best})",
            patience=seen.recipe.stop.patience_epochs,
            best=seen.ledger.best_epoch,
        ),
        field="patience_epochs",
        needs_selection=True,
    ),
    StopRule(
        "time",
        lambda seen: seen.ledger.train_seconds >= seen.recipe.stop.max_seconds,
        lambda seen: _("stop.max_seconds = {seconds:g} reached", seconds=seen.recipe.stop.max_seconds),
        field="max_seconds",
    ),
)
ALL_EPOCHS = StopRule(
    "epochs",
    lambda seen: False,  # the loop ends by itself
    lambda seen: ngettext("{n} epoch done", "all {n} epochs done", seen.recipe.train.epochs),
)


def active(recipe: Recipe) -> list[StopRule]:
    return [rule for rule in RULES if not rule.field or getattr(recipe.stop, rule.field)]


def first_met(seen: Seen) -> StopRule | None:
    return next((rule for rule in active(seen.recipe) if rule.is_met(seen)), None)
