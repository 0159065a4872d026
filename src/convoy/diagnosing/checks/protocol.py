"""Checks of a recipe. Subject: a `Recipe`."""

from __future__ import annotations

import math
from collections.abc import Iterator

from convoy.data import DATA_SETS
from convoy.diagnosing.finding import Finding, Severity
from convoy.recipe import Recipe
from convoy.recipe.sections import Adam, AdamW, Cosine, Plateau, Range, RMSprop, SquaredError, Step
from convoy.text import gettext as _

# Limits far from common values:
MAX_DECAY = (
    0.01  # learning rate times weight decay: the fraction of each weight that a step removes; common: 1e-5 to 5e-5
)
# L2 penalty of an adaptive optimizer, which divides by the gradient's magnitude. Validation accuracy of LeNet
# (Adam, lr 0.001) after 3 epochs of 3,000 MNIST images (two seeds): 78.5 and 76.3 % for 0.001, 76.0 and 74.2 % for
# 0.01, 43.8 and 53.5 % for 0.05, 25.2 and 28.7 % for 0.1.
MAX_PENALTY = 0.1
MAX_MOMENTUM = 0.999  # common: 0.9 to 0.99
MAX_SMOOTHING = 0.5  # common: 0.1
MIN_LAYER_DECAY = 0.1  # common: 0.65 to 0.9
MOST_HELD_OUT = 0.5  # fraction of the images; 0.1 to 0.2 is common
MIN_SQUARE_DECAY = 0.5  # common: 0.95 to 0.999
VANISHED_RATE = 1e-4  # learning rate relative to the first one
MIN_CLIP_NORM = 1e-3  # common: 0.1 to 10


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


def extreme_values(recipe: Recipe) -> Iterator[Finding]:
    """Finds values that make training nearly impossible, for example because they are meant for another optimizer."""
    optim, train = recipe.optim, recipe.train
    decay = optim.lr * optim.weight_decay
    if decay >= MAX_DECAY and not isinstance(
        recipe.schedule, Range
    ):  # the last steps of a range test are meant to diverge
        yield Finding(
            Severity.WARNING,
            _(
                "optim.weight_decay = {weight_decay:g} at optim.lr = {lr:g} removes {decay:.1%} of the weights in each "
                "step",
                weight_decay=optim.weight_decay,
                lr=optim.lr,
                decay=decay,
            ),
            _("Their product is commonly 1e-5 to 5e-5"),
            {"share": decay},
        )
    momentum = getattr(optim, "momentum", 0.0)
    smoothing = getattr(train.loss, "label_smoothing", 0.0)
    is_penalty = isinstance(optim, Adam | RMSprop) and decay < MAX_DECAY
    extremes = [
        ("optim.weight_decay", optim.weight_decay, is_penalty and optim.weight_decay >= MAX_PENALTY, "1e-5–1e-3"),
        ("optim.momentum", momentum, momentum >= MAX_MOMENTUM, "0.9–0.99"),
        ("train.loss.label_smoothing", smoothing, smoothing >= MAX_SMOOTHING, "0.1"),
        ("optim.layer_decay", optim.layer_decay, optim.layer_decay < MIN_LAYER_DECAY, "0.65–0.9"),
        ("train.clip_norm", train.clip_norm, 0 < train.clip_norm <= MIN_CLIP_NORM, "0.1–10"),
    ]
    for key, value, is_extreme, common in extremes:
        if is_extreme:
            yield Finding(
                Severity.WARNING,
                _("{key} = {value:g} is so extreme that the network hardly learns", key=key, value=value),
                _("Common values are {values}", values=common),
                {"value": value},
            )


