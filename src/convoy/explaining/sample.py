"""Selects the images of a page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from convoy.exploring.sample import by_class

MISTAKES = 3  # one of three examples is a mistake, if there are enough
PAIRS = 5
IMAGES_PER_PAIR = 8


class Pair(NamedTuple):
    true: int
    predicted: int
    images: int
    of: int  # images of the true class
    shown: list[int]  # the most confident first


def examples(labels: np.ndarray, predicted: np.ndarray, confidence: np.ndarray, count: int) -> list[int]:
    """Returns positions of `count` images: the most confident mistakes, then correct ones, alternating between classes.

    An image without a predicted class (-1) is not selected.
    """
    wrong = np.flatnonzero((predicted != labels) & (predicted >= 0))
    mistakes = wrong[np.argsort(-confidence[wrong], kind="stable")][: -(-count // MISTAKES)].tolist()
    return mistakes + by_class(labels, np.flatnonzero(predicted == labels), count - len(mistakes))


def confused_pairs(
    labels: np.ndarray, predicted: np.ndarray, confidence: np.ndarray, classes: Sequence[str]
) -> list[Pair]:
    """Returns the pairs of classes with the most mistakes, and their images."""
    counts = np.zeros((len(classes), len(classes)), int)
    has_class = predicted >= 0
    np.add.at(counts, (labels[has_class], predicted[has_class]), 1)
    np.fill_diagonal(counts, 0)
    pairs = []
    for cell in np.argsort(-counts, axis=None, kind="stable")[:PAIRS].tolist():
        true, name = divmod(cell, len(classes))
        images = np.flatnonzero((labels == true) & (predicted == name))
        most_confident = images[np.argsort(-confidence[images], kind="stable")][:IMAGES_PER_PAIR]
        if counts[true, name]:
            pairs.append(Pair(true, name, len(images), int((labels == true).sum()), most_confident.tolist()))
    return pairs
