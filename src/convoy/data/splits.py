"""Seeded, stratified splits: index arrays with a hash.

scikit-learn is not used. Importing it takes a second or two in each worker process, and its splits may depend on its
version: finished folds are reused only if the indices of their split are the same. The tests compare sizes and balance
with scikit-learn's folds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256

import numpy as np

from convoy.data.imageset import DataError, DataSet, ImageSet
from convoy.randomness import derive_seed
from convoy.recipe.sections import SplitSpec
from convoy.text import gettext as _


@dataclass(frozen=True, eq=False)
class Split:
    """Sorted int64 indices into DataSet.train; `test` indexes DataSet.test if the data set has a test set."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    fold: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))  # empty except in cross-validation

    @cached_property
    def hash(self) -> str:
        """SHA-256 over the indices of the parts."""
        digest = sha256()
        for part in ("train", "validation", "test", *(("fold",) if len(self.fold) else ())):
            indices = getattr(self, part)
            digest.update(f"{part} {len(indices)} ".encode() + np.ascontiguousarray(indices, dtype="<i8").tobytes())
        return digest.hexdigest()


def make_split(dataset: DataSet, spec: SplitSpec, groups: np.ndarray | None = None) -> Split:
    """Splits a data set. The split depends only on the labels, the data set's own parts, the spec and the groups.

    `groups` (int64, one per training image) are not divided. Raises DataError for too few images, or if the data set's
    own parts divide a group.
    """
    if dataset.validation_indices is not None and groups is not None:
        _check_undivided(dataset, spec, groups)
    pool, test = _split_off_test(dataset, spec, groups)
    if dataset.validation_indices is not None:
        validation = np.sort(dataset.validation_indices)
        return Split(_without(pool, validation), validation, test)
    train, validation = _split_off(dataset, pool, spec.validation, "validation", spec, groups)
    return Split(train, validation, test)


def _check_undivided(dataset: DataSet, spec: SplitSpec, groups: np.ndarray) -> None:
    assert dataset.validation_indices is not None
    validation_groups = groups[dataset.validation_indices]
    divided = np.intersect1d(validation_groups, np.delete(groups, dataset.validation_indices))
    if len(divided):
        count = int(np.isin(validation_groups, divided).sum())
        raise DataError(
            _(
                "data.split.group_by = {group_by!r}: {count:,} of the {n:,} images in the validation set "
                "of {name} belong to groups with images in its training set",
                group_by=spec.group_by,
                count=count,
                n=len(validation_groups),
                name=dataset.name,
            )
        )


def make_folds(dataset: DataSet, spec: SplitSpec, groups: np.ndarray | None = None, limit: int | None = None) -> Split:
    """Returns the split in which `spec.fold` is scored. Over all folds, each training image is scored once.

    The data set's own validation images are assigned to folds like training images; a new validation set is split off
    from the other folds. `limit` is applied before the folds, so that each of the remaining images is scored once.
    Raises DataError for too few images or groups.
    """
    pool, test = _split_off_test(dataset, spec, groups)
    if dataset.validation_indices is not None:
        pool = np.union1d(pool, dataset.validation_indices)
    labels = dataset.train.labels
    if limit is not None:
        pool = limit_part(pool, labels, limit, spec.seed, "train")
        test = limit_part(test, dataset.test_pool.labels, limit, spec.seed, "test")
    fold = pool[_assign_folds(dataset, pool, spec, groups) == spec.fold]
    others = _without(pool, fold)
    train, validation = _split_off(dataset, others, spec.validation, "validation", spec, groups)
    return Split(train, validation, test, fold)


def limit_split(dataset: DataSet, split: Split, limit: int, seed: int) -> Split:
    """Keeps `limit` images of train and validation in total, in their proportion, and at most `limit` test images.

    Each part is a subset of the full part, so that a limited run never trains on a validation image.
    """
    labels = dataset.train.labels
    n_pool = len(split.train) + len(split.validation)
    n_validation = round(min(limit, n_pool) * len(split.validation) / n_pool)
    if len(split.validation):
        n_validation = max(n_validation, 1)
    n_train = min(limit, n_pool) - n_validation
    if n_train < 1:
        raise DataError(
            _(
                "data.limit = {limit}: no image left to train on, with {n_validation} for validation",
                limit=limit,
                n_validation=n_validation,
            )
        )
    test_labels = dataset.test_pool.labels
    return Split(
        limit_part(split.train, labels, n_train, seed, "train"),
        limit_part(split.validation, labels, n_validation, seed, "validation"),
        limit_part(split.test, test_labels, limit, seed, "test"),
    )


