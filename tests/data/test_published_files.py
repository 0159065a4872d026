"""EMNIST, SVHN, STL-10 and USPS in their published formats; Fashion-MNIST and the digits of scikit-learn."""

from __future__ import annotations

import bz2
import gzip
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat
from tests.data.published import expect, idx_gz, md5, random_images

from convoy.data import DATA_SETS, DataError, load

LABELS = np.arange(20) % 10


def emnist_files(split: str, images: np.ndarray, labels: np.ndarray, n_test: int = 5) -> dict[str, bytes]:
    """The files as NIST published them: each image is transposed."""
    transposed = images.swapaxes(1, 2)
    files = {}
    for part, indices in (("train", slice(n_test, None)), ("test", slice(n_test))):
        files[f"emnist-{split}-{part}-images-idx3-ubyte.gz"] = idx_gz(transposed[indices])
        files[f"emnist-{split}-{part}-labels-idx1-ubyte.gz"] = idx_gz(labels[indices])
    return files


def emnist_zip(folder: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(folder / "gzip.zip", "w") as archive:
        for name, content in files.items():
            archive.writestr(f"gzip/{name}", content)
    return folder / "gzip.zip"


def test_emnist_images_are_upright(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = random_images(20, 28, 28)
    emnist_zip(tmp_path, emnist_files("digits", images, LABELS) | emnist_files("mnist", images ^ 1, LABELS))
    expect(monkeypatch, "emnist-digits", (15, 5))

    digits = load(f"emnist-digits={tmp_path}")

    assert digits.test is not None
    assert np.array_equal(np.concatenate([digits.test.images, digits.train.images])[:, 0], images)
    assert digits.train.labels.tolist() == LABELS[5:].tolist()


def test_emnist_images_of_plain_idx_files_are_upright(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = random_images(20, 28, 28)
    for name, content in emnist_files("digits", images, LABELS).items():
        (tmp_path / name.removesuffix(".gz")).write_bytes(gzip.decompress(content))
    expect(monkeypatch, "emnist-digits", (15, 5))

    digits = load(f"emnist-digits={tmp_path}")

    assert digits.test is not None
    assert np.array_equal(np.concatenate([digits.test.images, digits.train.images])[:, 0], images)


def test_emnist_extracted_next_to_other_splits_gives_the_same_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = random_images(20, 28, 28)
    path = emnist_zip(tmp_path, emnist_files("digits", images, LABELS) | emnist_files("mnist", images ^ 1, LABELS))
    expect(monkeypatch, "emnist-digits", (15, 5))
    with zipfile.ZipFile(path) as archive:
        archive.extractall(tmp_path / "extracted")

    sources = (path, tmp_path / "extracted", tmp_path / "extracted" / "gzip")

    assert len({load(f"emnist-digits={source}").content_hash for source in sources}) == 1


def test_emnist_letters_have_labels_from_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = np.arange(1, 27)
    emnist_zip(tmp_path, emnist_files("letters", random_images(26, 28, 28), labels, n_test=1))
    expect(monkeypatch, "emnist-letters", (25, 1))

    letters = load(f"emnist-letters={tmp_path}")

    assert [letters.train.classes[label] for label in letters.train.labels] == list("bcdefghijklmnopqrstuvwxyz")


def test_emnist_balanced_merges_letters_that_look_alike_in_both_cases() -> None:
    assert "".join(DATA_SETS["emnist-balanced"].classes) == "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabdefghnqrt"


def test_error_names_a_damaged_emnist_member(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = emnist_files("digits", random_images(20, 28, 28), LABELS)
    name = "emnist-digits-train-images-idx3-ubyte.gz"
    emnist_zip(tmp_path, files | {name: files[name][:-100]})
    expect(monkeypatch, "emnist-digits", (15, 5))
    with pytest.raises(DataError, match=rf"gzip\.zip: {name}: damaged gzip file: Compressed file ended"):
        load(f"emnist-digits={tmp_path}")


def test_a_wrong_number_of_images_is_an_error(tmp_path: Path) -> None:
    emnist_zip(tmp_path, emnist_files("digits", random_images(20, 28, 28), LABELS))
    with pytest.raises(DataError, match=r"images-idx3-ubyte\.gz: .*emnist-digits, got 15"):
        load(f"emnist-digits={tmp_path}")


def expect_files_of(folder: Path, patch: pytest.MonkeyPatch, name: str, counts: tuple[int, int]) -> None:
    """Makes the catalogue expect the files in the folder."""
    (file_format,) = DATA_SETS[name].formats
    train, test = (
        {file: md5((folder / file).read_bytes()) for file in part} for part in (file_format.train, file_format.test)
    )
    expect(patch, name, counts, replace(file_format, train=train, test=test))


def svhn(folder: Path, patch: pytest.MonkeyPatch, **variables: np.ndarray) -> str:
    for part in ("train", "test"):
        savemat(folder / f"{part}_32x32.mat", variables, do_compression=True)
    expect_files_of(folder, patch, "svhn", (20, 20))
    return f"svhn={folder}"


def test_svhn_label_10_is_the_digit_0(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = random_images(20, 3, 32, 32)
    labels = np.where(LABELS == 0, 10, LABELS).astype(np.uint8)[:, None]

    loaded = load(svhn(tmp_path, monkeypatch, X=images.transpose(2, 3, 1, 0), y=labels))

    assert np.array_equal(loaded.train.images, images)
    assert loaded.train.labels.tolist() == LABELS.tolist()


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"X": np.zeros((32, 32, 3, 20), np.uint8)}, r"train_32x32\.mat: not in the published format: 'y'"),
        ({"X": np.zeros((32, 32, 20), np.uint8), "y": LABELS}, r"train_32x32\.mat: not in the published format"),
        ({"X": np.zeros((32, 32, 3, 19), np.uint8), "y": LABELS}, r"20 train images of svhn, got 19"),
        ({"X": np.zeros((32, 32, 3, 20), np.uint8), "y": LABELS[:19]}, "19 labels for 20 images"),
    ],
)
def test_an_invalid_svhn_file_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, np.ndarray], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        load(svhn(tmp_path, monkeypatch, **variables))


