"""Named, seeded, stratified splits: index arrays with a hash."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256

import numpy as np

from convoy.data.folds import deal_groups, deal_images
from convoy.data.imageset import DataError, DataSet
from convoy.randomness import derive_seed
from convoy.recipe import SplitSpec


@dataclass(frozen=True, eq=False)
class Split:
    """Sorted int64 indices; train, validation and fold into DataSet.train, test into DataSet.test, or into
    DataSet.train where the data bring no test part."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    fold: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))  # scored in cross-validation, else empty

    @cached_property
    def hash(self) -> str:
        """SHA-256 over the indices of the parts."""
        digest = sha256()
        for part in ("train", "validation", "test", *(("fold",) if len(self.fold) else ())):
            indices = getattr(self, part)
            digest.update(f"{part} {len(indices)} ".encode() + np.ascontiguousarray(indices, dtype="<i8").tobytes())
        return digest.hexdigest()


def make_split(dataset: DataSet, spec: SplitSpec, groups: np.ndarray | None = None) -> Split:
    """A pure function of the labels, the spec, the parts that the data bring, and groups (int64, one a training image)
    of which none is cut in two. Raises DataError: too few images, or parts that the data bring cut a group."""
    if dataset.validation_indices is not None and groups is not None:
        _check_whole(dataset, spec, groups)
    pool, test = _set_test_aside(dataset, spec, groups)
    if dataset.validation_indices is not None:
        validation = np.sort(dataset.validation_indices)
        return Split(np.setdiff1d(pool, validation), validation, test)
    train, validation = _cut(dataset, pool, spec.validation, "validation", spec, groups)
    return Split(train, validation, test)


def _check_whole(dataset: DataSet, spec: SplitSpec, groups: np.ndarray) -> None:
    assert dataset.validation_indices is not None
    theirs = groups[dataset.validation_indices]
    cut = np.intersect1d(theirs, np.delete(groups, dataset.validation_indices))
    if len(cut):
        held = int(np.isin(theirs, cut).sum())
        raise DataError(
            f"data.split.group_by = {spec.group_by!r}: {held:,} of the {len(theirs):,} images of the validation part "
            f"that {dataset.name} brings are of groups with images in its training part"
        )


def make_folds(dataset: DataSet, spec: SplitSpec, groups: np.ndarray | None = None, limit: int | None = None) -> Split:
    """The split that scores fold `spec.fold`: over all folds each training image is scored once.

    A validation part that the data bring is dealt to the folds like other training images; one is cut from what is
    not scored. `limit` counts before the folds are dealt, so that a quick try scores each of its images once too.
    Raises DataError: too few images or groups.
    """
    pool, test = _set_test_aside(dataset, spec, groups)
    if dataset.validation_indices is not None:
        pool = np.union1d(pool, dataset.validation_indices)
    labels = dataset.train.labels
    if limit is not None:
        test_labels = labels if dataset.test is None else dataset.test.labels
        pool = stratified_sample(pool, labels, min(limit, len(pool)), derive_seed(spec.seed, "limit train"))
        test = stratified_sample(test, test_labels, min(limit, len(test)), derive_seed(spec.seed, "limit test"))
    fold = pool[_deal(dataset, pool, spec, groups) == spec.fold]
    others = np.setdiff1d(pool, fold)
    train, validation = _cut(dataset, others, spec.validation, "validation", spec, groups)
    return Split(train, validation, test, fold)


def limit_split(dataset: DataSet, split: Split, limit: int, seed: int) -> Split:
    """`limit` images of train and validation together, in their proportion, and at most `limit` of test.

    Each part is a subset of the whole one, so that a quick try never trains on a validation image.
    """
    labels = dataset.train.labels
    n_pool = len(split.train) + len(split.validation)
    n_validation = round(min(limit, n_pool) * len(split.validation) / n_pool)
    if len(split.validation):
        n_validation = max(n_validation, 1)
    n_train = min(limit, n_pool) - n_validation
    if n_train < 1:
        raise DataError(f"data.limit = {limit}: leaves no image to train on beside {n_validation} for validation")
    test_labels = labels if dataset.test is None else dataset.test.labels
    return Split(
        stratified_sample(split.train, labels, n_train, derive_seed(seed, "limit train")),
        stratified_sample(split.validation, labels, n_validation, derive_seed(seed, "limit validation")),
        stratified_sample(split.test, test_labels, min(limit, len(split.test)), derive_seed(seed, "limit test")),
    )


