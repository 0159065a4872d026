"""Images dealt to the parts of a split: plain, stratified, or in groups that stay together.

Written out, though scikit-learn deals folds too: its import would cost every worker process a second or two, and a
finished fold is found again by the indices of its split, which no other version of a library may change. The tests
hold sizes and balance against those of scikit-learn's folds.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def deal_images(labels: np.ndarray, folds: int, seed: int, *, stratified: bool) -> np.ndarray:
    """int64 [N]: of each image its fold. All folds hold as many images, within one; stratified, also of each class."""
    order = np.random.RandomState(seed).permutation(len(labels))  # RandomState: the one numpy promises to keep
    if stratified:
        order = order[np.argsort(labels[order], kind="stable")]
    fold = np.empty(len(labels), np.int64)
    fold[order] = np.arange(len(labels)) % folds  # as cards are dealt: a class is a run of consecutive ones
    return fold


def deal_groups(
    labels: np.ndarray, groups: np.ndarray, shares: Sequence[float], seed: int, *, stratified: bool
) -> np.ndarray:
    """int64 [N]: of each image its part, whole groups at a time; a part gets about its share of the images, and
    stratified of each class.

    The largest group first (Graham 1969, Bounds on multiprocessing timing anomalies), each to the part where it adds
    least to the sum over parts and classes of (what the part holds of the class)^2 / share of the part, which is
    smallest where every part holds its share of each class.
    """
    _, class_of = np.unique(labels if stratified else np.zeros_like(labels), return_inverse=True)
    _, group_of = np.unique(groups, return_inverse=True)
    images = np.zeros((group_of.max() + 1, class_of.max() + 1))  # (groups, classes)
    np.add.at(images, (group_of, class_of), 1)
    weights = images / images.sum(axis=0)  # of its class: rare classes count as much as others
    sizes = images.sum(axis=1)
    order = np.random.RandomState(seed).permutation(len(sizes))
    order = order[np.argsort(-sizes[order], kind="stable")]
    share = np.asarray(shares)
    held, held_images = np.zeros((len(share), weights.shape[1])), np.zeros(len(share))
    part_of = np.empty(len(sizes), np.int64)
    for group in order:
        weight = weights[group]
        growth = (2 * held + weight) @ weight / share
        part = np.lexsort((held_images / share, growth))[0]  # among equals the emptiest, so that none stays empty
        part_of[group] = part
        held[part] += weight
        held_images[part] += sizes[group]
    return part_of[group_of]