def test_an_svhn_file_other_than_the_published_one_is_an_error(tmp_path: Path) -> None:
    for part in ("train", "test"):
        (tmp_path / f"{part}_32x32.mat").write_bytes(b"MATLAB 5.0 MAT-file")
    with pytest.raises(DataError, match=r"train_32x32\.mat is not the published file \(expected MD5 e26dedcc"):
        load(f"svhn={tmp_path}")


def test_stl10_images_are_stored_by_column(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = random_images(20, 3, 96, 96)
    folder = tmp_path / "stl10_binary"
    folder.mkdir()
    for part in ("train", "test"):
        contents = {"X": images.swapaxes(2, 3).tobytes(), "y": (LABELS + 1).astype(np.uint8).tobytes()}
        for kind, content in contents.items():
            (folder / f"{part}_{kind}.bin").write_bytes(content)
    expect_files_of(folder, monkeypatch, "stl10", (20, 20))

    stl10 = load(f"stl10={tmp_path}")

    assert np.array_equal(stl10.train.images, images)
    assert stl10.train.labels.tolist() == LABELS.tolist()
    assert stl10.train.classes[7] == "monkey"


def test_a_truncated_stl10_file_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in DATA_SETS["stl10"].formats[0].hashes:
        (tmp_path / name).write_bytes(bytes(1000))
    with pytest.raises(DataError, match=r"train_X\.bin is not the published file"):
        load(f"stl10={tmp_path}")
    expect_files_of(tmp_path, monkeypatch, "stl10", (1, 1))
    with pytest.raises(DataError, match=r"train_X\.bin: not in the published format"):
        load(f"stl10={tmp_path}")


def usps(folder: Path, patch: pytest.MonkeyPatch, text: str, count: int) -> str:
    for name in ("usps.bz2", "usps.t.bz2"):
        (folder / name).write_bytes(bz2.compress(text.encode()))
    expect_files_of(folder, patch, "usps", (count, count))
    return f"usps={folder}"


def test_usps_values_and_labels_are_converted_to_bytes_and_digits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    levels = random_images(20, 16, 16)
    rows = levels.reshape(20, 256) / 255 * 2 - 1
    text = "\n".join(
        f"{label + 1} " + " ".join(f"{index + 1}:{value:.6f}" for index, value in enumerate(row))
        for label, row in zip(LABELS, rows, strict=True)
    )

    loaded = load(usps(tmp_path, monkeypatch, text, 20))

    assert np.array_equal(loaded.train.images[:, 0], levels)
    assert loaded.train.labels.tolist() == LABELS.tolist()


@pytest.mark.parametrize("line", ["3 1:0.5 257:0", "3 0:1", "3 1:x", "x 1:0.5", "3 0.5 1"])
def test_an_invalid_usps_file_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    name = usps(tmp_path, monkeypatch, f"1 1:-1 256:1\n{line}\n2 1:0", 3)
    with pytest.raises(DataError, match=r"usps\.bz2: not in the published format: "):
        load(name)


def test_a_truncated_usps_file_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = usps(tmp_path, monkeypatch, "1 1:-1\n" * 500, 500)
    (tmp_path / "usps.bz2").write_bytes((tmp_path / "usps.bz2").read_bytes()[:-20])
    with pytest.raises(DataError, match=r"usps\.bz2 is not the published file"):
        load(name)


def test_fashion_mnist_is_read_from_its_idx_files(tmp_path: Path) -> None:
    images = random_images(20, 28, 28)
    for part in ("train", "t10k"):
        (tmp_path / f"{part}-images-idx3-ubyte.gz").write_bytes(idx_gz(images))
        (tmp_path / f"{part}-labels-idx1-ubyte.gz").write_bytes(idx_gz(LABELS))

    fashion = load(f"fashion-mnist={tmp_path}")

    assert np.array_equal(fashion.train.images[:, 0], images)
    assert fashion.train.classes[9] == "Ankle boot"


def test_digits_agree_with_scikit_learn() -> None:
    from sklearn.datasets import load_digits

    digits = load("digits")

    assert digits.test is None
    assert digits.train.images.shape == (1797, 1, 8, 8)
    assert np.array_equal(digits.train.labels, load_digits().target)
    assert np.array_equal(np.rint(digits.train.images[:, 0] / 255 * 16), load_digits().images)
