"""The stop rules, which end a run before its last epoch. STOP_RULES lists all of them.

A rule that can be configured has fields in `convoy.recipe.sections.Stop` and lists them with an example value. It is
off if its first field is 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from convoy import run_contents
from convoy.recipe import Recipe
from convoy.recipe.faults import Fault
from convoy.recipe.sections import Stop
from convoy.run_contents import DIVERGED, EpochMetrics, all_epochs
from convoy.text import gettext as _
from convoy.training.run.ledger import Ledger

DIVERGED_AFTER = 20  # skipped steps in a row


@dataclass(frozen=True)
class StopContext:
    """The input of the stop rules. They are checked after each record of the loop."""

    recipe: Recipe
    ledger: Ledger
    epoch_metrics: EpochMetrics | None = None  # if an epoch has just ended


@dataclass(frozen=True)
class StopRule:
    name: str  # `stopped` in status.json; must not change, because finished runs contain it
    is_met: Callable[[StopContext], bool]
    sentence: Callable[[StopContext], str]
    # Fields of `Stop` with an example value for the tests. The first switches the rule on; none: always on
    fields: Mapping[str, float] = field(default_factory=dict)
    needs_selection: bool = False  # needs a part that selects the best epoch
    # Sentence for the method section of a lab report; `accuracy` names the accuracy that selects the best epoch
    method: Callable[[Stop, str], str] = lambda stop, accuracy: ""

    @property
    def switch(self) -> str:
        return next(iter(self.fields), "")


def _patience_is_over(context: StopContext) -> bool:
    # The fault does not change the reported number.
    patience = context.recipe.stop.patience_epochs + (Fault.PATIENCE_OFF_BY_ONE in context.recipe.protocol.faults)
    return context.epoch_metrics is not None and context.epoch_metrics.epoch - context.ledger.best_epoch >= patience


STOP_RULES = (  # the first that is met is reported
    StopRule(
        DIVERGED,  # a skipped step changes nothing, so training would not recover
        lambda context: context.ledger.skipped_in_a_row >= DIVERGED_AFTER,
        lambda context: _(
            "diverged: loss or gradient was not finite in {steps} steps in a row, which were skipped",
            steps=context.ledger.skipped_in_a_row,
        ),
    ),
    StopRule(
        "target",
        lambda context: (
            context.epoch_metrics is not None and context.ledger.best_accuracy >= context.recipe.stop.target_accuracy
        ),
        lambda context: _(
            "accuracy {accuracy:.2%} reached the target {target:.2%}",
            accuracy=context.ledger.best_accuracy,
            target=context.recipe.stop.target_accuracy,
        ),
        fields={"target_accuracy": 0.95},
        needs_selection=True,
        method=lambda stop, accuracy: _(
            "Training stops at a {accuracy} of {value:.2%}.", accuracy=accuracy, value=stop.target_accuracy
        ),
    ),
    StopRule(
        "patience",
        _patience_is_over,
        lambda context: _(
            "no higher accuracy for {patience} epochs (best: epoch {best})",
            patience=context.recipe.stop.patience_epochs,
            best=context.ledger.best_epoch,
        ),
        fields={"patience_epochs": 5},
        needs_selection=True,
        method=lambda stop, accuracy: _(
            "Training stops after {n} epochs without a better {accuracy}.", n=stop.patience_epochs, accuracy=accuracy
        ),
    ),
    StopRule(
        "time",
        lambda context: context.ledger.train_seconds >= context.recipe.stop.max_seconds,
        lambda context: _("stop.max_seconds = {seconds:g} reached", seconds=context.recipe.stop.max_seconds),
        fields={"max_seconds": 60.0},
        method=lambda stop, accuracy: _("Training stops after {seconds:g} seconds.", seconds=stop.max_seconds),
    ),
)
ALL_EPOCHS = StopRule(
    run_contents.ALL_EPOCHS,
    lambda context: False,  # the loop ends by itself
    lambda context: all_epochs(context.recipe.train.epochs),
)


def active(recipe: Recipe) -> list[StopRule]:
    return [rule for rule in STOP_RULES if not rule.fields or getattr(recipe.stop, rule.switch)]


def first_met(context: StopContext) -> StopRule | None:
    return next((rule for rule in active(context.recipe) if rule.is_met(context)), None)
