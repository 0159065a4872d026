"""Checks of the images and labels that a recipe trains on. Subject: `Images`."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from convoy.data.duplicates import find_duplicates, first_with_same_pixels
from convoy.diagnosing.copies import (
    MAX_COMPARED,
    MIN_COPIES,
    copies_of_each,
    exact_copies,
    few_variations,
    have_same_detail,
    is_regular,
    repeats_by_chance,
    same_in_detail,
    similar_copies,
)
from convoy.diagnosing.finding import Finding, Severity
from convoy.diagnosing.images import Images
from convoy.run_contents import part_name
from convoy.text import gettext as _
from convoy.text.lists import joined

UNBALANCED = 1.5  # largest class / smallest class
DOMINANT, FEW_OF_CLASS = 0.9, 10  # share of the largest class; number of images from which a network can hardly learn
ERROR_SHARE = 0.05  # if at least this fraction of the scored images is shared, the finding is an error
FEW_SCORED = 100  # images
WRONG_LABELS, SIMILAR_DRAWINGS = 0.001, 0.01  # share of the images; a drawn O and a drawn 0 may look the same
ABSENT = 10  # a missing class is reported if at least this many of its images would be expected


def class_balance(images: Images) -> Iterator[Finding]:
    counts = np.array(images.train.class_counts)
    missing = [images.train.classes[index] for index in np.flatnonzero(counts == 0)]
    if missing:
        yield Finding(
            Severity.WARNING,
            _("No training image of {names}", names=joined(missing[:5])),
            _("Remove these classes, or change the split"),
            {"classes_without_images": len(missing)},
        )
    for key, severity in ((_spelling, Severity.WARNING), (_singular, Severity.HINT)):  # glass and glasses may differ
        keys = [key(name) for name in images.train.classes]
        if twice := [name for name, each in zip(images.train.classes, keys, strict=True) if keys.count(each) > 1]:
            yield Finding(
                severity,
                _("The names of these classes differ only in spelling: {names}", names=joined(twice[:6])),
                _("Rename or merge their folders"),
                {"classes": len(twice)},
            )
            break
    present = counts[counts > 0]
    ratio = present.max() / present.min()
    if ratio < UNBALANCED:
        return
    is_misleading = counts.max() >= DOMINANT * counts.sum() or (present.min() < FEW_OF_CLASS and ratio >= FEW_OF_CLASS)
    yield Finding(
        Severity.WARNING if is_misleading and not _is_weighted(images) else Severity.HINT,
        _(
            "Classes have {smallest:,} to {largest:,} training images: always predicting the largest class gives "
            "an accuracy of {share:.1%}",
            smallest=int(present.min()),
            largest=int(present.max()),
            share=counts.max() / counts.sum(),
        ),
        _("Report F1 and the confusion matrix too; train.class_weights = 'balanced' or data.sampling = 'balanced'"),
        {"ratio": float(ratio), "accuracy_of_largest_class": float(counts.max() / counts.sum())},
    )


def _spelling(name: str) -> str:
    """Returns the name in lower case, without spaces, hyphens, underscores and leading zeros of numbers."""
    letters = re.sub(r"(?<=[^\W_])[\s_-]+(?=[^\W_])", "", name.strip()).casefold()
    return letters.lstrip("0") if letters.isdigit() and letters.strip("0") else letters or name


def _singular(name: str) -> str:
    spelling = _spelling(name)
    return spelling[:-1] if len(spelling) > 3 and spelling.endswith("s") else spelling


def _is_weighted(images: Images) -> bool:
    return images.recipe.train.class_weights != "none" or images.recipe.data.sampling == "balanced"


def parts_have_other_classes(images: Images) -> Iterator[Finding]:
    train = np.array(images.train.class_counts) / len(images.train)
    for name, part in images.parts.items():
        shares = np.array(part.class_counts) / len(part)
        distance = float(np.abs(shares - train).sum() / 2)
        absent = [part.classes[index] for index in np.flatnonzero((shares == 0) & (train > 0))]
        if absent and (train * len(part))[shares == 0].max() >= ABSENT:
            yield Finding(
                Severity.WARNING,
                _(
                    "The {part} set has no image of {names}, so its accuracy does not cover these classes",
                    part=part_name(name),
                    names=joined(absent[:5]),
                ),
                _("Add images of these classes, or use a stratified split"),
                {"part": name, "classes_without_images": len(absent)},
            )
        if distance > 0.25 and len(part) >= max(FEW_SCORED, 5 * len(train)):
            yield Finding(
                Severity.HINT if _is_weighted(images) else Severity.WARNING,  # a long-tailed data set on purpose
                _(
                    "The class proportions of the {part} set differ from those of the training set: "
                    "{distance:.0%} of the images would have to change class",
                    part=part_name(name),
                    distance=distance,
                ),
                _("Usual cause: the set was cut from a list sorted by class; use a random, stratified split"),
                {"part": name, "total_variation": distance, "classes": int((shares > 0).sum())},
            )


def labels_in_file_order(images: Images) -> Iterator[Finding]:
    labels = images.train.labels
    if not images.files and len(labels) >= FEW_SCORED and (np.diff(labels) >= 0).all():
        yield Finding(
            Severity.HINT,
            _("The training images are sorted by class"),
            _(
                "Convoy shuffles and stratifies, but a tool that takes the end of the list for testing gets "
                "only some classes"
            ),
            {"images": len(labels)},
        )


def few_scored_images(images: Images) -> Iterator[Finding]:
    for name, part in images.parts.items():
        if name != "train" and len(part) < FEW_SCORED:
            half = 1.96 * 0.5 / np.sqrt(len(part))
            yield Finding(
                Severity.HINT,
                _(
                    "The {part} set has {n:,} images: an accuracy of 50 % has an interval of ± {half:.1f} points",
                    part=part_name(name),
                    n=len(part),
                    half=100 * half,
                ),
                _("Use cross-validation (convoy crossval), which scores every image"),
                {"part": name, "images": len(part), "half_width": float(half)},
            )


def images_in_two_parts(images: Images) -> Iterator[Finding]:
    """Finds images of a scored part that are also in training: same pixels, or the same picture, possibly mirrored."""
    for name, part in images.parts.items():
        if name == "train":
            continue
        exact, copies, searched = copies_of_each(images, name)
        same, alike = np.flatnonzero(exact), np.flatnonzero(copies)
        if not len(alike):
            continue
        share, many = len(alike) / len(part), max(MIN_COPIES, ERROR_SHARE * len(part))
        is_notable = len(alike) >= many or len(same) >= ERROR_SHARE / 5 * len(part)
        by_chance = is_notable and repeats_by_chance(images, copies, similar_copies if searched else exact_copies)
        may_be_separate = is_notable and searched and not by_chance and not is_regular(copies)
        is_separate = may_be_separate and same_in_detail(images.train.images, part.images).sum() < many
        yield Finding(
            Severity.WARNING if is_notable and not by_chance and not is_separate else Severity.HINT,
            _(
                "{count:,} of {n:,} {part} images are also training images: exact duplicates {same:,}, "
                "near duplicates {alike:,}",
                count=len(alike),
                n=len(part),
                part=part_name(name),
                same=len(same),
                alike=len(alike) - len(same),
            )
            if searched
            else _(
                "{count:,} of {n:,} {part} images are exact duplicates of a training image",
                count=len(same),
                n=len(part),
                part=part_name(name),
            ),
            few_variations()
            if by_chance
            else _(
                "The pairs differ in their finest detail, like images of the same picture that were rendered with "
                "separate noise. If noise was added to copies before the split, keep these together with "
                "data.split.group_by = 'duplicates'"
            )
            if is_separate
            else _(
                "Remove them, or keep them together with data.split.group_by = 'duplicates'; train a run "
                "to see their effect"
            ),
            {"part": name, "same_pixels": len(same), "same_picture": len(alike) - len(same), "share": share},
        )
    yield from _validation_in_test(images)


def _validation_in_test(images: Images) -> Iterator[Finding]:
    """Finds identical images in validation and test: test images would then select the epoch."""
    if not {"validation", "test"} <= images.parts.keys():
        return
    test = images.parts["test"].images
    copies = exact_copies(images.parts["validation"].images, test)
    count = int((copies > 0).sum())
    if count:
        is_notable = count >= ERROR_SHARE / 5 * len(test)
        by_chance = is_notable and repeats_by_chance(images, copies, exact_copies)
        yield Finding(
            Severity.WARNING if is_notable and not by_chance else Severity.HINT,
            _(
                "{count:,} of {n:,} test images are also validation images, which select the epoch",
                count=count,
                n=len(test),
            ),
            few_variations() if by_chance else _("Use separate images for validation and test"),
            {"part": "test", "same_pixels": count, "share": count / len(test)},
        )


def labels_disagree(images: Images) -> Iterator[Finding]:
    """Finds training images with the same pixels, or of the same picture, and different labels."""
    labels = images.train.labels
    first = first_with_same_pixels([images.train.images])
    count = int((labels[first] != labels).sum())
    fix = _("Correct the labels: convoy data show lists the pairs in duplicates.csv")
    if count:
        yield Finding(
            _severity_of_labels(count, len(labels), WRONG_LABELS),
            _("{count:,} training images are exact duplicates of an image with a different label", count=count),
            fix,
            {"images": count, "share": count / len(labels)},
        )
    if len(labels) > MAX_COMPARED // 2:
        return
    pairs = find_duplicates([images.train.images], lambda share: None).same_picture
    pairs = pairs[labels[pairs[:, 0]] != labels[pairs[:, 1]]]
    pairs = pairs[have_same_detail(images.train.images[pairs[:, 0]], images.train.images[pairs[:, 1]])]
    near = len(np.unique(pairs[:, 1]))
    if near:
        yield Finding(
            _severity_of_labels(near, len(labels), SIMILAR_DRAWINGS if images.is_drawing else WRONG_LABELS),
            _("{count:,} training images are near duplicates of an image with a different label", count=near),
            fix,
            {"images": near, "share": near / len(labels)},
        )


def _severity_of_labels(wrong: int, images: int, usual: float) -> Severity:
    return Severity.WARNING if wrong > max(1, usual * images) else Severity.HINT  # one pair may be by chance
