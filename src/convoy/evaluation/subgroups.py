"""The accuracy on each class, and on each group of images such as those of one patient. Does not import torch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from convoy.stats import Estimate, wilson

FEW = 10  # images; a smaller subgroup is named as the worst only if all are smaller


@dataclass(frozen=True)
class Subgroup:
    """A class, or a group such as the images of one patient."""

    name: str
    accuracy: Estimate  # over images (Wilson); of a class, its recall


def by_group(labels: np.ndarray, predicted: np.ndarray, groups: np.ndarray) -> tuple[Subgroup, ...]:
    """Returns the accuracy on each group, lowest first. All arrays are [N]."""
    names, index = np.unique(groups, return_inverse=True)
    return _subgroups(labels == predicted, index, names.tolist())


def by_class(labels: np.ndarray, predicted: np.ndarray, classes: Sequence[str]) -> tuple[Subgroup, ...]:
    """Returns the accuracy on each class with images, lowest first. Both arrays are int64 [N]."""
    return _subgroups(labels == predicted, labels, classes)


def _subgroups(hits: np.ndarray, index: np.ndarray, names: Sequence[str]) -> tuple[Subgroup, ...]:
    images = np.bincount(index, minlength=len(names)).tolist()
    correct = np.bincount(index[hits], minlength=len(names)).tolist()
    rows = zip(names, correct, images, strict=True)
    return in_order([Subgroup(name, wilson(count, n)) for name, count, n in rows if n])


def in_order(subgroups: Iterable[Subgroup]) -> tuple[Subgroup, ...]:
    """Sorts by accuracy, lowest first; ties by number of images, largest first."""
    return tuple(sorted(subgroups, key=lambda each: (each.accuracy.mean, -each.accuracy.n)))


def worst(subgroups: Sequence[Subgroup]) -> Subgroup | None:
    """Returns the subgroup with the lowest accuracy among those of at least FEW images.

    If all are smaller, returns the first; without subgroups, None. `subgroups` are sorted as by `in_order`. The
    accuracy on new images of this subgroup is likely higher, because it was selected.
    """
    return next((each for each in subgroups if each.accuracy.n >= FEW), subgroups[0] if subgroups else None)
