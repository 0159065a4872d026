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


def forbidden() -> DataSet:
    raise AssertionError("decoded although the cache had it")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CONVOY_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_the_second_time_comes_from_the_disk_and_is_the_same() -> None:
    first, second = cache.remembered("key", make), cache.remembered("key", forbidden)

    assert isinstance(second.train.images, np.memmap)
    assert second.content_hash == first.content_hash == make().content_hash
    assert (second.name, second.notes, second.train.classes) == ("d", ("a note",), ("a", "b"))
    assert second.validation_indices is not None
    assert second.validation_indices.tolist() == [15, 16, 17, 18, 19]
    assert second.test is not None
    assert np.array_equal(second.test.labels, np.arange(6) % 2)


def test_the_cached_hash_is_that_of_the_files() -> None:
    cached = cache.remembered("key", make).train
    assert dataclasses.replace(cached, known_hash=None).content_hash == cached.content_hash


def test_writing_into_cached_images_does_not_reach_the_disk() -> None:
    cache.remembered("key", make).train.images[:] = 0
    assert cache.remembered("key", forbidden).train.images.any()


@pytest.mark.parametrize(
    "file", ["entry.json", "train_images.npy", "train_labels.npy", "test_images.npy", "validation.npy"]
)
@pytest.mark.parametrize("damage", ["missing", "empty", "halved", "garbage"])
def test_a_damaged_entry_is_replaced(folder: Path, file: str, damage: str) -> None:
    cache.remembered("key", make)
    path = folder / "data" / "key" / file
    content = path.read_bytes()
    path.unlink()
    if damage != "missing":
        path.write_bytes({"empty": b"", "halved": content[: len(content) // 2], "garbage": b"\x93NUMPY{}" * 40}[damage])

    assert cache.remembered("key", make).content_hash == make().content_hash
    assert cache.remembered("key", forbidden).content_hash == make().content_hash


def test_a_cache_that_cannot_be_made_leaves_the_data_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CONVOY_CACHE", str(tmp_path / "file"))
    assert cache.remembered("key", make).content_hash == make().content_hash


def test_a_full_disk_leaves_the_data_in_memory_and_nothing_half_written(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(np, "save", full)
        assert cache.remembered("key", make).content_hash == make().content_hash
    assert list((folder / "data").iterdir()) == []


def test_the_remains_of_a_killed_process_are_removed_after_a_day(folder: Path) -> None:
    for name, age_seconds in ((".writing-old", 25 * 3600), (".writing-new", 0)):
        (folder / "data" / name).mkdir(parents=True)
        os.utime(folder / "data" / name, (time.time() - age_seconds,) * 2)

    cache.remembered("key", make)

    assert sorted(path.name for path in (folder / "data").iterdir()) == [".writing-new", "key"]


def age(entry: Path, days: float) -> None:
    os.utime(entry, (time.time() - days * 24 * 3600,) * 2)


def test_entries_that_nothing_used_for_sixty_days_go_when_another_is_written(folder: Path) -> None:
    for key, days in (("old", 61), ("young", 59)):
        cache.remembered(key, make)
        age(folder / "data" / key, days)

    cache.remembered("new", make)

    assert sorted(path.name for path in (folder / "data").iterdir()) == ["new", "young"]


def test_use_keeps_an_entry(folder: Path) -> None:
    cache.remembered("used", make)
    age(folder / "data" / "used", 61)
    cache.remembered("used", forbidden)

    cache.remembered("new", make)

    assert cache.remembered("used", forbidden).content_hash == make().content_hash


def test_cleaning_counts_what_it_removed_and_leaves_what_is_being_written(folder: Path) -> None:
    cache.remembered("key", make)
    size_bytes = sum(file.stat().st_size for file in (folder / "data" / "key").iterdir())
    (folder / "data" / ".writing-now").mkdir()

    assert cache.clean(cache.UNUSED_AFTER_SECONDS) == (0, 0)
    assert cache.clean(0) == (1, size_bytes)
    assert [path.name for path in (folder / "data").iterdir()] == [".writing-now"]


def test_data_in_use_outlive_the_removal_of_their_entry() -> None:
    dataset = cache.remembered("key", make)
    cache.clean(0)
    assert dataset.train.images.tolist() == make().train.images.tolist()


def test_there_may_be_nothing_to_clean() -> None:
    assert cache.clean(0) == (0, 0)


def load_in_process(_: int) -> str:
    return cache.remembered("key", make).content_hash


def test_processes_that_start_together_all_get_the_data(folder: Path) -> None:
    with multiprocessing.get_context("fork").Pool(4) as pool:
        assert set(pool.map(load_in_process, range(8), chunksize=1)) == {make().content_hash}
    assert [path.name for path in (folder / "data").iterdir()] == ["key"]


def test_keys_differ_where_parts_differ() -> None:
    assert cache.key_of(["a", "b"]) != cache.key_of(["ab"]) != cache.key_of(["a", "b", ""])


def test_without_a_setting_the_cache_is_in_the_users_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CONVOY_CACHE")
    assert cache.cache_folder().name == "convoy"
