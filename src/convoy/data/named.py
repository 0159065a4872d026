"""The description of a named data set: origin, published file formats, counts and hashes."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from convoy.data.archives import Layout
from convoy.data.arrays import Part, Parts, from_arrays
from convoy.data.imageset import DataError, DataSet, first_line
from convoy.text import gettext as _


@dataclass(frozen=True)
class RemoteFile:
    name: str  # the published name
    sha256: str
    size_bytes: int | None  # None if no source states it
    urls: tuple[str, ...]  # tried in this order


@dataclass(frozen=True)
class Download:
    """Files that are downloaded once per machine. Data sets in the same archive have the same folder."""

    folder: str
    files: tuple[RemoteFile, ...]


@dataclass(frozen=True)
class PackagedArrays:
    """Arrays included in a Python package."""

    package: str
    read: Callable[[], Parts]


class Content(NamedTuple):
    """A published file."""

    data: bytes
    where: str  # path, or archive and name, for messages


@dataclass(frozen=True, kw_only=True)
class FileFormat(Layout):
    """A published file format: the layout of its files and the function that reads those of a part."""

    read_part: Callable[[Sequence[Content]], Part]

    def parts(self, source: Path) -> Parts:
        """Reads the arrays of both parts. `source` is the path that `find` returned. Raises DataError."""
        contents = self.read(source)
        prefix = f"{source}{os.sep}" if source.is_dir() else f"{source}: "
        parts = []
        for names in (self.train, self.test):
            files = [Content(contents[name], prefix + name) for name in names]
            try:
                parts.append(self.read_part(files))
            except DataError:
                raise
            except Exception as error:  # the readers of other packages raise many types of errors
                raise DataError(
                    _("{where}: not in the published format: {reason}", where=files[0].where, reason=first_line(error))
                ) from None
        return Parts(parts[0], test=parts[1])


@dataclass(frozen=True)
class NamedData:
    """A row of the catalogue.

    Hashes are checked for every downloaded file (SHA-256), members of archives (their published MD5) and the decoded
    data (`content_hash`). `content_hash` is None for data sets that could not be downloaded when the row was written;
    `convoy data get` then prints the hash of the decoded data.
    """

    name: str
    summary: str
    classes: tuple[str, ...]
    counts: tuple[int, ...]  # training images, and test images if there is a test set
    origin: PackagedArrays | Download
    homepage: str
    citation: str
    licence: str = "not stated"  # the authors state none
    formats: tuple[FileFormat, ...] = ()  # in addition to those that `load` reads for any data set
    spellings: Mapping[str, str] = field(default_factory=dict)  # other names of classes -> the name here
    content_hash: str | None = None  # hash of the full data set in its original size
    is_handwriting: bool = False  # white on black, as in MNIST: photographs are converted by `photo`


def from_published(entry: NamedData, parts: Parts, size: int | None) -> DataSet:
    """Creates the data set from decoded parts. Raises DataError for a wrong number of images."""
    for (label, part), expected in zip(parts.items(), entry.counts, strict=True):
        if (actual := len(part.images)) != expected:
            raise DataError(
                _(
                    "{where}: expected the {expected:,} {label} images of {name}, got {actual:,}",
                    where=part.where,
                    expected=expected,
                    label=label,
                    name=entry.name,
                    actual=actual,
                )
            )
    return from_arrays(entry.name, parts, size=size, classes=entry.classes)
