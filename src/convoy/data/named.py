"""The description of a named data set: origin, published file formats, counts, hashes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from convoy.data.archives import Layout
from convoy.data.arrays import Part, from_arrays
from convoy.data.imageset import DataError, DataSet


@dataclass(frozen=True)
class RemoteFile:
    name: str  # the published name
    sha256: str
    size_bytes: int | None  # None if no source states it
    urls: tuple[str, ...]  # tried in this order


@dataclass(frozen=True)
class Download:
    """Files that are downloaded once per machine; sets that share an archive share its folder."""

    folder: str
    files: tuple[RemoteFile, ...]


@dataclass(frozen=True)
class Packaged:
    """Files included in Convoy, in any format that `load` reads."""

    folder: Callable[[], Path]


@dataclass(frozen=True)
class Installed:
    """Arrays included in another package."""

    package: str
    read: Callable[[], Mapping[str, Part]]


@dataclass(frozen=True)
class Form:
    """A published format: the layout of the files and their decoder.

    `decode` converts the files' bytes, by name, to the parts "train" and "test"; it gets the path for messages.
    """

    layout: Layout
    decode: Callable[[Mapping[str, bytes], Path], Mapping[str, Part]]


@dataclass(frozen=True)
class NamedData:
    """An entry of the catalogue.

    Every file of a download is pinned by its SHA-256, members of archives by their published MD5. `content_hash` pins
    the decoded data. It is None for sets that could not be downloaded where Convoy was written: then the first decoding
    stores its hash in the cache, and `convoy data get` prints it.
    """

    summary: str
    classes: tuple[str, ...]
    counts: tuple[int, ...]  # training images, and test images if there is a test part
    origin: Packaged | Installed | Download
    homepage: str
    licence: str  # as stated by the authors
    citation: str
    forms: tuple[Form, ...] = ()  # besides those that `load` reads of any set
    spellings: Mapping[str, str] = field(default_factory=dict)  # other names of classes -> the name here
    content_hash: str | None = None  # of the full set in its own size


def from_published(name: str, entry: NamedData, parts: Mapping[str, Part], size: int | None) -> DataSet:
    """The data set of decoded parts. Raises DataError for a wrong number of images."""
    for (part, (images, _, where, _)), expected in zip(parts.items(), entry.counts, strict=True):
        if len(images) != expected:
            raise DataError(f"{where}: expected the {expected:,} {part} images of {name}, got {len(images):,}")
    return from_arrays(name, parts, size=size, classes=entry.classes)
