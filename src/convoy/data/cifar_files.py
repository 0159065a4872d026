"""The published files of CIFAR-10 and CIFAR-100: the "python version" and the "binary version".

Both store images as 3 x 32 x 32 bytes, one colour plane after the other. https://www.cs.toronto.edu/~kriz/cifar.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from convoy.data.archives import Layout, Member
from convoy.data.arrays import Part
from convoy.data.imageset import DataError
from convoy.data.named import Form
from convoy.data.pickled import read_pickled

_IMAGE_BYTES = 3 * 32 * 32


def python_version(
    archive: str, folder: str, *, train: Mapping[str, str | None], test: Mapping[str, str | None], labels: str
) -> Form:
    """`train` and `test` map the members' names to their MD5, if known; `labels` is the key of the labels."""
    members = tuple(Member(name, 200_000_000, md5) for name, md5 in (*train.items(), *test.items()))

    def decode(contents: Mapping[str, bytes], source: Path) -> dict[str, Part]:
        return {
            part: _joined([_batch(contents[name], labels, f"{source}: {name}") for name in names], f"{source}: {part}")
            for part, names in (("train", train), ("test", test))
        }

    return Form(Layout(members, archive, folder), decode)


def _batch(content: bytes, labels_key: str, where: str) -> tuple[np.ndarray, np.ndarray]:
    batch = read_pickled(content, where)
    images, labels = batch.get("data"), batch.get(labels_key)
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.shape[1:] != (_IMAGE_BYTES,):
        actual = f"{images.dtype} of shape {images.shape}" if isinstance(images, np.ndarray) else type(images).__name__
        raise DataError(f"{where}: expected 'data' to be uint8 of shape (N, {_IMAGE_BYTES}), got {actual}")
    if not isinstance(labels, list) or not all(type(label) is int for label in labels):
        raise DataError(f"{where}: expected {labels_key!r} to be a list of integers")
    if len(labels) != len(images):
        raise DataError(f"{where}: {len(labels):,} labels for {len(images):,} images")
    return images.reshape(-1, 3, 32, 32), np.array(labels, np.int64)


def binary_version(
    archive: str, folder: str, *, train: Sequence[str], test: Sequence[str], label_bytes: int = 1
) -> Form:
    """`label_bytes` precede each image; the last one is the class (in CIFAR-100, the superclass comes first)."""
    members = tuple(Member(name, 200_000_000) for name in (*train, *test))

    def decode(contents: Mapping[str, bytes], source: Path) -> dict[str, Part]:
        return {
            part: _joined([_records(contents[name], label_bytes, f"{source}: {name}") for name in names], str(source))
            for part, names in (("train", train), ("test", test))
        }

    return Form(Layout(members, archive, folder), decode)


def _records(content: bytes, label_bytes: int, where: str) -> tuple[np.ndarray, np.ndarray]:
    length = label_bytes + _IMAGE_BYTES
    if len(content) % length:
        raise DataError(
            f"{where}: truncated: {len(content):,} bytes, expected a multiple of {length:,} (label and image)"
        )
    records = np.frombuffer(content, np.uint8).reshape(-1, length)
    return records[:, label_bytes:].reshape(-1, 3, 32, 32), records[:, label_bytes - 1]


def _joined(batches: list[tuple[np.ndarray, np.ndarray]], where: str) -> Part:
    images, labels = (np.concatenate(arrays) for arrays in zip(*batches, strict=True))
    return images, labels, where, where
