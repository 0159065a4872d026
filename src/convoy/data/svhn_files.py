"""The published files of SVHN, cropped digits: MATLAB files with images [H, W, C, N] and the digit 0 as class 10.

http://ufldl.stanford.edu/housenumbers
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from convoy.data.archives import Layout, Member
from convoy.data.arrays import Part
from convoy.data.imageset import DataError
from convoy.data.named import Form


def svhn_files(md5: Mapping[str, str | None]) -> Form:
    """`md5`: the training file and the test file, with their MD5 if known."""
    members = tuple(Member(name, 300_000_000, known) for name, known in md5.items())

    def decode(contents: Mapping[str, bytes], source: Path) -> dict[str, Part]:
        return {
            part: _read(contents[member.name], str(source / member.name))
            for part, member in zip(("train", "test"), members, strict=True)
        }

    return Form(Layout(members), decode)


def _read(content: bytes, where: str) -> Part:
    from scipy.io import loadmat

    try:
        variables = loadmat(io.BytesIO(content), variable_names=["X", "y"])
        images, labels = variables["X"], variables["y"].reshape(-1)
    except Exception as error:  # the reader raises many types of errors
        line = next(iter(str(error).splitlines()), type(error).__name__)
        raise DataError(f"{where}: cannot be read as a MATLAB file with X and y: {line}") from None
    if images.ndim != 4 or images.dtype != np.uint8 or labels.dtype.kind not in "ui":
        raise DataError(f"{where}: expected uint8 X [H, W, C, N] and integer y, got {images.dtype} {images.shape}")
    digits = labels.astype(np.int64)
    return images.transpose(3, 2, 0, 1), np.where(digits == 10, 0, digits), where, where
