"""Small data sets in published formats, and catalogue entries for them."""

from __future__ import annotations

import gzip
import hashlib
import io
import struct
import tarfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from convoy.data import DATA_SETS
from convoy.data.named import FileFormat


def random_images(count: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, *shape), dtype=np.uint8)


def expect(
    patch: pytest.MonkeyPatch, name: str, counts: tuple[int, ...], file_format: FileFormat | None = None
) -> None:
    """Changes the catalogue's counts of images and, with `file_format`, the hashes of its files."""
    entry = replace(DATA_SETS[name], counts=counts)
    patch.setitem(DATA_SETS._entries, name, entry if file_format is None else replace(entry, formats=(file_format,)))


def tar_gz(path: Path, members: Mapping[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def idx_gz(values: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape)
    return gzip.compress(header + values.astype(np.uint8).tobytes(), 1)


def python2_batch(images: np.ndarray, labels: np.ndarray, labels_key: str = "labels") -> bytes:
    """A batch of images [N, 3, 32, 32] as Python 2's cPickle wrote it, opcode by opcode."""

    def text(value: str) -> bytes:
        return b"U" + bytes([len(value)]) + value.encode()

    def integer(value: int) -> bytes:
        return b"K" + bytes([value]) if value < 256 else b"M" + struct.pack("<H", value)

    array = (
        b"cnumpy.core.multiarray\n_reconstruct\nq\x06cnumpy\nndarray\nq\x07K\x00\x85U\x01b\x87Rq\x08"
        + (b"(K\x01" + integer(len(images)) + integer(3072) + b"\x86cnumpy\ndtype\nq\x09U\x02u1K\x00K\x01\x87Rq\x0a")
        + b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
        + (b"T" + struct.pack("<i", images.size) + images.tobytes() + b"tb")
    )
    return (
        (b"\x80\x02}q\x01(" + text("batch_label") + b"q\x02" + text("training batch 1 of 5") + b"q\x03")
        + (text(labels_key) + b"q\x04]q\x05(" + b"".join(integer(int(label)) for label in labels) + b"e")
        + (text("data") + array)
        + (text("filenames") + b"q\x0b]q\x0c(" + text("leptodactylus_s_000004.png") + b"q\x0de")
        + b"u."
    )
