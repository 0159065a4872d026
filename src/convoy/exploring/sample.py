"""Selects the images that a page contains: mistakes first, then some of each class."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import zip_longest

import numpy as np

SCORED_BYTES, TRAINING_BYTES = 260_000, 120_000  # bytes of pixels, before compression
SCORED_IMAGES, TRAINING_IMAGES = (40, 300), (20, 150)  # minimum and maximum
MISTAKES = 0.7  # maximum fraction of the scored images


def count_within(limits: tuple[int, int], size: int, image: np.ndarray) -> int:
    """Returns how many images of this size fit into `size` bytes, within the limits."""
    return min(max(size // image.nbytes, limits[0]), limits[1])


def scored_images(labels: np.ndarray, predicted: Sequence[np.ndarray], confidence: np.ndarray, count: int) -> list[int]:
    """Returns positions of up to `count` images: misclassified ones, then correct ones, alternating between classes.

    `predicted`: one array of classes per run; the first determines the order. Every kind of mistake (true and predicted
    class) is represented before a second image of any kind; within a kind, the most confident is first.
    """
    wrong_anywhere = np.any([classes != labels for classes in predicted], axis=0)
    disagreeing = np.any([classes != predicted[0] for classes in predicted], axis=0)
    wrong = np.flatnonzero(wrong_anywhere | disagreeing)
    wrong = wrong[np.argsort(-confidence[wrong], kind="stable")]
    kinds: defaultdict[tuple[int, ...], list[int]] = defaultdict(list)
    for index in wrong.tolist():
        kinds[(int(labels[index]), *(int(classes[index]) for classes in predicted))].append(index)
    mistakes = _in_turn(list(kinds.values()))[: int(MISTAKES * count)]
    rank = {index: place for place, index in enumerate(wrong.tolist())}
    mistakes.sort(key=rank.__getitem__)
    correct = np.flatnonzero(~(wrong_anywhere | disagreeing))
    return mistakes + by_class(labels, correct, count - len(mistakes))


def by_class(labels: np.ndarray, indices: np.ndarray, count: int) -> list[int]:
    """Returns up to `count` of the indices, alternating between classes; evenly spaced within a class."""
    classes = [indices[labels[indices] == name] for name in np.unique(labels[indices])]
    each = -(-count // max(1, len(classes)))
    spread = [group[np.unique(np.linspace(0, len(group) - 1, min(each, len(group))).astype(int))] for group in classes]
    return _in_turn([group.tolist() for group in spread])[:count]


def _in_turn(groups: Sequence[Sequence[int]]) -> list[int]:
    return [index for round_ in zip_longest(*groups) for index in round_ if index is not None]
