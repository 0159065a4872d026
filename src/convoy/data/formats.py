"""Arrays from files that a user gives: IDX, .npz, and the four tensor files; nothing in them is trusted.

Every fault becomes a DataError that names the file.
"""

from __future__ import annotations

import gzip
import io
import math
import re
import warnings
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from convoy.data.arrays import Part, from_arrays
from convoy.data.imageset import DataError, DataSet
from convoy.files import write_bytes

TENSOR_FILES = ("train_data.pth", "train_labels.pth", "test_data.pth", "test_labels.pth")
_IDX_NAME = re.compile(r"(train|t10k|test)-(images|labels)[-.]idx\d-ubyte(\.gz)?$")
_NPZ_KEYS = {  # Keras' words, MedMNIST's words
    "train": (("x_train", "y_train"), ("train_images", "train_labels")),
    "validation": (("x_val", "y_val"), ("val_images", "val_labels")),
    "test": (("x_test", "y_test"), ("test_images", "test_labels")),
}
_MAX_DEFLATE_RATIO = 1032


def idx_files(folder: Path) -> list[Path]:
    """The IDX files of a folder, train before test, images before labels; empty if it holds none.

    Where a file stands there both plain and as .gz, the plain one is taken.
    """
    roles: dict[tuple[bool, str], Path] = {}
    for path in sorted(folder.iterdir()):  # a.gz comes after a
        match = _IDX_NAME.search(path.name)
        if match is None:
            continue
        role = (match[1] != "train", match[2])
        known = roles.setdefault(role, path)
        if known is not path and path.name != known.name + ".gz":
            raise DataError(f"{folder}: both {known.name} and {path.name} could be the {match[1]} {match[2]}")
    if not roles:
        return []
    for is_test in sorted({is_test for is_test, _ in roles} | {False}):
        for kind in ("images", "labels"):
            if (is_test, kind) not in roles:
                raise DataError(f"{folder}: the IDX file of the {'test' if is_test else 'training'} {kind} is missing")
    return [roles[role] for role in sorted(roles)]


def read_idx_folder(folder: Path, name: str, *, size: int | None, classes: Sequence[str] | None) -> DataSet:
    files = idx_files(folder)
    arrays = [read_idx(path) for path in files]
    parts = {
        part: (arrays[first], arrays[first + 1], str(files[first]), str(files[first + 1]))
        for part, first in (("train", 0), ("test", 2))
        if first < len(files)
    }
    return from_arrays(name, parts, size=size, classes=classes)


def read_idx(path: Path) -> np.ndarray:
    """The uint8 array of an IDX file (http://yann.lecun.com/exdb/mnist), plain or gzip by its first two bytes."""
    try:
        with open(path, "rb") as raw:
            return _read_plain_or_gzip(raw, str(path), path.stat().st_size)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None


def read_idx_bytes(content: bytes, where: str) -> np.ndarray:
    """The same of what a file holds."""
    return _read_plain_or_gzip(io.BytesIO(content), where, len(content))


def _read_plain_or_gzip(raw: BinaryIO, where: str, size_bytes: int) -> np.ndarray:
    is_gzip = raw.read(2) == b"\x1f\x8b"
    raw.seek(0)
    if not is_gzip:
        return _read_idx(raw, where, size_bytes)
    try:
        with gzip.GzipFile(fileobj=raw) as unpacked:
            return _read_idx(unpacked, where, size_bytes * _MAX_DEFLATE_RATIO)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{where}: damaged gzip file: {error}") from None


