"""Checks for shortcuts: classes that are predictable without content, and groups of images. Subject: `Images`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from convoy.diagnosing.finding import Finding, Severity
from convoy.diagnosing.images import Images, sample
from convoy.stats import wilson
from convoy.text import gettext as _

IMAGES = 3000
FEWEST = 60  # images
MOST_PIXELS = 400  # of the border
RIDGE = 10.0
EASY, NOTABLE = 0.9, 0.5  # (accuracy - largest class) / (100 % - largest class)
ALIKE = 0.9  # probability that two neighbours are more similar than two other images of their class
PREFIX = r"([^/]+?)[-_ ]?\d+\.\w+$"  # of a file's name, before its last number


def predictable_without_content(images: Images) -> Iterator[Finding]:
    """A linear classifier on border pixels, mean colours, and properties of the files, scored on the other half."""
    chosen = sample(len(images.train), IMAGES)
    labels, pixels = images.train.labels[chosen], images.train.images[chosen].astype(np.float32) / 255
    if len(chosen) < FEWEST:
        return
    rows, columns = pixels[:, :, [0, -1], :], pixels[:, :, :, [0, -1]]
    border = np.concatenate([each.reshape(len(chosen), -1) for each in (rows, columns)], 1)
    border = border[:, :: -(-border.shape[1] // MOST_PIXELS)]
    colours = np.concatenate([pixels.mean((2, 3)), pixels.std((2, 3))], 1)
    features = {
        _("border pixels"): np.concatenate([border, border**2], 1),
        _("mean and deviation of the colours"): np.concatenate([colours, colours**2], 1),
    }
    if images.files:
        features |= _of_files([images.files[index] for index in chosen])
    largest = np.bincount(labels).max() / len(labels)
    for name, values in features.items():
        correct = probe(values, labels)
        share = (correct / len(labels) - largest) / (1 - largest) if largest < 1 else 0.0
        if share >= NOTABLE and wilson(correct, len(labels)).span[0] > largest:
            yield Finding(
                Severity.WARNING if share >= EASY else Severity.HINT,
                _(
                    "A linear classifier predicts the class of {accuracy:.1%} of {n:,} images from {name} only; the "
                    "largest class has {largest:.1%}",
                    accuracy=correct / len(labels),
                    n=len(labels),
                    name=name,
                    largest=largest,
                ),
                _(
                    "A network may learn this instead of the task: crop, re-encode or balance it, and test on other "
                    "sources"
                ),
                {
                    "features": name,
                    "accuracy": correct / len(labels),
                    "largest_class": float(largest),
                    "images": len(labels),
                },
            )


def probe(features: np.ndarray, labels: np.ndarray) -> int:
    """Counts the correct predictions of a ridge regression on one-hot labels; each half is predicted from the other."""
    scaled = (features - features.mean(0)) / (features.std(0) + 1e-6)
    scaled = np.concatenate([scaled, np.ones((len(scaled), 1), scaled.dtype)], 1).astype(np.float64)
    half = np.random.RandomState(0).permutation(len(labels)) % 2 == 0
    targets, correct = np.eye(labels.max() + 1)[labels], 0
    for train in (half, ~half):
        x = scaled[train]
        weights = np.linalg.solve(x.T @ x + RIDGE * np.eye(x.shape[1]), x.T @ targets[train])
        correct += int(((scaled[~train] @ weights).argmax(1) == labels[~train]).sum())
    return correct


def _of_files(files: list[Path]) -> dict[str, np.ndarray]:
    """Returns features of the files that are not constant: sizes, JPEG tables, length of the name, channels."""
    from PIL import Image

    rows = []
    for file in files:
        with Image.open(file) as image:
            tables = getattr(image, "quantization", None) or {}
            table = float(sum(sum(values) for values in tables.values()))
            rows.append((np.log(file.stat().st_size), table, *image.size, len(file.name), len(image.getbands())))
    values = np.array(rows, np.float32)
    names = {
        _("the size of the file"): values[:, :1],
        _("the JPEG tables"): values[:, 1:2],
        _("the size of the image before resizing"): values[:, 2:4],
        _("the length of the file's name"): values[:, 4:5],
        _("the number of channels of the file"): values[:, 5:6],
    }
    # Squares and the rank let the linear probe separate a class in the middle of the range.
    return {
        name: np.concatenate([columns, columns**2, np.argsort(np.argsort(columns, 0), 0)], 1)
        for name, columns in names.items()
        if columns.std(0).max() > 0
    }


def related_images(images: Images) -> Iterator[Finding]:
    """Finds related images (frames of a video, photographs of a person) that a random split would divide."""
    if images.recipe.data.split.group_by is not None or len(images.train) < FEWEST:
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
            if pairs >= FEWEST // 2 and alike >= ALIKE:
                yield _related(
                    alike, pairs, _("files with the same name before the number"), f"data.split.group_by = '{PREFIX}'"
                )
                return
    order = np.arange(len(labels))
    alike, pairs = _alike(vectors, labels, order // 2)
    if pairs >= FEWEST // 2 and alike >= ALIKE:
        yield _related(
            alike,
            pairs,
            _("neighbours in the order of the files"),
            _("data.split.group_by = a file with the group of each image"),
        )


def _related(alike: float, pairs: int, who: str, key: str) -> Finding:
    return Finding(
        Severity.WARNING,
        _(
            "Images are related: {who} are more similar than other images of their class in {alike:.0%} of {pairs:,} "
            "pairs, and a random split puts them into both training and test",
            who=who,
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
    """Returns how often an image is nearer to one of its group than to a random one of its class, and the pairs."""
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
