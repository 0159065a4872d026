"""Named, seeded, stratified splits: index arrays with a hash."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256

import numpy as np

from convoy.data.imageset import DataError, DataSet
from convoy.randomness import derive_seed
from convoy.recipe import SplitSpec


@dataclass(frozen=True, eq=False)
class Split:
    """Sorted int64 indices; train and validation into DataSet.train, test into DataSet.test, or into DataSet.train
    where the data bring no test part."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray

    @cached_property
    def hash(self) -> str:
        """SHA-256 over the indices of the parts."""
        digest = sha256()
        for part in ("train", "validation", "test"):
            indices = getattr(self, part)
            digest.update(f"{part} {len(indices)} ".encode() + np.ascontiguousarray(indices, dtype="<i8").tobytes())
        return digest.hexdigest()


def make_split(dataset: DataSet, spec: SplitSpec) -> Split:
    """A pure function of the labels, the spec and the parts that the data bring. Raises DataError: too few images."""
    n_pool = len(dataset.train)
    pool = np.arange(n_pool)
    if dataset.test is not None:
        test = np.arange(len(dataset.test))
    else:
        own_validation = dataset.validation_indices if dataset.validation_indices is not None else pool[:0]
        pool, test = _cut(dataset, np.setdiff1d(pool, own_validation), spec.test, "test", spec)
    if dataset.validation_indices is not None:
        validation = np.sort(dataset.validation_indices)
        return Split(np.setdiff1d(pool, validation), validation, test)
    train, validation = _cut(dataset, pool, spec.validation, "validation", spec)
    return Split(train, validation, test)


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


def _cut(
    dataset: DataSet, indices: np.ndarray, fraction: float, part: str, spec: SplitSpec
) -> tuple[np.ndarray, np.ndarray]:
    """What is left, and `fraction` of the indices as the named part."""
    if fraction == 0:
        return indices, indices[:0]
    count = round(fraction * len(indices))
    where = f"{dataset.name}: data.split.{part} = {fraction:g} of {len(indices):,} images"
    if not 1 <= count < len(indices):
        raise DataError(f"{where} leaves {len(indices) - count} to train on and {count} for {part}: too few images")
    seed = derive_seed(spec.seed, f"split {part}")
    if not spec.stratified:
        cut = np.sort(np.random.RandomState(seed).permutation(indices)[:count])
        return np.setdiff1d(indices, cut), cut
    labels = dataset.train.labels
    n_classes = len(np.unique(labels[indices]))
    if min(count, len(indices) - count) < n_classes:
        smaller = min(count, len(indices) - count)
        raise DataError(f"{where} is {smaller} against {n_classes} classes: too few for a stratified split")
    cut = stratified_sample(indices, labels, count, seed)
    return np.setdiff1d(indices, cut), cut
