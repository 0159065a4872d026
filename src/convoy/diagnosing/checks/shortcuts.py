"""Checks for shortcuts: classes that are predictable without content, and groups of images. Subject: `Images`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import numpy as np

from convoy.diagnosing.features import of_files, of_pixels, roc_aucs, scores
from convoy.diagnosing.finding import Finding, Severity
from convoy.diagnosing.images import Images, sample
from convoy.run_contents import part_name
from convoy.stats import wilson
from convoy.text import gettext as _
from convoy.text.lists import joined

IMAGES = 3000
MIN_IMAGES = 60
MIN_CLASS_IMAGES = 10
EASY, NOTABLE = 0.9, 0.5  # (accuracy - largest class) / (100 % - largest class)
# Area under the ROC curve of one class against the others. The largest in MNIST and CIFAR-10 is 0.949 (ink of ones).
EASY_AREA, NOTABLE_AREA = 0.98, 0.96
# For the finest details of photographs: the lower limit of the area (two standard errors), and the factor by which it
# is farther from 1 at half the resolution. In the 45 pairs of CIFAR-10 classes (300 images each), the area is at most
# 0.900. With noise of 8 levels or JPEG quality 40 in one of 5 classes (80 images), it is 0.95.
FINEST_AREA, FINER = 0.9, 3.0
# Largest area under the curve, from the plainest regions or most pixels of drawings with noise. Lower if the objects
# differ and not the processing.
# At most 0.78 for the sharpness or saturation of drawn faces and clocks; for one class of CIFAR-10 that was compressed
# (quality 40), noisy (4 levels), blurred or grey at least 0.86.
PLAIN_AREA = 0.8
# Of rows and columns in the centre: at least 0.93 for checkerboards (32 x 32 pixels, 150 to 360 images); 0.78 for
# CIFAR-10 with frames or coloured borders.
CENTRE_AREA = 0.9
MIN_MARKED_IMAGES, MIN_MARK_PIXELS, MAX_MARK = 60, 4, 0.25  # images of a class; pixels; share of the pixels
MAX_BACKGROUND = 0.1  # share of the most frequent level; more in drawings
SAME_LEVELS = 10  # at most, from the median of the class
MARKED, VARIED = 0.6, 0.3  # share of the images. In CIFAR-10, at most 0.23 for one pixel; median over pixels: 0.17
# Difference between a class and the others in standard deviations and in standard errors. In CIFAR-10, at most 0.41 and
# 4.0 (100 images per class) and 0.27 and 7.6 (1,000); for the fourth pixel of a mark at least 0.59 and 5.3 (opacity
# 10 %, 100 images), and 0.9 and 9.2 (15 %).
MARK_EFFECT, MARK_EVIDENCE = 0.45, 5.0
EASY_PART_AREA, NOTABLE_PART_AREA = 0.8, 0.7  # area under the ROC curve of a part against training
ALIKE = 0.9  # probability that two neighbours are more similar than other pairs of images of their class
PREFIX = r"([^/]+?)[-_ ]?\d+\.\w+$"  # prefix of a file's name, before its last number


def predictable_without_content(images: Images) -> Iterator[Finding]:
    """Fits a linear classifier on border pixels, simple statistics and properties of files, and scores it on held-out
    images."""
    chosen = sample(len(images.train), IMAGES)
    labels = images.train.labels[chosen]
    if len(chosen) < MIN_IMAGES or len(np.unique(labels)) < 2:
        return
    every = of_pixels(images.train.images[chosen], is_photo=not images.is_drawing)
    if images.files:
        every |= of_files([images.files[index] for index in chosen])
    largest = np.bincount(labels).max() / len(labels)
    for name, features in every.items():
        outputs = scores(features.values, labels)
        by_class = roc_aucs(outputs, labels, MIN_CLASS_IMAGES)
        coarse = _largest_area(features.coarse, labels)
        is_content = features.is_content or coarse >= EASY_AREA
        is_content |= _largest_area(features.centre, labels) >= CENTRE_AREA  # as in a texture
        is_content |= features.plain is not None and _largest_area(features.plain, labels) < PLAIN_AREA
        is_finest = not (images.is_drawing or features.coarse is None or is_content)
        finest = _finest(by_class, coarse, labels) if is_finest else []
        correct = int((outputs.argmax(1) == labels).sum())
        share = (correct / len(labels) - largest) / (1 - largest)
        if share >= NOTABLE and wilson(correct, len(labels)).span[0] > largest:
            yield Finding(
                Severity.WARNING if (share >= EASY and not is_content) or finest else Severity.HINT,
                _(
                    "A linear classifier predicts the class of {accuracy:.1%} of {n:,} images using only {name}; the "
                    "largest class has {largest:.1%} of the images",
                    accuracy=correct / len(labels),
                    n=len(labels),
                    name=name,
                    largest=largest,
                ),
                _balance(),
                {
                    "features": name,
                    "accuracy": correct / len(labels),
                    "largest_class": float(largest),
                    "images": len(labels),
                },
            )
            continue
        easy = sorted(
            (index for index in by_class if by_class[index] >= NOTABLE_AREA or index in finest),
            key=lambda each: -by_class[each],
        )
        if easy:
            area = max(by_class.values())
            yield Finding(
                Severity.WARNING if (area >= EASY_AREA and not is_content) or finest else Severity.HINT,
                _(
                    "A linear classifier separates {classes} from the other classes using only {name} (area under the "
                    "ROC curve {area:.3f}, {n:,} images)",
                    classes=joined(images.train.classes[index] for index in easy[:3]),
                    name=name,
                    area=area,
                    n=len(labels),
                ),
                _balance(),
                {"features": name, "area": area, "classes": len(easy), "images": len(labels)},
            )


def repeated_mark(images: Images) -> Iterator[Finding]:
    """Finds pixels that are nearly the same in most images of a class, as in a watermark or a date.

    Only in photographs: in drawings, pixels of the background or of a centred object are also the same.
    """
    chosen = sample(len(images.train), IMAGES)
    labels = images.train.labels[chosen]
    if np.bincount(images.train.images[chosen].reshape(-1)).max() > MAX_BACKGROUND * images.train.images[chosen].size:
        return
    pixels = images.train.images[chosen].mean(1, dtype=np.float32)
    detail, compared, faint = _detail(pixels), 0, list[Finding]()
    for index, name in enumerate(images.train.classes):
        own, others = pixels[labels == index], pixels[labels != index]
        if len(own) < MIN_MARKED_IMAGES or len(others) < MIN_MARKED_IMAGES:
            continue
        usual = np.median(own, 0)
        same = (np.abs(own - usual) <= SAME_LEVELS).mean(0)  # [H, H], share of the images
        is_marked = (same >= MARKED) & ((np.abs(others - usual) <= SAME_LEVELS).mean(0) <= MARKED / 2)
        compared += 1
        faint += _transparent_mark(name, detail[labels == index], detail[labels != index], is_marked)
        rows, columns = np.nonzero(is_marked)
        if np.median(same) > VARIED or not MIN_MARK_PIXELS <= len(rows) <= MAX_MARK * same.size:
            continue
        yield Finding(
            Severity.WARNING,
            _(
                "{pixels:,} pixels are nearly the same in {share:.0%} of the images of {name}, but not in "
                "other classes: rows {top} to {bottom}, columns {left} to {right} (from 0). Other pixels are "
                "the same in {usual:.0%} of the images",
                pixels=len(rows),
                share=float(same[is_marked].mean()),
                name=name,
                top=int(rows.min()),
                bottom=int(rows.max()),
                left=int(columns.min()),
                right=int(columns.max()),
                usual=float(np.median(same)),
            ),
            _("Look for a watermark, a date or a frame there; crop or cover it in all images"),
            {"pixels": len(rows), "share": float(same[is_marked].mean()), "images": len(own)},
        )
    if len(faint) <= compared / 2:  # in more classes, it is an object drawn at a fixed position
        yield from faint


def _transparent_mark(name: str, own: np.ndarray, others: np.ndarray, is_known: np.ndarray) -> Iterator[Finding]:
    """Finds pixels that are usually lighter or darker than their neighbours in a class, as under a faint watermark."""
    variances = own.var(0), others.var(0)
    difference = np.abs(own.mean(0) - others.mean(0))
    effect = difference / np.sqrt((variances[0] + variances[1]) / 2 + 1e-6)
    errors = difference / np.sqrt(variances[0] / len(own) + variances[1] / len(others) + 1e-9)
    is_marked = (effect >= MARK_EFFECT) & (errors >= MARK_EVIDENCE) & (np.abs(own.mean(0)) > np.abs(others.mean(0)))
    rows, columns = np.nonzero(is_marked)
    if (is_known & is_marked).any() or not MIN_MARK_PIXELS <= len(rows) <= MAX_MARK * is_marked.size:
        return
    yield Finding(
        Severity.WARNING,
        _(
            "{pixels:,} pixels of {name} differ from their neighbours in the same way in most images, but not in other "
            "classes, by up to {effect:.1f} standard deviations: rows {top} to {bottom}, columns {left} to {right} "
            "(from 0)",
            pixels=len(rows),
            name=name,
            effect=float(effect.max()),
            top=int(rows.min()),
            bottom=int(rows.max()),
            left=int(columns.min()),
            right=int(columns.max()),
        ),
        _("Look for a faint watermark, a date or dirt on the lens there; crop or cover it in all images"),
        {"pixels": len(rows), "effect": float(effect.max()), "images": len(own)},
    )


def _detail(pixels: np.ndarray) -> np.ndarray:
    """Returns how much lighter each pixel is than its four neighbours, [N, H, H]."""
    around = np.pad(pixels, ((0, 0), (1, 1), (1, 1)), mode="edge")
    detail: np.ndarray = (
        4 * pixels - around[:, :-2, 1:-1] - around[:, 2:, 1:-1] - around[:, 1:-1, :-2] - around[:, 1:-1, 2:]
    )
    return detail


def _largest_area(features: np.ndarray | None, labels: np.ndarray) -> float:
    """Returns the largest area of a class, or 0 without features.

    Compression, noise and resizing change mainly the finest details. By the sharpness at half the resolution, the area
    for one class of CIFAR-10 was 0.70 to 0.95 if it was compressed, noisy, slightly blurred or enlarged, and at least
    0.98 for textures.
    """
    if features is None:
        return 0.0
    return max(roc_aucs(scores(features, labels), labels, MIN_CLASS_IMAGES).values(), default=0.0)


def _finest(areas: Mapping[int, float], coarse: float, labels: np.ndarray) -> list[int]:
    """Returns the classes that differ in the finest details of photographs, and much less at half the resolution."""
    counts = np.bincount(labels)
    surely = {index: area - 2 * np.sqrt(area * (1 - area) / counts[index]) for index, area in areas.items()}
    return [
        index
        for index, area in areas.items()
        if surely[index] >= FINEST_AREA and 1 - area <= (1 - coarse) / FINER and coarse < EASY_AREA
    ]


def _balance() -> str:
    return _(
        "A network may learn this instead of the task. Crop, re-encode or balance the images, and "
        "test on images from other sources"
    )


def parts_are_distinguishable(images: Images) -> Iterator[Finding]:
    """Finds sets that were prepared differently: a linear classifier predicts which set an image is from."""
    for key, part in images.parts.items():
        if key == "train" or min(len(part), len(images.train)) < MIN_IMAGES:
            continue
        count = min(len(part), len(images.train), IMAGES // 2)
        train = images.train.images[sample(len(images.train), count)]
        pixels = np.concatenate([train, part.images[sample(len(part), count)]])
        labels = np.repeat([0, 1], count)
        areas = {
            name: roc_aucs(scores(features.values, labels), labels, MIN_CLASS_IMAGES)[1]
            for name, features in of_pixels(pixels, is_photo=not images.is_drawing).items()
        }
        name = max(areas, key=lambda each: areas[each])
        if areas[name] >= NOTABLE_PART_AREA:
            yield Finding(
                Severity.WARNING if areas[name] >= EASY_PART_AREA else Severity.HINT,
                _(
                    "A linear classifier separates {part} images from training images using only {name} (area under "
                    "the ROC curve {area:.3f}, {n:,} images of each)",
                    part=part_name(key),
                    name=name,
                    area=areas[name],
                    n=count,
                ),
                _("Prepare both sets in the same way: channel order, brightness, resizing, compression"),
                {"part": key, "features": name, "area": areas[name], "images": count},
            )


def related_images(images: Images) -> Iterator[Finding]:
    """Finds related images (frames of a video, photographs of a person) that a random split would divide."""
    if images.recipe.data.split.group_by is not None or len(images.train) < MIN_IMAGES:
        return
    vectors, labels = _small(images.train.images), images.train.labels
    if images.group_names:
        matches = [re.search(PREFIX, name) for name in images.group_names]
        groups = np.array(
            [
                f"{name.rpartition('/')[0]}/{match[1]}" if match else name
                for name, match in zip(images.group_names, matches, strict=True)
            ]
        )
        _names, group_of, sizes = np.unique(groups, return_inverse=True, return_counts=True)
        classes = len(np.unique(labels))
        if classes * 2 <= len(sizes) <= len(labels) / 2:
            alike, pairs = _alike(vectors, labels, group_of)
            if pairs >= MIN_IMAGES // 2 and alike >= ALIKE:
                yield _related(
                    alike, pairs, _("files with the same name before the number"), f"data.split.group_by = '{PREFIX}'"
                )
                return
    order = np.arange(len(labels))
    alike, pairs = _alike(vectors, labels, order // 2)
    if pairs >= MIN_IMAGES // 2 and alike >= ALIKE:
        yield _related(
            alike,
            pairs,
            _("neighbours in the order of the files"),
            _("data.split.group_by = a file with the group of each image"),
        )


def _related(alike: float, pairs: int, images: str, key: str) -> Finding:
    return Finding(
        Severity.WARNING,
        _(
            "Images are related: {who} are more similar than other images of their class in {alike:.0%} of {pairs:,} "
            "pairs, and a random split puts them into both training and test",
            who=images,
            alike=alike,
            pairs=pairs,
        ),
        _("Keep them together: {key}", key=key),
        {"alike": alike, "pairs": pairs},
    )


def _small(images: np.ndarray) -> np.ndarray:
    """Returns the brightness reduced to 8 x 8 pixels, centred and normalised to unit length, float32 [N, 64]."""
    side = images.shape[2] // 8 * 8
    step, start = max(1, side // 8), (images.shape[2] - side) // 2
    cut = images[:, :, start : start + side, start : start + side]
    parts = []
    for chunk in np.array_split(cut, max(1, len(cut) // 1000)):
        grey = (
            chunk.mean(1, dtype=np.float32).reshape(len(chunk), 8, step, 8, step).mean((2, 4)).reshape(len(chunk), -1)
        )
        parts.append(grey - grey.mean(1, keepdims=True))
    vectors = np.concatenate(parts)
    unit: np.ndarray = vectors / (np.linalg.norm(vectors, axis=1, keepdims=True) + 1e-6)
    return unit


def _alike(vectors: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> tuple[float, int]:
    """Returns how often an image is more similar to one of its group than to a random image of its class, and the
    number of pairs.
    """
    rng = np.random.RandomState(0)
    by_group = np.argsort(groups, kind="stable")
    followers = by_group[1:][groups[by_group[1:]] == groups[by_group[:-1]]]
    leaders = by_group[:-1][groups[by_group[1:]] == groups[by_group[:-1]]]
    same_class = labels[followers] == labels[leaders]
    followers, leaders = followers[same_class], leaders[same_class]
    chosen = sample(len(leaders), IMAGES)
    nearer, pairs = 0, 0
    for leader, follower in zip(leaders[chosen], followers[chosen], strict=True):
        others = np.flatnonzero((labels == labels[leader]) & (groups != groups[leader]))
        if len(others):
            other = others[rng.randint(len(others))]
            nearer += bool(vectors[leader] @ vectors[follower] > vectors[leader] @ vectors[other])
            pairs += 1
    return (nearer / pairs if pairs else 0.0), pairs
