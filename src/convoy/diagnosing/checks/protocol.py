"""Checks of a recipe. Subject: a `Recipe`."""

from __future__ import annotations

from collections.abc import Iterator

from convoy.data import DATA_SETS
from convoy.diagnosing.finding import Finding, Severity
from convoy.recipe import Recipe
from convoy.recipe.sections import Cosine, SquaredError, Step
from convoy.text import gettext as _


def protocol_faults(recipe: Recipe) -> Iterator[Finding]:
    """Reports the faults that the recipe enables."""
    for fault in recipe.protocol.faults:
        yield Finding(
            Severity.WARNING,
            _("Fault {name}: {sentence}", name=fault.value, sentence=fault.info.sentence()),
            _("Remove it from protocol.faults; --measure trains the recipe with and without it"),
            {"fault": fault.value},
        )


def label_changing_augmentation(recipe: Recipe) -> Iterator[Finding]:
    """A mirrored or rotated character can be another character or no character."""
    data = recipe.data.name.partition("=")[0]
    if data not in DATA_SETS or not DATA_SETS[data].is_handwriting:
        return
    from convoy.data.augment import parse  # imports torch

    for spec in recipe.data.augment:
        reorientation, name = parse(spec).reorientation, spec["name"]
        if reorientation is not None:
            yield Finding(
                Severity.WARNING,
                _(
                    "{augmentation} rotates characters by 90 degrees or more, so labels become wrong: a 6 becomes a 9",
                    augmentation=name,
                )
                if reorientation == "rotated"
                else _(
                    "{augmentation} mirrors characters, so labels become wrong: a mirrored 2 is not a digit",
                    augmentation=name,
                ),
                _("Remove it; small rotations, shifts and scales keep the label"),
                {"augmentation": name},
            )


def squared_error(recipe: Recipe) -> Iterator[Finding]:
    if isinstance(recipe.train.loss, SquaredError):
        yield Finding(
            Severity.HINT,
            _("The loss is the squared error, whose gradient is small where the network is confidently wrong"),
            _("train.loss = cross_entropy"),
        )


def schedule_never_acts(recipe: Recipe) -> Iterator[Finding]:
    schedule, epochs = recipe.schedule, recipe.train.epochs
    if schedule.warmup_epochs >= epochs:
        yield Finding(
            Severity.WARNING,
            _(
                "The warm-up takes {warmup:g} epochs of {epochs}: the learning rate never reaches optim.lr",
                warmup=schedule.warmup_epochs,
                epochs=epochs,
            ),
            _("Set schedule.warmup_epochs to a few percent of the epochs"),
            {"warmup_epochs": schedule.warmup_epochs, "epochs": epochs},
        )
    if isinstance(schedule, Step) and schedule.every_epochs >= epochs:
        yield Finding(
            Severity.HINT,
            _(
                "The learning rate is first reduced after {every:g} epochs, but there are {epochs}",
                every=schedule.every_epochs,
                epochs=epochs,
            ),
            _("Set schedule.every_epochs to a fraction of the epochs"),
            {"every_epochs": schedule.every_epochs, "epochs": epochs},
        )
    if (
        isinstance(schedule, Cosine)
        and schedule.per == "epoch"
        and schedule.t_max is not None
        and schedule.t_max < epochs
    ):
        yield Finding(
            Severity.HINT,
            _("The learning rate rises again after {t_max} of {epochs} epochs", t_max=schedule.t_max, epochs=epochs),
            _("Omit schedule.t_max; its default is the full run"),
            {"t_max": schedule.t_max, "epochs": epochs},
        )


def patience_never_acts(recipe: Recipe) -> Iterator[Finding]:
    patience, epochs = recipe.stop.patience_epochs, recipe.train.epochs
    if patience >= epochs:
        yield Finding(
            Severity.HINT,
            _(
                "stop.patience_epochs = {patience} is never reached in {epochs} epochs",
                patience=patience,
                epochs=epochs,
            ),
            _("Use more epochs, or a smaller patience"),
            {"patience_epochs": patience, "epochs": epochs},
        )


def no_validation(recipe: Recipe) -> Iterator[Finding]:
    if recipe.data.split.validation == 0 and not recipe.data.split.folds and not recipe.protocol.faults:
        yield Finding(
            Severity.HINT,
            _("Without a validation set, no epoch is selected, and choices can only be made on the test set"),
            _("data.split.validation = 0.1 or 0.2"),
        )
