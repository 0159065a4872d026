"""Converts arrays of any common shape and scale to validated uint8 [N, C, H, H] images and int64 labels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from convoy.data.imageset import DataError, DataSet, ImageSet
from convoy.text import gettext as _
from convoy.text.lists import listed

LUMINANCE = (0.299, 0.587, 0.114)  # weights of red, green and blue: ITU-R BT.601, as in Pillow's mode L
_CHANNELS = (1, 3)
_HALF_LEVEL = 0.5  # tolerated rounding error of a value out of range, in levels of 0..255
_CHUNK = 1000  # images


class Part(NamedTuple):
    images: np.ndarray
    labels: np.ndarray
    where: str  # the file of the images, for messages
    where_labels: str


class Parts(NamedTuple):
    train: Part
    validation: Part | None = None
    test: Part | None = None

    def items(self) -> Iterator[tuple[str, Part]]:
        return ((name, part) for name, part in self._asdict().items() if part is not None)


def from_arrays(name: str, parts: Parts, *, size: int | None, classes: Sequence[str] | None = None) -> DataSet:
    """Creates a data set from the arrays of its parts.

    Images are [N, H, W], [N, C, H, W] or [N, H, W, C] with 1 or 3 channels, uint8 or numbers in 0..1 or 0..255. They
    are resized to `size` x `size` pixels, by default to their shorter side. Labels are integers that start at 0 (or at
    1, without `classes`). Raises DataError that names the file.
    """
    notes: list[str] = []
    parts = Parts(**{label: _converted(part, size, notes) for label, part in parts.items()})
    lowest, names = _class_names(parts.train, classes)
    for _label, part in parts.items():
        if part.images.shape[1:] != parts.train.images.shape[1:]:
            shapes = listed([_shape(parts.train.images[0]), _shape(part.images[0])])
            raise DataError(
                _(
                    "{where}: the training, validation and test images have different shapes, {shapes}; set data.size",
                    where=part.where,
                    shapes=shapes,
                )
            )
        outside = part.labels[(part.labels < lowest) | (part.labels >= lowest + len(names))]
        if len(outside):
            expected = _("{lower} to {upper}", lower=lowest, upper=lowest + len(names) - 1)
            raise DataError(
                _(
                    "{where_labels}: label {outside} is out of range, expected {expected}",
                    where_labels=part.where_labels,
                    outside=outside[0],
                    expected=expected,
                )
            )
    train, validation, test = (
        None if part is None else ImageSet(part.images, part.labels - lowest, names) for part in parts
    )
    assert train is not None
    validation_indices = None
    if validation is not None:
        validation_indices = np.arange(len(train), len(train) + len(validation))
        images = np.concatenate([train.images, validation.images])
        train = ImageSet(images, np.concatenate([train.labels, validation.labels]), names)
    return DataSet(name, train, validation_indices, test, tuple(dict.fromkeys(notes)))


def _converted(part: Part, size: int | None, notes: list[str]) -> Part:
    """Returns the part with images as uint8 [N, C, size, size] and labels as int64 [N]."""
    images = resize_and_crop(as_images(part.images, part.where), size, notes)
    labels = as_labels(part.labels, part.where_labels)
    if len(labels) != len(images):
        raise DataError(
            _(
                "{where_labels}: {n:,} labels for {images:,} images",
                where_labels=part.where_labels,
                n=len(labels),
                images=len(images),
            )
        )
    return part._replace(images=images, labels=labels)


def _shape(values: np.ndarray) -> str:
    return " x ".join(map(str, values.shape))


def as_images(values: np.ndarray, where: str) -> np.ndarray:
    """Converts to uint8 [N, C, H, W]. Floats are rounded to 256 levels; a maximum of 1 or less means the range 0..1."""
    shape = _shape(values)
    if values.ndim == 3:
        values = values[:, None]  # (N, H, W) -> (N, 1, H, W)
    if values.ndim != 4:
        raise DataError(
            _("{where}: expected shape [N, H, W], [N, C, H, W] or [N, H, W, C], got {shape}", where=where, shape=shape)
        )
    if values.shape[1] not in _CHANNELS and values.shape[3] in _CHANNELS:
        values = values.transpose(0, 3, 1, 2)  # (N, H, W, C) -> (N, C, H, W)
    if values.shape[1] not in _CHANNELS:
        raise DataError(
            _("{where}: expected 1 or 3 channels, first or last, got shape {shape}", where=where, shape=shape)
        )
    if values.size == 0:
        raise DataError(_("{where}: no images (shape {shape})", where=where, shape=shape))
    return np.ascontiguousarray(_as_levels(values, where))


def _as_levels(values: np.ndarray, where: str) -> np.ndarray:
    if values.dtype == np.uint8:
        return values
    if values.dtype == np.bool_:
        return values.astype(np.uint8) * np.uint8(255)
    if values.dtype.kind not in "uif":
        raise DataError(_("{where}: expected numbers as images, got {dtype}", where=where, dtype=values.dtype))
    low, high = float(values.min()), float(values.max())  # NaN passes through both
    scale = 255 if values.dtype.kind == "f" and high * 255 <= 255 + _HALF_LEVEL else 1
    if not (low * scale >= -_HALF_LEVEL and high * scale <= 255 + _HALF_LEVEL):
        raise DataError(
            _(
                "{where}: expected images in 0..1 or 0..255, not normalised, got values from {low:.4g} to {high:.4g}",
                where=where,
                low=low,
                high=high,
            )
        )
    levels = np.empty(values.shape, np.uint8)
    for start in range(0, len(values), _CHUNK):  # in chunks, because float64 images need eight times the memory
        chunk = values[start : start + _CHUNK].astype(np.float64) * scale
        levels[start : start + _CHUNK] = np.rint(chunk).clip(0, 255)
    return levels


def as_labels(values: np.ndarray, where: str) -> np.ndarray:
    """Converts labels [N] or [N, 1] of an integer type to int64 [N]."""
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1 or values.dtype.kind not in "ui":
        actual = _("{dtype} of shape {shape}", dtype=values.dtype, shape=_shape(values))
        raise DataError(_("{where}: expected one integer label per image, got {actual}", where=where, actual=actual))
    if len(values) and values.max() > np.iinfo(np.int64).max:
        raise DataError(_("{where}: label {highest} is out of range", where=where, highest=values.max()))
    return values.astype(np.int64)


def _class_names(train: Part, classes: Sequence[str] | None) -> tuple[int, tuple[str, ...]]:
    """Returns the lowest label and the class names. Without `classes`, gaps between labels raise DataError."""
    labels, where = np.unique(train.labels), train.where_labels
    lowest = int(labels[0]) if classes is None and labels[0] in (0, 1) else 0
    names = tuple(classes) if classes is not None else tuple(str(lowest + index) for index in range(len(labels)))
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(
            _(
                "{where}: expected unique class names, got {repeated!r} {count} times",
                where=where,
                repeated=repeated[0],
                count=names.count(repeated[0]),
            )
        )
    outside = labels[(labels < lowest) | (labels >= lowest + len(names))]
    if len(outside):
        expected = (
            _("labels from 0 without gaps")
            if classes is None
            else _("{lower} to {upper}", lower=0, upper=len(names) - 1)
        )
        raise DataError(
            _(
                "{where}: label {outside} is out of range, expected {expected}",
                where=where,
                outside=outside[-1],
                expected=expected,
            )
        )
    if len(names) < 2 or len(labels) < 2:
        raise DataError(
            _(
                "{where}: expected at least two classes, but all images have the label {labels}",
                where=where,
                labels=labels[0],
            )
        )
    return lowest, names


def resize_and_crop(images: np.ndarray, size: int | None, notes: list[str]) -> np.ndarray:
    """Resizes the shorter side (bilinear, anti-aliased) and crops the centre; returns uint8 [N, C, size, size]."""
    height, width = images.shape[2:]
    target = size if size is not None else min(height, width)
    if height == width == target:
        return images
    if size is None:
        notes.append(
            _(
                "images of {width} x {height} pixels were cropped to {target} x {target}",
                width=width,
                height=height,
                target=target,
            )
        )
    if min(height, width) != target:
        images = resize(images, round(height * target / min(height, width)), round(width * target / min(height, width)))
        height, width = images.shape[2:]
    top, left = (height - target) // 2, (width - target) // 2
    return np.ascontiguousarray(images[:, :, top : top + target, left : left + target])


def resize(images: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resizes uint8 [N, C, H, W] (bilinear, anti-aliased)."""
    import torch
    from torch.nn.functional import interpolate

    resized = np.empty((*images.shape[:2], height, width), np.uint8)
    for start in range(0, len(images), _CHUNK):
        chunk = torch.tensor(images[start : start + _CHUNK])
        chunk = interpolate(chunk, (height, width), mode="bilinear", antialias=True)
        resized[start : start + _CHUNK] = chunk.numpy()
    return resized
