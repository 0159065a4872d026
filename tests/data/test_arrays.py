from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from convoy.data.arrays import Part, Parts, as_images, as_labels, from_arrays
from convoy.data.imageset import DataError

levels = arrays.arrays(
    np.uint8, arrays.array_shapes(min_dims=4, max_dims=4, max_side=6).map(lambda s: (s[0], 3, *s[2:]))
)


def part(labels: list[int], side: int = 8) -> Part:
    images = np.arange(len(labels) * side * side, dtype=np.uint8).reshape(len(labels), side, side)
    return Part(images, np.array(labels), "images.npy", "labels.npy")


@given(levels, st.sampled_from([np.float16, np.float32, np.float64]))
def test_floats_from_0_to_1_are_converted_to_their_original_levels(images: np.ndarray, dtype: type) -> None:
    assert np.array_equal(as_images(images.astype(dtype) / dtype(255), "here"), images)


@given(levels.filter(lambda images: images.max() > 1), st.sampled_from([np.float32, np.int64, np.uint16]))
def test_numbers_from_0_to_255_are_kept_as_levels(images: np.ndarray, dtype: type) -> None:
    assert np.array_equal(as_images(images.astype(dtype), "here"), images)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((5, 9, 9), (5, 1, 9, 9)),
        ((5, 1, 9, 9), (5, 1, 9, 9)),
        ((5, 9, 9, 1), (5, 1, 9, 9)),
        ((5, 3, 9, 9), (5, 3, 9, 9)),
        ((5, 9, 9, 3), (5, 3, 9, 9)),
    ],
)
def test_channels_may_be_first_or_last(shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    assert as_images(np.zeros(shape, np.uint8), "here").shape == expected


def test_channels_last_keep_their_pixels() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 5, 5, 3), dtype=np.uint8)
    assert as_images(images, "here")[1, 2, 4, 3] == images[1, 4, 3, 2]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros((5, 784)), "got 5 x 784"),
        (np.zeros((5, 4, 9, 9)), "1 or 3 channels"),
        (np.zeros((0, 9, 9)), "no images"),
        (np.full((5, 9, 9), -0.42), "from -0.42 to -0.42"),
        (np.full((5, 9, 9), 256.0), "not normalised"),
        (np.full((5, 9, 9), 300), "not normalised"),
        (np.full((5, 9, 9), np.nan), "from nan"),
        (np.full((5, 9, 9), np.inf), "to inf"),
        (np.full((5, 9, 9), 1j), "expected numbers"),
        (np.full((5, 9, 9), "a"), "expected numbers"),
    ],
)
def test_invalid_images_are_an_error_with_their_file(values: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=f"^here: .*{message}"):
        as_images(values, "here")


def test_a_value_out_of_range_by_less_than_half_a_level_is_rounded() -> None:
    assert as_images(np.array([[[-0.001, 1.001]]]), "here").ravel().tolist() == [0, 255]


@pytest.mark.parametrize("values", [np.zeros(5), np.zeros((5, 10), np.int64), np.array(["cat"])])
def test_labels_other_than_one_integer_per_image_are_an_error(values: np.ndarray) -> None:
    with pytest.raises(DataError, match="^here: .*integer"):
        as_labels(values, "here")


def test_labels_in_a_column_are_accepted() -> None:
    assert as_labels(np.array([[3], [1]], np.uint8), "here").tolist() == [3, 1]


def test_a_validation_part_is_appended_to_train_and_indexed() -> None:
    dataset = from_arrays("d", Parts(part([0, 1, 0]), validation=part([1, 0])), size=None)

    assert dataset.train.labels.tolist() == [0, 1, 0, 1, 0]
    assert dataset.validation_indices is not None
    assert dataset.validation_indices.tolist() == [3, 4]
    assert dataset.test is None


def test_labels_from_1_keep_their_numbers_as_class_names() -> None:
    dataset = from_arrays("d", Parts(part([1, 2, 3]), test=part([3])), size=None)

    assert dataset.train.classes == ("1", "2", "3")
    assert dataset.test is not None
    assert dataset.test.labels.tolist() == [2]


@pytest.mark.parametrize(
    ("train", "test", "classes", "message"),
    [
        ([0, 1, 3], [0], None, "label 3 is out of range"),
        ([0, -1, 1], [0], None, "label -1 is out of range"),
        ([0, 1, 1], [2], None, "label 2 is out of range, expected 0 to 1"),
        ([0, 1, 2], [0], ("a", "b"), "label 2 is out of range, expected 0 to 1"),
        ([0, 0, 0], [0], None, "at least two classes"),
    ],
)
def test_error_names_a_label_out_of_range(
    train: list[int], test: list[int], classes: tuple[str] | None, message: str
) -> None:
    with pytest.raises(DataError, match=f"^labels.npy: .*{message}"):
        from_arrays("d", Parts(part(train), test=part(test)), size=None, classes=classes)


def test_error_states_differing_counts_of_images_and_labels() -> None:
    train = part([0, 1, 0])
    with pytest.raises(DataError, match=r"^labels.npy: 2 labels for 3 images"):
        from_arrays("d", Parts(train._replace(labels=train.labels[:2])), size=None)


def test_parts_of_different_size_need_a_size() -> None:
    parts = Parts(part([0, 1], side=8), test=part([0, 1], side=10))

    with pytest.raises(DataError, match=r"1 x 8 x 8 and 1 x 10 x 10; .*data.size"):
        from_arrays("d", parts, size=None)
    assert from_arrays("d", parts, size=9).train.images.shape == (2, 1, 9, 9)


def test_wide_images_are_cropped_to_the_centre_with_a_note() -> None:
    images = np.zeros((2, 8, 12), np.uint8)
    images[:, :, 2:10] = 200
    dataset = from_arrays("d", Parts(Part(images, np.array([0, 1]), "i", "l")), size=None)

    assert dataset.train.images.shape == (2, 1, 8, 8)
    assert dataset.train.images.min() == 200
    assert "12 x 8" in dataset.notes[0]


def test_resizing_keeps_the_shorter_side_and_the_centre() -> None:
    images = np.zeros((2, 16, 32), np.uint8)
    images[:, :, 16:] = 200
    resized = from_arrays("d", Parts(Part(images, np.array([0, 1]), "i", "l")), size=8).train.images

    assert resized[0, 0, 4].tolist()[:3] == [0, 0, 0]
    assert resized[0, 0, 4].tolist()[5:] == [200, 200, 200]
