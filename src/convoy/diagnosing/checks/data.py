"""Checks of the images and labels that a recipe trains on. Subject: `Images`."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from convoy.data.duplicates import find_duplicates, first_with_same_pixels
from convoy.diagnosing.finding import Finding, Severity
from convoy.diagnosing.images import Images
from convoy.run_contents import part_name
from convoy.text import gettext as _
from convoy.text.lists import joined

UNBALANCED, VERY_UNBALANCED = 1.5, 10  # largest class / smallest class
MAX_COMPARED = 20_000  # images; the search for the same picture is quadratic
ERROR_SHARE = 0.05  # if at least this fraction of the scored images is shared, the finding is an error
FEW_SCORED = 100  # images
ABSENT = 10  # a missing class is reported if at least this many of its images were expected


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
    names = [name.strip().casefold() for name in images.train.classes]
    if twice := [name for name, key in zip(images.train.classes, names, strict=True) if names.count(key) > 1]:
        yield Finding(
            Severity.WARNING,
            _("These classes differ only in upper and lower case: {names}", names=joined(twice[:6])),
            _("Rename or merge their folders"),
            {"classes": len(twice)},
        )
    present = counts[counts > 0]
    ratio = present.max() / present.min()
    if ratio < UNBALANCED:
        return
    yield Finding(
        Severity.WARNING if ratio >= VERY_UNBALANCED and not _is_weighted(images) else Severity.HINT,
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
            _("Convoy shuffles and stratifies. A tool that tests on the end of the list gets only some classes"),
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
        same, alike, searched = copies_in_training(images, name)
        if not len(alike):
            continue
        share = len(alike) / len(part)
        yield Finding(
            Severity.WARNING if share >= ERROR_SHARE or len(same) >= ERROR_SHARE / 5 * len(part) else Severity.HINT,
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
            _(
                "Remove them, or keep them together with data.split.group_by = 'duplicates'; train a run "
                "to see their effect"
            ),
            {"part": name, "same_pixels": len(same), "same_picture": len(alike) - len(same), "share": share},
        )
    yield from _validation_in_test(images)


def _validation_in_test(images: Images) -> Iterator[Finding]:
    """Finds the same pixels in validation and test, because the epoch is then selected by test images."""
    if not {"validation", "test"} <= images.parts.keys():
        return
    validation, test = images.parts["validation"].images, images.parts["test"].images
    first = first_with_same_pixels([validation, test])[len(validation) :]
    count = int((first < len(validation)).sum())
    if count:
        yield Finding(
            Severity.WARNING if count >= ERROR_SHARE / 5 * len(test) else Severity.HINT,
            _(
                "{count:,} of {n:,} test images are also validation images, which select the epoch",
                count=count,
                n=len(test),
            ),
            _("Use separate images for validation and test"),
            {"part": "test", "same_pixels": count, "share": count / len(test)},
        )


def copies_in_training(images: Images, name: str) -> tuple[np.ndarray, np.ndarray, bool]:
    """Finds a part's images that are also in training. Returns the indices of exact copies, and of all copies.

    All copies include near duplicates (possibly mirrored), which are searched only among at most MAX_COMPARED images.
    The third value states whether they were searched.
    """
    train, part = images.train.images, images.parts[name].images
    if len(train) + len(part) > MAX_COMPARED:
        first = first_with_same_pixels([train, part])[len(train) :]
        same = np.flatnonzero(first < len(train))
        return same, same, False

    def across(pairs: np.ndarray) -> np.ndarray:
        return np.unique(pairs[(pairs[:, 0] < len(train)) & (pairs[:, 1] >= len(train)), 1] - len(train))

    duplicates = find_duplicates([train, part], lambda share: None)
    same = across(duplicates.same_pixels)
    mirrored = find_duplicates([train, np.ascontiguousarray(part[..., ::-1])], lambda share: None)
    pictures = (duplicates.same_picture, mirrored.same_pixels, mirrored.same_picture)
    return same, np.unique(np.concatenate([same, *map(across, pictures)])), True


def labels_disagree(images: Images) -> Iterator[Finding]:
    """Finds training images with the same pixels, or of the same picture, and different labels."""
    labels = images.train.labels
    first = first_with_same_pixels([images.train.images])
    count = int((labels[first] != labels).sum())
    fix = _("Correct the labels: convoy data show lists the pairs in duplicates.csv")
    if count:
        yield Finding(
            _severity_of_labels(count, len(labels)),
            _("{count:,} training images are exact duplicates of an image with a different label", count=count),
            fix,
            {"images": count, "share": count / len(labels)},
        )
    if len(labels) > MAX_COMPARED // 2:
        return
    pairs = find_duplicates([images.train.images], lambda share: None).same_picture
    near = len(np.unique(pairs[labels[pairs[:, 0]] != labels[pairs[:, 1]], 1]))
    if near:
        yield Finding(
            _severity_of_labels(near, len(labels)),
            _("{count:,} training images are near duplicates of an image with a different label", count=near),
            fix,
            {"images": near, "share": near / len(labels)},
        )


def _severity_of_labels(wrong: int, images: int) -> Severity:
    return Severity.WARNING if wrong > 0.001 * images else Severity.HINT
