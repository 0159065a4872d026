"""Checks of labels and of the orientation of images, with a fast classifier of thumbnails. Subject: `Images`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from convoy.diagnosing.checks.pixels import means_show_reversed_channels
from convoy.diagnosing.copies import (
    MAX_COMPARED,
    MIN_COPIES,
    few_variations,
    repeats_by_chance,
    similar_copies,
    symmetries,
    turned,
    turned_or_shifted,
)
from convoy.diagnosing.features import of_pixels, scores
from convoy.diagnosing.finding import Finding, Severity
from convoy.diagnosing.images import MAX_SAMPLE, Images, sample
from convoy.diagnosing.pixel_classifier import PixelClassifier, out_of_fold, relation
from convoy.diagnosing.suspects import find_suspects
from convoy.run_contents import part_name
from convoy.stats import wilson
from convoy.text import gettext as _

MIN_IMAGES, MIN_TRAINING_IMAGES = 60, 20  # images of a scored part and of the training set
MIN_EVIDENCE = 5.0  # standard errors
MIN_WRONG = 0.05  # share of the labels
MAX_WRONG = (
    0.45  # fraction of the share that random labels give; above it, the classifier may be wrong instead of the labels
)
FLAT = 0.7  # error rate on the most confident images, relative to the next ones
# Standard errors. With permuted labels of MNIST, CIFAR-10 and digits (24 sets of 240 to 6,000 images) up to 1.6 for
# thumbnails and 3.3 for other features; with correct labels at least 7.3 for thumbnails.
RELATED, SURELY_RELATED = 3.0, 4.0
MANY_IMAGES = 2000
FOLDS, SCALE = 10, 5.0  # factor of the outputs, so that a softmax makes them probabilities
MIN_GAIN = (
    10.0  # log likelihood; up to 0.5 for correct labels, at least 35 if 15 % of the labels of 616 digits are wrong
)
# Two classes where images of one have the label of the other: number of pairs examined, minimum images per class, and
# the lowest share of such labels, absolute and relative to the opposite direction. With correct labels of MNIST and
# CIFAR-10 (3 to 10 classes, 300 to 6,000 images), this ratio is at most 1.4; with a third of an MNIST class relabelled,
# at least 2.1 (1,500 images).
CONFUSED_PAIRS, MIN_OF_PAIR, MIN_RELABELLED, ONE_SIDED = 5, 40, 0.1, 2.0
ALSO_RIGHT = 0.8  # accuracy after classes are swapped, relative to the accuracy in training


def part_is_turned(images: Images) -> Iterator[Finding]:
    """Finds parts that a classifier fitted on training images classifies better if they are rotated or mirrored."""
    for name, (pixels, labels) in _scored(images):
        unchanged = images.classifier.predicted(pixels) == labels
        right = {way: images.classifier.predicted(turned(pixels, *how)) == labels for way, how in symmetries().items()}
        best = max(right, key=lambda way: int(right[way].sum()))
        if (
            _evidence(right[best], unchanged) > MIN_EVIDENCE
            and right[best].mean() > ALSO_RIGHT * _accuracy_in_training(images)
            and _evidence(right[best][is_new := _is_new(images, pixels)], unchanged[is_new]) > MIN_EVIDENCE
        ):
            yield Finding(
                Severity.ERROR,
                _(
                    "A classifier fitted on training images gets {after:.1%} of {n:,} {part} images right if they "
                    "are {way}, and {before:.1%} as they are",
                    after=right[best].mean(),
                    n=len(labels),
                    part=part_name(name),
                    way=best,
                    before=unchanged.mean(),
                ),
                _("Read both sets in the same way; usual cause: rows and columns exchanged in one of them"),
                {
                    "part": name,
                    "accuracy": float(unchanged.mean()),
                    "accuracy_turned": float(right[best].mean()),
                    "images": len(labels),
                },
            )

        is_reported = means_show_reversed_channels(images, name)
        if pixels.shape[1] == 3 and not is_reported and _has_reversed_channels(images, pixels):
            yield Finding(
                Severity.ERROR,
                _(
                    "The {part} images match the training images only with their channels in reverse order",
                    part=part_name(name),
                ),
                _("Read both sets in the same way: channel order, range, inversion, source"),
                {"part": name, "images": len(labels)},
            )


def _evidence(changed: np.ndarray, unchanged: np.ndarray) -> float:
    """Returns how many standard errors more images are right after the change (McNemar)."""
    gained, lost = int((changed & ~unchanged).sum()), int((unchanged & ~changed).sum())
    return float((gained - lost) / max(1.0, np.sqrt(gained + lost)))


def _is_new(images: Images, pixels: np.ndarray) -> np.ndarray:
    """Whether each image has no copy in training: a mirrored copy is right once it is mirrored back."""
    train = images.train.images[sample(len(images.train), MAX_COMPARED)]
    return ~turned_or_shifted(train, pixels) & (similar_copies(train, pixels) == 0)


def _has_reversed_channels(images: Images, pixels: np.ndarray) -> bool:
    """Whether a classifier that distinguishes training images from copies with reversed channels assigns the part to
    the copies.
    """
    train = images.train.images[sample(len(images.train), MAX_SAMPLE)]
    both, labels = np.concatenate([train, train[:, ::-1]]), np.repeat([0, 1], len(train))
    looks_reversed = PixelClassifier.fitted(both, labels, 2).predicted(pixels) == 1
    return float((looks_reversed.mean() - 0.5) * 2 * np.sqrt(len(pixels))) > MIN_EVIDENCE


def classes_swapped(images: Images) -> Iterator[Finding]:
    """Finds pairs of classes that a classifier fitted on training images exchanges more often than not."""
    for name, (pixels, labels) in _scored(images):
        predicted = images.classifier.predicted(pixels)
        confusion = np.zeros((len(images.train.classes),) * 2, int)
        np.add.at(confusion, (labels, predicted), 1)
        right = np.diag(confusion)[:, None] + np.diag(confusion)
        swapped = confusion + confusion.T
        evidence = np.triu((swapped - right) / np.sqrt(np.maximum(1, swapped + right)), 1)
        one, other = np.unravel_index(int(evidence.argmax()), evidence.shape)
        # With correct labels, one of two confused classes may have few correct predictions, but not both.
        both = min(confusion[one, other] - confusion[one, one], confusion[other, one] - confusion[other, other])
        if (renamed := _renamed(confusion)) is not None and renamed > ALSO_RIGHT * _accuracy_in_training(images):
            before = float(np.diag(confusion).sum() / len(labels))
            yield Finding(
                Severity.ERROR,
                _(
                    "The classes of the {part} labels are probably in another order: a classifier fitted on training "
                    "images is right for {before:.1%} of {n:,} images, and for {after:.1%} if the classes are renamed",
                    part=part_name(name),
                    before=before,
                    n=len(labels),
                    after=renamed,
                ),
                _("Compare the order of the class names in both sets"),
                {"part": name, "accuracy": before, "accuracy_renamed": renamed},
            )
            continue
        if not (evidence[one, other] > MIN_EVIDENCE and both > 0):
            continue
        after = (np.diag(confusion).sum() - right[one, other] + swapped[one, other]) / len(labels)
        if after > ALSO_RIGHT * _accuracy_in_training(images):
            yield Finding(
                Severity.ERROR,
                _(
                    "{one} and {other} are probably exchanged in the {part} labels: a classifier fitted on "
                    "training images assigns {swapped:,} of these images to the other class, and {right:,} "
                    "to their own",
                    one=images.train.classes[one],
                    other=images.train.classes[other],
                    part=part_name(name),
                    swapped=int(swapped[one, other]),
                    right=int(right[one, other]),
                ),
                _("Compare the order of the class names in both sets"),
                {"part": name, "swapped": int(swapped[one, other]), "right": int(right[one, other])},
            )


def _renamed(confusion: np.ndarray) -> float | None:
    """Returns the accuracy if each label becomes its most predicted class; None if at most two classes change."""
    from scipy.optimize import linear_sum_assignment

    _rows, classes = linear_sum_assignment(-confusion)
    moved = np.flatnonzero(classes != np.arange(len(classes)))
    gained = confusion[moved, classes[moved]].sum() - confusion[moved, moved].sum()
    evidence = gained / np.sqrt(max(1, confusion[moved, classes[moved]].sum() + confusion[moved, moved].sum()))
    accuracy = confusion[np.arange(len(classes)), classes].sum() / confusion.sum()
    return float(accuracy) if len(moved) > 2 and evidence > MIN_EVIDENCE else None


def random_labels(images: Images) -> Iterator[Finding]:
    """Estimates the rate of wrong labels: the error rate of a classifier at a confidence above which it falls no
    further.
    """
    chosen = sample(len(images.train), 2 * MAX_SAMPLE)
    labels, classes = images.train.labels[chosen], len(images.train.classes)
    if len(chosen) < 2 * MIN_IMAGES or len(np.unique(labels)) < 2:
        return
    outputs = out_of_fold(images.train.images[chosen], labels, classes)
    if relation(outputs, labels) < RELATED:
        yield from _no_relation(images.train.images[chosen], labels, outputs)
        return
    if len(chosen) < 5 * MIN_IMAGES:
        return
    if relabelled := list(_relabelled(images.train.images[chosen], labels, outputs, images.train.classes)):
        yield from relabelled
        return
    ordered = np.sort(outputs, 1)
    by_margin = np.argsort(ordered[:, -2] - ordered[:, -1], kind="stable")  # most confident first
    wrong = (outputs.argmax(1) != labels)[by_margin]
    tenth = len(wrong) // 10
    surest, next_surest, middle = wrong[:tenth], wrong[tenth : 4 * tenth], wrong[4 * tenth : 7 * tenth]
    share = float(wrong[: 4 * tenth].mean())
    of_random = 1 - np.square(np.bincount(labels) / len(labels)).sum()  # permuted labels that differ from the old ones
    is_flat = surest.mean() > FLAT * next_surest.mean() and share > FLAT * middle.mean()
    if is_flat and share < MAX_WRONG * of_random and wilson(int(surest.sum()), tenth).span[0] > MIN_WRONG:
        yield Finding(
            Severity.WARNING,
            _(
                "About {share:.0%} of the training labels are probably random: a classifier trained on the "
                "other half of the images disagrees with that many labels of the {n:,} images for which it "
                "is most confident",
                share=share / of_random,
                n=4 * tenth,
            ),
            _("Compare labels with images in convoy data show; convoy crossval and the doctor list suspect labels"),
            {
                "share": share,
                "share_of_surest": float(surest.mean()),
                "accuracy": float(1 - wrong.mean()),
                "images": len(labels),
            },
        )
    elif len(labels) <= MANY_IMAGES:
        yield from _some_wrong(images.train.images[chosen], labels, classes)


def _some_wrong(pixels: np.ndarray, labels: np.ndarray, classes: int) -> Iterator[Finding]:
    """Fits the share of wrong labels to the outputs for a few hundred images, each predicted from nine tenths.

    The share must be far more probable than no wrong labels, and match the error rate on the most confident images: a
    weak classifier is wrong more often on them, and one that is only badly calibrated less often.
    """
    outputs = out_of_fold(pixels, labels, classes, FOLDS)
    suspects = find_suspects(SCALE * outputs, labels)
    ordered = np.sort(outputs, 1)
    surest = np.argsort(ordered[:, -2] - ordered[:, -1], kind="stable")[: 3 * len(labels) // 10]
    wrong = outputs[surest].argmax(1) != labels[surest]
    is_its_error = 0.6 * suspects.share < wrong.mean() < 1.6 * suspects.share
    if suspects.gain > MIN_GAIN and is_its_error and wilson(int(wrong.sum()), len(wrong)).span[0] > MIN_WRONG:
        yield Finding(
            Severity.WARNING,
            _(
                "About {share:.0%} of the {n:,} training labels are probably wrong: a classifier trained on other "
                "images disagrees with {surest:.0%} of the labels on the images for which it is most confident",
                share=suspects.share,
                n=len(labels),
                surest=wrong.mean(),
            ),
            _("Compare labels with images in convoy data show; convoy crossval and the doctor list suspect labels"),
            {"share": suspects.share, "share_of_surest": float(wrong.mean()), "gain": suspects.gain},
        )


def _relabelled(pixels: np.ndarray, labels: np.ndarray, outputs: np.ndarray, names: Sequence[str]) -> Iterator[Finding]:
    """Finds two classes where images of one have the label of the other, but not vice versa.

    If class A has the label B, the images most like A are labelled B far more often than the images most like B are
    labelled A. Two classes that are only similar are confused both ways.
    """
    counts = np.bincount(labels, minlength=len(names))
    confused = np.zeros((len(names),) * 2)
    np.add.at(confused, (labels, outputs.argmax(1)), 1)
    confused = np.triu(confused + confused.T, 1) / np.maximum(1, np.minimum.outer(counts, counts))
    best = None
    for index in np.argsort(-confused, axis=None)[:CONFUSED_PAIRS]:
        pair = tuple(int(each) for each in np.unravel_index(index, confused.shape))
        if confused[pair] == 0 or min(counts[list(pair)]) < MIN_OF_PAIR:
            continue
        rows = np.flatnonzero(np.isin(labels, pair))
        is_second = (labels[rows] == pair[1]).astype(int)
        likeness = out_of_fold(pixels[rows], is_second, 2, folds=4) @ [1, -1]  # to the first class
        order = np.argsort(-likeness, kind="stable")
        first_like, second_like = order[: counts[pair[0]] // 2], order[::-1][: counts[pair[1]] // 2]
        second_of, first_of = is_second[first_like], 1 - is_second[second_like]
        for (one, other), wrong, opposite in ((pair, second_of, first_of), (pair[::-1], first_of, second_of)):
            low = wilson(int(wrong.sum()), len(wrong)).span[0]
            evidence = low / max(0.02, opposite.mean())
            if low >= MIN_RELABELLED and evidence >= ONE_SIDED and (best is None or evidence > best[0]):
                best = evidence, one, other, wrong, opposite
    if best is not None:
        _evidence_of_pair, one, other, wrong, opposite = best
        yield Finding(
            Severity.WARNING,
            _(
                "Many training images with labels {other} look like {one}: of the {n:,} images that a classifier of "
                "the two classes finds most similar to {one}, {share:.0%} have the label {other}, but only "
                "{reverse:.0%} vice versa",
                one=names[one],
                other=names[other],
                n=len(wrong),
                share=wrong.mean(),
                reverse=opposite.mean(),
            ),
            _("Compare labels with images in convoy data show; convoy crossval and the doctor list suspect labels"),
            {"share": float(wrong.mean()), "share_of_reverse": float(opposite.mean()), "images": len(wrong)},
        )


def _no_relation(pixels: np.ndarray, labels: np.ndarray, outputs: np.ndarray) -> Iterator[Finding]:
    """With few images, states only that no relation between images and labels was found: a network may find one."""
    if any(relation(scores(each.values, labels), labels) >= SURELY_RELATED for each in of_pixels(pixels).values()):
        return
    right = int((outputs.argmax(1) == labels).sum())
    low, high = wilson(right, len(labels)).span
    yield Finding(
        Severity.WARNING if len(labels) >= MANY_IMAGES else Severity.HINT,
        _(
            "The training labels may be random: a simple classifier, trained on the other half of the images, "
            "predicts {accuracy:.1%} of {n:,} labels (95 % interval {low:.1%} to {high:.1%}); the largest class "
            "has {largest:.1%}",
            accuracy=right / len(labels),
            n=len(labels),
            low=low,
            high=high,
            largest=np.bincount(labels).max() / len(labels),
        ),
        _(
            "Compare labels with images in convoy data show; if the labels are right, convoy crossval "
            "gives an accuracy above chance"
        ),
        {"accuracy": right / len(labels), "images": len(labels), "relation": relation(outputs, labels)},
    )


def turned_copies(images: Images) -> Iterator[Finding]:
    """Finds images of a part that are rotated, mirrored or shifted training images; `images_in_two_parts` finds the
    other copies."""
    train = images.train.images
    for name, part in images.parts.items():
        if name == "train":
            continue
        pixels = part.images[sample(len(part), MAX_SAMPLE)]
        copies = turned_or_shifted(train, pixels)
        count = int(copies.sum())
        if count >= MIN_COPIES:
            by_chance = repeats_by_chance(images, copies, turned_or_shifted)
            yield Finding(
                Severity.HINT if by_chance else Severity.WARNING,
                _(
                    "{count:,} of {n:,} {part} images are rotated, transposed or shifted training images",
                    count=count,
                    n=len(pixels),
                    part=part_name(name),
                ),
                few_variations()
                if by_chance
                else _("Split the images before they are augmented; keep copies together with data.split.group_by"),
                {"part": name, "images": len(pixels), "share": count / len(pixels)},
            )


def _scored(images: Images) -> Iterator[tuple[str, tuple[np.ndarray, np.ndarray]]]:
    """Yields the parts with enough images, of which at most MAX_SAMPLE are used."""
    if len(images.train) >= MIN_TRAINING_IMAGES and len(np.unique(images.train.labels)) > 1:
        for name, part in images.parts.items():
            if name != "train" and len(part) >= MIN_IMAGES:
                chosen = sample(len(part), MAX_SAMPLE)
                yield name, (part.images[chosen], part.labels[chosen])


def _accuracy_in_training(images: Images) -> float:
    chosen = sample(len(images.train), MAX_SAMPLE)
    labels = images.train.labels[chosen]
    predicted = out_of_fold(images.train.images[chosen], labels, len(images.train.classes)).argmax(1)
    return float((predicted == labels).mean())
