"""Image folders: `<class>/<image>`, or the same in train/, val/ and test/."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from random import Random

import numpy as np

from convoy.data.imageset import DataError, DataSet, ImageSet
from convoy.registry import missing, unknown
from convoy.text import gettext as _
from convoy.text import translated
from convoy.text.lists import joined, listed

PART_NAMES = {"train": "train", "val": "validation", "valid": "validation", "validation": "validation", "test": "test"}
PARTS = ("train", "validation", "test")
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff"})
SAMPLED_FILES = 64  # files whose content is hashed whenever a folder is listed
_FORMAT_NAMES = ("PNG", "JPEG", "BMP", "WebP", "TIFF")


@dataclass(frozen=True)
class Listing:
    """The files of an image folder."""

    classes: tuple[str, ...]
    paths: tuple[str, ...]  # train, then validation, then test; by class, by name
    labels: tuple[int, ...]
    stamps: tuple[str, ...]  # cache key: path, size and modification time of each file, content of some
    part_lengths: dict[str, int]
    notes: tuple[str, ...]

    def training_paths(self, root: Path) -> tuple[str, ...]:
        """Paths relative to the root, with "/" as separator: train, then validation."""
        first_test = len(self.paths) - self.part_lengths.get("test", 0)
        return tuple(path.removeprefix(f"{root}{os.sep}").replace(os.sep, "/") for path in self.paths[:first_test])


def list_folder(root: Path) -> Listing:
    """Raises DataError if there are no images, if a class has none, for a single class, or for a class only in test."""
    parts = _parts(root)
    train = parts["train"]
    classes = class_names(train)
    if len(classes) < 2:
        inner = train / classes[0]
        hint = _("; if the folders in it are the classes, use {inner}", inner=inner) if len(_folders(inner)) > 1 else ""
        raise DataError(
            _(
                "{train}: expected at least two class folders, got only {classes}{hint}",
                train=train,
                classes=classes[0],
                hint=hint,
            )
        )
    paths: list[str] = []
    labels: list[int] = []
    stamps: list[str] = []
    part_lengths: dict[str, int] = {}
    ignored: Counter[str] = Counter()
    if root not in parts.values() and (n_other := len(_folders(root)) - len(parts)):
        ignored[_("other folders")] = n_other
    for part, folder in parts.items():
        before = len(paths)
        for class_name in class_names(folder):
            if class_name not in classes:
                raise DataError(
                    _("{value}: this class has no folder in {train}", value=folder / class_name, train=train)
                )
            class_folder = folder / class_name
            files = list_images(class_folder, ignored)
            if not files:
                raise DataError(
                    _(
                        "{class_folder}: no {format_names} images directly in the class folder",
                        class_folder=class_folder,
                        format_names=listed(_FORMAT_NAMES),
                    )
                )
            prefix = f"{class_folder}{os.sep}"
            paths += [prefix + name for name, _, _ in files]
            stamps += [f"{prefix}{name}|{size_bytes}|{mtime_ns}" for name, size_bytes, mtime_ns in files]
            labels += [classes.index(class_name)] * len(files)
        part_lengths[part] = len(paths) - before
    stamps.append(_sampled_content(paths))
    notes = []
    if ignored:
        kinds = joined(_("{count:,} {kind}", count=count, kind=kind) for kind, count in ignored.most_common(4))
        notes = [_("ignored, not {format_names} images: {kinds}", format_names=listed(_FORMAT_NAMES), kinds=kinds)]
    return Listing(classes, tuple(paths), tuple(labels), tuple(stamps), part_lengths, tuple(notes))


def _sampled_content(paths: Sequence[str]) -> str:
    """SHA-256 of the content of the first, the last and some random files.

    Detects images that were replaced by others of the same size and modification time.
    """
    indices = {0, len(paths) - 1, *Random(0).sample(range(len(paths)), min(SAMPLED_FILES, len(paths)))}
    digest = sha256()
    for index in sorted(indices):
        try:
            content = Path(paths[index]).read_bytes()
        except OSError as error:
            raise DataError(
                _("{paths}: cannot be read: {strerror}", paths=paths[index], strerror=error.strerror)
            ) from None
        digest.update(sha256(content).digest())
    return digest.hexdigest()


def list_images(folder: Path, ignored: Counter[str]) -> list[tuple[str, int, int]]:
    """Returns (name, bytes, mtime in ns) of the images, sorted by name; counts other visible files in `ignored`."""
    files = []
    with os.scandir(folder) as entries:
        for entry in entries:
            name = entry.name
            if name.startswith("."):
                continue
            suffix = name[name.rfind(".") :].lower() if "." in name else ""
            if suffix not in SUFFIXES:
                ignored[suffix or _("files without a suffix") if not entry.is_dir() else _("folders")] += 1
                continue
            try:
                status = entry.stat()
            except OSError as error:
                raise DataError(
                    _("{path}: cannot be read: {strerror}", path=entry.path, strerror=error.strerror)
                ) from None
            if not stat.S_ISREG(status.st_mode):
                ignored[_("folders")] += 1
                continue
            files.append((name, status.st_size, status.st_mtime_ns))
    files.sort()
    return files


def read_folder(listing: Listing, name: str, size: int | None) -> DataSet:
    """Decodes all files to one channel if every image is grey, otherwise three. Raises DataError naming the file."""
    from convoy.data.decode import decode_files

    pixels, notes = decode_files(listing.paths, size)  # (N, 3, H, H)
    return assemble(name, listing.classes, pixels, np.array(listing.labels, np.int64), listing.part_lengths, notes)


def assemble(
    name: str,
    classes: tuple[str, ...],
    pixels: np.ndarray,
    labels: np.ndarray,
    part_lengths: Mapping[str, int],
    notes: tuple[str, ...],
) -> DataSet:
    """Creates a data set from uint8 [N, 3, H, H] of train, validation, test. Grey images are reduced to one channel."""
    chunks = (pixels[start : start + 1000] for start in range(0, len(pixels), 1000))  # `all` stops at the first colour
    if all((chunk == chunk[:, :1]).all() for chunk in chunks):
        pixels = np.ascontiguousarray(pixels[:, :1])
    first_test = len(labels) - part_lengths.get("test", 0)
    n_train = part_lengths["train"]
    train = ImageSet(pixels[:first_test], labels[:first_test], classes)
    test = ImageSet(pixels[first_test:], labels[first_test:], classes) if first_test < len(labels) else None
    validation_indices = np.arange(n_train, first_test) if first_test > n_train else None
    return DataSet(name, train, validation_indices, test, notes)


def read_images(paths: Iterable[str | Path], size: int, in_chans: int) -> tuple[list[Path], np.ndarray]:
    """Reads the given files and the images directly in the given folders, in the same way as for training.

    Returns their paths and pixels, uint8 [N, in_chans, size, size], grey (ITU-R 601 luma) if `in_chans` is 1. Raises
    DataError.
    """
    from convoy.data.decode import decode_files
    from convoy.data.decode_images import with_channels

    files = image_files(paths)
    pixels, _ = decode_files([str(path) for path in files], size)  # (N, 3, H, H)
    return files, with_channels(pixels, in_chans)


def image_files(paths: Iterable[str | Path]) -> list[Path]:
    """Returns the given files and the images directly in the given folders. Raises DataError if there are none."""
    files: list[Path] = []
    for given in paths:
        if not isinstance(given, str | os.PathLike):
            raise DataError(
                _(
                    "expected paths of images, got {type}; convoy.load(run).preprocess reads arrays and Pillow images",
                    type=type(given).__name__,
                )
            )
        path = Path(given)
        if path.is_dir():
            images = list_images(path, Counter())
            if not images:
                raise DataError(
                    _("{path}: no {format_names} images in this folder", path=path, format_names=listed(_FORMAT_NAMES))
                )
            files += [path / name for name, _, _ in images]
        elif path.exists():
            files.append(path)
        else:
            raise DataError(f"{path}: {missing(path)}")
    if not files:
        raise DataError(_("no images given"))
    return files


def folder_to_test(root: Path) -> Path | None:
    """Returns the folder of the test set, or the root if it has class folders; None if there is a training set."""
    folders = _folders(root)
    if not folders or any(PART_NAMES.get(folder.name.lower()) == "train" and _folders(folder) for folder in folders):
        return None
    tests = (folder for folder in folders if PART_NAMES.get(folder.name.lower()) == "test" and _folders(folder))
    return next(tests, root)


def class_names(folder: Path) -> tuple[str, ...]:
    """Returns the names of the class folders, numbers in numerical order. Raises DataError if there are none."""
    names = [path.name for path in _folders(folder)]
    if not names:
        raise DataError(
            _(
                "{folder}: no class folders; expected <class>/<image>, or the same in train/, val/ and test/",
                folder=folder,
            )
        )
    return tuple(sorted(names, key=int) if all(name.isdecimal() for name in names) else sorted(names))


def labelled_files(folder: Path, classes: Sequence[str]) -> tuple[list[str], list[int]]:
    """Returns the paths of the images in class folders, and their labels. A class may have no folder.

    Raises DataError if there are no images, ValueError for a folder whose name is not a class.
    """
    paths: list[str] = []
    labels: list[int] = []
    for name in class_names(folder):
        if name not in classes:
            raise unknown(_("class"), name, classes, str(folder))
        files = list_images(folder / name, Counter())
        paths += [str(folder / name / file) for file, _, _ in files]
        labels += [classes.index(name)] * len(files)
    if not paths:
        raise DataError(
            _(
                "{folder}: no {format_names} images in its class folders",
                folder=folder,
                format_names=listed(_FORMAT_NAMES),
            )
        )
    return paths, labels


def _parts(root: Path) -> dict[str, Path]:
    """Returns the folders of train, validation and test. Without such folders, the root is the training set.

    A folder "train" without subfolders is a class, not a part.
    """
    folders: dict[str, list[Path]] = {}
    for folder in _folders(root):
        folders.setdefault(PART_NAMES.get(folder.name.lower(), ""), []).append(folder)
    if not any(_folders(folder) for folder in folders.get("train", ())):
        if len(folders) == 1 and any(_folders(folder) for folder in folders.get("test", ())):
            raise DataError(
                _("{root}: expected train/, got only the test set {name}/", root=root, name=folders["test"][0].name)
            )
        return {"train": root}
    for part in PARTS:
        if len(folders.get(part, ())) > 1:
            both = listed(folder.name for folder in folders[part])
            raise DataError(
                _(
                    "{root}: two folders for the {part} set, {both}: rename one",
                    root=root,
                    part=translated(part),
                    both=both,
                )
            )
    return {part: folders[part][0] for part in PARTS if part in folders}


def _folders(root: Path) -> list[Path]:
    """Returns the visible folders, without the metadata of a zip file from macOS."""
    with os.scandir(root) as entries:
        return sorted(
            Path(entry.path)
            for entry in entries
            if entry.is_dir() and not entry.name.startswith(".") and entry.name != "__MACOSX"
        )
