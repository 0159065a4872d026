"""Assigns images to folds or parts: at random, stratified, or by groups that stay together.

Does not use scikit-learn: importing it takes every worker process a second or two, and a finished fold is found by the
indices of its split, which must not depend on a library's version. The tests compare sizes and balance with those of
scikit-learn's folds.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def deal_images(labels: np.ndarray, folds: int, seed: int, *, stratified: bool) -> np.ndarray:
    """int64 [N]: the fold of each image. Fold sizes differ by at most one; if stratified, also within each class."""
    order = np.random.RandomState(seed).permutation(len(labels))  # RandomState's stream never changes
    if stratified:
        order = order[np.argsort(labels[order], kind="stable")]
    fold = np.empty(len(labels), np.int64)
    fold[order] = np.arange(len(labels)) % folds  # in turn; images of a class are consecutive
    return fold


def deal_groups(
    labels: np.ndarray, groups: np.ndarray, shares: Sequence[float], seed: int, *, stratified: bool
) -> np.ndarray:
    """int64 [N]: the part of each image. Groups stay together; each part gets about its share of the images, or, if
    stratified, of each class.

    Groups are assigned from the largest on (Graham 1969, Bounds on multiprocessing timing anomalies), each to the part
    where it adds least to the sum over parts and classes of (the part's fraction of the class)^2 / (the part's share).
    That sum is smallest if every part has its share of each class.
    """
    _, class_of = np.unique(labels if stratified else np.zeros_like(labels), return_inverse=True)
    _, group_of = np.unique(groups, return_inverse=True)
    images = np.zeros((group_of.max() + 1, class_of.max() + 1))  # (groups, classes)
    np.add.at(images, (group_of, class_of), 1)
    weights = images / images.sum(axis=0)  # fraction of the class: rare classes count as much as others
    sizes = images.sum(axis=1)
    order = np.random.RandomState(seed).permutation(len(sizes))
    order = order[np.argsort(-sizes[order], kind="stable")]
    share = np.asarray(shares)
    held, held_images = np.zeros((len(share), weights.shape[1])), np.zeros(len(share))
    part_of = np.empty(len(sizes), np.int64)
    for group in order:
        weight = weights[group]
        growth = (2 * held + weight) @ weight / share
        part = np.lexsort((held_images / share, growth))[0]  # ties: the emptiest, so that none stays empty
        part_of[group] = part
        held[part] += weight
        held_images[part] += sizes[group]
    return part_of[group_of]