def stratified_sample(indices: np.ndarray, labels: np.ndarray, count: int, seed: int) -> np.ndarray:
    """`count` of the indices, sorted, each class within one image of its share.

    Written out because importing sklearn's splitter takes a second in every process that prepares data.
    """
    order = np.random.RandomState(seed).permutation(indices)  # RandomState: the one numpy promises to keep
    classes, class_of, class_counts = np.unique(labels[order], return_inverse=True, return_counts=True)
    shares = count * class_counts / max(1, len(indices))
    quotas = np.floor(shares).astype(np.int64)
    by_remainder = np.argsort(-(shares - quotas), kind="stable")
    quotas[by_remainder[: count - quotas.sum()]] += 1
    by_class = np.argsort(class_of, kind="stable")
    starts = np.cumsum(class_counts) - class_counts
    chosen = [by_class[starts[k] : starts[k] + quotas[k]] for k in range(len(classes))]
    return np.sort(order[np.concatenate(chosen)]) if chosen else indices[:0]


def _set_test_aside(dataset: DataSet, spec: SplitSpec, groups: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """The training images that are left, and the test part: the data's own, or one cut from the training images."""
    pool = np.arange(len(dataset.train))
    if dataset.test is not None:
        return pool, np.arange(len(dataset.test))
    if dataset.validation_indices is not None:
        pool = np.setdiff1d(pool, dataset.validation_indices)
    return _cut(dataset, pool, spec.test, "test", spec, groups)


def _deal(dataset: DataSet, pool: np.ndarray, spec: SplitSpec, groups: np.ndarray | None) -> np.ndarray:
    """int64 [len(pool)]: of each image its fold."""
    labels, seed = dataset.train.labels[pool], derive_seed(spec.seed, f"folds of repeat {spec.repeat}")
    where = f"{dataset.name}: data.split.folds = {spec.folds}"
    if groups is None:
        if len(pool) < spec.folds:
            raise DataError(f"{where} and {len(pool)} images: more folds than images")
        return deal_images(labels, spec.folds, seed, stratified=spec.stratified)
    n_groups = len(np.unique(groups[pool]))
    if n_groups < spec.folds:
        raise DataError(f"{where} and {n_groups} groups by {spec.group_by!r}: more folds than groups")
    return deal_groups(labels, groups[pool], [1 / spec.folds] * spec.folds, seed, stratified=spec.stratified)


def _cut(
    dataset: DataSet, indices: np.ndarray, fraction: float, part: str, spec: SplitSpec, groups: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """What is left, and `fraction` of the indices as the named part; of groups, which stay whole, about that."""
    if fraction == 0:
        return indices, indices[:0]
    count = round(fraction * len(indices))
    where = f"{dataset.name}: data.split.{part} = {fraction:g} of {len(indices):,} images"
    if not 1 <= count < len(indices):
        raise DataError(
            f"{where} leaves {len(indices) - count} to train on and {count} for {part}: too few images; "
            f"take a {'larger' if count < 1 else 'smaller'} --data.split.{part}"
        )
    seed = derive_seed(spec.seed, f"split {part}")
    labels = dataset.train.labels
    if groups is not None:
        shares = (1 - fraction, fraction)
        is_cut = deal_groups(labels[indices], groups[indices], shares, seed, stratified=spec.stratified) == 1
        if not 0 < is_cut.sum() < len(indices):
            n_groups = len(np.unique(groups[indices]))
            raise DataError(f"{where}: their {n_groups} groups by {spec.group_by!r} are too few or too large to cut")
        return indices[~is_cut], indices[is_cut]
    if not spec.stratified:
        cut = np.sort(np.random.RandomState(seed).permutation(indices)[:count])
        return np.setdiff1d(indices, cut), cut
    n_classes = len(np.unique(labels[indices]))
    if min(count, len(indices) - count) < n_classes:
        smaller = min(count, len(indices) - count)
        raise DataError(
            f"{where} is {smaller} against {n_classes} classes: too few for a stratified split; take a "
            f"{'larger' if count == smaller else 'smaller'} --data.split.{part}, or --data.split.stratified false"
        )
    cut = stratified_sample(indices, labels, count, seed)
    return np.setdiff1d(indices, cut), cut
