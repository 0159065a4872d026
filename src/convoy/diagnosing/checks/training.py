"""Checks of a recipe together with the images that it trains on. Subject: `Images`."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from convoy.diagnosing.finding import Finding, Severity
from convoy.diagnosing.images import Images
from convoy.text import gettext as _

FEW_STEPS = 100  # optimizer steps, if there is one step per epoch
UNEQUAL, VERY_UNEQUAL = 10, 100  # largest total weight of a class / smallest
UNBALANCED = 1.5  # largest class / smallest class


def one_step_per_epoch(images: Images) -> Iterator[Finding]:
    train, count = images.recipe.train, len(images.train)
    if count > train.batch_size:
        return
    is_short = train.epochs < FEW_STEPS and images.recipe.data.limit is None  # with a limit, it is a quick try
    yield Finding(
        Severity.WARNING if is_short else Severity.HINT,
        _(
            "A batch contains all {count:,} training images (train.batch_size = {batch:,}), so training "
            "has only {epochs:,} steps, one per epoch",
            count=count,
            batch=train.batch_size,
            epochs=train.epochs,
        ),
        _("Set train.batch_size to at most a tenth of the images, or train for hundreds of epochs"),
        {"images": count, "steps": train.epochs},
    )


def unequal_class_weights(images: Images) -> Iterator[Finding]:
    """Compares the shares of the classes in the training loss: weight times images."""
    weights = images.recipe.train.class_weights
    counts = np.array(images.train.class_counts, float)
    if isinstance(weights, str) or len(weights) != len(counts):
        return
    present = np.flatnonzero(counts)
    frequencies = np.ones(len(present)) if images.recipe.data.sampling == "balanced" else counts[present]
    totals = np.array(weights)[present] * frequencies
    ratio, unweighted = totals.max() / totals.min(), frequencies.max() / frequencies.min()
    if ratio >= UNEQUAL and ratio > unweighted:
        share = float(totals.max() / totals.sum())
        yield Finding(
            Severity.WARNING if ratio >= VERY_UNEQUAL else Severity.HINT,
            _(
                "With train.class_weights, {name} accounts for {share:.1%} of the training loss, {ratio:,.0f} times "
                "as much as the smallest class; without weights, the largest ratio is {unweighted:,.1f}",
                name=images.train.classes[int(present[totals.argmax()])],
                share=share,
                ratio=ratio,
                unweighted=unweighted,
            ),
            _("train.class_weights = 'balanced' gives all classes the same share"),
            {"share": share, "ratio": float(ratio)},
        )


def balanced_twice(images: Images) -> Iterator[Finding]:
    recipe, counts = images.recipe, np.array(images.train.class_counts)
    present = counts[counts > 0]
    ratio = float(present.max() / present.min())
    if recipe.data.sampling == "balanced" and recipe.train.class_weights == "balanced" and ratio >= UNBALANCED:
        yield Finding(
            Severity.WARNING if ratio >= UNEQUAL else Severity.HINT,
            _(
                "data.sampling = 'balanced' and train.class_weights = 'balanced' correct the class sizes twice: the "
                "smallest class is {ratio:.1f} times as important as the largest",
                ratio=ratio,
            ),
            _("Use only one of the two"),
            {"ratio": ratio},
        )


def target_below_chance(images: Images) -> Iterator[Finding]:
    target, part = images.recipe.stop.target_accuracy, images.parts.get("validation")
    if part is not None and 0 < target <= (largest := max(part.class_counts) / len(part)):
        yield Finding(
            Severity.WARNING,
            _(
                "stop.target_accuracy = {target:g} ends training immediately: always predicting the largest "
                "class is correct for {share:.1%} of the validation images",
                target=target,
                share=largest,
            ),
            _("The target is a fraction: 0.95 for 95 %; 0 switches the rule off"),
            {"target": target, "largest_class": largest},
        )
