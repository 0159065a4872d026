"""The summary and images of a data sheet."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convoy.data import DataError
from convoy.datasheet.measure import Sheet, make_sheet
from convoy.datasheet.summary import PairCount


def noise(count: int, side: int = 8, channels: int = 1) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, channels, side, side), dtype=np.uint8)


@pytest.fixture
def sheet_of(tmp_path: Path) -> Any:
    """A function that makes the data sheet of an .npz file with these arrays."""

    def make(**arrays: np.ndarray) -> Sheet:
        np.savez(tmp_path / "set.npz", **arrays)  # type: ignore[arg-type]
        return make_sheet(str(tmp_path / "set.npz"))

    return make


def test_facts_of_training_and_test_part(sheet_of: Any) -> None:
    x_train, x_test = noise(8, channels=3), noise(3, channels=3)
    sheet = sheet_of(x_train=x_train, y_train=[0, 0, 0, 1] * 2, x_test=x_test, y_test=[1, 1, 1])

    train, test = sheet.summary.parts["train"], sheet.summary.parts["test"]
    assert (train.images, train.per_class, test.per_class) == (8, (6, 2), (0, 3))
    assert train.mean == pytest.approx(x_train.mean(axis=(0, 2, 3)) / 255)
    assert test.std == pytest.approx(x_test.std(axis=(0, 2, 3)) / 255)
    assert sheet.arrays.levels["train"].sum(axis=1).tolist() == [8 * 64] * 3
    assert (sheet.summary.channels, sheet.summary.size) == (3, 8)


@pytest.mark.parametrize(
    ("labels", "evenness"), [([0, 1] * 4, 1.0), ([0] * 6 + [1, 2], 0.6696), ([0] * 3 + [2] * 3 + [1] * 2, 0.9851)]
)
def test_evenness_is_the_normalised_entropy_of_the_classes(sheet_of: Any, labels: list[int], evenness: float) -> None:
    train = sheet_of(x_train=noise(8), y_train=labels).summary.parts["train"]
    assert train.evenness == pytest.approx(evenness, abs=1e-4)


def test_duplicates_are_counted_within_and_between_parts(sheet_of: Any) -> None:
    x_train, x_val, x_test = noise(10), noise(6), noise(5)
    x_train[7] = x_val[2] = x_test[3] = x_test[4] = x_train[1]
    y_train, y_val, y_test = np.arange(10) % 2, np.array([0, 0, 1, 0, 1, 1]), np.array([0, 1, 0, 1, 0])
    sheet = sheet_of(x_train=x_train, y_train=y_train, x_val=x_val, y_val=y_val, x_test=x_test, y_test=y_test)

    rows = {row.parts: row for row in sheet.summary.duplicates.between}

    assert rows["train", "train"].same_pixels == PairCount(1, 0)
    assert rows["train", "validation"].same_pixels == PairCount(1, 0)
    assert rows["train", "test"].same_pixels == PairCount(2, 1)
    assert (rows["train", "train"].images, rows["train", "test"].images) == (2, 2)
    assert rows["validation", "test"].same_pixels == PairCount(2, 1)
    assert rows["test", "test"].same_pixels == PairCount(1, 1)
    assert sheet.arrays.pairs.part.tolist() == [[0, 0], [0, 1], [0, 2], [1, 2], [0, 2], [1, 2], [2, 2]]
    assert sheet.arrays.pairs.index.tolist() == [[1, 7], [1, 2], [1, 3], [2, 3], [1, 4], [2, 4], [3, 4]]


def test_pictures_of_a_pair_are_its_images(sheet_of: Any) -> None:
    x_train, x_test = noise(10), noise(5)
    x_test[3] = x_train[1]
    sheet = sheet_of(x_train=x_train, y_train=np.arange(10) % 2, x_test=x_test, y_test=np.arange(5) % 2)

    assert sheet.arrays.pictured.tolist() == [0]
    assert (sheet.arrays.pictured_images[0] == x_train[1]).all()


def test_pairs_with_different_labels_are_always_pictured(sheet_of: Any) -> None:
    x_train = np.repeat(noise(40), 2, axis=0)
    y_train = np.repeat(np.arange(40) % 2, 2)
    y_train[-1] = 1 - y_train[-1]

    arrays = sheet_of(x_train=x_train, y_train=y_train).arrays

    assert len(arrays.pairs.kind) == 40
    assert len(arrays.pictured) == 13
    assert 39 in arrays.pictured


def test_samples_and_means_exist_for_all_classes_with_images(sheet_of: Any) -> None:
    x_train = noise(21)
    sheet = sheet_of(x_train=x_train, y_train=[0] * 20 + [2], class_names=["a", "b", "c"])

    assert sheet.arrays.samples_labels.tolist() == [0] * 8 + [2]
    assert sheet.arrays.means_labels.tolist() == [0, 2]
    assert (sheet.arrays.means_images[0] == np.rint(x_train[:20].mean(axis=0))).all()
    assert (sheet.arrays.means_images[1] == x_train[20]).all()


def test_pictures_of_large_images_are_downsampled(sheet_of: Any) -> None:
    x_train = noise(4, side=200)
    arrays = sheet_of(x_train=x_train, y_train=[0, 1, 0, 1]).arrays

    assert arrays.samples_images.shape == (4, 1, 66, 66)
    original = x_train[1::2, 0, :198, :198].astype(float)
    assert arrays.means_images[1].mean() == pytest.approx(original.mean(), abs=1)


def test_only_a_named_data_set_has_a_description(sheet_of: Any) -> None:
    about = make_sheet("digits").summary.about
    assert about.licence == "CC BY 4.0"
    assert sheet_of(x_train=noise(4), y_train=[0, 1, 0, 1]).summary.about is None


def test_facts_are_valid_json(sheet_of: Any) -> None:
    summary = sheet_of(x_train=noise(60), y_train=np.arange(60) % 3).summary
    assert json.loads(json.dumps(asdict(summary), allow_nan=False))["size"] == summary.size
    assert summary.duplicates.same_picture_searched is True


def test_mean_and_std_of_a_constant_channel(sheet_of: Any) -> None:
    black = np.zeros((4, 1, 8, 8), np.uint8)
    train = sheet_of(x_train=black, y_train=[0, 1, 0, 1]).summary.parts["train"]
    assert (train.mean, train.std) == ((0.0,), (0.0,))


def test_size_resizes_images_and_error_names_an_unknown_path(tmp_path: Path) -> None:
    np.savez(tmp_path / "set.npz", x_train=noise(4, side=16), y_train=[0, 1, 0, 1])
    assert make_sheet(str(tmp_path / "set.npz"), size=8).summary.size == 8
    with pytest.raises(DataError, match="nothing.npz: does not exist"):
        make_sheet(str(tmp_path / "nothing.npz"))
