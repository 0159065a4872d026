"""Computes the contents of a data sheet. Does not import torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import combinations_with_replacement
from typing import NamedTuple

import numpy as np

from convoy.data.catalogue import DATA_SETS
from convoy.data.duplicates import MIN_IMAGES, Duplicates, find_duplicates
from convoy.data.imageset import ImageSet
from convoy.data.sources import load
from convoy.datasheet import summary as summary_module
from convoy.datasheet.summary import About, Arrays, DataSummary, DuplicateCounts, PairCount, Pairs, Part

_SAMPLES_PER_CLASS = 8
_PICTURED_PAIRS = 12  # maximum number of shown pairs with different labels, and of shown pairs of any two parts
_LARGEST_PICTURE = 96  # pixels per side; larger images are downsampled
_CHUNK = 1000  # images


class Sheet(NamedTuple):
    summary: DataSummary
    arrays: Arrays


def make_sheet(name: str, size: int | None = None, progress: Callable[[float], None] = lambda share: None) -> Sheet:
    """Describes a data set, including its test images. `name`: any name that `load` accepts.

    `progress` is called with the completed fraction of the search for duplicates. Raises DataError if the data cannot
    be read, and ValueError for an unknown name.
    """
    dataset = load(name, size=size)
    parts = dataset.parts
    train = dataset.train
    entry = DATA_SETS[dataset.name] if dataset.name in DATA_SETS else None  # noqa: SIM401 (a Registry has no get)
    levels = {part: _levels(images.images) for part, images in parts.items()}
    duplicates = find_duplicates([images.images for images in parts.values()], progress)
    pairs = _pairs(duplicates, list(parts.values()))
    summary = DataSummary(
        name=dataset.name,
        about=About(entry.summary, entry.licence, entry.citation, entry.homepage) if entry else None,
        classes=train.classes,
        channels=train.channels,
        size=train.size,
        content_hash=dataset.content_hash,
        notes=dataset.notes,
        parts={part: _part_summary(images, levels[part]) for part, images in parts.items()},
        duplicates=summary_module.Duplicates(
            sum(map(len, parts.values())) - len(np.unique(duplicates.same_pixels[:, 1])) >= MIN_IMAGES,
            tuple(_between(pairs, list(parts))),
        ),
    )
    pictured = _pictured(pairs)
    images = _pictures(list(parts.values()), pairs.part[pictured], pairs.index[pictured])
    samples, means = _samples(next(iter(parts.values()))), _means(next(iter(parts.values())))
    arrays = Arrays(*samples, *means, levels=levels, pairs=pairs, pictured=pictured, pictured_images=images)
    return Sheet(summary, arrays)


def _levels(images: np.ndarray) -> np.ndarray:
    """Counts the pixels with each value, int64 [C, 256]."""
    counts = np.zeros((images.shape[1], 256), np.int64)
    for start in range(0, len(images), _CHUNK):
        for channel in range(len(counts)):
            counts[channel] += np.bincount(images[start : start + _CHUNK, channel].ravel(), minlength=256)
    return counts


def _part_summary(part: ImageSet, levels: np.ndarray) -> Part:
    per_class = np.array(part.class_counts)
    shares = per_class[per_class > 0] / len(part)
    pixels = levels.sum(axis=1)
    mean = levels @ np.arange(256) / pixels
    variance = levels @ np.arange(256) ** 2 / pixels - mean**2
    return Part(
        images=len(part),
        per_class=tuple(part.class_counts),
        evenness=max(0.0, float(-(shares * np.log(shares)).sum() / math.log(len(part.classes)))),
        mean=tuple((mean / 255).tolist()),
        std=tuple((np.sqrt(np.maximum(variance, 0)) / 255).tolist()),
    )


def _pairs(duplicates: Duplicates, parts: list[ImageSet]) -> Pairs:
    images = np.concatenate([duplicates.same_pixels, duplicates.same_picture])  # indices in all parts, [P, 2]
    starts = np.cumsum([0, *map(len, parts)])
    part = np.searchsorted(starts, images, side="right") - 1
    return Pairs(
        kind=np.repeat([0, 1], [len(duplicates.same_pixels), len(duplicates.same_picture)]),
        part=part,
        index=images - starts[part],
        label=np.concatenate([part.labels for part in parts])[images],
        distance=np.concatenate([np.zeros(len(duplicates.same_pixels), np.float32), duplicates.distances]),
    )


def _between(pairs: Pairs, names: list[str]) -> Iterator[DuplicateCounts]:
    for first, second in combinations_with_replacement(range(len(names)), 2):
        between = (pairs.part == (first, second)).all(axis=1)
        differ = between & pairs.labels_differ
        images = pairs.index[between] if first == second else pairs.index[between, 1]
        pixels, picture = (
            PairCount(int((between & of_kind).sum()), int((differ & of_kind).sum()))
            for of_kind in (pairs.kind == 0, pairs.kind == 1)
        )
        yield DuplicateCounts((names[first], names[second]), pixels, picture, len(np.unique(images)))


def _pictured(pairs: Pairs) -> np.ndarray:
    """Selects the first pairs with different labels, and the first between any two parts."""
    differ = pairs.labels_differ
    groups = np.where(differ, -1, pairs.part @ (3, 1))
    chosen = [np.flatnonzero(groups == group)[:_PICTURED_PAIRS] for group in np.unique(groups)]
    return np.concatenate([np.empty(0, np.int64), *chosen])


def _pictures(parts: list[ImageSet], part: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Returns the images of pairs, uint8 [Q, 2, C, h, h], from their parts and indices, int64 [Q, 2]."""
    images = [parts[p].images[i] for p, i in zip(part.ravel(), index.ravel(), strict=True)]
    shape = parts[0].images.shape[1:]
    pictures = _downsampled(np.stack(images) if images else np.empty((0, *shape), np.uint8))
    return pictures.reshape(-1, 2, *pictures.shape[1:])


def _samples(part: ImageSet) -> tuple[np.ndarray, np.ndarray]:
    """Returns random images of each class, in the order of the classes."""
    order = np.random.RandomState(0).permutation(len(part))
    labels = part.labels[order]
    indices = np.concatenate([order[labels == label][:_SAMPLES_PER_CLASS] for label in range(len(part.classes))])
    return _downsampled(part.images[indices]), part.labels[indices]


def _means(part: ImageSet) -> tuple[np.ndarray, np.ndarray]:
    """Returns the mean image of each class that has images."""
    labels, means = [], []
    for label in range(len(part.classes)):
        indices = np.flatnonzero(part.labels == label)
        chunks = np.split(indices, range(_CHUNK, len(indices), _CHUNK))
        if len(indices):
            labels.append(label)
            means.append(sum(part.images[chunk].sum(axis=0, dtype=np.int64) for chunk in chunks) / len(indices))
    return _downsampled(np.rint(np.stack(means)).astype(np.uint8)), np.array(labels)


def _downsampled(images: np.ndarray) -> np.ndarray:
    """Averages squares of pixels: uint8 [N, C, H, H] -> [N, C, h, h], h <= _LARGEST_PICTURE."""
    step = math.ceil(images.shape[2] / _LARGEST_PICTURE)
    if step == 1:
        return images
    side = images.shape[2] // step
    squares = images[:, :, : side * step, : side * step].reshape(*images.shape[:2], side, step, side, step)
    return np.rint(squares.mean(axis=(3, 5))).astype(np.uint8)
