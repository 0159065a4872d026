"""The files of USPS as published by LIBSVM: one line per image, `label index:value ...`, compressed with bzip2.

The label is the digit plus 1; values are from -1 to 1. https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets
"""

from __future__ import annotations

import bz2
import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from convoy.data.archives import Layout, Member
from convoy.data.arrays import Part
from convoy.data.imageset import DataError
from convoy.data.named import Form

_SIDE = 16
_MOST_TEXT_BYTES = 100_000_000


def usps_files(md5: Mapping[str, str | None]) -> Form:
    """`md5`: the training file and the test file, with their MD5 if known."""
    members = tuple(Member(name, 20_000_000, known) for name, known in md5.items())

    def decode(contents: Mapping[str, bytes], source: Path) -> dict[str, Part]:
        return {
            part: _read(contents[member.name], str(source / member.name))
            for part, member in zip(("train", "test"), members, strict=True)
        }

    return Form(Layout(members), decode)


def _read(content: bytes, where: str) -> Part:
    try:
        with bz2.open(io.BytesIO(content)) as unpacked:
            text = unpacked.read(_MOST_TEXT_BYTES)
    except (OSError, EOFError) as error:
        raise DataError(f"{where}: damaged bzip2 file: {error}") from None
    images, labels = [], []
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            label, *pairs = line.split()
            image = np.zeros(_SIDE * _SIDE)  # omitted values are 0
            indices, values = zip(*(pair.split(b":") for pair in pairs), strict=True)
            places = np.array(indices, np.int64) - 1
            if places.min() < 0:
                raise IndexError
            image[places] = np.array(values, np.float64)
            labels.append(int(label) - 1)
        except (ValueError, IndexError):
            expected = f"a label and pairs index:value with indices up to {_SIDE**2}"
            raise DataError(f"{where}, line {number}: expected {expected}") from None
        images.append(image)
    if not images:
        raise DataError(f"{where}: no images")
    return (np.stack(images).reshape(-1, _SIDE, _SIDE) + 1) / 2, np.array(labels), where, where
