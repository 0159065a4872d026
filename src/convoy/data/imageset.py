"""Data sets in memory: uint8 images and labels, with a hash of the content."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256

import numpy as np


class DataError(ValueError):
    """Raised for data that cannot be used. The message is one line that names the file."""


def first_line(error: Exception) -> str:
    """The first line of another package's error message, or the name of the error's type if the message is empty."""
    return next(iter(str(error).splitlines()), type(error).__name__)


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Square images, uint8 [N, C, H, H], with labels, int64 [N], that index `classes`.

    The images may be memory-mapped from the cache, shared by all processes that use them.
    """

    images: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    cached_hash: str | None = None  # content_hash, if the cache has it

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 over shape, pixels, labels and class names."""
        digest = sha256(repr((self.images.shape, self.classes)).encode())
        digest.update(np.ascontiguousarray(self.images).data)
        digest.update(np.ascontiguousarray(self.labels, dtype="<i8").data)
        return digest.hexdigest()

    def __post_init__(self) -> None:
        assert self.images.dtype == np.uint8, self.images.dtype
        assert self.images.ndim == 4, self.images.shape
        assert self.images.shape[2] == self.images.shape[3], self.images.shape
        assert self.labels.dtype == np.int64, self.labels.dtype
        assert self.labels.shape == self.images.shape[:1], self.labels.shape
        if self.cached_hash is not None:
            self.__dict__["content_hash"] = self.cached_hash

    def __len__(self) -> int:
        return len(self.images)

    @property
    def channels(self) -> int:
        return self.images.shape[1]

    @property
    def size(self) -> int:
        """The side of an image, in pixels."""
        return self.images.shape[2]

    @property
    def class_counts(self) -> list[int]:
        return np.bincount(self.labels, minlength=len(self.classes)).tolist()

    def take(self, indices: np.ndarray) -> ImageSet:
        """The images at these indices, in their order."""
        if len(indices) == len(self) and np.array_equal(indices, np.arange(len(self))):
            return self  # avoids a copy of memory that processes share
        return ImageSet(self.images[indices], self.labels[indices], self.classes)


class SealedTest:
    """A test set whose images can be read only by `open`, which first records the opening."""

    def __init__(self, images: ImageSet) -> None:
        self._images = images

    def __len__(self) -> int:
        return len(self._images)

    @property
    def channels(self) -> int:
        return self._images.channels

    @property
    def size(self) -> int:
        return self._images.size

    @property
    def content_hash(self) -> str:
        return self._images.content_hash

    @property
    def class_counts(self) -> list[int]:
        return self._images.class_counts

    def open(self, record: Callable[[str], object]) -> ImageSet:
        """Calls `record`, which counts the opening, with the content hash. Returns the images."""
        record(self.content_hash)
        return self._images


@dataclass(frozen=True, eq=False)
class DataSet:
    name: str
    train: ImageSet  # includes the data set's own validation images
    validation_indices: np.ndarray | None = None  # int64, into train
    test: ImageSet | None = None
    notes: tuple[str, ...] = ()  # messages for the user about how the files were read
    cache_key: str | None = None  # key of the cache entry; None if the entry could not be written
    # paths of training images, relative to the image folder; None for other sources
    paths: tuple[str, ...] | None = None

    @property
    def parts(self) -> dict[str, ImageSet]:
        """The images of train (without validation), validation and test; only the parts that the data set has."""
        parts = {"train": self.train}
        if self.validation_indices is not None:
            train_indices = np.setdiff1d(np.arange(len(self.train)), self.validation_indices)
            parts = {"train": self.train.take(train_indices), "validation": self.train.take(self.validation_indices)}
        return parts if self.test is None else parts | {"test": self.test}

    @property
    def test_pool(self) -> ImageSet:
        """The images that `Split.test` indexes."""
        return self.train if self.test is None else self.test

    @cached_property
    def content_hash(self) -> str:
        digest = sha256(self.train.content_hash.encode())
        if self.validation_indices is not None:
            digest.update(b"validation" + np.ascontiguousarray(self.validation_indices, dtype="<i8").tobytes())
        if self.test is not None:
            digest.update(b"test" + self.test.content_hash.encode())
        return digest.hexdigest()
