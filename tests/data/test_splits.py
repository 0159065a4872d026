from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convoy.data.imageset import DataError, DataSet, ImageSet
from convoy.data.splits import Split, limit_split, make_split, stratified_sample
from convoy.recipe.sections import SplitSpec


def images(labels: np.ndarray) -> ImageSet:
    classes = tuple(str(k) for k in range(int(labels.max()) + 1))
    return ImageSet(np.zeros((len(labels), 1, 2, 2), np.uint8), labels.astype(np.int64), classes)


def dataset(labels: np.ndarray, *, n_test: int = 0, n_validation: int = 0) -> DataSet:
    validation = np.arange(n_validation) if n_validation else None
    return DataSet("d", images(labels), validation, images(labels[:n_test]) if n_test else None)


# With at least 20 images per class, every fraction below leaves each class an image in each part.
labels_of_any_balance = st.builds(
    lambda counts, seed: np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts)),
    st.lists(st.integers(20, 60), min_size=2, max_size=6),
    st.integers(0, 99),
)
specs = st.builds(
    SplitSpec,
    validation=st.sampled_from([0.0, 0.1, 0.2, 0.5]),
    test=st.sampled_from([0.1, 0.3]),
    seed=st.integers(0, 2**40),
    stratified=st.booleans(),
)
with_settings = settings(max_examples=60)


@with_settings
@given(labels_of_any_balance, specs, st.booleans())
def test_the_parts_are_disjoint_and_cover_the_pool(labels: np.ndarray, spec: SplitSpec, has_test: bool) -> None:
    split = make_split(dataset(labels, n_test=20 if has_test else 0), spec)

    parts = [split.train, split.validation, *([] if has_test else [split.test])]

    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(len(labels)))
    assert has_test == (len(split.test) == 20 and np.array_equal(split.test, np.arange(20)))


@with_settings
@given(labels_of_any_balance, specs)
def test_a_stratified_part_has_the_share_of_each_class_to_within_one_image(labels: np.ndarray, spec: SplitSpec) -> None:
    split = make_split(dataset(labels, n_test=20), spec.model_copy(update={"stratified": True}))

    n_validation = round(spec.validation * len(labels))
    shares = n_validation * np.bincount(labels) / len(labels)

    assert len(split.validation) == n_validation
    assert (np.abs(np.bincount(labels[split.validation], minlength=len(shares)) - shares) < 1).all()


@with_settings
@given(labels_of_any_balance, specs)
def test_the_split_depends_on_the_seed(labels: np.ndarray, spec: SplitSpec) -> None:
    once, twice = make_split(dataset(labels), spec), make_split(dataset(labels), spec)
    other = make_split(dataset(labels), spec.model_copy(update={"seed": spec.seed + 1}))

    assert once.hash == twice.hash
    assert once.hash != other.hash


@with_settings
@given(labels_of_any_balance, specs, st.integers(10, 150))
def test_a_limited_split_is_a_subset_of_the_full_one(labels: np.ndarray, spec: SplitSpec, limit: int) -> None:
    data = dataset(labels)
    full = make_split(data, spec)
    limited = limit_split(data, full, limit, spec.seed)

    for part in ("train", "validation", "test"):
        assert set(getattr(limited, part)) <= set(getattr(full, part))
    assert len(limited.train) + len(limited.validation) == min(limit, len(full.train) + len(full.validation))
    assert len(limited.test) == min(limit, len(full.test))


@with_settings
@given(labels_of_any_balance, st.floats(0, 1), st.integers(0, 99))
def test_a_stratified_sample_has_the_given_size_and_no_image_twice(labels: np.ndarray, share: float, seed: int) -> None:
    count = int(share * len(labels))
    sample = stratified_sample(np.arange(len(labels)), labels, count, seed)
    assert len(sample) == len(set(sample)) == count


def test_a_split_is_the_same_on_every_platform() -> None:
    split = make_split(dataset(np.arange(100) % 4), SplitSpec(validation=0.1, seed=42))
    assert split.validation.tolist() == [4, 19, 29, 45, 59, 70, 72, 86]


def test_the_data_sets_own_validation_part_is_kept() -> None:
    split = make_split(dataset(np.arange(100) % 4, n_validation=30), SplitSpec(validation=0.5, test=0.2))

    assert split.validation.tolist() == list(range(30))
    assert len(split.test) == 14
    assert not set(split.test) & set(range(30))
    assert len(split.train) == 56


def test_a_validation_part_that_divides_a_group_is_an_error() -> None:
    data, spec = dataset(np.arange(100) % 4, n_validation=30), SplitSpec(test=0.2, group_by="who.csv")

    make_split(data, spec, np.arange(100) // 10)
    with pytest.raises(DataError, match=r"'who.csv': 9 of the 30 images in the validation set .* its training set"):
        make_split(data, spec, np.arange(100) // 7 * 7 // 21)


def test_no_validation_part_is_allowed() -> None:
    split = make_split(dataset(np.arange(100) % 4, n_test=8), SplitSpec(validation=0))
    assert (len(split.train), len(split.validation), len(split.test)) == (100, 0, 8)


@pytest.mark.parametrize(
    ("n_images", "spec", "message"),
    [
        (4, SplitSpec(validation=0.1), "leaves 4 to train on and 0 for validation: too few images"),
        (
            20,
            SplitSpec(validation=0.1),
            "is 2 for 4 classes: too few .* larger --data.split.validation",
        ),
        (
            20,
            SplitSpec(validation=0.9),
            "is 2 for 4 classes: too few .* smaller --data.split.validation",
        ),
    ],
)
def test_too_few_images_are_an_error(n_images: int, spec: SplitSpec, message: str) -> None:
    with pytest.raises(DataError, match=f"^d: data.split.validation = .* of {n_images} images {message}"):
        make_split(dataset(np.arange(n_images) % 4, n_test=4), spec)


def test_a_limit_of_one_image_is_an_error() -> None:
    data = dataset(np.arange(100) % 4)
    with pytest.raises(DataError, match=r"data\.limit = 1: "):
        limit_split(data, make_split(data, SplitSpec()), 1, 0)


def test_the_hash_depends_on_the_part_of_an_image() -> None:
    a, b, empty = np.array([0, 1]), np.array([2]), np.array([], np.int64)
    assert len({Split(a, b, empty).hash, Split(b, a, empty).hash, Split(a, empty, b).hash}) == 3
