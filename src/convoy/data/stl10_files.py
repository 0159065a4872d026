"""The published files of STL-10: bytes by image, colour plane and column. The unlabelled images are not read.

https://cs.stanford.edu/~acoates/stl10
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from convoy.data.archives import Layout, Member
from convoy.data.arrays import Part
from convoy.data.imageset import DataError
from convoy.data.named import Form

_IMAGE_BYTES = 3 * 96 * 96


def stl10_files(md5: Mapping[str, str | None]) -> Form:
    """`md5`: the training images, training labels, test images and test labels, with their MD5 if known."""
    members = tuple(Member(name, 300_000_000, known) for name, known in md5.items())

    def decode(contents: Mapping[str, bytes], source: Path) -> dict[str, Part]:
        train_images, train_labels, test_images, test_labels = (member.name for member in members)
        return {
            "train": _read(contents, train_images, train_labels, source),
            "test": _read(contents, test_images, test_labels, source),
        }

    return Form(Layout(members, "stl10_binary.tar.gz", "stl10_binary"), decode)


def _read(contents: Mapping[str, bytes], images_name: str, labels_name: str, source: Path) -> Part:
    content = contents[images_name]
    if len(content) % _IMAGE_BYTES:
        raise DataError(
            f"{source}: {images_name} is truncated: {len(content):,} bytes, expected a multiple of {_IMAGE_BYTES:,}"
        )
    images = np.frombuffer(content, np.uint8).reshape(-1, 3, 96, 96).swapaxes(2, 3)  # column-major
    labels = np.frombuffer(contents[labels_name], np.uint8).astype(np.int64) - 1
    return images, labels, f"{source}: {images_name}", f"{source}: {labels_name}"
