from __future__ import annotations

import gzip
import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from convoy.data import DATA_SETS, DataError, load, pack_tensors
from convoy.data.sources import _packaged

MD5_OF_THE_ORIGINALS = {
    "train-images-idx3-ubyte.gz": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte.gz": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte.gz": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte.gz": "27ae3e4e09519cfbb04c329615203637",
}


def npz(path: Path, classes: int = 10) -> Path:
    labels = np.arange(40) % classes
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8), dtype=np.uint8)
    np.savez(path, x_train=images, y_train=labels, x_test=images[:20], y_test=labels[:20])
    return path


@pytest.fixture
def image_folder(tmp_path: Path) -> Iterator[Path]:
    for name in ("cat", "dog"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        Image.new("L", (8, 8), len(name)).save(tmp_path / "pets" / name / "0.png")
        Image.new("L", (8, 8), 200).save(tmp_path / "pets" / name / "1.png")
    return tmp_path / "pets"  # type: ignore[return-value]


@pytest.mark.parametrize("name", MD5_OF_THE_ORIGINALS)
def test_the_packaged_files_are_the_original_ones(name: str) -> None:
    content = gzip.decompress((_packaged("mnist") / name).read_bytes())
    assert hashlib.md5(content).hexdigest() == MD5_OF_THE_ORIGINALS[name]


def test_mnist_is_all_of_mnist() -> None:
    mnist = load("mnist")

    assert mnist.test is not None
    assert (mnist.train.images.shape, mnist.test.images.shape) == ((60_000, 1, 28, 28), (10_000, 1, 28, 28))
    assert mnist.train.class_counts == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert mnist.train.labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert isinstance(mnist.train.images, np.memmap)


def test_every_registered_set_has_a_summary() -> None:
    assert all(DATA_SETS[name].summary for name in DATA_SETS)


def test_an_unknown_name_lists_the_close_ones() -> None:
    with pytest.raises(ValueError, match="unknown data set or path 'mnits'; did you mean 'mnist'"):
        load("mnits")


@pytest.mark.parametrize("name", ["./nowhere", "missing.npz", "mnist=nowhere"])
def test_a_path_that_does_not_exist_is_said(name: str) -> None:
    with pytest.raises(DataError, match="does not exist"):
        load(name)


def test_a_path_is_named_after_its_last_part(tmp_path: Path, image_folder: Path) -> None:
    assert load(str(npz(tmp_path / "digits.npz"))).name == "digits"
    assert load(str(image_folder)).name == "pets"


def test_a_named_set_may_lie_elsewhere(tmp_path: Path) -> None:
    mnist = load(f"mnist={npz(tmp_path / 'digits.npz')}")
    assert (mnist.name, len(mnist.train)) == ("mnist", 40)


def test_a_named_set_elsewhere_must_have_its_classes(tmp_path: Path, image_folder: Path) -> None:
    with pytest.raises(DataError, match=r"pets: is not mnist: its classes are cat, dog"):
        load(f"mnist={image_folder}")
    with pytest.raises(DataError, match=r"letters.npz: y_train: label 10 is out of range; there are 10 classes"):
        load(f"mnist={npz(tmp_path / 'letters.npz', classes=11)}")


def test_convoy_data_says_where_named_sets_lie(
    tmp_path: Path, image_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    npz(tmp_path / "mnist.npz")
    monkeypatch.setenv("CONVOY_DATA", str(tmp_path))

    assert len(load("mnist").train) == 40
    assert load("pets").train.classes == ("cat", "dog")


def test_convoy_data_must_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVOY_DATA", "/no/such/folder")
    with pytest.raises(DataError, match="^/no/such/folder: CONVOY_DATA names a folder"):
        load("mnist")


def test_an_edited_image_is_decoded_anew(image_folder: Path) -> None:
    before = load(str(image_folder))
    Image.new("L", (8, 8), 77).save(image_folder / "cat" / "0.png")

    after = load(str(image_folder))

    assert after.train.images[0, 0, 0, 0] == 77
    assert after.content_hash != before.content_hash


def test_notes_on_other_files_are_of_today(image_folder: Path) -> None:
    (image_folder / "cat" / "notes.txt").write_text("")
    assert "1 .txt" in load(str(image_folder)).notes[0]
    (image_folder / "cat" / "notes.txt").unlink()
    assert load(str(image_folder)).notes == ()


def test_a_size_is_part_of_the_key(tmp_path: Path) -> None:
    path = str(npz(tmp_path / "digits.npz"))
    assert [load(path, size=size).train.size for size in (None, 12, None)] == [8, 12, 8]


def test_packed_tensors_load_as_the_same_pixels(tmp_path: Path) -> None:
    source = f"mnist={npz(tmp_path / 'digits.npz')}"
    pack_tensors(source, tmp_path / "tensors")

    assert load(f"mnist={tmp_path / 'tensors'}").content_hash == load(source).content_hash


def test_a_missing_tensor_file_is_named(tmp_path: Path) -> None:
    pack_tensors(str(npz(tmp_path / "digits.npz")), tmp_path / "tensors")
    (tmp_path / "tensors" / "test_data.pth").unlink()
    with pytest.raises(DataError, match=r"test_data\.pth: cannot be read: No such file"):
        load(str(tmp_path / "tensors"))


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("1,2")
    with pytest.raises(DataError, match=r"data\.csv: is not a folder or an \.npz file"):
        load(str(tmp_path / "data.csv"))


def test_the_package_is_imported_without_torch() -> None:
    code = "import sys, convoy.data; print('torch' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, check=True)
    assert answer.stdout == "False\n"
