"""Loads, splits and limits the data of a recipe and computes their normalisation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256

import numpy as np

from convoy.data.duplicates import count_copies
from convoy.data.groups import groups_of, values_of
from convoy.data.imageset import DataError, DataSet, ImageSet, SealedTest
from convoy.data.sources import load
from convoy.data.splits import Split, limit_split, make_folds, make_split
from convoy.recipe.sections import Data
from convoy.text import gettext as _
from convoy.text import ngettext
from convoy.text.lists import listed

NOTED_COPIES = 0.01  # fraction of a scored part


@dataclass(frozen=True, eq=False)
class PreparedData:
    name: str
    train: ImageSet
    validation: ImageSet | None
    test: SealedTest | None
    test_is_split_off: bool  # split off from the training images, because the data have no test set
    fold: ImageSet | None  # scored in cross-validation; not used in training, normalisation or selection
    mean: tuple[float, ...]  # per channel, of pixels in 0..1
    std: tuple[float, ...]
    data_hash: str
    split: Split
    notes: tuple[str, ...]
    limit: int | None
    groups: Mapping[str, np.ndarray]  # by part that can be scored: str [N], the groups of data.split.group_by

    @property
    def classes(self) -> tuple[str, ...]:
        return self.train.classes

    @property
    def in_chans(self) -> int:
        return self.train.channels

    @property
    def image_size(self) -> int:
        return self.train.size

    @property
    def split_hash(self) -> str:
        return self.split.hash

    @property
    def parts_hash(self) -> dict[str, str]:
        """SHA-256 over the data's hash and the indices, for each part that can be scored."""
        parts = {"validation": self.split.validation, "test": self.split.test, "fold": self.split.fold}
        return {
            name: sha256(self.data_hash.encode() + np.ascontiguousarray(indices, dtype="<i8").tobytes()).hexdigest()
            for name, indices in parts.items()
            if len(indices)
        }


def prepare(spec: Data, dataset: DataSet | None = None) -> PreparedData:
    """Prepares the data named in `spec`, or `dataset` if it is not None.

    Raises DataError, and ValueError for an unknown name. `with_normalisation` resolves the normalisation "weights"
    later.
    """
    dataset = dataset or load(spec.name, size=spec.size)
    split = _split(dataset, spec)
    train = dataset.train.take(split.train)
    test = dataset.test_pool.take(split.test)
    mean, std = (
        channel_statistics(train.images) if isinstance(spec.normalise, str) else fixed_statistics(spec, train.channels)
    )
    validation, fold = dataset.train.take(split.validation), dataset.train.take(split.fold)
    return PreparedData(
        name=dataset.name,
        train=train,
        validation=validation if len(validation) else None,
        test=SealedTest(test) if len(test) else None,
        test_is_split_off=dataset.test is None,
        fold=fold if len(fold) else None,
        mean=mean,
        std=std,
        data_hash=dataset.content_hash,
        split=split,
        notes=(
            *dataset.notes,
            *_missing_classes(dataset, split),
            *_copies_in_training(train, {_("validation"): validation, _("test"): test, _("fold"): fold}),
        ),
        limit=spec.limit,
        groups=_groups_by_part(dataset, spec, split),
    )


class PreparedDataCache:
    """Prepares data and caches the last result. Keeps only one, because each fold is a copy of the images."""

    def __init__(self) -> None:
        self._key: object = None
        self._prepared: PreparedData | None = None

    def prepare(self, spec: Data, dataset: DataSet | None = None) -> PreparedData:
        """Like the function `prepare`."""
        key = (spec, None if dataset is None else dataset.cache_key)
        if self._prepared is None or key != self._key:
            self._prepared = None  # frees its memory before the next data are loaded
            self._key, self._prepared = key, prepare(spec, dataset)
        return self._prepared


def count_training(spec: Data, dataset: DataSet | None = None) -> int:
    """Returns the number of training images. Raises the same errors as `prepare`."""
    return len(_split(dataset or load(spec.name, size=spec.size), spec).train)


