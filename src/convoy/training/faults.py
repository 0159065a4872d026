"""Requirements of protocol faults, and how many images each affects.

The faults are implemented next to what they change: scoring, selection, schedules, stopping, convoy.data.resplit,
evaluation.losses.
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


def check_test_closed(recipe: Recipe, allowed: Collection[str] = ()) -> None:
    """Raises ValueError: a fault that opens the test set although it must stay closed."""
    for fault in recipe.protocol.faults:
        if fault in LOOKS_AT_TEST and fault not in allowed:
            raise ValueError(
                f"protocol.faults: {fault} opens the test set, which stays closed with --no-test, search and landscape"
            )


def check(ready: Plan) -> None:
    """Raises ValueError: a fault whose requirements this recipe or its data do not meet."""
    for fault in ready.recipe.protocol.faults:
        if (problem := _problem(fault, ready)) is not None:
            raise ValueError(f"protocol.faults: {fault} {problem}")


def flags(ready: Plan) -> list[str]:
    """The sentence of each fault, with its effect on these data."""
    sentences = []
    for fault in ready.recipe.protocol.faults:
        detail = _detail(fault, ready)
        sentences.append(flag(fault) + (f"; {detail}" if detail else ""))
    return sentences


def images_in_full_batches(images: int, ready: Plan) -> int:
    """The number of images that an evaluation without the incomplete last batch scores."""
    return images - images % ready.recipe.train.batch_size


def _problem(fault: str, ready: Plan) -> str | None:
    recipe, faults = ready.recipe, ready.recipe.protocol.faults
    no_test, no_validation = ready.prepared.test is None, ready.prepared.validation is None
    match fault:
        case "selection_on_test" | "test_opened_at_each_best" if ready.prepared.fold is not None:
            return "opens the test set, which stays closed with data.split.folds"
        case "selection_on_test" | "sampled_labels" | "test_opened_at_each_best" if no_test:
            return "needs a test set, which the data do not have"
        case "resplit_every_epoch" | "test_opened_at_each_best" if no_validation:
            return "needs a validation part, but data.split.validation is 0"
        case "test_opened_at_each_best" if "selection_on_test" in faults:
            return "has no effect with selection_on_test, which scores the test set in every epoch"
        case "last_weights" if ready.selection is None:
            return "needs a part that selects the best epoch; with data.split.validation = 0 the last is kept anyway"
        case "patience_off_by_one" if not recipe.stop.patience_epochs:
            return "needs stop.patience_epochs, which is 0 (off)"
        case "softmax_before_loss" if ready.ends_in_softmax:
            return f"needs logits from {recipe.model.name}; set model.options.softmax_output = false"
        case "log_softmax" if not isinstance(recipe.train.loss, CrossEntropy):
            return f"needs cross-entropy, but train.loss is {recipe.train.loss.name}"
        case "augmented_test":
            augmentation = build_augmentation(recipe.data.augment)
            if not (augmentation.geometric or augmentation.pixel_transforms):
                return "needs an augmentation other than mixing in data.augment"
        case "schedule_per_batch" if not _changes_per_epoch(ready):
            return f"needs a schedule per epoch: step, or cosine with per = 'epoch'; not {_schedule(ready)}"
        case "drop_last_in_evaluation":
            for part, (scored, count) in scored_images(ready).items():
                if scored == 0:
                    return f"drops all {count:,} {part} images, because train.batch_size is {recipe.train.batch_size}"
    return None


def _detail(fault: str, ready: Plan) -> str:
    recipe = ready.recipe
    match fault:
        case "softmax_before_loss" if isinstance(recipe.train.loss, CrossEntropy) and ready.class_weights is None:
            return floor_of_loss(len(ready.prepared.classes))
        case "schedule_per_batch" if isinstance(recipe.schedule, Cosine):
            return f"the learning rate has a period of {2 * (recipe.schedule.t_max or recipe.train.epochs)} batches"
        case "patience_off_by_one":
            patience = recipe.stop.patience_epochs
            return f"training stops after {patience + 1} and reports {patience}"
        case "drop_last_in_evaluation":
            parts = scored_images(ready).items()
            left_out = [f"{count - scored} of {count:,} {part}" for part, (scored, count) in parts]
            return f"here {' and '.join(left_out)} images" if left_out else ""
    return ""


def _changes_per_epoch(ready: Plan) -> bool:
    schedule = ready.recipe.schedule
    return isinstance(schedule, Step) or (isinstance(schedule, Cosine) and schedule.per == "epoch")


def _schedule(ready: Plan) -> str:
    schedule = ready.recipe.schedule
    return "cosine with per = 'step'" if isinstance(schedule, Cosine) else schedule.name


def scored_images(ready: Plan) -> dict[str, tuple[int, int]]:
    """By part: images in full batches, images."""
    prepared = ready.prepared
    parts = {"validation": prepared.validation, "fold": prepared.fold, "test": prepared.test}
    return {
        name: (images_in_full_batches(len(part), ready), len(part)) for name, part in parts.items() if part is not None
    }
