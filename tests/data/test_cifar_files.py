"""CIFAR-10 and CIFAR-100 in both published versions, archived and extracted: all give the same pixels."""

from __future__ import annotations

import os
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.data.published import expect, md5, python2_batch, random_images, tar_gz

from convoy.data import DATA_SETS, DataError, load
from convoy.data.named import Content, FileFormat
from convoy.data.published import read_cifar_binary, read_cifar_python

IMAGES = random_images(60, 3, 32, 32)
LABELS = np.arange(60) % 10
BATCHES = {
    f"data_batch_{number + 1}": python2_batch(IMAGES[10 * number : 10 * number + 10], LABELS[:10])
    for number in range(5)
} | {"test_batch": python2_batch(IMAGES[50:], LABELS[50:])}

(PYTHON_OF_10, BINARY_OF_10), (PYTHON_OF_100, BINARY_OF_100) = (DATA_SETS[n].formats for n in ("cifar10", "cifar100"))


def with_hashes_of(batches: dict[str, bytes]) -> FileFormat:
    hashes = {name: md5(content) for name, content in batches.items()}
    test = {"test_batch": hashes.pop("test_batch")}
    return replace(PYTHON_OF_10, train=hashes, test=test)


class Call:
    """An object whose pickle requests a call."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (self.command,)


def archive(folder: Path, batches: dict[str, bytes]) -> Path:
    members = {f"cifar-10-batches-py/{name}": content for name, content in batches.items()}
    return tar_gz(folder / "cifar-10-python.tar.gz", {"cifar-10-batches-py/batches.meta": b"not read"} | members)


@pytest.fixture(autouse=True)
def _small_cifar10(monkeypatch: pytest.MonkeyPatch) -> None:
    expect(monkeypatch, "cifar10", (50, 10), with_hashes_of(BATCHES))


def test_python_version_is_read_with_its_pixels_and_labels(tmp_path: Path) -> None:
    archive(tmp_path, BATCHES)

    cifar10 = load(f"cifar10={tmp_path}")

    assert cifar10.test is not None
    assert np.array_equal(np.concatenate([cifar10.train.images, cifar10.test.images]), IMAGES)
    assert np.array_equal(cifar10.train.labels, LABELS[:50])
    assert cifar10.train.classes[:3] == ("airplane", "automobile", "bird")


def test_archive_and_extracted_folder_give_the_same_data(tmp_path: Path) -> None:
    path = archive(tmp_path, BATCHES)
    extracted = tmp_path / "data" / "cifar-10-batches-py"
    extracted.mkdir(parents=True)
    for name, content in BATCHES.items():
        (extracted / name).write_bytes(content)

    hashes = {load(f"cifar10={source}").content_hash for source in (path, tmp_path, extracted, extracted.parent)}

    assert len(hashes) == 1


def test_binary_version_gives_the_same_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive(tmp_path, BATCHES)
    from_python = load(f"cifar10={tmp_path}")
    records = np.hstack([LABELS[:, None].astype(np.uint8), IMAGES.reshape(60, -1)])
    files = {f"data_batch_{number + 1}.bin": records[10 * number : 10 * number + 10].tobytes() for number in range(5)}
    files["test_batch.bin"] = records[50:].tobytes()
    members = {f"cifar-10-batches-bin/{name}": content for name, content in files.items()}
    binary = tmp_path / "binary"
    binary.mkdir()
    tar_gz(binary / "cifar-10-binary.tar.gz", members)
    expect(monkeypatch, "cifar10", (50, 10), BINARY_OF_10)

    assert load(f"cifar10={binary}").content_hash == from_python.content_hash


def test_cifar100_has_the_fine_labels_in_both_versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fine = np.arange(60) + 40
    train, test = (python2_batch(IMAGES[part], fine[part], "fine_labels") for part in (slice(50), slice(50, 60)))
    (tmp_path / "python").mkdir()
    members = {"cifar-100-python/train": train, "cifar-100-python/test": test}
    tar_gz(tmp_path / "python" / "cifar-100-python.tar.gz", members)
    records = np.hstack([np.zeros((60, 1), np.uint8), fine[:, None].astype(np.uint8), IMAGES.reshape(60, -1)])
    (tmp_path / "train.bin").write_bytes(records[:50].tobytes())
    (tmp_path / "test.bin").write_bytes(records[50:].tobytes())

    expect(
        monkeypatch, "cifar100", (50, 10), replace(PYTHON_OF_100, train={"train": md5(train)}, test={"test": md5(test)})
    )
    from_python = load(f"cifar100={tmp_path / 'python'}")
    expect(monkeypatch, "cifar100", (50, 10), BINARY_OF_100)
    from_binary = load(f"cifar100={tmp_path}")

    assert from_python.train.labels.tolist() == fine[:50].tolist()
    assert from_python.content_hash == from_binary.content_hash
    assert from_python.train.classes[99] == "worm"


def test_error_names_a_modified_batch(tmp_path: Path) -> None:
    other = python2_batch(IMAGES[:10] ^ 1, LABELS[:10])
    path = archive(tmp_path, BATCHES | {"data_batch_3": other})
    with pytest.raises(DataError, match=rf"^{path}: data_batch_3 is not the published file"):
        load(f"cifar10={tmp_path}")


def test_error_names_a_missing_batch(tmp_path: Path) -> None:
    archive(tmp_path, {name: content for name, content in BATCHES.items() if name != "data_batch_4"})
    with pytest.raises(DataError, match=r"cifar-10-python\.tar\.gz: data_batch_4 is missing"):
        load(f"cifar10={tmp_path}")


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (python2_batch(IMAGES[:9], LABELS[:9]), "the 50 train images of cifar10, got 49"),
        (python2_batch(IMAGES[:10], LABELS[:9]), "49 labels for 50 images"),
        (python2_batch(IMAGES[:10], LABELS[:10], "fine_labels"), "not in the published format: 'labels'"),
        (python2_batch(IMAGES[:10], LABELS[:10] + 90), "label 99 is out of range, expected 0 to 9"),
        (b"\x80\x02}U\x04dataNs.", "not in the published format"),
        (b"\x80\x02cos\nsystem\nU\x04lsof\x85R.", "expected only arrays, got os.system"),
    ],
    ids=["too few", "counts differ", "other key", "label", "no array", "malicious"],
)
def test_an_invalid_batch_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: bytes, message: str
) -> None:
    batches = BATCHES | {"data_batch_2": batch}
    expect(monkeypatch, "cifar10", (50, 10), with_hashes_of(batches))
    archive(tmp_path, batches)
    with pytest.raises(DataError) as error:
        load(f"cifar10={tmp_path}")
    assert message in str(error.value)


@pytest.mark.parametrize("protocol", [2, 4])
def test_a_pickled_call_is_an_error_and_not_executed(tmp_path: Path, protocol: int) -> None:
    marker = tmp_path / "executed"
    content = pickle.dumps({"data": Call(f"touch {marker}")}, protocol)
    with pytest.raises(pickle.UnpicklingError, match=r"expected only arrays, got \w+\.system"):
        read_cifar_python([Content(content, "data_batch_1")])
    assert not marker.exists()


@pytest.mark.parametrize("file_format", [PYTHON_OF_10, PYTHON_OF_100])
def test_every_pickle_file_has_a_published_md5(file_format: FileFormat) -> None:
    assert file_format.hashes
    assert all(file_format.hashes.values())


def test_a_truncated_binary_file_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file_format = FileFormat(train={"a.bin": None}, test={"b.bin": None}, read_part=read_cifar_binary)
    expect(monkeypatch, "cifar10", (1, 1), file_format)
    (tmp_path / "a.bin").write_bytes(bytes(3073))
    (tmp_path / "b.bin").write_bytes(bytes(3072))
    with pytest.raises(DataError, match=r"b\.bin: truncated: 3,072 bytes, .* 3,073"):
        load(f"cifar10={tmp_path}")
