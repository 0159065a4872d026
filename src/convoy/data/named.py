"""What is known of a named data set, and the reading of it in the forms in which its makers publish it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from convoy.data.archives import Layout
from convoy.data.arrays import Part, from_arrays
from convoy.data.imageset import DataError, DataSet


@dataclass(frozen=True)
class RemoteFile:
    name: str  # as its makers call it
    sha256: str
    size_bytes: int | None  # None where no source states it
    urls: tuple[str, ...]  # tried in this order


@dataclass(frozen=True)
class Download:
    """Files that are fetched once a machine; sets that share an archive share its folder."""

    folder: str
    files: tuple[RemoteFile, ...]


@dataclass(frozen=True)
class Packaged:
    """Files that come with Convoy, in any form that `load` reads."""

    folder: Callable[[], Path]


@dataclass(frozen=True)
class Installed:
    """Arrays that come with another package."""

    package: str
    read: Callable[[], Mapping[str, Part]]


@dataclass(frozen=True)
class Form:
    """One form in which a set is published: where its files stand, and what they hold.

    `decode` makes of the files' bytes, by name, and of the path for messages, the parts "train" and "test".
    """

    layout: Layout
    decode: Callable[[Mapping[str, bytes], Path], Mapping[str, Part]]


@dataclass(frozen=True)
class NamedData:
    """An entry of the catalogue.

    Every file of a download is pinned by its SHA-256, and members of archives by the MD5 that is published for them.
    `content_hash` pins what is decoded from them. It is None for the sets that could not be fetched where Convoy was
    written: the first decoding keeps its hash in the cache and `convoy data get` shows it.
    """

    summary: str
    classes: tuple[str, ...]
    counts: tuple[int, ...]  # images to train on, and to test on where there is such a part
    origin: Packaged | Installed | Download
    homepage: str
    licence: str  # as the makers state it
    citation: str
    forms: tuple[Form, ...] = ()  # besides those that `load` reads of any set
    spellings: Mapping[str, str] = field(default_factory=dict)  # other names of classes -> the name here
    content_hash: str | None = None  # of the whole set in its own size


def from_published(name: str, entry: NamedData, parts: Mapping[str, Part], size: int | None) -> DataSet:
    """The data set of decoded parts. Raises DataError where images are too few or too many."""
    for (part, (images, _, where, _)), expected in zip(parts.items(), entry.counts, strict=True):
        if len(images) != expected:
            raise DataError(f"{where}: holds {len(images):,} images; the {part} part of {name} has {expected:,}")
    return from_arrays(name, parts, size=size, classes=entry.classes)
