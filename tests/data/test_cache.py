from __future__ import annotations

import dataclasses
import multiprocessing
import os
import time
from pathlib import Path

import numpy as np
import pytest

from convoy.data import cache
from convoy.data.imageset import DataSet, ImageSet


def make() -> DataSet:
    draw = np.random.default_rng(0)
    train, test = (
        ImageSet(draw.integers(0, 256, (n, 1, 8, 8), dtype=np.uint8), np.arange(n) % 2, ("a", "b")) for n in (20, 6)
    )
    return DataSet("d", train, np.arange(15, 20), test, ("a note",))


def fail() -> DataSet:
    raise AssertionError("decoded despite a valid cache entry")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CONVOY_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_the_second_load_is_from_disk_and_equal() -> None:
    first, second = cache.get_or_create("key", make), cache.get_or_create("key", fail)

    assert isinstance(second.train.images, np.memmap)
    assert second.content_hash == first.content_hash == make().content_hash
    assert (second.name, second.notes, second.train.classes) == ("d", ("a note",), ("a", "b"))
    assert second.validation_indices is not None
    assert second.validation_indices.tolist() == [15, 16, 17, 18, 19]
    assert second.test is not None
    assert np.array_equal(second.test.labels, np.arange(6) % 2)


def test_the_cached_hash_equals_the_computed_one() -> None:
    cached = cache.get_or_create("key", make).train
    assert dataclasses.replace(cached, cached_hash=None).content_hash == cached.content_hash


def test_writing_into_cached_images_does_not_reach_the_disk() -> None:
    cache.get_or_create("key", make).train.images[:] = 0
    assert cache.get_or_create("key", fail).train.images.any()


@pytest.mark.parametrize(
    "file", ["entry.json", "train_images.npy", "train_labels.npy", "test_images.npy", "validation.npy"]
)
@pytest.mark.parametrize("damage", ["missing", "empty", "halved", "garbage"])
def test_a_damaged_entry_is_replaced(folder: Path, file: str, damage: str) -> None:
    cache.get_or_create("key", make)
    path = folder / "data" / "key" / file
    content = path.read_bytes()
    path.unlink()
    if damage != "missing":
        path.write_bytes({"empty": b"", "halved": content[: len(content) // 2], "garbage": b"\x93NUMPY{}" * 40}[damage])

    assert cache.get_or_create("key", make).content_hash == make().content_hash
    assert cache.get_or_create("key", fail).content_hash == make().content_hash


def test_data_stay_in_memory_if_the_cache_cannot_be_created(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CONVOY_CACHE", str(tmp_path / "file"))
    assert cache.get_or_create("key", make).content_hash == make().content_hash


def test_data_stay_in_memory_and_no_partial_entry_is_left_if_the_disk_is_full(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(np, "save", full)
        assert cache.get_or_create("key", make).content_hash == make().content_hash
    assert list((folder / "data").iterdir()) == []


def test_partial_entries_of_killed_processes_are_removed_after_a_day(folder: Path) -> None:
    for name, age_seconds in ((".writing-old", 25 * 3600), (".writing-new", 0)):
        (folder / "data" / name).mkdir(parents=True)
        os.utime(folder / "data" / name, (time.time() - age_seconds,) * 2)

    cache.get_or_create("key", make)

    assert sorted(path.name for path in (folder / "data").iterdir()) == [".writing-new", "key"]


def age(entry: Path, days: float) -> None:
    os.utime(entry, (time.time() - days * 24 * 3600,) * 2)


def test_writing_an_entry_removes_those_unused_for_sixty_days(folder: Path) -> None:
    for key, days in (("old", 61), ("young", 59)):
        cache.get_or_create(key, make)
        age(folder / "data" / key, days)

    cache.get_or_create("new", make)

    assert sorted(path.name for path in (folder / "data").iterdir()) == ["new", "young"]


def test_an_entry_that_is_used_is_kept(folder: Path) -> None:
    cache.get_or_create("used", make)
    age(folder / "data" / "used", 61)
    cache.get_or_create("used", fail)

    cache.get_or_create("new", make)

    assert cache.get_or_create("used", fail).content_hash == make().content_hash


def test_cleaning_counts_removed_entries_and_keeps_entries_being_written(folder: Path) -> None:
    cache.get_or_create("key", make)
    size_bytes = sum(file.stat().st_size for file in (folder / "data" / "key").iterdir())
    (folder / "data" / ".writing-now").mkdir()

    assert cache.clean(cache.UNUSED_AFTER_SECONDS) == (0, 0)
    assert cache.clean(0) == (1, size_bytes)
    assert [path.name for path in (folder / "data").iterdir()] == [".writing-now"]


def test_data_in_use_stay_readable_after_their_entry_is_removed() -> None:
    dataset = cache.get_or_create("key", make)
    cache.clean(0)
    assert dataset.train.images.tolist() == make().train.images.tolist()


def test_cleaning_an_empty_cache_removes_nothing() -> None:
    assert cache.clean(0) == (0, 0)


def load_in_process(_: int) -> str:
    return cache.get_or_create("key", make).content_hash


def test_concurrent_processes_all_get_the_data(folder: Path) -> None:
    with multiprocessing.get_context("fork").Pool(4) as pool:
        assert set(pool.map(load_in_process, range(8), chunksize=1)) == {make().content_hash}
    assert [path.name for path in (folder / "data").iterdir()] == ["key"]


def test_keys_differ_if_parts_differ() -> None:
    assert cache.key_of(["a", "b"]) != cache.key_of(["ab"]) != cache.key_of(["a", "b", ""])


def test_the_default_cache_is_in_the_users_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CONVOY_CACHE")
    assert cache.cache_folder().name == "convoy"
