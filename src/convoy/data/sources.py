"""From a name or a path to a data set."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path

from convoy.data import cache, formats, image_folder
from convoy.data.imageset import DataError, DataSet
from convoy.registry import Registry, unknown


@dataclass(frozen=True)
class NamedData:
    summary: str
    classes: tuple[str, ...]
    folder: Callable[[], Path]  # where the files stand, in any form that `load` reads


def _packaged(name: str) -> Path:
    return Path(str(resources.files("convoy.data") / name))


DATA_SETS: Registry[NamedData] = Registry("data set")
DATA_SETS.add(
    "mnist",
    NamedData(
        "handwritten digits, 28 x 28 grey, 60,000 + 10,000 (LeCun, Cortes, Burges; CC BY-SA 3.0; packaged)",
        tuple("0123456789"),
        lambda: _packaged("mnist"),
    ),
)


def load(name: str, *, size: int | None = None) -> DataSet:
    """The data set of a registered name, a path, or `name=path`; decoded once and then memory-mapped from the cache.

    A path is a folder of IDX files, of images, of the four tensor files, or an .npz file. $CONVOY_DATA may name a
    folder that holds <name>/ or <name>.npz. `size`: pixels, each image resized to it; None: the data's own size.
    Raises DataError naming the file, ValueError for an unknown name.
    """
    name, path = _locate(name)
    known_classes = DATA_SETS[name].classes if name in DATA_SETS else None
    dataset = replace(_read(path, name, size, known_classes), name=name)
    if known_classes is not None and dataset.train.classes != known_classes:
        raise DataError(f"{path}: is not {name}: its classes are {', '.join(dataset.train.classes[:12])}")
    return dataset


def _locate(name: str) -> tuple[str, Path]:
    """The data set's short name and where it lies. Registered names come before files of the same name."""
    short, equals, given = name.partition("=")
    if short and equals and not Path(name).exists():
        path = Path(given).expanduser()
        if not path.exists():
            raise DataError(f"{given}: does not exist (data {name!r})")
        return short, path
    if os.sep not in name:
        folder = os.environ.get("CONVOY_DATA")
        if folder and not Path(folder).is_dir():
            raise DataError(f"{folder}: CONVOY_DATA names a folder that does not exist")
        for candidate in (Path(folder) / name, Path(folder) / f"{name}.npz") if folder else ():
            if candidate.exists():
                return name, candidate
        if name in DATA_SETS:
            return name, DATA_SETS[name].folder()
    path = Path(name).expanduser()
    if path.exists():
        return path.resolve().stem if path.is_file() else path.resolve().name, path
    if os.sep in name or path.suffix:
        raise DataError(f"{name}: does not exist")
    raise unknown("data set or path", name, DATA_SETS)


def _read(path: Path, name: str, size: int | None, classes: tuple[str, ...] | None) -> DataSet:
    try:
        read: Callable[..., DataSet]
        if path.is_file():
            if path.suffix != ".npz":
                raise DataError(f"{path}: is not a folder or an .npz file")
            read, files = formats.read_npz, [path]
        elif any((path / file).exists() for file in formats.TENSOR_FILES):
            read, files = formats.read_tensors, [path / file for file in formats.TENSOR_FILES]
        elif idx := formats.idx_files(path):
            read, files = formats.read_idx_folder, idx
        else:
            return _read_images(path, name, size)
        stamps = [f"{file.resolve()}|{file.stat().st_size}|{file.stat().st_mtime_ns}" for file in files]
    except OSError as error:
        raise DataError(f"{error.filename or path}: cannot be read: {error.strerror or error}") from None
    key = cache.key_of(["arrays", str(size), str(classes), *stamps])
    return cache.remembered(key, lambda: read(path, name, size=size, classes=classes))


def _read_images(path: Path, name: str, size: int | None) -> DataSet:
    import PIL

    listing = image_folder.list_folder(path.resolve())
    key = cache.key_of(["images", PIL.__version__, str(size), *listing.stamps])
    dataset = cache.remembered(key, lambda: image_folder.read_folder(listing, name, size))
    return replace(dataset, notes=listing.notes + dataset.notes)


def pack_tensors(name: str, folder: str | Path) -> list[Path]:
    """Writes the named data set as the four tensor files and returns their paths. Raises DataError, ValueError."""
    return formats.write_tensors(load(name), Path(folder))
