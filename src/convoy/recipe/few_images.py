"""Chooses batch size and epochs for few training images. The measurements are in docs/guides/data.md."""

from __future__ import annotations

import math
from collections.abc import Collection

from convoy.recipe import Recipe
from convoy.text import gettext as _

BATCH, EPOCHS = "train.batch_size", "train.epochs"
STEPS_PER_EPOCH, STEPS = 20, 500  # minimum
MIN_BATCH_SIZE = 8


def fitted(recipe: Recipe, images: int, *, fixed: Collection[str] = ()) -> Recipe:
    """Returns the recipe with a smaller batch size and more epochs if it would train too few steps on these images.

    `fixed`: keys that keep their values. `chosen` of the result lists the changed keys.
    """
    batch, train = recipe.train.batch_size, recipe.train
    if BATCH not in fixed:
        while batch // 2 >= max(MIN_BATCH_SIZE, train.accumulate) and images / batch < STEPS_PER_EPOCH:
            batch //= 2
    epochs = max(train.epochs, math.ceil(STEPS / math.ceil(images / batch)))
    candidates = {BATCH: (batch, train.batch_size), EPOCHS: (epochs, train.epochs)}
    chosen = {key: value for key, (value, own) in candidates.items() if value != own and key not in fixed}
    return recipe.override(chosen).model_copy(update={"chosen": tuple(chosen)}) if chosen else recipe


def sentences(recipe: Recipe) -> list[str]:
    """Returns a sentence about the chosen values, or an empty list."""
    batch, epochs = recipe.train.batch_size, recipe.train.epochs
    if {BATCH, EPOCHS} <= set(recipe.chosen):
        text = _(
            "small data set: batch size {batch} and {epochs} epochs; change them with --batch-size and --epochs",
            batch=batch,
            epochs=epochs,
        )
    elif BATCH in recipe.chosen:
        text = _("small data set: batch size {batch}; change it with --batch-size", batch=batch)
    elif EPOCHS in recipe.chosen:
        text = _("small data set: {epochs} epochs; change them with --epochs", epochs=epochs)
    else:
        return []
    return [text]
