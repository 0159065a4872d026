"""Loads a data set by its name or path."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from convoy.data import cache, fetch, formats, hugging_face, image_folder
from convoy.data.catalogue import DATA_SETS
from convoy.data.imageset import DataError, DataSet
from convoy.data.named import Download, NamedData, from_published
from convoy.registry import HUB, closest, missing, unknown
from convoy.text import gettext as _
from convoy.text.lists import joined, listed


def load(name: str, *, size: int | None = None) -> DataSet:
    """Loads a data set by its registered name, its path, `name=path`, or `hf:owner/name` for the Hugging Face Hub.

    A path is an .npz file or a folder of IDX files, images or the four tensor files; for a registered data set also a
    published archive or a folder with the published files. A name is first looked up as <name>/ or <name>.npz in the
    folder $CONVOY_DATA. Images are resized to `size` pixels; None keeps their size. Only data sets of the Hub are
    downloaded; for others use `get`. The data set is decoded once, then memory-mapped from the cache. Raises DataError
    with the file, and ValueError for an unknown name.
    """
    if name.startswith(HUB):
        return hugging_face.load(name.removeprefix(HUB), size)
    short_name, path = _locate(name)
    if path is None:
        dataset = _load_registered(short_name, size)
    else:
        entry = DATA_SETS[short_name] if short_name in DATA_SETS else None  # noqa: SIM401 (a Registry has no get)
        dataset = _read(path, short_name, size, entry)
    return replace(dataset, name=short_name)


def is_own(name: str) -> bool:
    """Whether this is a path, not a registered data set or one of the Hub."""
    return not name.startswith(HUB) and name.partition("=")[0] not in DATA_SETS


def folder_to_test(name: str) -> Path | None:
    """Returns the folder that contains the class folders if `name` is an image folder without a training set."""
    path = Path(name).expanduser()
    is_other = name in DATA_SETS or not path.is_dir() or any((path / file).exists() for file in formats.TENSOR_FILES)
    return None if is_other or formats.idx_files(path) else image_folder.folder_to_test(path.resolve())


def get(name: str) -> DataSet:
    """Downloads the missing files of a registered data set and loads it. Raises DataError."""
    origin = DATA_SETS[name].origin
    if not isinstance(origin, Download) or _in_convoy_data(name) is not None:
        return load(name)
    fetch.fetch(name, origin)
    try:
        return load(name)
    except DataError:
        if not fetch.missing(origin):
            raise
    fetch.fetch(name, origin)  # damaged files, which `load` has deleted
    return load(name)


def add(name: str, paths: Sequence[Path]) -> DataSet | None:
    """Adds manually downloaded files of a registered data set and loads it; returns None if files are still missing."""
    origin = DATA_SETS[name].origin
    if not isinstance(origin, Download):
        raise DataError(_("{name}: nothing to add, it is included in {package}", name=name, package=origin.package))
    fetch.add(name, origin, paths)
    return None if fetch.missing(origin) else _load_registered(name, size=None)


def missing_files(name: str) -> list[str]:
    """The files of a registered data set that are missing on this machine."""
    origin = DATA_SETS[name].origin
    return [file.name for file in fetch.missing(origin)] if isinstance(origin, Download) else []


def availability(name: str) -> Literal["packaged", "here", "download"]:
    """Whether a registered data set is included in a package, is on this machine, or must be downloaded."""
    if not isinstance(DATA_SETS[name].origin, Download):
        return "packaged"
    return "download" if _in_convoy_data(name) is None and missing_files(name) else "here"


def _locate(name: str) -> tuple[str, Path | None]:
    """Returns the data set's short name and path; the path is None for the origin in the catalogue.

    Registered names have precedence over files of the same name.
    """
    short_name, equals, path_text = name.partition("=")
    if short_name and equals and not Path(name).exists():
        path = Path(path_text).expanduser()
        if not path.exists():
            raise DataError(
                _("data {name!r}: {path_text} {missing}", name=name, path_text=path_text, missing=missing(path))
            )
        return short_name, path
    if os.sep not in name and name not in (".", ".."):
        location = _in_convoy_data(name)
        if location is not None or name in DATA_SETS:
            return name, location
    path = Path(name).expanduser()
    if path.exists():
        return path.resolve().stem if path.is_file() else path.resolve().name, path
    if os.sep in name or path.suffix:
        raise DataError(f"{name}: {missing(path)}")
    other = closest(path)
    raise unknown(_("data set or path"), name, [*DATA_SETS, *([] if other is None else [other.name])])


def _in_convoy_data(name: str) -> Path | None:
    folder = os.environ.get("CONVOY_DATA")
    if not folder:
        return None
    if not Path(folder).is_dir():
        if Path(folder).exists():
            raise DataError(_("{place}: expected a folder, got a file", place=f"CONVOY_DATA = {folder}"))
        raise DataError(_("CONVOY_DATA = {folder}: this folder does not exist", folder=folder))
    return next((path for path in (Path(folder) / name, Path(folder) / f"{name}.npz") if path.exists()), None)


_version = lru_cache(version)  # reading it takes 8 ms


def _load_registered(name: str, size: int | None) -> DataSet:
    """Loads a registered data set from its origin in the catalogue."""
    entry = DATA_SETS[name]
    if not isinstance(origin := entry.origin, Download):
        source = origin.package
        key = cache.key_of(["installed", source, _version(source), name, str(size)])
        return _checked(
            cache.get_or_create(key, lambda: from_published(entry, origin.read(), size)), entry, size, source
        )
    if fetch.missing(origin):
        raise DataError(
            _(
                "{name}: not on this machine; download it with `convoy data get {name}`, or give its folder: "
                "{name}=PATH",
                name=name,
            )
        )
    source = str(fetch.folder_of(origin))
    try:
        return _checked(_read(Path(source), name, size, entry), entry, size, source)
    except DataError:
        if not (damaged := fetch.delete_damaged(origin)):
            raise
        raise DataError(
            _(
                "{name}: {files} in {source} changed after the download and was deleted; download it again with "
                "`convoy data get {name}`",
                name=name,
                files=listed(damaged),
                source=source,
            )
        ) from None


def _checked(dataset: DataSet, entry: NamedData, size: int | None, source: str) -> DataSet:
    if size is None and entry.content_hash is not None and dataset.content_hash != entry.content_hash:
        raise DataError(
            _(
                "{name}: the data in {source} are not {name}: expected content hash {content_hash}, got {found}",
                name=entry.name,
                source=source,
                content_hash=entry.content_hash,
                found=dataset.content_hash,
            )
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
                raise DataError(
                    _(
                        "{path}: expected a folder or an .npz file{published_hint}",
                        path=path,
                        published_hint=_published_hint(entry),
                    )
                )
            read, files = formats.read_npz, [path]
        elif any((path / file).exists() for file in formats.TENSOR_FILES):
            read, files = formats.read_tensors, [path / file for file in formats.TENSOR_FILES]
        elif idx := formats.idx_files(path):
            read, files = formats.read_idx_folder, idx
        else:
            return _read_images(path, name, size, entry)
        stamps = _stamps(files)
    except OSError as error:
        raise DataError(
            _("{file}: cannot be read: {reason}", file=error.filename or path, reason=error.strerror or error)
        ) from None
    key = cache.key_of(["arrays", str(size), str(classes), *stamps])
    return cache.get_or_create(key, lambda: read(path, name, size=size, classes=classes))


def _read_published(path: Path, size: int | None, entry: NamedData) -> DataSet | None:
    """Reads the data set from its published files; returns None if `path` does not have them."""
    matches = ((file_format, source) for file_format in entry.formats if (source := file_format.find(path)) is not None)
    if (match := next(matches, None)) is None:
        return None
    file_format, source = match
    key = cache.key_of(["published", entry.name, str(size), *_stamps(file_format.files(source))])
    return cache.get_or_create(key, lambda: from_published(entry, file_format.parts(source), size))


def _stamps(files: Sequence[Path]) -> list[str]:
    return [f"{file.resolve()}|{file.stat().st_size}|{file.stat().st_mtime_ns}" for file in files]


def _read_images(path: Path, name: str, size: int | None, entry: NamedData | None) -> DataSet:
    import PIL

    try:
        listing = image_folder.list_folder(path.resolve())
    except DataError as error:
        raise DataError(f"{error}{_published_hint(entry)}") from None
    if entry is not None:
        listing = _with_registered_classes(entry, listing, path)
    key = cache.key_of(["images", PIL.__version__, str(size), str(listing.classes), *listing.stamps])
    dataset = cache.get_or_create(key, lambda: image_folder.read_folder(listing, name, size))
    paths = listing.training_paths(path.resolve())
    return replace(dataset, notes=listing.notes + dataset.notes, paths=paths)


def _with_registered_classes(entry: NamedData, listing: image_folder.Listing, path: Path) -> image_folder.Listing:
    """Replaces the folder names, in alphabetical order, by the registered class names in their order.

    Raises DataError if the classes differ, or if the folder has only test images, because they would be trained on.
    """
    is_named_test = path.resolve().name.lower() == "test"
    if "test" not in listing.part_lengths and (is_named_test or (len(listing.paths),) == entry.counts[1:]):
        raise DataError(
            _(
                "{path}: looks like only the test set of {name} ({n:,} images, no train/); expected "
                "{name}=PATH with a folder that has train/ and test/",
                path=path,
                name=entry.name,
                n=len(listing.paths),
            )
        )
    names = [entry.spellings.get(class_name, class_name) for class_name in listing.classes]
    if sorted(names) != sorted(entry.classes):
        raise DataError(
            _(
                "{path}: expected the classes of {name}, got {classes}",
                path=path,
                name=entry.name,
                classes=joined(listing.classes[:12]),
            )
        )
    labels = [entry.classes.index(class_name) for class_name in names]
    return replace(listing, classes=entry.classes, labels=tuple(labels[label] for label in listing.labels))


def _published_hint(entry: NamedData | None) -> str:
    if entry is None or not entry.formats:
        return ""
    file_format = entry.formats[0]
    return _(", or the published {files}", files=file_format.archive or listed(file_format.hashes))


def pack_tensors(name: str, folder: str | Path) -> list[Path]:
    """Writes a data set, by any name that `load` accepts, as the four tensor files; returns their paths.

    Raises the same errors as `load`, and DataError without a test set or with a validation set.
    """
    return formats.write_tensors(load(name), Path(folder))
