from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.data.published import idx_gz, random_images

from convoy.data import DATA_SETS, DataError, add, availability, fetch, get, load, missing_files, pack_tensors
from convoy.data.catalogue import packaged
from convoy.data.named import Download, PackagedArrays, RemoteFile

ORIGINAL_MD5 = {
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


@pytest.mark.parametrize("name", ORIGINAL_MD5)
def test_packaged_files_are_the_originals(name: str) -> None:
    content = gzip.decompress((packaged("mnist") / name).read_bytes())
    assert hashlib.md5(content).hexdigest() == ORIGINAL_MD5[name]


def test_packaged_mnist_is_complete() -> None:
    mnist = load("mnist")

    assert mnist.test is not None
    assert (mnist.train.images.shape, mnist.test.images.shape) == ((60_000, 1, 28, 28), (10_000, 1, 28, 28))
    assert mnist.train.class_counts == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert mnist.train.labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert isinstance(mnist.train.images, np.memmap)


def test_an_unknown_name_gives_close_matches() -> None:
    with pytest.raises(ValueError, match="unknown data set or path 'mnits'; did you mean 'mnist'"):
        load("mnits")


@pytest.mark.parametrize("name", ["./nowhere", "missing.npz", "mnist=nowhere"])
def test_a_missing_path_is_an_error(name: str) -> None:
    with pytest.raises(DataError, match="does not exist"):
        load(name)


def test_the_last_part_of_a_path_names_the_data_set(tmp_path: Path, image_folder: Path) -> None:
    assert load(str(npz(tmp_path / "digits.npz"))).name == "digits"
    assert load(str(image_folder)).name == "pets"


def test_a_named_data_set_is_read_from_another_path(tmp_path: Path) -> None:
    mnist = load(f"mnist={npz(tmp_path / 'digits.npz')}")
    assert (mnist.name, len(mnist.train)) == ("mnist", 40)


def test_a_named_data_set_from_another_path_must_have_its_classes(tmp_path: Path, image_folder: Path) -> None:
    with pytest.raises(DataError, match=r"pets: .*mnist, got cat, dog"):
        load(f"mnist={image_folder}")
    with pytest.raises(DataError, match=r"letters.npz: y_train: label 10 is out of range, expected 0 to 9"):
        load(f"mnist={npz(tmp_path / 'letters.npz', classes=11)}")


def test_class_names_of_a_named_data_set_must_be_in_its_order(tmp_path: Path) -> None:
    arrays = dict(np.load(npz(tmp_path / "digits.npz")))
    np.savez(tmp_path / "backwards.npz", **arrays, class_names=list("9876543210"))
    with pytest.raises(DataError, match=r"backwards\.npz: .*class_names of mnist.*0, 1, 2"):
        load(f"mnist={tmp_path / 'backwards.npz'}")


def test_named_data_sets_are_found_in_convoy_data(
    tmp_path: Path, image_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    npz(tmp_path / "mnist.npz")
    monkeypatch.setenv("CONVOY_DATA", str(tmp_path))

    assert len(load("mnist").train) == 40
    assert load("pets").train.classes == ("cat", "dog")


def colour_folder(root: Path, classes: tuple[str, ...]) -> Path:
    """Two images per class and part, whose pixels are the index of the class."""
    for part in ("train", "test"):
        for level, name in enumerate(classes):
            (root / part / name).mkdir(parents=True)
            for number in range(2):
                Image.new("RGB", (8, 8), (level, level, 100)).save(root / part / name / f"{number}.png")
    return root


NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SHORT_NAMES = ("plane", "car", *NAMES[2:])  # another alphabetical order: bird, car, ..., plane, ship


@pytest.mark.parametrize("classes", [NAMES, SHORT_NAMES], ids=["full", "short"])
def test_an_image_folder_of_a_named_data_set_has_its_order_of_classes(tmp_path: Path, classes: tuple[str, ...]) -> None:
    cifar10 = load(f"cifar10={colour_folder(tmp_path, classes)}")

    assert cifar10.test is not None
    assert cifar10.train.classes == NAMES
    for part in (cifar10.train, cifar10.test):
        assert part.images[:, 0, 0, 0].tolist() == part.labels.tolist()


@pytest.mark.parametrize("path", ["test", "."], ids=["the test set", "its parent"])
def test_a_named_data_set_with_only_its_test_part_is_an_error(tmp_path: Path, path: str) -> None:
    folder = colour_folder(tmp_path, NAMES)
    shutil.rmtree(folder / "train")
    with pytest.raises(DataError, match=f"{folder / path}: .*test set"):
        load(f"cifar10={folder / path}")


def test_a_folder_with_as_many_images_as_the_test_part_is_an_error(tmp_path: Path) -> None:
    folder = colour_folder(tmp_path, NAMES)
    small = replace(DATA_SETS["cifar10"], counts=(100, 20))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(DATA_SETS._entries, "cifar10", small)
        with pytest.raises(DataError, match=r"the test set of cifar10 \(20 images"):
            load(f"cifar10={folder / 'train'}")


def test_error_for_an_empty_folder_names_images_and_published_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no class folders; .*, or the published cifar-10-python\.tar\.gz$"):
        load(f"cifar10={tmp_path}")


def test_error_for_another_file_names_the_published_files(tmp_path: Path) -> None:
    (tmp_path / "train.mat").write_text("")
    with pytest.raises(DataError, match=r"or the published train_32x32\.mat and test_32x32\.mat$"):
        load(f"svhn={tmp_path / 'train.mat'}")


@pytest.fixture
def small_fashion_mnist(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Path]:
    """Makes the catalogue expect a Fashion-MNIST of 20 images, without a server; returns its files by name."""
    monkeypatch.setenv("CONVOY_CACHE", str(tmp_path / "cache"))
    files = {}
    for part, count in (("train", 20), ("t10k", 10)):
        for kind, values in (("images-idx3", random_images(count, 28, 28)), ("labels-idx1", np.arange(count) % 10)):
            files[f"{part}-{kind}-ubyte.gz"] = tmp_path / f"{part}-{kind}-ubyte.gz"
            files[f"{part}-{kind}-ubyte.gz"].write_bytes(idx_gz(values))
    remote = tuple(
        RemoteFile(name, hashlib.sha256(path.read_bytes()).hexdigest(), None, (f"http://127.0.0.1:1/{name}",))
        for name, path in files.items()
    )
    entry = replace(DATA_SETS["fashion-mnist"], origin=Download("fashion-mnist", remote))
    monkeypatch.setitem(DATA_SETS._entries, "fashion-mnist", entry)
    return files


def test_a_data_set_is_available_after_all_its_files_were_added(small_fashion_mnist: dict[str, Path]) -> None:
    first, *others = small_fashion_mnist.values()

    assert add("fashion-mnist", [first]) is None
    assert missing_files("fashion-mnist") == [path.name for path in others]
    assert availability("fashion-mnist") == "download"
    with pytest.raises(DataError, match="`convoy data get fashion-mnist`"):
        load("fashion-mnist")

    added = add("fashion-mnist", others)

    assert added is not None
    assert added.content_hash == load("fashion-mnist").content_hash == get("fashion-mnist").content_hash
    assert availability("fashion-mnist") == "here"


def test_a_file_that_was_damaged_on_disk_is_deleted(small_fashion_mnist: dict[str, Path], tmp_path: Path) -> None:
    name, original = next(iter(small_fashion_mnist.items()))
    assert add("fashion-mnist", list(small_fashion_mnist.values())) is not None
    stored = tmp_path / "cache" / "downloads" / "fashion-mnist" / name
    content = original.read_bytes()
    stored.write_bytes(content[:40] + bytes(8) + content[48:])

    with pytest.raises(DataError, match=rf"{name} .*`convoy data get fashion-mnist`"):
        load("fashion-mnist")

    assert missing_files("fashion-mnist") == [name]
    assert add("fashion-mnist", [original]) is not None


def test_get_downloads_a_file_that_was_damaged_on_disk(
    small_fashion_mnist: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, original = next(iter(small_fashion_mnist.items()))
    assert add("fashion-mnist", list(small_fashion_mnist.values())) is not None
    stored = tmp_path / "cache" / "downloads" / "fashion-mnist" / name
    stored.write_bytes(bytes(stored.stat().st_size))
    monkeypatch.setattr(fetch, "_fetch_file", lambda *args: shutil.copy(original, stored))

    get("fashion-mnist")

    assert stored.read_bytes() == original.read_bytes()


def test_a_data_set_in_convoy_data_is_available_and_not_downloaded(
    small_fashion_mnist: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    npz(tmp_path / "fashion-mnist.npz")
    monkeypatch.setenv("CONVOY_DATA", str(tmp_path))
    assert availability("fashion-mnist") == "here"
    assert len(get("fashion-mnist").train) == 40


def test_error_of_a_failed_download_names_the_command_that_adds_files(small_fashion_mnist: dict[str, Path]) -> None:
    with pytest.raises(
        DataError, match=r"127\.0\.0\.1:1/\S+: Connection refused; .* `convoy data add fashion-mnist FILE`"
    ):
        get("fashion-mnist")


def test_nothing_can_be_added_to_an_included_data_set(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="mnist: nothing to add"):
        add("mnist", [tmp_path])
    with pytest.raises(DataError, match="digits: .* scikit-learn"):
        add("digits", [tmp_path])


def test_data_with_another_content_hash_are_an_error(
    small_fashion_mnist: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = DATA_SETS["mnist"]
    assert isinstance(entry.origin, PackagedArrays)
    parts = entry.origin.read()
    other = parts._replace(
        test=parts.train._replace(images=parts.train.images[:10_000], labels=parts.train.labels[:10_000])
    )
    monkeypatch.setitem(DATA_SETS._entries, "mnist", replace(entry, origin=PackagedArrays("torch", lambda: other)))
    with pytest.raises(DataError, match="mnist: .*torch.* got [0-9a-f]{64}"):
        load("mnist")


@pytest.mark.parametrize(
    ("value", "problem"),
    [("/no/such/folder", "this folder does not exist"), (__file__, "expected a folder, got a file")],
)
def test_convoy_data_must_be_a_folder(monkeypatch: pytest.MonkeyPatch, value: str, problem: str) -> None:
    monkeypatch.setenv("CONVOY_DATA", value)
    with pytest.raises(DataError, match=f"^CONVOY_DATA = {value}: {problem}$"):
        load("mnist")


def test_an_edited_image_is_decoded_again(image_folder: Path) -> None:
    before = load(str(image_folder))
    Image.new("L", (8, 8), 77).save(image_folder / "cat" / "0.png")

    after = load(str(image_folder))

    assert after.train.images[0, 0, 0, 0] == 77
    assert after.content_hash != before.content_hash


def test_notes_on_other_files_are_not_cached(image_folder: Path) -> None:
    (image_folder / "cat" / "notes.txt").write_text("")
    assert "1 .txt" in load(str(image_folder)).notes[0]
    (image_folder / "cat" / "notes.txt").unlink()
    assert load(str(image_folder)).notes == ()


def test_the_size_is_part_of_the_cache_key(tmp_path: Path) -> None:
    path = str(npz(tmp_path / "digits.npz"))
    assert [load(path, size=size).train.size for size in (None, 12, None)] == [8, 12, 8]


def test_packed_tensors_load_with_the_same_pixels(tmp_path: Path) -> None:
    source = f"mnist={npz(tmp_path / 'digits.npz')}"
    pack_tensors(source, tmp_path / "tensors")

    assert load(f"mnist={tmp_path / 'tensors'}").content_hash == load(source).content_hash


def test_error_names_a_missing_tensor_file(tmp_path: Path) -> None:
    pack_tensors(str(npz(tmp_path / "digits.npz")), tmp_path / "tensors")
    (tmp_path / "tensors" / "test_data.pth").unlink()
    with pytest.raises(DataError, match=r"test_data\.pth: cannot be read: No such file"):
        load(str(tmp_path / "tensors"))


def test_a_file_of_another_type_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("1,2")
    with pytest.raises(DataError, match=r"data\.csv: expected a folder or an \.npz file"):
        load(str(tmp_path / "data.csv"))


def test_importing_the_package_does_not_import_torch() -> None:
    code = "import sys, convoy.data; print('torch' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, check=True)
    assert answer.stdout == "False\n"