def _split(dataset: DataSet, spec: Data) -> Split:
    groups = groups_of(dataset, spec.split.group_by)
    if spec.split.folds:
        return make_folds(dataset, spec.split, groups, spec.limit)
    split = make_split(dataset, spec.split, groups)
    return split if spec.limit is None else limit_split(dataset, split, spec.limit, spec.split.seed)


def _groups_by_part(dataset: DataSet, spec: Data, split: Split) -> dict[str, np.ndarray]:
    """The groups of the images that are split off from the training images. Duplicates have no names."""
    values = values_of(dataset, spec.split.group_by)
    if values is None:
        return {}
    parts = {"validation": split.validation, "fold": split.fold} | (
        {"test": split.test} if dataset.test is None else {}
    )
    return {part: values[indices].astype(str) for part, indices in parts.items() if len(indices)}


def _missing_classes(dataset: DataSet, split: Split) -> tuple[str, ...]:
    """Notes on parts without images of a class, because they favour a network that never predicts the class."""
    notes = []
    labels, count = dataset.train.labels, len(dataset.train.classes)
    in_data = np.bincount(np.concatenate([labels, dataset.test_pool.labels]), minlength=count) > 0
    parts = {
        _("training set"): split.train,
        _("validation set"): split.validation,
        _("scored fold"): split.fold,
    }
    for part, indices in parts.items():
        in_part = np.bincount(labels[indices], minlength=count) > 0
        missing = np.flatnonzero(in_data & ~in_part)
        if len(indices) and len(missing):
            notes.append(
                ngettext(
                    "the {part} has no image of {n} class: {names}",
                    "the {part} has no image of {n} classes: {names}",
                    len(missing),
                    part=part,
                    names=listed((dataset.train.classes[index] for index in missing), max_items=5),
                )
            )
    return tuple(notes)


def _copies_in_training(train: ImageSet, parts: Mapping[str, ImageSet]) -> list[str]:
    """Notes on parts that contain training images. Only counts, so that the test set stays closed."""
    return [
        _(
            "exact duplicates of training images: {count:,} of {n:,} {part} images; remove them, or keep them together "
            "with data.split.group_by = 'duplicates'",
            count=count,
            n=len(part),
            part=name,
        )
        for name, part in parts.items()
        if len(part) and (count := count_copies(train.images, part.images)) >= NOTED_COPIES * len(part)
    ]


def channel_statistics(images: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel over all pixels of uint8 [N, C, H, W], scaled to 0..1.

    The sums are exact integers. Raises DataError for a channel whose pixels all have the same value.
    """
    channels = images.shape[1]
    total, total_of_squares = [0] * channels, [0] * channels
    # The chunks fit into the processor's cache: 48,000 MNIST images take 40 ms. Float dot products are as fast on an
    # idle machine, but take 1 to 2 s on a busy one, where BLAS threads wait for each other.
    for start in range(0, len(images), 64):
        for channel in range(channels):
            levels = images[start : start + 64, channel].astype(np.uint32)  # (64, H, W)
            total[channel] += int(levels.sum(dtype=np.uint64))
            levels *= levels
            total_of_squares[channel] += int(levels.sum(dtype=np.uint64))
    n_pixels = images.size // channels
    mean = [levels / n_pixels / 255 for levels in total]
    # Variance * n^2, as an integer
    variances = [n_pixels * squares - levels**2 for levels, squares in zip(total, total_of_squares, strict=True)]
    if 0 in variances:
        raise DataError(
            _("all training pixels of channel {index} have the same value: nothing to learn", index=variances.index(0))
        )
    return tuple(mean), tuple(math.sqrt(variance) / n_pixels / 255 for variance in variances)


def fixed_statistics(spec: Data, channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel, from the constants of a recipe."""
    assert not isinstance(spec.normalise, str)
    constants = []
    for value in spec.normalise:
        values = value if isinstance(value, tuple) else (value,) * channels
        if len(values) != channels:
            raise DataError(
                _(
                    "data.normalise has {n} values for the {channels} channels of {name}",
                    n=len(values),
                    channels=channels,
                    name=spec.name,
                )
            )
        constants.append(tuple(float(number) for number in values))
    return constants[0], constants[1]
