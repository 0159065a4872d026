"""The contents of a data sheet, as stored in data-sheet.json, and its arrays. Pixel values are from 0 to 1."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from convoy.notebook import html_of


@dataclass(frozen=True)
class About:
    """The description of a named data set."""

    summary: str
    licence: str
    citation: str
    homepage: str


@dataclass(frozen=True)
class Part:
    """The training, validation or test set of a data set."""

    images: int
    per_class: tuple[int, ...]  # number of images of each class
    evenness: float  # entropy of the class proportions divided by its maximum (Pielou 1966): 1 if all are equal
    mean: tuple[float, ...]  # mean of the pixels, by channel
    std: tuple[float, ...]


@dataclass(frozen=True)
class PairCount:
    pairs: int
    labels_differ: int  # pairs with different labels


@dataclass(frozen=True)
class DuplicateCounts:
    """Pairs of duplicates within a part or between two parts."""

    parts: tuple[str, str]
    same_pixels: PairCount
    same_picture: PairCount
    images: int  # images of the second part that occur in a pair


@dataclass(frozen=True)
class Duplicates:
    same_picture_searched: bool
    between: tuple[DuplicateCounts, ...]

    def of(self, first: str, second: str) -> DuplicateCounts:
        return next(row for row in self.between if row.parts == (first, second))


@dataclass(frozen=True)
class DataSummary:
    name: str
    about: About | None  # None: not a named data set
    classes: tuple[str, ...]
    channels: int
    size: int  # pixels per side
    content_hash: str
    notes: tuple[str, ...]
    parts: Mapping[str, Part]
    duplicates: Duplicates
    _repr_html_ = html_of

    def __repr__(self) -> str:
        return f"DataSummary({self.name!r}, {len(self.classes)} classes, {self.channels}×{self.size}×{self.size})"


@dataclass(frozen=True)
class Provenance:
    """How a data sheet was created."""

    convoy: str  # version
    date: str
    command: str


@dataclass(frozen=True)
class Pairs:
    """P pairs of duplicates, the most similar first."""

    kind: np.ndarray  # int64 [P]: 0 for the same pixels, 1 for similar images ("same picture")
    part: np.ndarray  # int64 [P, 2]: number of the part
    index: np.ndarray  # int64 [P, 2]: index of the image in its part
    label: np.ndarray  # int64 [P, 2]
    distance: np.ndarray  # float32 [P]: 0 for the same pixels, otherwise the distance in data.duplicates

    @property
    def labels_differ(self) -> np.ndarray:
        return self.label[:, 0] != self.label[:, 1]

    def take(self, pairs: np.ndarray) -> Pairs:
        return Pairs(*(values[pairs] for values in (self.kind, self.part, self.index, self.label, self.distance)))


@dataclass(frozen=True)
class Arrays:
    """The arrays of a data sheet."""

    samples_images: np.ndarray  # uint8 [N, C, H, H]: random images of each class
    samples_labels: np.ndarray  # int64 [N]
    means_images: np.ndarray  # uint8 [K, C, H, H]: the mean image of each class with images
    means_labels: np.ndarray  # int64 [K]
    levels: Mapping[str, np.ndarray]  # int64 [C, 256] by part: number of pixels with each value
    pairs: Pairs
    pictured: np.ndarray  # int64 [Q]: indices of the pairs that are shown
    pictured_images: np.ndarray  # uint8 [Q, 2, C, H, H]
