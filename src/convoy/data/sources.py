"""Loads a data set by its name or path."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from convoy.data import cache, fetch, formats, hugging_face, image_folder
from convoy.data.catalogue import DATA_SETS
from convoy.data.imageset import DataError, DataSet
from convoy.data.named import Download, NamedData, from_published
from convoy.registry import unknown


def load(name: str, *, size: int | None = None) -> DataSet:
    """Loads the data set of a registered name, a path, or `name=path`.

    A path is an .npz file or a folder of IDX files, images or the four tensor files; for a registered set it may be a
    published archive or a folder with the published files. $CONVOY_DATA may be a folder with <name>/ or <name>.npz.
    `hf:owner/name` is a set of the Hugging Face Hub. Images are resized to `size` pixels; None keeps the data's own
    size. Only sets of the Hub are downloaded; for others use `get`. The data set is decoded once, then memory-mapped
    from the cache. Raises DataError with the file, and ValueError for an unknown name.
    """
    if name.startswith(hugging_face.PREFIX):
        return hugging_face.load(name.removeprefix(hugging_face.PREFIX), size)
    short, place = _locate(name)
    if place is None:
        dataset = _load_own(short, size)
    else:
        entry = DATA_SETS[short] if short in DATA_SETS else None  # noqa: SIM401 (a Registry has no get)
        dataset = _read(place, short, size, entry)
    return replace(dataset, name=short)


def folder_to_test(name: str) -> Path | None:
    """The folder of the class folders of an image folder without a training part; None for other data."""
    path = Path(name).expanduser()
    is_other = name in DATA_SETS or not path.is_dir() or any((path / file).exists() for file in formats.TENSOR_FILES)
    return None if is_other or formats.idx_files(path) else image_folder.folder_to_test(path.resolve())


def get(name: str) -> DataSet:
    """Downloads the missing files of a registered set and loads it. Raises DataError."""
    origin = DATA_SETS[name].origin
    if isinstance(origin, Download) and _in_convoy_data(name) is None:
        fetch.fetch(name, origin)
    return load(name)


def add(name: str, paths: Sequence[Path]) -> DataSet | None:
    """Adds manually downloaded files of a registered set and loads it; returns None if files are still missing."""
    origin = DATA_SETS[name].origin
    if not isinstance(origin, Download):
        raise DataError(f"{name}: nothing to add, it is included in {origin.package}")
    fetch.add(name, origin, paths)
    return None if fetch.missing(origin) else _load_own(name, size=None)


def missing_files(name: str) -> list[str]:
    """The files of a registered set that are missing on this machine."""
    origin = DATA_SETS[name].origin
    return [file.name for file in fetch.missing(origin)] if isinstance(origin, Download) else []


def whereabouts(name: str) -> Literal["packaged", "here", "download"]:
    """Whether a registered set is included in a package, is on this machine, or must be downloaded."""
    if not isinstance(DATA_SETS[name].origin, Download):
        return "packaged"
    return "download" if _in_convoy_data(name) is None and missing_files(name) else "here"


def _locate(name: str) -> tuple[str, Path | None]:
    """The data set's short name and path; a path of None refers to the catalogue.

    Registered names have precedence over files of the same name.
    """
    short, equals, given = name.partition("=")
    if short and equals and not Path(name).exists():
        path = Path(given).expanduser()
        if not path.exists():
            raise DataError(f"{given}: does not exist (data {name!r})")
        return short, path
    if os.sep not in name and name not in (".", ".."):
        location = _in_convoy_data(name)
        if location is not None or name in DATA_SETS:
            return name, location
    path = Path(name).expanduser()
    if path.exists():
        return path.resolve().stem if path.is_file() else path.resolve().name, path
    if os.sep in name or path.suffix:
        raise DataError(f"{name}: does not exist")
    raise unknown("data set or path", name, DATA_SETS)


def _in_convoy_data(name: str) -> Path | None:
    folder = os.environ.get("CONVOY_DATA")
    if not folder:
        return None
    if not Path(folder).is_dir():
        raise DataError(f"CONVOY_DATA = {folder}: this folder does not exist")
    return next((path for path in (Path(folder) / name, Path(folder) / f"{name}.npz") if path.exists()), None)


def _load_own(name: str, size: int | None) -> DataSet:
    """Loads a registered set from its origin in the catalogue."""
    entry = DATA_SETS[name]
    if isinstance(origin := entry.origin, Download):
        if fetch.missing(origin):
            raise DataError(
                f"{name}: not on this machine; download it by `convoy data get {name}`, or give its folder: {name}=PATH"
            )
        place = str(fetch.folder_of(origin))
        dataset = _read(Path(place), name, size, entry)
    else:
        place = origin.package
        key = cache.key_of(["installed", place, version(place), name, str(size)])
        dataset = cache.remembered(key, lambda: from_published(entry, origin.read(), size))
    if size is None and entry.content_hash is not None and dataset.content_hash != entry.content_hash:
        raise DataError(
            f"{name}: the data in {place} are not {name}: expected content hash {entry.content_hash}, got "
            f"{dataset.content_hash}"
        )
    return dataset


def _read(path: Path, name: str, size: int | None, entry: NamedData | None) -> DataSet:
    classes = None if entry is None else entry.classes
    try:
        if entry is not None and (published := _read_published(path, size, entry)) is not None:
            return published
        read: Callable[..., DataSet]
        if path.is_file():
            if path.suffix != ".npz":
                raise DataError(f"{path}: expected a folder or an .npz file{_or_published(entry)}")
            read, files = formats.read_npz, [path]
        elif any((path / file).exists() for file in formats.TENSOR_FILES):
            read, files = formats.read_tensors, [path / file for file in formats.TENSOR_FILES]
        elif idx := formats.idx_files(path):
            read, files = formats.read_idx_folder, idx
        else:
            return _read_images(path, name, size, entry)
        stamps = _stamps(files)
    except OSError as error:
        raise DataError(f"{error.filename or path}: cannot be read: {error.strerror or error}") from None
    key = cache.key_of(["arrays", str(size), str(classes), *stamps])
    return cache.remembered(key, lambda: read(path, name, size=size, classes=classes))


def _read_published(path: Path, size: int | None, entry: NamedData) -> DataSet | None:
    """Reads the set from its published files; None if they are not at the path."""
    found = [(form, source) for form in entry.forms if (source := form.find(path)) is not None]
    if not found:
        return None
    form, source = found[0]
    key = cache.key_of(["published", entry.name, str(size), *_stamps(form.files(source))])
    return cache.remembered(key, lambda: from_published(entry, form.parts(source), size))


def _stamps(files: Sequence[Path]) -> list[str]:
    return [f"{file.resolve()}|{file.stat().st_size}|{file.stat().st_mtime_ns}" for file in files]


def _read_images(path: Path, name: str, size: int | None, entry: NamedData | None) -> DataSet:
    import PIL

    try:
        listing = image_folder.list_folder(path.resolve())
    except DataError as error:
        raise DataError(f"{error}{_or_published(entry)}") from None
    if entry is not None:
        listing = _as_named(entry, listing, path)
    key = cache.key_of(["images", PIL.__version__, str(size), str(listing.classes), *listing.stamps])
    dataset = cache.remembered(key, lambda: image_folder.read_folder(listing, name, size))
    paths = listing.training_paths(path.resolve())
    return replace(dataset, notes=listing.notes + dataset.notes, paths=paths)


def _as_named(entry: NamedData, listing: image_folder.Listing, path: Path) -> image_folder.Listing:
    """The listing with the set's class names and order instead of the folders' names in alphabetical order.

    Raises DataError if the classes differ, and for a folder of test images only, which would be split and trained on.
    """
    is_named_so = path.resolve().name.lower() == "test"
    if "test" not in listing.part_lengths and (is_named_so or (len(listing.paths),) == entry.counts[1:]):
        raise DataError(
            f"{path}: looks like only the test part of {entry.name} ({len(listing.paths):,} images, no train/); "
            f"expected {entry.name}=PATH with a folder that has train/ and test/"
        )
    own_names = [entry.spellings.get(class_name, class_name) for class_name in listing.classes]
    if sorted(own_names) != sorted(entry.classes):
        raise DataError(f"{path}: expected the classes of {entry.name}, got {', '.join(listing.classes[:12])}")
    own_labels = [entry.classes.index(class_name) for class_name in own_names]
    return replace(listing, classes=entry.classes, labels=tuple(own_labels[label] for label in listing.labels))


def _or_published(entry: NamedData | None) -> str:
    if entry is None or not entry.forms:
        return ""
    first = entry.forms[0]
    return f", or the published {first.archive or ' and '.join(first.hashes)}"


def pack_tensors(name: str, folder: str | Path) -> list[Path]:
    """Writes the named data set as the four tensor files and returns their paths. Raises DataError, ValueError."""
    return formats.write_tensors(load(name), Path(folder))
