"""The facts of a data sheet, as data-sheet.json holds them. Pixels are in 0..1, shares are fractions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class About:
    """Of a named data set."""

    summary: str
    licence: str
    citation: str
    homepage: str


@dataclass(frozen=True)
class Part:
    images: int
    per_class: tuple[int, ...]
    evenness: float  # entropy of the class shares divided by its maximum (Pielou 1966): 1 if all are equal
    mean: tuple[float, ...]  # of each channel
    std: tuple[float, ...]


@dataclass(frozen=True)
class PairCount:
    pairs: int
    labels_differ: int  # of them


@dataclass(frozen=True)
class Between:
    """Pairs of duplicates within a part or between two."""

    parts: tuple[str, str]
    same_pixels: PairCount
    same_picture: PairCount
    images: int  # distinct ones of the later part


@dataclass(frozen=True)
class Duplicates:
    same_picture_searched: bool
    between: tuple[Between, ...]

    def of(self, first: str, second: str) -> Between:
        return next(row for row in self.between if row.parts == (first, second))


@dataclass(frozen=True)
class Facts:
    name: str
    about: About | None  # None: not a named data set
    classes: tuple[str, ...]
    channels: int
    size: int  # pixels per side
    content_hash: str
    notes: tuple[str, ...]
    parts: Mapping[str, Part]
    duplicates: Duplicates


@dataclass(frozen=True)
class Made:
    """How a sheet was made."""

    convoy: str  # version
    date: str
    command: str


@dataclass(frozen=True)
class Pairs:
    """P pairs of duplicates, the closest first."""

    kind: np.ndarray  # int64 [P]: 0 for the same pixels, 1 for the same picture
    part: np.ndarray  # int64 [P, 2], as index and label
    index: np.ndarray  # of the image in its part
    label: np.ndarray
    distance: np.ndarray  # float32 [P]: 0, or the distance in data.duplicates

    @property
    def labels_differ(self) -> np.ndarray:
        return self.label[:, 0] != self.label[:, 1]

    def take(self, places: np.ndarray) -> Pairs:
        return Pairs(*(values[places] for values in (self.kind, self.part, self.index, self.label, self.distance)))


@dataclass(frozen=True)
class Arrays:
    """Pictures are uint8 [N, C, H, H]."""

    samples_images: np.ndarray  # some images of each class
    samples_labels: np.ndarray
    means_images: np.ndarray  # the mean image of each class
    means_labels: np.ndarray
    levels: Mapping[str, np.ndarray]  # by part, int64 [C, 256]: number of pixels with each level
    pairs: Pairs
    pictured: np.ndarray  # int64 [Q]: the pairs that have pictures
    pictured_images: np.ndarray  # [Q, 2, C, H, H]
