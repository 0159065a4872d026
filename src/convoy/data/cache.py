"""The cache of decoded data sets: .npy files on disk, memory-mapped by every process that uses them.

An entry is named by a hash of its sources, so that an edited image folder gets a new entry. Writing an entry removes
entries that have not been used for 60 days. The modification time of an entry's folder is the time of its last use.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from convoy.data.imageset import DataSet, ImageSet
from convoy.files import read_json, write_json

FORMAT_VERSION = "1"  # raise when the format of an entry or the result of decoding changes
ABANDONED_AFTER_SECONDS = 24 * 3600
UNUSED_AFTER_SECONDS = 60 * 24 * 3600


@dataclass(frozen=True)
class _Entry:
    """The content of entry.json."""

    name: str
    classes: Sequence[str]
    notes: Sequence[str]
    hashes: Mapping[str, str]  # hashes of the parts train and test
    has_validation: bool


def cache_folder() -> Path:
    """$CONVOY_CACHE, or the platform's cache folder."""
    if folder := os.environ.get("CONVOY_CACHE"):
        return Path(folder).expanduser()
    from platformdirs import user_cache_dir

    return Path(user_cache_dir("convoy"))


def key_of(parts: Iterable[str]) -> str:
    return sha256("\0".join([FORMAT_VERSION, *parts]).encode("utf-8", "surrogateescape")).hexdigest()[:32]


def entry_of(key: str) -> Path:
    return cache_folder() / "data" / key


def read(key: str) -> DataSet | None:
    """Returns the data set of this entry; None if it is missing or damaged."""
    return _read(entry_of(key))


def get_or_create(key: str, create: Callable[[], DataSet]) -> DataSet:
    """Returns the cached data set. Without a valid entry, calls `create` and stores its result.

    A damaged entry is replaced. If the cache cannot be written (read-only, disk full), the data stay in memory.
    """
    entry = entry_of(key)
    cached = _read(entry)
    if cached is not None:
        with contextlib.suppress(OSError):  # read-only cache
            os.utime(entry)
        return replace(cached, cache_key=key)
    dataset = create()
    try:
        _write(entry, dataset)
    except OSError:
        return dataset
    written = _read(entry)
    return dataset if written is None else replace(written, cache_key=key)


def _read(folder: Path) -> DataSet | None:
    """Returns None if the entry is missing or damaged. Pixels are not verified: hashing takes longer than loading."""
    try:
        entry = _Entry(**read_json(folder / "entry.json"))
        parts: dict[str, Any] = {}
        for part, content_hash in entry.hashes.items():
            # Copy-on-write, because torch warns about read-only arrays; processes still share the pages.
            images = np.load(folder / f"{part}_images.npy", mmap_mode="c")
            labels = np.load(folder / f"{part}_labels.npy")
            parts[part] = ImageSet(images, labels, tuple(entry.classes), content_hash)
        validation = np.load(folder / "validation.npy") if entry.has_validation else None
        return DataSet(entry.name, **parts, validation_indices=validation, notes=tuple(entry.notes))
    except (OSError, ValueError, KeyError, TypeError, EOFError, AssertionError, RecursionError):
        return None


def _write(entry: Path, dataset: DataSet) -> None:
    entry.parent.mkdir(parents=True, exist_ok=True)
    clean(UNUSED_AFTER_SECONDS)
    temporary = Path(tempfile.mkdtemp(prefix=".writing-", dir=entry.parent))
    try:
        parts = {"train": dataset.train} | ({"test": dataset.test} if dataset.test is not None else {})
        for part, images in parts.items():
            np.save(temporary / f"{part}_images.npy", images.images)
            np.save(temporary / f"{part}_labels.npy", images.labels)
        if dataset.validation_indices is not None:
            np.save(temporary / "validation.npy", dataset.validation_indices)
        contents = _Entry(
            name=dataset.name,
            classes=dataset.train.classes,
            notes=dataset.notes,
            hashes={part: images.content_hash for part, images in parts.items()},
            has_validation=dataset.validation_indices is not None,
        )
        write_json(temporary / "entry.json", asdict(contents))
        temporary.chmod(0o755)  # a cache may be shared
        if _read(entry) is None:  # another process may have written it first
            shutil.rmtree(entry, ignore_errors=True)
            temporary.rename(entry)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def clean(unused_seconds: float) -> tuple[int, int]:
    """Removes entries not used for `unused_seconds` and incomplete entries of killed processes.

    Returns the number of removed entries and bytes. A process that is using an entry keeps its pages.
    """
    removed, removed_bytes = 0, 0
    for path in sorted((cache_folder() / "data").glob("*")):
        is_entry = not path.name.startswith(".writing-")
        try:
            size_bytes = sum(file.stat().st_size for file in path.iterdir())
            age_seconds = time.time() - path.stat().st_mtime
            if age_seconds < (unused_seconds if is_entry else ABANDONED_AFTER_SECONDS):
                continue
            if is_entry:  # rename first, so that no process reads a partly deleted entry
                path = path.rename(path.with_name(f".writing-{path.name}-{os.getpid()}"))
            shutil.rmtree(path)
        except OSError:  # another process removed it
            continue
        removed, removed_bytes = removed + is_entry, removed_bytes + size_bytes
    return removed, removed_bytes
