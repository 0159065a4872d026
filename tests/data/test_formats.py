from __future__ import annotations

import contextlib
import gzip
import io
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from convoy.data.arrays import Part, Parts, from_arrays
from convoy.data.formats import (
    TENSOR_FILES,
    idx_files,
    read_idx,
    read_idx_folder,
    read_npz,
    read_tensor,
    read_tensors,
    write_tensors,
)
from convoy.data.imageset import DataError, DataSet

Change = Callable[[bytes], bytes]
with_one_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def idx_bytes(array: np.ndarray) -> bytes:
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def write_idx(folder: Path, images: np.ndarray, labels: np.ndarray, role: str = "train") -> None:
    folder.mkdir(exist_ok=True)
    (folder / f"{role}-images-idx3-ubyte").write_bytes(idx_bytes(images))
    (folder / f"{role}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx_bytes(labels)))


def some(count: int, side: int = 9) -> tuple[np.ndarray, np.ndarray]:
    images = np.random.default_rng(count).integers(0, 256, (count, side, side), dtype=np.uint8)
    return images, np.arange(count) % 3


def part(count: int) -> Part:
    return Part(*some(count), "i", "l")


@pytest.fixture
def dataset() -> DataSet:
    return from_arrays("d", Parts(part(12), test=part(6)), size=None)


def test_an_idx_folder_may_mix_uncompressed_and_gzipped_files(tmp_path: Path) -> None:
    write_idx(tmp_path, *some(12))
    write_idx(tmp_path, *some(6), role="t10k")

    dataset = read_idx_folder(tmp_path, "d", size=None, classes=None)

    assert np.array_equal(dataset.train.images[:, 0], some(12)[0])
    assert dataset.test is not None
    assert np.array_equal(dataset.test.labels, some(6)[1])


def test_an_idx_folder_may_lack_the_test_part(tmp_path: Path) -> None:
    write_idx(tmp_path, *some(12))
    assert read_idx_folder(tmp_path, "d", size=None, classes=None).test is None


def test_an_idx_folder_without_labels_is_an_error(tmp_path: Path) -> None:
    write_idx(tmp_path, *some(12))
    (tmp_path / "train-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(DataError, match="training labels is missing"):
        idx_files(tmp_path)


def test_two_idx_files_for_one_role_are_an_error(tmp_path: Path) -> None:
    write_idx(tmp_path, *some(12))
    (tmp_path / "emnist-letters-train-images-idx3-ubyte").write_bytes(b"")
    with pytest.raises(DataError, match="found emnist-letters-train-images-idx3-ubyte and train-images-idx3-ubyte"):
        idx_files(tmp_path)


def test_labels_in_a_file_named_images_are_an_error(tmp_path: Path) -> None:
    images, labels = some(12)
    write_idx(tmp_path, labels, images)
    with pytest.raises(DataError, match="train-images-idx3-ubyte: .*shape .*, got 12"):
        read_idx_folder(tmp_path, "d", size=None, classes=None)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda raw: b"", "IDX file of bytes, .*begins with nothing"),
        (lambda raw: b"\x89PNG" + raw[4:], "IDX file of bytes, .*begins with 89 50 4e 47"),
        (lambda raw: raw[:2] + b"\x0d" + raw[3:], "IDX file of bytes"),
        (lambda raw: raw[:10], "truncated"),
        (lambda raw: raw[:-1], "truncated"),
        (lambda raw: raw + b"\0", "damaged: more"),
        (lambda raw: raw[:4] + b"\xff" * 12 + raw[16:], "too short for the shape"),
    ],
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_a_damaged_idx_file_is_an_error(tmp_path: Path, damage: Change, message: str, pack: Change) -> None:
    path = tmp_path / "x"
    path.write_bytes(pack(damage(idx_bytes(some(5)[0]))))
    with pytest.raises(DataError, match=f"^{path}: .*{message}"):
        read_idx(path)


def test_a_wrong_crc_is_an_error_even_if_all_pixels_can_be_read(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(idx_bytes(some(5)[0])))
    packed[-6] ^= 1
    path = tmp_path / "x.gz"
    path.write_bytes(packed)
    with pytest.raises(DataError, match=f"^{path}: damaged gzip file: CRC check failed"):
        read_idx(path)


