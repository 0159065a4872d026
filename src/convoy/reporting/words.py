"""The parts of a data set and the end of a run in words."""

from __future__ import annotations

from convoy.recipe import Recipe
from convoy.run_contents import DIVERGED, Status
from convoy.text import gettext as _
from convoy.text import ngettext


def part_name(part: str) -> str:
    names = {"train": _("train"), "validation": _("validation"), "test": _("test"), "fold": _("fold")}
    return names.get(part, part)


def accuracy_title(part: str) -> str:
    """Of a column."""
    titles = {"test": _("Test accuracy"), "fold": _("Fold accuracy"), "validation": _("Validation accuracy")}
    return titles[part]


def accuracy_name(part: str) -> str:
    """In a sentence."""
    names = {"test": _("test accuracy"), "fold": _("fold accuracy"), "validation": _("validation accuracy")}
    return names[part]


def ending(status: Status, recipe: Recipe) -> str:
    """Why a run ended, in the language of the reader; as stored if no stop rule ended it, or in an older version."""
    stop, best = recipe.stop, status.best_epoch
    sentences = {
        "epochs": ngettext("{n} epoch done", "all {n} epochs done", recipe.train.epochs),
        "target": _("reached the target accuracy of {target:.2%}", target=stop.target_accuracy),
        "patience": _("no higher accuracy for {n} epochs (best: epoch {best})", n=stop.patience_epochs, best=best),
        "time": _("reached stop.max_seconds = {seconds:g}", seconds=stop.max_seconds),
        DIVERGED: _("diverged: loss or gradient was not finite"),
    }
    return sentences.get(status.stopped or "", status.reason or status.state)
