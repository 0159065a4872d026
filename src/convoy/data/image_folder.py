"""A folder of images: `<class>/<image>`, or the same under train/, val/ and test/."""

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

_PART_NAMES = {"train": "train", "val": "validation", "valid": "validation", "validation": "validation", "test": "test"}
PARTS = ("train", "validation", "test")
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp"})
SAMPLED_FILES = 64  # whose content is read each time that a folder is listed
_READ = "PNG, JPEG, BMP and WebP"


@dataclass(frozen=True)
class Listing:
    """What stands in an image folder, before any file is opened."""

    classes: tuple[str, ...]
    paths: tuple[str, ...]  # train, then validation, then test; by class, by name
    labels: tuple[int, ...]
    stamps: tuple[str, ...]  # path, size and modification time of each file, content of some: the key of the cache
    part_lengths: dict[str, int]
    notes: tuple[str, ...]

    def training_paths(self, root: Path) -> tuple[str, ...]:
        """Below the root, with "/" between their parts; those of train, then of validation."""
        n_pool = len(self.paths) - self.part_lengths.get("test", 0)
        return tuple(path.removeprefix(f"{root}{os.sep}").replace(os.sep, "/") for path in self.paths[:n_pool])


def list_folder(root: Path) -> Listing:
    """Raises DataError: no images, a class without images, only one class, test classes that training lacks."""
    parts = _parts(root)
    classes = _class_names(parts["train"])
    if len(classes) < 2:
        raise DataError(f"{parts['train']}: holds only one class ({classes[0]}); training needs at least two")
    paths: list[str] = []
    labels: list[int] = []
    stamps: list[str] = []
    part_lengths: dict[str, int] = {}
    left_out: Counter[str] = Counter()
    if root not in parts.values() and (beside := len(_folders(root)) - len(parts)):
        left_out["folders beside the parts"] = beside
    for part, folder in parts.items():
        before = len(paths)
        for class_name in _class_names(folder):
            if class_name not in classes:
                raise DataError(f"{folder / class_name}: this class has no folder in {parts['train']}")
            class_folder = folder / class_name
            files = list_images(class_folder, left_out)
            if not files:
                raise DataError(f"{class_folder}: holds no images ({_READ} are read, directly in the class folder)")
            prefix = f"{class_folder}{os.sep}"
            paths += [prefix + name for name, _, _ in files]
            stamps += [f"{prefix}{name}|{size_bytes}|{mtime_ns}" for name, size_bytes, mtime_ns in files]
            labels += [classes.index(class_name)] * len(files)
        part_lengths[part] = len(paths) - before
    stamps.append(_sampled_content(paths))
    notes = _note_on_files(left_out)
    return Listing(classes, tuple(paths), tuple(labels), tuple(stamps), part_lengths, notes)


def _sampled_content(paths: Sequence[str]) -> str:
    """SHA-256 of the content of the first, the last and some drawn files, of all where they are few.

    For an image that was replaced by one of the same size and modification time, as copying with the old times does.
    """
    places = {0, len(paths) - 1, *Random(0).sample(range(len(paths)), min(SAMPLED_FILES, len(paths)))}
    digest = sha256()
    for place in sorted(places):
        try:
            content = Path(paths[place]).read_bytes()
        except OSError as error:
            raise DataError(f"{paths[place]}: cannot be read: {error.strerror}") from None
        digest.update(sha256(content).digest())
    return digest.hexdigest()


def list_images(folder: Path, left_out: Counter[str]) -> list[tuple[str, int, int]]:
    """(name, bytes, mtime in ns) of the images in a folder, by name; others are counted by suffix, hidden ones not."""
    files = []
    with os.scandir(folder) as entries:
        for entry in entries:
            name = entry.name
            if name.startswith("."):
                continue
            suffix = name[name.rfind(".") :].lower() if "." in name else ""
            if suffix not in SUFFIXES:
                left_out[suffix or "files without a suffix" if not entry.is_dir() else "folders"] += 1
                continue
            try:
                status = entry.stat()
            except OSError as error:
                raise DataError(f"{entry.path}: cannot be read: {error.strerror}") from None
            if not stat.S_ISREG(status.st_mode):
                left_out["folders"] += 1
                continue
            files.append((name, status.st_size, status.st_mtime_ns))
    files.sort()
    return files


def read_folder(listing: Listing, name: str, size: int | None) -> DataSet:
    """Decodes all files; one channel if every image is grey, else three. Raises DataError naming a file."""
    from convoy.data.decode import decode_files

    pixels, sizes = decode_files(listing.paths, size)  # (N, 3, H, H)
    labels = np.array(listing.labels, np.int64)
    notes = note_on_sizes(sizes, pixels.shape[-1], is_chosen=size is not None)
    return assemble(name, listing.classes, pixels, labels, listing.part_lengths, notes)


