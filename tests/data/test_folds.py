"""Properties of folds (hypothesis), and a comparison of sizes and balance with scikit-learn's."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, StratifiedKFold

from convoy.data.imageset import DataError, DataSet, ImageSet
from convoy.data.splits import Split, assign_groups, assign_images, limit_split, make_folds, make_split
from convoy.recipe.sections import SplitSpec

many_labels = st.builds(
    lambda counts, seed: np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts)),
    st.lists(st.integers(40, 60), min_size=2, max_size=6),
    st.integers(0, 99),
)
labels_of_any_balance = st.builds(
    lambda counts, seed: np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts)),
    st.lists(st.integers(1, 40), min_size=2, max_size=6).filter(lambda counts: sum(counts) >= 10),
    st.integers(0, 99),
)
with_settings = settings(max_examples=60)


def images(labels: np.ndarray) -> ImageSet:
    classes = tuple(str(k) for k in range(int(labels.max()) + 1))
    return ImageSet(np.zeros((len(labels), 1, 2, 2), np.uint8), labels.astype(np.int64), classes)


def dataset(labels: np.ndarray, *, n_test: int = 10, n_validation: int = 0) -> DataSet:
    validation = np.arange(n_validation) if n_validation else None
    return DataSet("d", images(labels), validation, images(labels[:n_test]) if n_test else None)


def random_groups(seed: int, n_groups: int, labels: np.ndarray) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, n_groups, len(labels))


def every_fold(
    data: DataSet, groups: np.ndarray | None = None, limit: int | None = None, **keys: object
) -> list[Split]:
    first = SplitSpec.model_validate({"folds": 5, **keys})
    specs = [first.model_copy(update={"fold": fold}) for fold in range(first.folds)]
    return [make_folds(data, spec, groups, limit) for spec in specs]


@with_settings
@given(labels_of_any_balance, st.integers(2, 7), st.integers(0, 2**40), st.booleans())
def test_each_image_is_scored_in_one_fold_and_parts_are_disjoint(
    labels: np.ndarray, folds: int, seed: int, stratified: bool
) -> None:
    splits = every_fold(dataset(labels), folds=folds, seed=seed, stratified=stratified, validation=0)

    assert np.array_equal(np.sort(np.concatenate([split.fold for split in splits])), np.arange(len(labels)))
    for split in splits:
        parts = np.concatenate([split.train, split.validation, split.fold])
        assert np.array_equal(np.sort(parts), np.arange(len(labels)))


@with_settings
@given(labels_of_any_balance, st.integers(2, 7), st.integers(0, 2**32 - 1))
def test_sizes_of_stratified_folds_differ_by_at_most_one_also_within_a_class(
    labels: np.ndarray, folds: int, seed: int
) -> None:
    fold = assign_images(labels, folds, seed)
    counts = np.array([np.bincount(labels[fold == k], minlength=labels.max() + 1) for k in range(folds)])

    assert np.ptp(counts, axis=0).max() <= 1
    assert np.ptp(counts.sum(axis=1)) <= 1


@with_settings
@given(labels_of_any_balance, st.integers(2, 5), st.integers(5, 30), st.integers(0, 2**32 - 1), st.booleans())
def test_no_group_is_in_two_folds_and_no_fold_is_empty(
    labels: np.ndarray, folds: int, n_groups: int, seed: int, stratified: bool
) -> None:
    groups = random_groups(seed, n_groups, labels)
    if len(np.unique(groups)) < folds:
        return
    fold = assign_groups(labels if stratified else 0 * labels, groups, [1 / folds] * folds, seed)

    assert all(len(np.unique(fold[groups == group])) == 1 for group in np.unique(groups))
    assert np.bincount(fold, minlength=folds).min() > 0


@with_settings
@given(many_labels, st.integers(0, 2**32 - 1))
def test_no_group_is_in_two_parts_of_a_split(labels: np.ndarray, seed: int) -> None:
    groups = random_groups(seed, 40, labels)
    for split in every_fold(dataset(labels, n_test=0), groups, folds=2, validation=0.4, test=0.3, seed=seed):
        parts = [groups[part] for part in (split.train, split.validation, split.test, split.fold)]
        shared = [np.intersect1d(a, b) for a, b in combinations(parts, 2)]
        assert not any(map(len, shared))


def test_a_grouped_split_without_folds_does_not_divide_groups() -> None:
    labels = np.arange(200) % 4
    groups = random_groups(0, 50, labels)

    split = make_split(dataset(labels, n_test=0), SplitSpec(validation=0.25), groups)

    assert not np.intersect1d(groups[split.train], groups[split.validation]).size
    assert len(split.validation) == pytest.approx(0.25 * 160, abs=8)


# Against scikit-learn


@pytest.mark.parametrize("n", [100, 103, 104])
def test_plain_folds_have_the_sizes_of_k_fold(n: int) -> None:
    labels = np.zeros(n, int)
    theirs = [len(test) for _, test in KFold(5).split(labels)]
    assert sorted(np.bincount(assign_images(labels, 5, 0))) == sorted(theirs)


@pytest.mark.parametrize("seed", range(5))
def test_stratified_folds_have_the_class_counts_of_stratified_k_fold(seed: int) -> None:
    labels = np.random.default_rng(seed).choice(4, 333, p=[0.5, 0.3, 0.15, 0.05])
    ours = assign_images(labels, 5, seed)
    theirs = StratifiedKFold(5, shuffle=True, random_state=seed).split(labels, labels)
    for counts in zip(
        *(sorted(map(tuple, table)) for table in (
            [np.bincount(labels[ours == k], minlength=4).tolist() for k in range(5)],
            [np.bincount(labels[test], minlength=4).tolist() for _, test in theirs],
        )),
        strict=True,
    ):  # fmt: skip
        assert np.abs(np.subtract(*counts)).max() <= 1  # any fold may have the odd image


@pytest.mark.parametrize("seed", range(5))
def test_grouped_folds_have_the_sizes_of_group_k_fold(seed: int) -> None:
    labels = np.zeros(500, int)
    groups = random_groups(seed, 37, labels)
    ours = assign_groups(labels, groups, [0.2] * 5, seed)
    theirs = [len(test) for _, test in GroupKFold(5).split(labels, labels, groups)]
    assert sorted(np.bincount(ours)) == sorted(theirs)


def test_stratified_groups_are_balanced_as_well_as_by_stratified_group_k_fold() -> None:
    def worst(labels: np.ndarray, folds: list[np.ndarray]) -> float:
        """The largest distance of a class's share in a fold from a fifth of the class."""
        shares = [np.bincount(labels[fold], minlength=4) / np.bincount(labels, minlength=4) for fold in folds]
        return float(np.abs(np.array(shares) - 0.2).max())

    ours, theirs = [], []
    for seed in range(20):
        draw = np.random.default_rng(seed)
        labels = draw.choice(4, 600, p=[0.5, 0.3, 0.15, 0.05])
        groups = draw.integers(0, 60, 600)
        fold = assign_groups(labels, groups, [0.2] * 5, seed)
        ours.append(worst(labels, [np.flatnonzero(fold == k) for k in range(5)]))
        split = StratifiedGroupKFold(5, shuffle=True, random_state=seed).split(labels, labels, groups)
        theirs.append(worst(labels, [test for _, test in split]))
    assert np.mean(ours) <= np.mean(theirs)


