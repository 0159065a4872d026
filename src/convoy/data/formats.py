"""Reads arrays from a user's files: IDX, .npz, and the four tensor files. The files are not trusted.

Every error is a DataError that names the file.
"""

from __future__ import annotations

import gzip
import io
import math
import re
import warnings
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from convoy.data.arrays import Part, Parts, from_arrays
from convoy.data.imageset import DataError, DataSet, first_line
from convoy.files import write_bytes
from convoy.text import gettext as _
from convoy.text.lists import joined

TENSOR_FILES = ("train_data.pth", "train_labels.pth", "test_data.pth", "test_labels.pth")
_IDX_NAME = re.compile(r"(train|t10k|test)-(images|labels)[-.]idx\d-ubyte(\.gz)?$")
_NPZ_KEYS = {  # keys of Keras, keys of MedMNIST
    "train": (("x_train", "y_train"), ("train_images", "train_labels")),
    "validation": (("x_val", "y_val"), ("val_images", "val_labels")),
    "test": (("x_test", "y_test"), ("test_images", "test_labels")),
}
_CLASS_NAMES = "class_names"
_MAX_DEFLATE_RATIO = 1032


def idx_files(folder: Path) -> list[Path]:
    """Returns the IDX files of a folder, train before test, images before labels; empty if there are none.

    An uncompressed file has precedence over the same file as .gz. Raises DataError for missing or ambiguous files.
    """
    roles: dict[tuple[bool, str], Path] = {}
    for path in sorted(folder.iterdir()):  # a.gz comes after a
        match = _IDX_NAME.search(path.name)
        if match is None:
            continue
        role = (match[1] != "train", match[2])
        first = roles.setdefault(role, path)
        if first is not path and path.name != first.name + ".gz":
            raise DataError(
                _(
                    "{folder}: expected one file with the {match} {match_2}, found {name} and {file}",
                    folder=folder,
                    name=first.name,
                    file=path.name,
                    match=match[1],
                    match_2=match[2],
                )
            )
    if not roles:
        return []
    for is_test in sorted({is_test for is_test, _role in roles} | {False}):
        for kind in ("images", "labels"):
            if (is_test, kind) not in roles:
                files = {
                    (False, "images"): _("training images"),
                    (False, "labels"): _("training labels"),
                    (True, "images"): _("test images"),
                    (True, "labels"): _("test labels"),
                }
                raise DataError(
                    _("{folder}: the IDX file of the {content} is missing", folder=folder, content=files[is_test, kind])
                )
    return [roles[role] for role in sorted(roles)]


def _parts_of(paths: Sequence[Path], read: Callable[[Path], np.ndarray]) -> Parts:
    """`paths`: training images, training labels and, if there is a test set, test images and test labels."""
    arrays = [read(path) for path in paths]
    train, *test = (Part(arrays[n], arrays[n + 1], str(paths[n]), str(paths[n + 1])) for n in range(0, len(paths), 2))
    return Parts(train, test=test[0] if test else None)


def read_idx_folder(folder: Path, name: str, *, size: int | None, classes: Sequence[str] | None) -> DataSet:
    return from_arrays(name, read_idx_parts(folder), size=size, classes=classes)


def read_idx_parts(folder: Path) -> Parts:
    return _parts_of(idx_files(folder), read_idx)


def read_idx(path: Path) -> np.ndarray:
    """Reads the uint8 array of an IDX file (http://yann.lecun.com/exdb/mnist), uncompressed or gzipped."""
    try:
        return read_idx_bytes(path.read_bytes(), str(path))
    except OSError as error:
        raise DataError(_("{path}: cannot be read: {reason}", path=path, reason=error.strerror or error)) from None


def read_idx_bytes(content: bytes, where: str) -> np.ndarray:
    """Like `read_idx`, from the content of a file. `where` names the file in error messages."""
    if not content.startswith(b"\x1f\x8b"):
        return _read_idx(io.BytesIO(content), where, len(content))
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as unpacked:
            return _read_idx(unpacked, where, len(content) * _MAX_DEFLATE_RATIO)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(_("{where}: damaged gzip file: {error}", where=where, error=error)) from None