def assemble(
    name: str,
    classes: tuple[str, ...],
    pixels: np.ndarray,
    labels: np.ndarray,
    part_lengths: Mapping[str, int],
    notes: tuple[str, ...],
) -> DataSet:
    """A data set of colour images uint8 [N, 3, H, H]: train, then validation, then test; grey if every image is."""
    if _all_grey(pixels):
        pixels = np.ascontiguousarray(pixels[:, :1])
    n_pool = len(labels) - part_lengths.get("test", 0)
    n_train = part_lengths["train"]
    train = ImageSet(pixels[:n_pool], labels[:n_pool], classes)
    test = ImageSet(pixels[n_pool:], labels[n_pool:], classes) if n_pool < len(labels) else None
    validation_indices = np.arange(n_train, n_pool) if n_pool > n_train else None
    return DataSet(name, train, validation_indices, test, notes)


def read_images(paths: Iterable[str | Path], size: int, in_chans: int) -> tuple[list[Path], np.ndarray]:
    """The files named and the images directly in the folders named, and their pixels, uint8 [N, in_chans, size, size].

    Decoded as for training; colour becomes grey (ITU-R 601 luma) where a network takes one channel. Raises DataError.
    """
    from convoy.data.decode import decode_files

    files = _image_files(paths)
    if not files:
        raise DataError("no images were given")
    pixels, _ = decode_files([str(path) for path in files], size)  # (N, 3, H, H)
    if in_chans == 3:
        return files, pixels
    luma = np.tensordot(pixels, np.array([0.299, 0.587, 0.114], np.float32), axes=(1, 0))  # (N, H, H)
    return files, np.rint(luma).astype(np.uint8)[:, None]


def _image_files(paths: Iterable[str | Path]) -> list[Path]:
    found: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            inside = list_images(path, Counter())
            if not inside:
                raise DataError(f"{path}: holds no images ({_READ} are read)")
            found += [path / name for name, _, _ in inside]
        elif path.exists():
            found.append(path)
        else:
            raise DataError(f"{path}: does not exist")
    return found


def _parts(root: Path) -> dict[str, Path]:
    """Train, validation, test and their folders; without such folders the root itself is the training part.

    A folder "train" with no folders in it is a class (of vehicles, perhaps), and no part.
    """
    folders: dict[str, list[Path]] = {}
    for folder in _folders(root):
        folders.setdefault(_PART_NAMES.get(folder.name.lower(), ""), []).append(folder)
    if not any(_folders(folder) for folder in folders.get("train", ())):
        if len(folders) == 1 and any(_folders(folder) for folder in folders.get("test", ())):
            raise DataError(f"{root}: holds only a test part, {folders['test'][0].name}/, and no train/ to train on")
        return {"train": root}
    for part in PARTS:
        if len(folders.get(part, ())) > 1:
            both = " and ".join(folder.name for folder in folders[part])
            raise DataError(f"{root}: {both} are both its {part} part: name one of them otherwise")
    return {part: folders[part][0] for part in PARTS if part in folders}


def _folders(root: Path) -> list[Path]:
    with os.scandir(root) as entries:
        return sorted(Path(entry.path) for entry in entries if entry.is_dir() and not entry.name.startswith("."))


def _class_names(folder: Path) -> tuple[str, ...]:
    names = [path.name for path in _folders(folder)]
    if not names:
        raise DataError(
            f"{folder}: holds no class folders; an image folder is <class>/<image> (train/, val/, test/ above)"
        )
    return tuple(sorted(names, key=int) if all(name.isdecimal() for name in names) else sorted(names))


def _all_grey(pixels: np.ndarray) -> bool:
    """A thousand images at a time, so that colour is found at once."""
    return all(
        bool((chunk == chunk[:, :1]).all())
        for chunk in (pixels[start : start + 1000] for start in range(0, len(pixels), 1000))
    )


def _note_on_files(left_out: Counter[str]) -> tuple[str, ...]:
    if not left_out:
        return ()
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in left_out.most_common(4))
    return (f"left out, not images ({_READ} are read): {kinds}",)


def usual_size(sizes: Counter[tuple[int, int]]) -> tuple[int, int]:
    """The most frequent one, the smaller one of two that are equally frequent."""
    return min(sizes.items(), key=lambda item: (-item[1], item[0]))[0]


def note_on_sizes(sizes: Counter[tuple[int, int]], side: int, *, is_chosen: bool) -> tuple[str, ...]:
    if is_chosen or set(sizes) == {(side, side)}:
        return ()
    width, height = usual_size(sizes)
    count = sizes[width, height]
    share = f"{width} x {height}, the size of {count:,} of the {sum(sizes.values()):,} images"
    return (
        f"images were brought to {side} x {side} pixels after the most frequent size ({share}); data.size sets another",
    )
