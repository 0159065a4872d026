"""Readers for the published files of named data sets. Each reads the files of one part, training or test.

The MD5 hashes in the catalogue show that the files are the published ones, so the readers do not validate contents.
"""

from __future__ import annotations

import bz2
import io
import os
import pickle
from collections.abc import Sequence
from typing import Any

import numpy as np

from convoy.data.arrays import Part, Parts
from convoy.data.formats import read_idx_bytes
from convoy.data.imageset import DataError
from convoy.data.named import Content
from convoy.text import gettext as _

_CIFAR_BYTES = 3 * 32 * 32  # bytes of an image, by colour plane
_ARRAY_CONSTRUCTORS = {"numpy.core.multiarray._reconstruct", "numpy.ndarray", "numpy.dtype"}


class _ArraysOnly(pickle.Unpickler):
    """Allows only NumPy's array constructors. Only for files with a known MD5: a forged array could corrupt memory."""

    def find_class(self, module: str, name: str) -> Any:
        if f"{module}.{name}" not in _ARRAY_CONSTRUCTORS:
            raise pickle.UnpicklingError(_("expected only arrays, got {module}.{name}", module=module, name=name))
        return super().find_class(module, name)


def read_cifar_python(files: Sequence[Content], *, labels: str = "labels") -> Part:
    """Reads CIFAR's "python version" (https://www.cs.toronto.edu/~kriz/cifar.html); `labels`: the key of the labels."""
    batches = [_ArraysOnly(io.BytesIO(file.data), encoding="latin1").load() for file in files]
    images = np.concatenate([np.asarray(batch["data"], np.uint8) for batch in batches])
    return _cifar(images, np.concatenate([np.array(batch[labels], np.int64) for batch in batches]), files)


def read_cifar_binary(files: Sequence[Content], *, label_bytes: int = 1) -> Part:
    """Reads the "binary version". `label_bytes` bytes precede each image; the last one is the (fine) label."""
    length = label_bytes + _CIFAR_BYTES
    for file in files:
        if len(file.data) % length:
            raise DataError(
                _(
                    "{where}: truncated: {n:,} bytes, expected a multiple of {length:,}",
                    where=file.where,
                    n=len(file.data),
                    length=length,
                )
            )
    records = np.frombuffer(b"".join(file.data for file in files), np.uint8).reshape(-1, length)
    return _cifar(records[:, label_bytes:], records[:, label_bytes - 1], files)


def _cifar(images: np.ndarray, labels: np.ndarray, files: Sequence[Content]) -> Part:
    where = os.path.commonprefix([file.where for file in files])  # noqa: RUF071  by character, on purpose
    return Part(images.reshape(-1, 3, 32, 32), labels, where, where)


def read_emnist(files: Sequence[Content], *, first_label: int = 0) -> Part:
    """Reads IDX files with transposed images (https://www.nist.gov/itl/products-and-services/emnist-dataset).

    `first_label`: the label of the first class (1 for letters).
    """
    images, labels = (read_idx_bytes(file.data, file.where) for file in files)
    return Part(images.swapaxes(1, 2), labels.astype(np.int64) - first_label, *(file.where for file in files))


def read_stl10(files: Sequence[Content]) -> Part:
    """Reads uint8 images [N, C, W, H], stored by column (https://cs.stanford.edu/~acoates/stl10), and labels from 1."""
    images, labels = (np.frombuffer(file.data, np.uint8) for file in files)
    upright = images.reshape(-1, 3, 96, 96).swapaxes(2, 3)
    return Part(upright, labels.astype(np.int64) - 1, *(file.where for file in files))


def read_svhn(files: Sequence[Content]) -> Part:
    """Reads a MATLAB file with images [H, W, C, N]; digit 0 is label 10 (http://ufldl.stanford.edu/housenumbers)."""
    from scipy.io import loadmat

    variables = loadmat(io.BytesIO(files[0].data), variable_names=["X", "y"])
    images, digits = (np.asarray(variables[name]) for name in ("X", "y"))
    return Part(images.transpose(3, 2, 0, 1), digits.reshape(-1).astype(np.int64) % 10, *2 * (files[0].where,))


def read_usps(files: Sequence[Content]) -> Part:
    """Reads LIBSVM lines compressed by bzip2: the digit plus 1, and 16 x 16 values from -1 to 1.

    https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets
    """
    from sklearn.datasets import load_svmlight_file

    with bz2.open(io.BytesIO(files[0].data)) as lines:
        values, labels = load_svmlight_file(lines, n_features=256, zero_based=False)
    images = (values.toarray().reshape(-1, 16, 16) + 1) / 2
    return Part(images, labels.astype(np.int64) - 1, *2 * (files[0].where,))


def read_digits() -> Parts:
    """Reads the digits of scikit-learn: the test set of a UCI data set, 8 x 8 pixels in 17 grey levels.

    https://archive.ics.uci.edu/dataset/80/optical+recognition+of+handwritten+digits
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    return Parts(Part(digits.images / 16, digits.target, *2 * ("scikit-learn's digits",)))
