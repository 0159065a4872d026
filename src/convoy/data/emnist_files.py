"""The published files of EMNIST: one zip with the gzipped IDX files of all six splits, with transposed images.

https://www.nist.gov/itl/products-and-services/emnist-dataset
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from convoy.data.archives import Layout, Member
from convoy.data.arrays import Part
from convoy.data.formats import read_idx_bytes
from convoy.data.named import Form


def emnist_files(split: str, *, first_label: int = 0, unpacked: bool = False) -> Form:
    """`first_label`: the label of the first class in the files (1 for letters). `unpacked`: plain IDX files."""
    names = {
        (part, kind): f"emnist-{split}-{part}-{kind}-{idx}-ubyte{'' if unpacked else '.gz'}"
        for part in ("train", "test")
        for kind, idx in (("images", "idx3"), ("labels", "idx1"))
    }
    members = tuple(Member(name, 500_000_000) for name in names.values())

    def decode(contents: Mapping[str, bytes], source: Path) -> dict[str, Part]:
        parts: dict[str, Part] = {}
        for part in ("train", "test"):
            images_at, labels_at = (f"{source}: {names[part, kind]}" for kind in ("images", "labels"))
            images = read_idx_bytes(contents[names[part, "images"]], images_at)
            labels = read_idx_bytes(contents[names[part, "labels"]], labels_at)
            if images.ndim == 3:  # from_arrays rejects other shapes
                images = images.swapaxes(1, 2)  # transposed in the files
            parts[part] = (images, labels.astype(np.int64) - first_label, images_at, labels_at)
        return parts

    return Form(Layout(members) if unpacked else Layout(members, "gzip.zip", "gzip"), decode)
