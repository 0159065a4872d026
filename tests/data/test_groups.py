from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from convoy.data import DataError, load, prepare
from convoy.data.groups import groups_of
from convoy.data.imageset import DataSet, ImageSet
from convoy.recipe.sections import Data


@pytest.fixture
def six() -> DataSet:
    draw = np.random.default_rng(0)
    pixels = draw.integers(0, 256, (6, 1, 8, 8), dtype=np.uint8)
    return DataSet("six", ImageSet(pixels, np.array([0, 0, 0, 1, 1, 1]), ("a", "b")))


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of eight patients with five images each, patient_number.png, under train/ and val/."""
    folder, draw = tmp_path_factory.mktemp("data") / "scans", np.random.default_rng(0)
    for class_name, darkest in (("sick", 0), ("well", 100)):
        for patient in range(8):
            for number in range(5):
                part = "val" if patient == 7 else "train"
                path = folder / part / class_name / f"{class_name[0]}{patient:02}_{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(draw.integers(darkest, darkest + 99, (16, 16), dtype=np.uint8)).save(path)
    return folder


def same(groups: np.ndarray | None, expected: list[int]) -> bool:
    """Whether two numberings define the same groups."""
    assert groups is not None
    pairs = set(zip(groups.tolist(), expected, strict=True))
    return len(pairs) == len(set(expected)) == len(np.unique(groups))


def test_without_group_by_there_are_no_groups(six: DataSet) -> None:
    assert groups_of(six, None) is None


@pytest.mark.parametrize(
    ("name", "content"),
    [("who.txt", "ann\nbob\nann\nbob\ncy\nann\n"), ("who.csv", "patient\nann\nbob\nann\nbob\ncy\nann\n")],
)
def test_a_text_file_has_one_group_per_line(six: DataSet, tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    assert same(groups_of(six, str(tmp_path / name)), [0, 1, 0, 1, 2, 0])


def test_an_array_has_one_group_per_image(six: DataSet, tmp_path: Path) -> None:
    np.save(tmp_path / "who.npy", np.array([7, 9, 7, 9, 8, 7]))
    assert same(groups_of(six, str(tmp_path / "who.npy")), [0, 1, 0, 1, 2, 0])


def test_the_first_capture_group_of_a_regular_expression_is_the_group(six: DataSet) -> None:
    paths = ("a/p1_0.png", "a/p1_1.png", "a/p2_0.png", "b/p2_1.png", "b/p3_0.png", "b/p3_1.png")
    assert same(groups_of(replace(six, paths=paths), r"(p\d+)_(\d)"), [0, 0, 1, 1, 2, 2])


def test_paths_of_training_images_are_known_with_and_without_cache(scans: Path) -> None:
    for _ in range(2):
        dataset = load(str(scans))
        assert dataset.paths is not None
        assert dataset.paths[0] == "train/sick/s00_0.png"
        assert dataset.paths[-1] == "val/well/w07_4.png"
        assert len(dataset.paths) == len(dataset.train) == 80


def test_images_of_one_patient_are_all_in_one_part(scans: Path) -> None:
    dataset = load(str(scans))
    assert dataset.paths is not None
    patients = np.array([Path(path).name[:3] for path in dataset.paths])
    scored = []
    for fold in range(4):
        split = {"folds": 4, "fold": fold, "group_by": r"/(\w\d+)_"}
        parts = prepare(Data.model_validate({"name": str(scans), "split": split})).split
        in_part = [set(patients[indices]) for indices in (parts.train, parts.validation, parts.fold, parts.test)]
        assert sum(map(len, in_part)) == len(set.union(*in_part)) == 16
        scored.append(parts.fold)
    assert len(np.unique(np.concatenate(scored))) == sum(map(len, scored))


def test_duplicates_are_in_one_group() -> None:
    draw = np.random.default_rng(0)
    pixels = draw.integers(0, 256, (80, 1, 16, 16), dtype=np.uint8)
    pixels[[10, 20]] = pixels[5]
    pixels[70] = np.clip(pixels[60].astype(int) * 0.8 + 20, 0, 255)  # the same picture, lit differently
    train = ImageSet(pixels, np.arange(80) % 2, ("a", "b"))

    for _ in range(2):  # the second time from the cache
        groups = groups_of(DataSet("d", train), "duplicates")
        assert groups is not None
        assert len(set(groups[[5, 10, 20]])) == len(set(groups[[60, 70]])) == 1
        assert len(np.unique(groups)) == 77


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a\nb\n", "2 values for the 6 training images of six"),
        ("a\n\nb\nc\nd\ne\nf\n", "line 2: expected one value, got 0"),
        ("a,b\nc,d\n", "line 1: expected one value, got 2"),
        ("a\na\nb\nb\nc\nc\nc\n", "7 values for the 6 training images of six"),  # not a header: one value too many
    ],
)
def test_a_file_with_another_number_of_values_is_an_error(
    six: DataSet, tmp_path: Path, content: str, message: str
) -> None:
    (tmp_path / "who.csv").write_text(content)
    with pytest.raises(DataError, match=message):
        groups_of(six, str(tmp_path / "who.csv"))


@pytest.mark.parametrize(
    ("group_by", "message"),
    [
        ("nowhere.csv", "nowhere.csv: cannot be read"),
        (r"(p\d", "invalid regular expression"),
        (r"p\d", "expected parentheses"),
        (r"(q\d)", "does not match 'a/0.png'"),
    ],
)
def test_invalid_groups_are_an_error(six: DataSet, group_by: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        groups_of(replace(six, paths=tuple(f"a/{number}.png" for number in range(6))), group_by)


def test_a_regular_expression_for_data_without_file_names_is_an_error(six: DataSet) -> None:
    with pytest.raises(DataError, match="six has no file names"):
        groups_of(six, r"(p\d)")


def test_an_array_of_objects_is_an_error(six: DataSet, tmp_path: Path) -> None:
    np.save(tmp_path / "who.npy", np.array([{}] * 6, dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="cannot be read"):
        groups_of(six, str(tmp_path / "who.npy"))