def limit_part(indices: np.ndarray, labels: np.ndarray, limit: int, seed: int, part: str) -> np.ndarray:
    """Draws at most `limit` indices of a part, stratified by the labels. `seed` is the split's seed."""
    return stratified_sample(indices, labels, min(limit, len(indices)), derive_seed(seed, f"limit {part}"))


def stratified_sample(indices: np.ndarray, labels: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Draws `count` of the indices, sorted. Each class has its share of images, rounded up or down."""
    order = np.random.RandomState(seed).permutation(indices)  # RandomState's stream never changes
    drawn = labels[order]
    if not len(drawn) or drawn.max() < 1 << 16:
        drawn = drawn.astype(np.uint16)  # sorted ten times faster
    class_counts = np.bincount(drawn)
    class_counts = class_counts[class_counts > 0]
    shares = count * class_counts / max(1, len(indices))
    quotas = np.floor(shares).astype(np.int64)
    by_remainder = np.argsort(-(shares - quotas), kind="stable")
    quotas[by_remainder[: count - quotas.sum()]] += 1
    by_class = np.argsort(drawn, kind="stable")
    starts = np.cumsum(class_counts) - class_counts
    chosen = [by_class[start : start + quota] for start, quota in zip(starts, quotas, strict=True)]
    return np.sort(order[np.concatenate(chosen)]) if chosen else indices[:0]


def _without(indices: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Returns the indices that are not among the others. Neither has duplicates."""
    return np.setdiff1d(indices, others, assume_unique=True)


def _strata(labels: np.ndarray, spec: SplitSpec) -> np.ndarray:
    """Returns the labels by which a split is stratified; all equal if it is not stratified."""
    return labels if spec.stratified else np.zeros_like(labels)


def _split_off_test(dataset: DataSet, spec: SplitSpec, groups: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Returns the indices of the training pool and of the test set, which is split off if the data set has none."""
    pool = np.arange(len(dataset.train))
    if dataset.test is not None:
        return pool, np.arange(len(dataset.test))
    if dataset.validation_indices is not None:
        pool = _without(pool, dataset.validation_indices)
    return _split_off(dataset, pool, spec.test, "test", spec, groups)


def _assign_folds(dataset: DataSet, pool: np.ndarray, spec: SplitSpec, groups: np.ndarray | None) -> np.ndarray:
    """Returns the fold of each image, int64 [len(pool)]."""
    labels, seed = _strata(dataset.train.labels, spec)[pool], derive_seed(spec.seed, f"folds of repeat {spec.repeat}")
    where = f"{dataset.name}: data.split.folds = {spec.folds}"
    if groups is None:
        if len(pool) < spec.folds:
            raise DataError(_("{where}: more folds than the {n} images", where=where, n=len(pool)))
        return assign_images(labels, spec.folds, seed)
    n_groups = len(np.unique(groups[pool]))
    if n_groups < spec.folds:
        raise DataError(
            _(
                "{where}: more folds than the {n_groups} groups by {group_by!r}",
                where=where,
                n_groups=n_groups,
                group_by=spec.group_by,
            )
        )
    return assign_groups(labels, groups[pool], [1 / spec.folds] * spec.folds, seed)


def _split_off(
    dataset: DataSet, indices: np.ndarray, fraction: float, part: str, spec: SplitSpec, groups: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Splits off a fraction of the indices (approximate with groups); returns the remaining indices and the part."""
    if fraction == 0:
        return indices, indices[:0]
    count = round(fraction * len(indices))
    where = f"{dataset.name}: data.split.{part} = {fraction:g} of {len(indices):,} images"
    if not 1 <= count < len(indices):
        raise DataError(
            _(
                "{where} leaves {value} to train on and {count} for {part}: too few images; choose a "
                "{change} --data.split.{part}",
                where=where,
                value=len(indices) - count,
                count=count,
                part=part,
                change=_("larger") if count < 1 else _("smaller"),
            )
        )
    seed = derive_seed(spec.seed, f"split {part}")
    labels = _strata(dataset.train.labels, spec)
    if groups is not None:
        in_part = assign_groups(labels[indices], groups[indices], (1 - fraction, fraction), seed) == 1
        if not 0 < in_part.sum() < len(indices):
            n_groups = len(np.unique(groups[indices]))
            raise DataError(
                _(
                    "{where}: the {n_groups} groups by {group_by!r} are too few or too large to split",
                    where=where,
                    n_groups=n_groups,
                    group_by=spec.group_by,
                )
            )
        return indices[~in_part], indices[in_part]
    n_classes = len(np.unique(labels[indices]))
    if (smaller := min(count, len(indices) - count)) < n_classes:
        raise DataError(
            _(
                "{where} is {smaller} for {n_classes} classes: too few for a stratified split; choose a "
                "{change} --data.split.{part}, or --data.split.stratified false",
                where=where,
                smaller=smaller,
                n_classes=n_classes,
                change=_("larger") if count == smaller else _("smaller"),
                part=part,
            )
        )
    sample = stratified_sample(indices, labels, count, seed)
    return _without(indices, sample), sample


def assign_images(labels: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """Returns the fold of each image, int64 [N]. Fold sizes differ by at most one, also within each class."""
    order = np.random.RandomState(seed).permutation(len(labels))  # RandomState's stream never changes
    order = order[np.argsort(labels[order], kind="stable")]
    fold = np.empty(len(labels), np.int64)
    fold[order] = np.arange(len(labels)) % folds  # round-robin; images of a class are consecutive
    return fold


def assign_groups(labels: np.ndarray, groups: np.ndarray, shares: Sequence[float], seed: int) -> np.ndarray:
    """Returns the part of each image, int64 [N]. Groups are not divided; each part gets about its share of each class.

    Groups are assigned in order of decreasing size (Graham 1969, Bounds on multiprocessing timing anomalies), each to
    the part in which it increases this sum over parts and classes least: (fraction of the class in the part)^2 / (share
    of the part). The sum is minimal if every part has its share of each class.
    """
    _, class_of = np.unique(labels, return_inverse=True)
    _, group_of = np.unique(groups, return_inverse=True)
    images = np.zeros((group_of.max() + 1, class_of.max() + 1))  # (groups, classes)
    np.add.at(images, (group_of, class_of), 1)
    weights = images / images.sum(axis=0)  # fraction of the class, so that rare classes count as much as others
    sizes = images.sum(axis=1)
    order = np.random.RandomState(seed).permutation(len(sizes))
    order = order[np.argsort(-sizes[order], kind="stable")]
    share = np.asarray(shares)
    assigned, n_assigned = np.zeros((len(share), weights.shape[1])), np.zeros(len(share))
    part_of = np.empty(len(sizes), np.int64)
    for group in order:
        weight = weights[group]
        increase = (2 * assigned + weight) @ weight / share
        part = np.lexsort((n_assigned / share, increase))[0]  # ties: the emptiest part, so that no part stays empty
        part_of[group] = part
        assigned[part] += weight
        n_assigned[part] += sizes[group]
    return part_of[group_of]


class Resplit:
    """The fault resplit_every_epoch: training and validation images are one pool that is split again in each epoch.

    The parts depend only on the split's seed and the epoch, so that a resumed run has the same parts. The first epoch
    uses the split of the run.
    """

    def __init__(self, train: ImageSet, validation: ImageSet, spec: SplitSpec) -> None:
        self.pool = ImageSet(
            np.concatenate([train.images, validation.images]),
            np.concatenate([train.labels, validation.labels]),
            train.classes,
        )
        self.n_train = len(train)
        self._spec = spec

    def train(self, epoch: int) -> np.ndarray:
        """Indices into the pool, int64 [n_train], sorted; epochs from 0."""
        return _without(np.arange(len(self.pool)), self._validation(epoch))

    def validation(self, epoch: int) -> ImageSet:
        return self.pool.take(self._validation(epoch))

    def _validation(self, epoch: int) -> np.ndarray:
        indices = np.arange(len(self.pool))
        if epoch == 0:
            return indices[self.n_train :]
        seed, count = derive_seed(self._spec.seed, "resplit", epoch), len(self.pool) - self.n_train
        return stratified_sample(indices, _strata(self.pool.labels, self._spec), count, seed)
