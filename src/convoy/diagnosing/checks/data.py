"""Checks of the images and labels that a recipe trains on. Subject: `Images`."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from convoy.data.duplicates import find_duplicates, first_with_same_pixels
from convoy.diagnosing.finding import Finding, Severity
from convoy.diagnosing.images import Images, sample
from convoy.run_contents import part_name
from convoy.text import gettext as _
from convoy.text.lists import joined
from convoy.text.numbers import fixed

SAMPLE = 2000  # images
UNBALANCED, VERY_UNBALANCED = 1.5, 10  # largest class / smallest class
MAX_COMPARED = 20_000  # images; the search for the same picture is quadratic
ERROR_SHARE = 0.05  # if at least this fraction of the scored images is shared, the finding is an error
FEW_SCORED = 100  # images
ABSENT = 10  # a missing class is reported if at least this many of its images were expected


def normalisation(images: Images) -> Iterator[Finding]:
    """Checks only a mean and standard deviation that the recipe sets. Values computed from training images are always
    correct."""
    if images.recipe.data.normalise == "train":
        return
    mean, std = (np.array(values) for values in images.statistics)
    center, spread = (mean - images.mean) / images.std, std / np.array(images.std)
    worst = int(np.argmax(np.abs(np.log(spread)) + np.abs(center)))
    is_far = spread.min() < 0.05 or spread.max() > 10 or np.abs(center).max() > 5
    if is_far or spread.min() < 0.28:
        yield Finding(
            Severity.WARNING if is_far else Severity.HINT,
            _(
                "After data.normalise, the training pixels have mean {mean} and standard deviation "
                "{deviation:.3f}, not about 0 and 1",
                mean=fixed(center[worst], 2),
                deviation=spread[worst],
            ),
            _(
                "Pixels are in 0 to 1 before normalisation; data.normalise = 'train' computes both from the "
                "training images"
            ),
            {"mean": float(center[worst]), "deviation": float(spread[worst])},
        )


def pixel_range(images: Images) -> Iterator[Finding]:
    """Finds images with values in 0..1 that were stored as integers 0..255 and are therefore almost black."""
    largest = {name: int(_sampled(part.images).max()) for name, part in images.parts.items()}
    train = largest["train"]
    if train <= 1:
        yield Finding(
            Severity.HINT,
            _("The largest pixel value is {largest} out of 255: at most two grey levels", largest=train),
            _("If the images had values from 0 to 1, multiply them by 255 before storing them as integers"),
            {"largest": train},
        )
    for name, value in largest.items():
        if min(value, train) * 8 < max(value, train):
            yield Finding(
                Severity.ERROR,
                _(
                    "The largest pixel value is {value} in the {part} images and {train} in the training images: "
                    "their scales differ",
                    part=part_name(name),
                    value=value,
                    train=train,
                ),
                _("Convert both sets in the same way"),
                {"part": name, "largest": value, "largest_in_training": train},
            )


def parts_differ(images: Images) -> Iterator[Finding]:
    """Compares the mean of each channel with the training set, to find inverted images, a different order of channels,
    or a different brightness."""
    means = {name: _sampled(part.images).mean((2, 3)) for name, part in images.parts.items()}  # (n, C) each
    train = means.pop("train")
    spread = train.std(0) + 1e-9  # over images
    for name, part in means.items():
        if len(part) < FEW_SCORED:
            continue
        error = spread * np.sqrt(1 / len(part) + 1 / len(train))  # of a difference of means
        unchanged = _distance(part.mean(0), train.mean(0), spread)
        distances = {
            "as it is": unchanged,
            "inverted": _distance(255 - part.mean(0), train.mean(0), spread),
            "other channel order": _distance(part.mean(0)[::-1], train.mean(0), spread),
        }
        best = min(distances, key=lambda key: distances[key])
        explained = distances[best] < unchanged / 4
        is_real = np.abs(part.mean(0) - train.mean(0)).max() > 6 * error.max()
        if is_real and (explained or unchanged > 1):
            yield Finding(
                Severity.ERROR if explained else Severity.WARNING,
                (
                    _("The {part} images match the training images only if they are inverted", part=part_name(name))
                    if best == "inverted"
                    else _(
                        "The {part} images match the training images only with their channels in reverse order",
                        part=part_name(name),
                    )
                )
                if explained
                else _(
                    "The brightness of the {part} images differs from that of the training images by "
                    "{distance:.1f} standard deviations of an image",
                    part=part_name(name),
                    distance=unchanged,
                ),
                _("Read both sets in the same way: channel order, range, inversion, source"),
                {"part": name} | {f"distance_{key.replace(' ', '_')}": value for key, value in distances.items()},
            )


def _distance(a: np.ndarray, b: np.ndarray, spread: np.ndarray) -> float:
    return float((np.abs(a - b) / spread).max())


def grey_as_colour(images: Images) -> Iterator[Finding]:
    pixels = _sampled(images.train.images)
    if pixels.shape[1] == 3 and (pixels == pixels[:, :1]).all():
        yield Finding(
            Severity.HINT,
            _("The images have three equal channels: grey images stored as colour"),
            _("One channel needs less memory and time in the first layer"),
            {"channels": 3},
        )


def blank_images(images: Images) -> Iterator[Finding]:
    for name, part in images.parts.items():
        pixels = _sampled(part.images)
        count = int((pixels.max((1, 2, 3)) == pixels.min((1, 2, 3))).sum())
        if count:
            yield Finding(
                Severity.WARNING if count > 0.01 * len(pixels) else Severity.HINT,
                _(
                    "{count:,} of {n:,} {part} images have only one colour",
                    count=count,
                    n=len(pixels),
                    part=part_name(name),
                ),
                _("Look for files that could not be decoded"),
                {"part": name, "blank": count, "images": len(pixels)},
            )


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


def target_below_chance(images: Images) -> Iterator[Finding]:
    target, part = images.recipe.stop.target_accuracy, images.parts.get("validation")
    if part is not None and 0 < target <= (largest := max(part.class_counts) / len(part)):
        yield Finding(
            Severity.WARNING,
            _(
                "stop.target_accuracy = {target:g} ends the training at once: always predicting the largest class is "
                "correct for {share:.1%} of the validation images",
                target=target,
                share=largest,
            ),
            _("The target is a fraction: 0.95 for 95 %; 0 switches the rule off"),
            {"target": target, "largest_class": largest},
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
    """Finds training images with the same pixels and different labels."""
    labels = images.train.labels
    first = first_with_same_pixels([images.train.images])
    count = int((labels[first] != labels).sum())
    if count:
        yield Finding(
            Severity.WARNING if count > 0.001 * len(labels) else Severity.HINT,
            _("{count:,} training images are exact duplicates of an image with a different label", count=count),
            _("Correct the labels: convoy data show lists the pairs in duplicates.csv"),
            {"images": count, "share": count / len(labels)},
        )


def _sampled(images: np.ndarray) -> np.ndarray:
    return images[sample(len(images), SAMPLE)]
