"""Checks what a recipe's faults need, and describes their effect on its data.

The faults are implemented next to what they change: scoring, selection, schedules, stopping, convoy.data.splits,
evaluation.losses.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import assert_never

from convoy import models
from convoy.data import Prepared
from convoy.data.augment import build as build_augmentation
from convoy.models.entry import floor_of_loss
from convoy.recipe import Recipe
from convoy.recipe.faults import Fault, Need
from convoy.recipe.sections import Cosine, CrossEntropy, Step
from convoy.text import gettext as _


def check_test_closed(recipe: Recipe, allowed: Collection[Fault] = ()) -> None:
    """Raises ValueError if a fault opens the test set, which must stay closed."""
    for fault in recipe.protocol.faults:
        if fault.info.opens_test and fault not in allowed:
            raise ValueError(
                f"protocol.faults: {fault} opens the test set, which stays closed with --no-test, search and landscape"
            )


def check(recipe: Recipe, prepared: Prepared) -> None:
    """Raises ValueError if this recipe or its data do not meet a fault's needs."""
    for fault in recipe.protocol.faults:
        for need in fault.info.needs:
            if (problem := _problem(need, recipe, prepared)) is not None:
                raise ValueError(f"protocol.faults: {fault} {problem}")


def flags(recipe: Recipe, prepared: Prepared) -> list[str]:
    """Returns a sentence for each fault, with its effect on these data."""
    details = {fault: _detail(fault, recipe, prepared) for fault in recipe.protocol.faults}
    return [
        _("{flag}; {detail}", flag=fault.flag, detail=detail) if detail else fault.flag
        for fault, detail in details.items()
    ]


def scored_images(recipe: Recipe, prepared: Prepared) -> dict[str, tuple[int, int]]:
    """Returns for each part the number of images in full batches and the number of all images."""
    parts = {"validation": prepared.validation, "fold": prepared.fold, "test": prepared.test}
    batch_size = recipe.train.batch_size
    return {name: (len(part) - len(part) % batch_size, len(part)) for name, part in parts.items() if part is not None}


def selection(recipe: Recipe, prepared: Prepared) -> str | None:
    """Returns the part that selects the best epoch."""
    if Fault.SELECTION_ON_TEST in recipe.protocol.faults:
        return "test"
    return "validation" if prepared.validation is not None else None


def _problem(need: Need, recipe: Recipe, prepared: Prepared) -> str | None:
    model, schedule = recipe.model.name, recipe.schedule
    problem = None
    match need:
        case Need.NO_FOLDS:
            if prepared.fold is not None:
                problem = "opens the test set, which stays closed with data.split.folds"
        case Need.TEST_SET:
            if prepared.test is None:
                problem = "needs a test set, which the data do not have"
        case Need.VALIDATION:
            if prepared.validation is None:
                problem = "needs a validation part, but data.split.validation is 0"
        case Need.SELECTION_BY_VALIDATION:
            if Fault.SELECTION_ON_TEST in recipe.protocol.faults:
                problem = "has no effect with selection_on_test, which scores the test set in every epoch"
        case Need.SELECTION:
            if selection(recipe, prepared) is None:
                problem = (
                    "needs a part that selects the best epoch; with data.split.validation = 0 the last is kept anyway"
                )
        case Need.PATIENCE:
            if not recipe.stop.patience_epochs:
                problem = "needs stop.patience_epochs, which is 0 (off)"
        case Need.LOGITS:
            if (models.default_options(model) | recipe.model.options).get("softmax_output") is True:
                problem = f"needs logits from {model}; set model.options.softmax_output = false"
        case Need.CROSS_ENTROPY:
            if not isinstance(recipe.train.loss, CrossEntropy):
                problem = f"needs cross-entropy, but train.loss is {recipe.train.loss.name}"
        case Need.AUGMENTATION:
            augmentation = build_augmentation(recipe.data.augment)
            if not (augmentation.geometric or augmentation.pixel_transforms):
                problem = "needs an augmentation other than mixing in data.augment"
        case Need.SCHEDULE_PER_EPOCH:
            per_step = isinstance(schedule, Cosine) and schedule.per == "step"
            if per_step or not isinstance(schedule, Step | Cosine):
                name = "cosine with per = 'step'" if per_step else schedule.name
                problem = f"needs a schedule per epoch: step, or cosine with per = 'epoch'; not {name}"
        case Need.FULL_BATCH:
            for part, (scored, count) in scored_images(recipe, prepared).items():
                if scored == 0:
                    batch_size = recipe.train.batch_size
                    return f"drops all {count:,} {part} images, because train.batch_size is {batch_size}"
        case _:
            assert_never(need)
    return problem


def _detail(fault: Fault, recipe: Recipe, prepared: Prepared) -> str:
    match fault:
        case Fault.SOFTMAX_BEFORE_LOSS:
            weighted = recipe.train.class_weights != "none"
            has_floor = isinstance(recipe.train.loss, CrossEntropy) and not weighted
            return floor_of_loss(len(prepared.classes)) if has_floor else ""
        case Fault.SCHEDULE_PER_BATCH if isinstance(recipe.schedule, Cosine):
            period = 2 * (recipe.schedule.t_max or recipe.train.epochs)
            return _("the learning rate has a period of {batches} batches", batches=period)
        case Fault.PATIENCE_OFF_BY_ONE:
            patience = recipe.stop.patience_epochs
            return _("training stops after {epochs} and reports {patience}", epochs=patience + 1, patience=patience)
        case Fault.DROP_LAST_IN_EVALUATION:
            counts = [
                _("{dropped} of {images:,} {part} images", dropped=count - scored, images=count, part=part)
                for part, (scored, count) in scored_images(recipe, prepared).items()
            ]
            return _("here {counts}", counts=", ".join(counts)) if counts else ""
    return ""