def _read_idx(file: BinaryIO | gzip.GzipFile, where: str, size_bytes: int) -> np.ndarray:
    magic = file.read(4)
    if len(magic) < 4 or magic[:3] != b"\x00\x00\x08" or magic[3] not in (1, 3, 4):
        raise DataError(f"{where}: is not an IDX file of bytes (it begins with {magic.hex(' ') or 'nothing'})")
    header = file.read(4 * magic[3])
    shape = tuple(int(length) for length in np.frombuffer(header[: len(header) // 4 * 4], ">u4"))
    expected_bytes = math.prod(shape)
    if len(shape) < magic[3] or expected_bytes > size_bytes:
        raise DataError(f"{where}: is truncated: its header promises more than the file can hold")
    body = file.read(expected_bytes + 1)  # the byte too many reaches the end, where gzip checks its CRC
    if len(body) != expected_bytes:
        fault = "is truncated: it holds fewer" if len(body) < expected_bytes else "is damaged: it holds more"
        raise DataError(f"{where}: {fault} bytes than the {expected_bytes:,} that its header {shape} promises")
    return np.frombuffer(body, np.uint8).reshape(shape)


def read_npz(path: Path, name: str, *, size: int | None, classes: Sequence[str] | None) -> DataSet:
    """x_train, y_train, x_test, y_test (and x_val, y_val), or train_images, train_labels and so on; class_names."""
    try:
        with np.load(path, allow_pickle=False) as file:
            found = set(file.files)
            parts: dict[str, Part] = {}
            for part, words in _NPZ_KEYS.items():
                for images_key, labels_key in words:
                    if images_key in found and labels_key in found:
                        where = (f"{path}: {images_key}", f"{path}: {labels_key}")
                        parts[part] = (file[images_key], file[labels_key], *where)
            names = [str(name) for name in file["class_names"].tolist()] if "class_names" in found else None
    except Exception as error:  # zip, numpy's header and its refusal of pickles fail in many ways
        raise DataError(f"{path}: cannot be read as .npz: {_first_line(error)}") from None
    if "train" not in parts:
        keys = ", ".join(sorted(found)) or "nothing"
        raise DataError(f"{path}: needs x_train and y_train, or train_images and train_labels; it holds {keys}")
    if names is not None and classes is not None and names != list(classes):
        raise DataError(f"{path}: class_names are not those of {name} in its order, {', '.join(classes[:12])}")
    return from_arrays(name, parts, size=size, classes=classes if classes is not None else names)


def read_tensors(folder: Path, name: str, *, size: int | None, classes: Sequence[str] | None) -> DataSet:
    """The four tensor files: images float [N, 1 or 3, H, W] in 0..1 or 0..255, or uint8; labels of an integer type."""
    paths = [folder / file for file in TENSOR_FILES]
    arrays = [read_tensor(path) for path in paths]
    parts = {
        "train": (arrays[0], arrays[1], str(paths[0]), str(paths[1])),
        "test": (arrays[2], arrays[3], str(paths[2]), str(paths[3])),
    }
    return from_arrays(name, parts, size=size, classes=classes)


def read_tensor(path: Path) -> np.ndarray:
    """The one tensor that torch.save wrote to a file; a file that holds code is refused and not run."""
    import pickle

    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # hints on old but readable files
            tensor = torch.load(path, weights_only=True, map_location="cpu")
    except FileNotFoundError:
        raise DataError(f"{path}: does not exist; the four tensor files are {', '.join(TENSOR_FILES)}") from None
    except pickle.UnpicklingError:
        raise DataError(f"{path}: is damaged or holds more than tensors (code is not run)") from None
    except Exception as error:  # zip, tar and pickle readers fail in many ways
        raise DataError(f"{path}: cannot be read as a tensor file: {_first_line(error)}") from None
    if not isinstance(tensor, torch.Tensor):
        raise DataError(f"{path}: holds a {type(tensor).__name__}, not a tensor")
    if tensor.device.type != "cpu" or tensor.layout != torch.strided or tensor.is_quantized or tensor.is_complex():
        raise DataError(f"{path}: holds a tensor that is not plain numbers ({tensor.dtype}, {tensor.layout})")
    if tensor.nbytes > path.stat().st_size:  # a few bytes can claim to be a tensor of any size
        raise DataError(f"{path}: is smaller than the tensor {tuple(tensor.shape)} that it claims to hold")
    if tensor.dtype == torch.bfloat16:
        tensor = tensor.float()
    return tensor.detach().resolve_conj().resolve_neg().contiguous().numpy()


def write_tensors(dataset: DataSet, folder: Path) -> list[Path]:
    """The data set as four files: images float32 [N, C, H, W] in 0..1, labels int64 [N]. Returns their paths."""
    import torch

    if dataset.test is None:
        raise DataError(f"{dataset.name}: has no test part, and tensor files need one")
    if dataset.validation_indices is not None:
        raise DataError(f"{dataset.name}: has a validation part, for which there is no tensor file")
    paths = [folder / file for file in TENSOR_FILES]
    for part, (images_path, labels_path) in ((dataset.train, paths[:2]), (dataset.test, paths[2:])):
        for path, tensor in (
            (images_path, torch.from_numpy(part.images / np.float32(255))),
            (labels_path, torch.tensor(part.labels)),
        ):
            torch.save(tensor, buffer := io.BytesIO())
            try:
                write_bytes(path, buffer.getvalue())
            except OSError as error:
                raise DataError(f"{path}: cannot be written: {error.strerror or error}") from None
    return paths


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