# Determinism, limits, errors


def test_folds_are_a_function_of_seed_and_repeat() -> None:
    data = dataset(np.arange(100) % 4)
    first, same, other_seed, other_repeat = (
        every_fold(data, **keys)[0].hash for keys in ({}, {}, {"seed": 43}, {"repeat": 1})
    )
    assert first == same
    assert len({first, other_seed, other_repeat}) == 3


def test_the_hash_includes_the_scored_fold() -> None:
    parts = [np.arange(3), np.arange(3, 5), np.arange(2)]
    assert Split(*parts).hash != Split(*parts, fold=np.array([5])).hash


def test_a_limit_is_applied_before_the_folds() -> None:
    splits = every_fold(dataset(np.arange(1000) % 4), limit=100)

    scored = np.concatenate([split.fold for split in splits])

    assert len(scored) == len(np.unique(scored)) == 100
    for split in splits:
        assert set(split.train) | set(split.validation) | set(split.fold) == set(scored)


def test_the_split_off_test_part_is_the_same_with_and_without_folds() -> None:
    data = dataset(np.arange(200) % 4, n_test=0, n_validation=40)
    split = every_fold(data)[0]

    assert np.array_equal(split.test, make_split(data, SplitSpec()).test)
    assert not np.intersect1d(split.test, np.concatenate([s.fold for s in every_fold(data)])).size


def test_the_data_sets_own_validation_images_are_scored() -> None:
    splits = every_fold(dataset(np.arange(100) % 4, n_validation=20))
    assert sum(len(split.fold) for split in splits) == 100


def test_a_split_without_folds_has_no_fold_and_the_same_hash() -> None:
    split = make_split(dataset(np.arange(50) % 2), SplitSpec())
    assert len(split.fold) == 0
    assert split.hash == Split(split.train, split.validation, split.test).hash
    assert len(limit_split(dataset(np.arange(50) % 2), split, 20, 0).fold) == 0


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"folds": 60}, "data.split.folds = 60: more folds than the 50 images"),
        ({"folds": 4, "groups": 3}, "4: more folds than the 3 groups by 'who.csv'"),
        ({"folds": 3, "groups": 3, "validation": 0.1}, "2 groups by 'who.csv' are too few or too large"),
    ],
)
def test_impossible_folds_are_an_error(keys: dict[str, object], message: str) -> None:
    n_groups = keys.pop("groups", None)
    groups = None if n_groups is None else np.arange(50) % n_groups
    with pytest.raises(DataError, match=message):
        every_fold(dataset(np.arange(50) % 2), groups, group_by="who.csv", **keys)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"folds": 1}, "data.split.folds = 1: "),
        ({"folds": 5, "fold": 5}, "data.split.fold = 5: expected 0 to 4"),
        ({"fold": 1}, "data.split.folds"),
        ({"repeat": 1}, "data.split.folds"),
    ],
)
def test_an_invalid_fold_is_an_error(keys: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SplitSpec.model_validate(keys)
