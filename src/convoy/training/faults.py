"""Faults of protocol beside a plan: what each needs to be one, and what it comes to on these data.

What they do stands where it belongs: scoring, selection, schedules, stopping, convoy.data.resplit, evaluation.losses.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from convoy.data.augment import build as build_augmentation
from convoy.models._flaws import floor_of_loss
from convoy.recipe import Cosine, CrossEntropy, Step
from convoy.recipe.faults import flag

if TYPE_CHECKING:
    from convoy.recipe import Recipe
    from convoy.training.plan import Plan


LOOKS_AT_TEST = ("selection_on_test", "test_opened_at_each_best")


def check_shut(recipe: Recipe, allowed: Collection[str] = ()) -> None:
    """Raises ValueError for a fault that looks at the test set, where a training is to leave it shut."""
    for fault in recipe.protocol.faults:
        if fault in LOOKS_AT_TEST and fault not in allowed:
            raise ValueError(
                f"protocol.faults: {fault} opens the test set, which --no-test, a search or a landscape shuts"
            )


def check(ready: Plan) -> None:
    """Raises ValueError for a fault that this recipe and its data leave without a meaning."""
    for fault in ready.recipe.protocol.faults:
        if (problem := _problem(fault, ready)) is not None:
            raise ValueError(f"protocol.faults: {fault} {problem}")


def flags(ready: Plan) -> list[str]:
    """The sentence of each fault, with what it comes to here."""
    sentences = []
    for fault in ready.recipe.protocol.faults:
        particular = _particular(fault, ready)
        sentences.append(flag(fault) + (f"; {particular}" if particular else ""))
    return sentences


def whole_batches(images: int, ready: Plan) -> int:
    """How many images an evaluation scores that leaves its incomplete batch out."""
    return images - images % ready.recipe.train.batch_size


def _problem(fault: str, ready: Plan) -> str | None:
    recipe, faults = ready.recipe, ready.recipe.protocol.faults
    no_test, no_validation = ready.prepared.test is None, ready.prepared.validation is None
    match fault:
        case "selection_on_test" | "test_opened_at_each_best" if ready.prepared.fold is not None:
            return "opens the test set, which data.split.folds keeps shut"
        case "selection_on_test" | "sampled_labels" | "test_opened_at_each_best" if no_test:
            return "needs a test set, and these data have none"
        case "resplit_every_epoch" | "test_opened_at_each_best" if no_validation:
            return "needs a validation part, and data.split.validation is 0"
        case "test_opened_at_each_best" if "selection_on_test" in faults:
            return "says nothing beside selection_on_test, which scores the test set in every epoch"
        case "last_weights" if ready.selection is None:
            return "needs a part that picks the best epoch; with data.split.validation = 0 the last is kept anyway"
        case "patience_off_by_one" if not recipe.stop.patience_epochs:
            return "needs stop.patience_epochs, which is 0 (off)"
        case "softmax_before_loss" if ready.ends_in_softmax:
            return f"is there already: {recipe.model.name} ends in a softmax; set model.options.softmax_output = false"
        case "log_softmax" if not isinstance(recipe.train.loss, CrossEntropy):
            return f"stands before cross-entropy, and train.loss is {recipe.train.loss.name}"
        case "augmented_test":
            augmentation = build_augmentation(recipe.data.augment)
            if not (augmentation.geometric or augmentation.pixel_transforms):
                return "needs an augmentation other than mixing in data.augment"
        case "schedule_per_batch" if not _goes_by_epochs(ready):
            return f"needs a schedule that goes by epochs: step, or cosine with per = 'epoch'; not {_schedule(ready)}"
        case "drop_last_in_evaluation":
            for part, (scored, count) in scored_images(ready).items():
                if scored == 0:
                    return f"leaves none of the {count:,} {part} images: train.batch_size is {recipe.train.batch_size}"
    return None


def _particular(fault: str, ready: Plan) -> str:
    recipe = ready.recipe
    match fault:
        case "softmax_before_loss" if isinstance(recipe.train.loss, CrossEntropy) and ready.class_weights is None:
            return floor_of_loss(len(ready.prepared.classes))
        case "schedule_per_batch" if isinstance(recipe.schedule, Cosine):
            return f"the rate falls and rises again every {2 * (recipe.schedule.t_max or recipe.train.epochs)} batches"
        case "patience_off_by_one":
            patience = recipe.stop.patience_epochs
            return f"it stops after {patience + 1} and says {patience}"
        case "drop_last_in_evaluation":
            parts = scored_images(ready).items()
            left_out = [f"{count - scored} of {count:,} {part}" for part, (scored, count) in parts]
            return f"here {' and '.join(left_out)} images" if left_out else ""
    return ""


def _goes_by_epochs(ready: Plan) -> bool:
    schedule = ready.recipe.schedule
    return isinstance(schedule, Step) or (isinstance(schedule, Cosine) and schedule.per == "epoch")


def _schedule(ready: Plan) -> str:
    schedule = ready.recipe.schedule
    return "cosine with per = 'step'" if isinstance(schedule, Cosine) else schedule.name


def scored_images(ready: Plan) -> dict[str, tuple[int, int]]:
    """Of each part that is there: images in whole batches, images."""
    prepared = ready.prepared
    parts = {"validation": prepared.validation, "fold": prepared.fold, "test": prepared.test}
    return {name: (whole_batches(len(part), ready), len(part)) for name, part in parts.items() if part is not None}