def averages_of_gradients(recipe: Recipe) -> Iterator[Finding]:
    """Finds betas that average the squared gradient over too few steps.

    Validation accuracy of LeNet after 3 epochs of 3,000 MNIST images at lr 0.001 (two seeds), by betas: 89.5 and 89.5 %
    for (0.9, 0.999), 90.5 and 90.3 % for (0, 0.999), 73.7 and 37.7 % for (0.9, 0.3), 10.5 and 9.7 % for (0.9, 0), 88.7
    and 86.8 % for (0, 0).
    """
    optim = recipe.optim
    if isinstance(optim, Adam | AdamW):
        key, mean, square = "optim.betas", *optim.betas
    elif isinstance(optim, RMSprop):
        key, mean, square = "optim.alpha", 0.0, optim.alpha
    else:
        return
    if mean**2 >= math.sqrt(square) and mean:
        yield Finding(
            Severity.WARNING,
            _(
                "{key}: the gradient is averaged over about {mean:.1f} steps and its square over only "
                "{square:.1f}: updates are large where the last gradients happen to be small",
                key=key,
                mean=1 / (1 - mean),
                square=1 / (1 - square),
            ),
            _("Common values are {values}", values="0.9, 0.999"),
            {"steps": 1 / (1 - square)},
        )
    elif square < MIN_SQUARE_DECAY:
        yield Finding(
            Severity.HINT,  # descent along the signs of the gradient
            _(
                "{key}: the squared gradient is averaged over only {square:.1f} steps: all updates are about "
                "as large as the learning rate, even if the gradient is noise",
                key=key,
                square=1 / (1 - square),
            ),
            _("Common values are {values}", values="0.95–0.999"),
            {"steps": 1 / (1 - square)},
        )
    if key == "optim.betas" and mean == 0:
        yield Finding(
            Severity.HINT,  # usual in adversarial training
            _("optim.betas: the first value is 0, so that {name} has no momentum", name=optim.title),
            _("Common values are {values}", values="0.9"),
            {"value": 0.0},
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
    if isinstance(schedule, Cosine) and schedule.min_factor == 1:
        yield Finding(
            Severity.HINT,
            _("The learning rate of the cosine schedule is constant, because schedule.min_factor is 1"),
            _("Set schedule.min_factor to 0 or a small number, or schedule.name = constant"),
            {"factor": schedule.min_factor},
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
    if isinstance(schedule, Step) and schedule.factor < 1:
        reductions = math.ceil(math.log(VANISHED_RATE) / math.log(schedule.factor) - 1e-9)
        trained = math.ceil(reductions * schedule.every_epochs)
        if trained < epochs / 2:
            yield Finding(
                Severity.WARNING,
                _(
                    "After {trained} of {epochs} epochs, the learning rate is at most {share:g} of optim.lr, so that "
                    "the remaining epochs change nothing",
                    trained=trained,
                    epochs=epochs,
                    share=VANISHED_RATE,
                ),
                _("Set schedule.every_epochs to a third of the epochs, or schedule.factor near 1"),
                {"epochs": trained, "factor": schedule.factor},
            )
    if isinstance(schedule, Plateau) and schedule.patience_epochs >= epochs - 1:
        yield Finding(
            Severity.HINT,
            _(
                "The learning rate is first reduced after more than {patience} epochs without a lower loss, but there "
                "are {epochs}",
                patience=schedule.patience_epochs,
                epochs=epochs,
            ),
            _("Use more epochs, or a smaller schedule.patience_epochs"),
            {"schedule_patience": schedule.patience_epochs, "epochs": epochs},
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


def stops_early(recipe: Recipe) -> Iterator[Finding]:
    stop, schedule = recipe.stop, recipe.schedule
    if 0 < stop.max_seconds < 1:
        yield Finding(
            Severity.WARNING,
            _("stop.max_seconds = {seconds:g} ends the training in less than a second", seconds=stop.max_seconds),
            _("The unit is seconds of training; 0 switches the rule off"),
            {"seconds": stop.max_seconds},
        )
    if isinstance(schedule, Plateau) and 0 < stop.patience_epochs <= schedule.patience_epochs:
        yield Finding(
            Severity.HINT,
            _(
                "Training stops after {stop} epochs without a better accuracy, and the learning rate is only reduced "
                "after more than {schedule} epochs without a lower loss",
                stop=stop.patience_epochs,
                schedule=schedule.patience_epochs,
            ),
            _("Set stop.patience_epochs to two or three times schedule.patience_epochs"),
            {"stop_patience": stop.patience_epochs, "schedule_patience": schedule.patience_epochs},
        )
    elif stop.patience_epochs == 1 < recipe.train.epochs:
        yield Finding(
            Severity.HINT,
            _("stop.patience_epochs = 1 ends the training at the first epoch that is not better, often by chance"),
            _("Use a patience of several epochs"),
            {"patience_epochs": 1},
        )


def few_images_trained_on(recipe: Recipe) -> Iterator[Finding]:
    split = recipe.data.split
    for key, share in (("data.split.validation", split.validation), ("data.split.test", split.test)):
        if share > MOST_HELD_OUT:
            yield Finding(
                Severity.WARNING,
                _(
                    "{key} = {share:g} leaves {rest:.0%} of the images for training",
                    key=key,
                    share=share,
                    rest=1 - share,
                ),
                _("Common values are {values}", values="0.1–0.2"),
                {"share": share},
            )


def no_validation(recipe: Recipe) -> Iterator[Finding]:
    if recipe.data.split.validation == 0 and not recipe.data.split.folds and not recipe.protocol.faults:
        yield Finding(
            Severity.HINT,
            _("Without a validation set, no epoch is selected, and choices can only be made on the test set"),
            _("data.split.validation = 0.1 or 0.2"),
        )