@with_one_folder
@given(st.data())
def test_a_corrupted_idx_file_raises_nothing_but_data_error(tmp_path: Path, data: st.DataObject) -> None:
    raw = idx_bytes(some(4, side=5)[0])
    packed = bytearray(gzip.compress(raw) if data.draw(st.booleans()) else raw)
    for _ in range(data.draw(st.integers(1, 4))):
        packed[data.draw(st.integers(0, len(packed) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "x"
    path.write_bytes(packed[: data.draw(st.integers(0, len(packed)))])
    with contextlib.suppress(DataError):
        assert read_idx(path).dtype == np.uint8


@pytest.mark.parametrize("words", [("x_{}", "y_{}"), ("{}_images", "{}_labels")])
def test_npz_is_read_with_the_keys_of_keras_and_of_medmnist(tmp_path: Path, words: tuple[str, str]) -> None:
    keys = [word.format(part) for part in ("train", "val", "test") for word in words]
    np.savez(tmp_path / "a.npz", **dict(zip(keys, (*some(12), *some(3), *some(6)), strict=True)))

    dataset = read_npz(tmp_path / "a.npz", "a", size=None, classes=None)

    assert len(dataset.train) == 15
    assert dataset.validation_indices is not None
    assert dataset.validation_indices.tolist() == [12, 13, 14]
    assert dataset.test is not None
    assert len(dataset.test) == 6


def test_npz_may_have_class_names(tmp_path: Path) -> None:
    images, labels = some(12)
    np.savez(tmp_path / "a.npz", x_train=images, y_train=labels, class_names=np.array(["cat", "dog", "cow"]))
    assert read_npz(tmp_path / "a.npz", "a", size=None, classes=None).train.classes == ("cat", "dog", "cow")


def test_npz_with_a_repeated_class_name_is_an_error(tmp_path: Path) -> None:
    images, labels = some(12)
    np.savez(tmp_path / "a.npz", x_train=images, y_train=labels, class_names=np.array(["cat", "dog", "cat"]))
    with pytest.raises(DataError, match="a.npz.*'cat' 2 times"):
        read_npz(tmp_path / "a.npz", "a", size=None, classes=None)


def test_npz_with_a_pickle_is_an_error(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x_train=some(3)[0], y_train=np.array([{}, {}, {}], dtype=object))
    with pytest.raises(DataError, match=r"a\.npz: cannot be read as \.npz: Object arrays"):
        read_npz(tmp_path / "a.npz", "a", size=None, classes=None)


def test_npz_with_a_member_that_is_not_an_array_is_an_error(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x_train=some(3)[0])
    with zipfile.ZipFile(tmp_path / "a.npz", "a") as file:
        file.writestr("y_train", "text")
    with pytest.raises(DataError, match=r"a\.npz: cannot be read as \.npz: y_train"):
        read_npz(tmp_path / "a.npz", "a", size=None, classes=None)


def test_error_for_other_npz_keys_states_the_expected_keys(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=some(3)[0])
    with pytest.raises(DataError, match="x_train and y_train, or train_images and train_labels, got x"):
        read_npz(tmp_path / "a.npz", "a", size=None, classes=None)


@with_one_folder
@given(st.integers(0, 10_000), st.integers(0, 255), st.integers(0, 10_000))
def test_a_corrupted_npz_file_raises_nothing_but_data_error(tmp_path: Path, at: int, byte: int, keep: int) -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, x_train=some(6, side=5)[0], y_train=some(6)[1])
    raw = bytearray(buffer.getvalue())
    raw[at % len(raw)] = byte
    path = tmp_path / "a.npz"
    path.write_bytes(raw[: max(1, keep)])
    with contextlib.suppress(DataError):
        read_npz(path, "a", size=None, classes=None)


def test_tensor_files_are_read_as_they_were_written(tmp_path: Path, dataset: DataSet) -> None:
    paths = write_tensors(dataset, tmp_path / "new" / "folder")

    loaded = read_tensors(tmp_path / "new" / "folder", "d", size=None, classes=dataset.train.classes)

    assert [path.name for path in paths] == list(TENSOR_FILES)
    assert loaded.content_hash == dataset.content_hash


def test_tensor_files_have_float_images_and_integer_labels(tmp_path: Path, dataset: DataSet) -> None:
    write_tensors(dataset, tmp_path)
    images, labels = torch.load(tmp_path / "train_data.pth"), torch.load(tmp_path / "train_labels.pth")

    assert (images.dtype, tuple(images.shape), float(images.max())) == (torch.float32, (12, 1, 9, 9), 1.0)
    assert (labels.dtype, tuple(labels.shape)) == (torch.int64, (12,))


def test_packing_a_validation_part_is_an_error(tmp_path: Path) -> None:
    parts = Parts(part(12), part(12), part(12))
    with pytest.raises(DataError, match="validation set"):
        write_tensors(from_arrays("d", parts, size=None), tmp_path)


def test_packing_without_a_test_part_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="test set"):
        write_tensors(from_arrays("d", Parts(part(12)), size=None), tmp_path)


class MaliciousPickle:
    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (Path("executed"),)


def test_a_pth_file_with_code_is_an_error_and_not_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(MaliciousPickle(), "new.pth")
    Path("old.pth").write_bytes(pickle.dumps(MaliciousPickle()))

    for name in ("new.pth", "old.pth"):
        with pytest.raises(DataError, match=rf"{name}: .*damaged"):
            read_tensor(Path(name))
    assert not Path("executed").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"weight": torch.zeros(3)}, "expected a tensor, got dict"),
        (torch.zeros(3).to_sparse(), "dense tensor"),
        (torch.zeros(3, dtype=torch.complex64), "dense tensor"),
        (torch.zeros(1).expand(10**9, 1, 28, 28), "too short for a tensor"),
    ],
)
def test_a_pth_file_without_a_dense_tensor_is_an_error(tmp_path: Path, content: object, message: str) -> None:
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(DataError, match=rf"a\.pth: .*{message}"):
        read_tensor(tmp_path / "a.pth")


@pytest.mark.parametrize("content", [b"", b"not a tensor", b"PK\x03\x04 broken zip"])
def test_a_pth_file_of_another_format_is_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.pth: "):
        read_tensor(tmp_path / "a.pth")


def test_a_truncated_pth_file_is_an_error(tmp_path: Path, dataset: DataSet) -> None:
    path = write_tensors(dataset, tmp_path)[0]
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(DataError, match=r"train_data\.pth: "):
        read_tensor(path)


def test_bfloat16_tensors_are_read(tmp_path: Path) -> None:
    torch.save(torch.ones(2, 3, dtype=torch.bfloat16), tmp_path / "a.pth")
    assert read_tensor(tmp_path / "a.pth").dtype == np.float32


def test_tensor_files_are_written_in_torchs_zip_format(tmp_path: Path, dataset: DataSet) -> None:
    assert all(zipfile.is_zipfile(path) for path in write_tensors(dataset, tmp_path))