def _read_idx(file: io.BytesIO | gzip.GzipFile, where: str, size_bytes: int) -> np.ndarray:
    magic = file.read(4)
    if len(magic) < 4 or magic[:3] != b"\x00\x00\x08" or magic[3] not in (1, 3, 4):
        raise DataError(
            _(
                "{where}: expected an IDX file of bytes, but it begins with {value}",
                where=where,
                value=magic.hex(" ") or _("nothing"),
            )
        )
    header = file.read(4 * magic[3])
    shape = tuple(int(length) for length in np.frombuffer(header[: len(header) // 4 * 4], ">u4"))
    expected_bytes = math.prod(shape)
    if len(shape) < magic[3] or expected_bytes > size_bytes:
        raise DataError(
            _("{where}: truncated: the file is too short for the shape {shape} in its header", where=where, shape=shape)
        )
    body = file.read(expected_bytes + 1)  # one more byte reaches the end, where gzip checks its CRC
    if len(body) != expected_bytes:
        error = "truncated: fewer" if len(body) < expected_bytes else "damaged: more"
        raise DataError(
            _(
                "{where}: {error} than the {expected_bytes:,} bytes for the shape {shape} in its header",
                where=where,
                error=error,
                expected_bytes=expected_bytes,
                shape=shape,
            )
        )
    return np.frombuffer(body, np.uint8).reshape(shape)


def read_npz(path: Path, name: str, *, size: int | None, classes: Sequence[str] | None) -> DataSet:
    """Reads the arrays x_train and y_train, or train_images and train_labels; optional: val, test and class_names."""
    try:
        with np.load(path, allow_pickle=False) as file:
            parts = {
                part: Part(_array(file, images), _array(file, labels), f"{path}: {images}", f"{path}: {labels}")
                for part, keys in _NPZ_KEYS.items()
                for images, labels in keys
                if images in file.files and labels in file.files
            }
            keys_in_file = joined(sorted(file.files)) or "nothing"
            names = [str(name) for name in file[_CLASS_NAMES].tolist()] if _CLASS_NAMES in file.files else None
    except Exception as error:  # zip and numpy raise many types of errors
        raise DataError(_("{path}: cannot be read as .npz: {reason}", path=path, reason=first_line(error))) from None
    if "train" not in parts:
        raise DataError(
            _(
                "{path}: expected x_train and y_train, or train_images and train_labels, got {keys_in_file}",
                path=path,
                keys_in_file=keys_in_file,
            )
        )
    if names is not None and classes is not None and names != list(classes):
        raise DataError(
            _(
                "{path}: expected the class_names of {name}, in this order: {classes}",
                path=path,
                name=name,
                classes=joined(classes[:12]),
            )
        )
    return from_arrays(name, Parts(**parts), size=size, classes=classes if classes is not None else names)


def _array(file: Mapping[str, Any], key: str) -> np.ndarray:
    """Raises ValueError for a member that is not in the format of arrays; numpy returns its bytes."""
    array = file[key]
    if not isinstance(array, np.ndarray):
        raise ValueError(_("{key} is not an array", key=key))
    return array


def read_tensors(folder: Path, name: str, *, size: int | None, classes: Sequence[str] | None) -> DataSet:
    """Reads the four tensor files: images [N, 1 or 3, H, W], float in 0..1 or 0..255 or uint8, and integer labels."""
    return from_arrays(
        name, _parts_of([folder / file for file in TENSOR_FILES], read_tensor), size=size, classes=classes
    )


def read_tensor(path: Path) -> np.ndarray:
    """Reads a tensor saved by torch.save. A file with other objects is rejected and its code is not executed."""
    import pickle

    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # warnings about old but readable files
            tensor = torch.load(path, weights_only=True, map_location="cpu")
    except FileNotFoundError:
        raise DataError(
            _(
                "{path}: missing; the four tensor files are {tensor_files}",
                path=path,
                tensor_files=joined(TENSOR_FILES),
            )
        ) from None
    except pickle.UnpicklingError:
        raise DataError(
            _("{path}: expected a tensor, but the file is damaged or contains other objects", path=path)
        ) from None
    except Exception as error:  # zip, tar and pickle readers raise many types of errors
        raise DataError(
            _("{path}: cannot be read as a tensor file: {reason}", path=path, reason=first_line(error))
        ) from None
    if not isinstance(tensor, torch.Tensor):
        raise DataError(_("{path}: expected a tensor, got {name}", path=path, name=type(tensor).__name__))
    if tensor.device.type != "cpu" or tensor.layout != torch.strided or tensor.is_quantized or tensor.is_complex():
        raise DataError(
            _(
                "{path}: expected a dense tensor of real numbers, got {dtype}, {layout}",
                path=path,
                dtype=tensor.dtype,
                layout=tensor.layout,
            )
        )
    if tensor.nbytes > path.stat().st_size:  # the strides of an expanded tensor allow any size
        raise DataError(
            _("{path}: the file is too short for a tensor of shape {shape}", path=path, shape=tuple(tensor.shape))
        )
    if tensor.dtype == torch.bfloat16:
        tensor = tensor.float()
    return tensor.detach().resolve_conj().resolve_neg().contiguous().numpy()


def write_tensors(dataset: DataSet, folder: Path) -> list[Path]:
    """Writes the four tensor files: images float32 [N, C, H, W] in 0..1, labels int64 [N]. Returns their paths."""
    import torch

    if dataset.test is None:
        raise DataError(_("{name}: tensor files need a test set, which this data set does not have", name=dataset.name))
    if dataset.validation_indices is not None:
        raise DataError(_("{name}: tensor files cannot contain the validation set of a data set", name=dataset.name))
    paths = [folder / file for file in TENSOR_FILES]
    arrays = (array for part in (dataset.train, dataset.test) for array in (part.images / np.float32(255), part.labels))
    for path, array in zip(paths, arrays, strict=True):
        torch.save(torch.tensor(array), buffer := io.BytesIO())
        write_bytes(path, buffer.getvalue())
    return paths
