from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from convoy.data import DataError, PreparedData, prepare
from convoy.data.prepare import channel_statistics
from convoy.recipe.sections import Data


@pytest.fixture
def path(tmp_path: Path) -> str:
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (120, 3, 8, 8), dtype=np.uint8)
    labels = np.arange(120) % 3
    np.savez(tmp_path / "d.npz", x_train=images[:90], y_train=labels[:90], x_test=images[90:], y_test=labels[90:])
    return str(tmp_path / "d.npz")


def prepared(path: str, **keys: object) -> PreparedData:
    return prepare(Data.model_validate({"name": path, **keys}))


def test_the_parts_have_the_sizes_of_the_recipe(path: str) -> None:
    data = prepared(path, split={"validation": 0.2})

    assert data.validation is not None
    assert data.test is not None
    assert (len(data.train), len(data.validation), len(data.test)) == (72, 18, 30)
    assert (data.name, data.in_chans, data.image_size, data.classes) == ("d", 3, 8, ("0", "1", "2"))


def test_a_class_without_training_images_is_reported(path: str, tmp_path: Path) -> None:
    groups = np.where(np.arange(90) % 3 == 2, 0, 1 + np.arange(90) % 7)  # one patient has all images of a class
    np.save(tmp_path / "who.npy", groups)
    split = {"folds": 3, "group_by": str(tmp_path / "who.npy")}

    notes = [prepared(path, split={**split, "fold": fold}).notes for fold in range(3)]

    assert sum("training set" in " ".join(fold_notes) for fold_notes in notes) == 1


def test_normalisation_is_computed_from_the_training_part_only(path: str) -> None:
    data = prepared(path)
    assert np.allclose(data.mean, data.train.images.mean(axis=(0, 2, 3)) / 255, rtol=1e-12)
    assert np.allclose(data.std, data.train.images.std(axis=(0, 2, 3)) / 255, rtol=1e-12)


def test_statistics_are_exact_over_several_chunks() -> None:
    images = np.zeros((1000, 1, 8, 8), np.uint8)
    images[:500] = 255
    assert channel_statistics(images) == ((0.5,), (0.5,))


def test_fixed_normalisation_is_for_all_channels_or_per_channel(path: str) -> None:
    assert prepared(path, normalise=[0.5, 0.25]).mean == (0.5, 0.5, 0.5)
    assert prepared(path, normalise=[[0.1, 0.2, 0.3], 0.25]).mean == (0.1, 0.2, 0.3)
    with pytest.raises(DataError, match="data.normalise has 2 values for the 3 channels"):
        prepared(path, normalise=[[0.1, 0.2], 0.25])


def test_normalising_constant_images_is_an_error(tmp_path: Path) -> None:
    np.savez(tmp_path / "black.npz", x_train=np.zeros((30, 8, 8), np.uint8), y_train=np.arange(30) % 2)
    with pytest.raises(DataError, match="all training pixels of channel 0 "):
        prepared(str(tmp_path / "black.npz"))


def test_a_limit_applies_to_every_part(path: str) -> None:
    data = prepared(path, limit=30, split={"validation": 0.2})

    assert data.validation is not None
    assert data.test is not None
    assert (len(data.train), len(data.validation), len(data.test), data.limit) == (24, 6, 30, 30)
    assert data.train.class_counts == [8, 8, 8]


def test_without_a_validation_part_it_is_none(path: str) -> None:
    data = prepared(path, split={"validation": 0})
    assert data.validation is None
    assert len(data.train) == 90


def test_a_test_part_is_split_off_if_the_data_have_none(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (100, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "d.npz", x_train=images, y_train=np.arange(100) % 2)

    data = prepared(str(tmp_path / "d.npz"), split={"test": 0.3, "validation": 0.1})

    assert data.test is not None
    assert np.array_equal(data.test.open(print).images, images[data.split.test][:, None])
    assert (len(data.train), len(data.test)) == (63, 30)


def test_opening_the_test_part_is_recorded(path: str) -> None:
    test = prepared(path).test
    assert test is not None
    records: list[str] = []

    opened = test.open(records.append)

    assert records == [opened.content_hash] == [test.content_hash]
    assert test.class_counts == [10, 10, 10]


def test_the_hash_distinguishes_parts_of_sorted_images_with_equal_labels(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    images, labels = draw.integers(0, 256, (90, 1, 8, 8), dtype=np.uint8), np.repeat(np.arange(3), 30)
    np.savez(tmp_path / "d.npz", x_train=images, y_train=labels)

    first, second = (prepared(str(tmp_path / "d.npz"), split={"seed": seed}) for seed in (1, 2))

    assert first.validation is not None
    assert second.validation is not None
    assert first.validation.labels.tolist() == second.validation.labels.tolist()
    assert first.parts_hash.keys() == {"validation", "test"}
    assert all(first.parts_hash[part] != second.parts_hash[part] for part in ("validation", "test"))


def test_the_data_sets_own_test_part_is_the_same_in_every_split(path: str) -> None:
    first, second = (prepared(path, split={"seed": seed}).parts_hash for seed in (1, 2))
    assert first["test"] == second["test"]
    assert first["validation"] != second["validation"]


def test_hashes_depend_on_data_and_split(path: str) -> None:
    one, other = prepared(path), prepared(path, split={"seed": 1})

    assert one.data_hash == other.data_hash
    assert one.split_hash != other.split_hash
    assert prepared(path, size=12).data_hash != one.data_hash


@pytest.mark.parametrize(("copies", "side"), [(6, 7), (1, 16), (0, 7)])
def test_training_images_in_the_test_set_are_reported(tmp_path: Path, copies: int, side: int) -> None:
    random = np.random.RandomState(0)
    train, test = (random.randint(0, 256, (30, side, side), np.uint8) for _ in range(2))
    test[:copies] = train[10 : 10 + copies]
    labels = np.arange(30) % 2
    file = tmp_path / "data.npz"
    np.savez(file, x_train=train, y_train=labels, x_test=test, y_test=labels)

    notes = prepared(str(file), split={"validation": 0}).notes

    assert [note for note in notes if "duplicates" in note] == [
        f"exact duplicates of training images: {copies} of 30 test images; remove them, or keep them together with "
        "data.split.group_by = 'duplicates'"
    ] * (copies > 0)
