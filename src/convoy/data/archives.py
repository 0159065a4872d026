"""Reads the files of a published data set from a .tar.gz, a .zip or a folder.

An archive is read as a stream and never extracted to disk. It is not trusted: only the requested members are read, by
their full names, as regular files, up to a size limit; published hashes are checked. Every error is a DataError that
names the file.
"""

from __future__ import annotations

import gzip
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import md5
from pathlib import Path

from convoy.data.imageset import DataError

_MOST_HEADER_BYTES = 1_000_000


@dataclass(frozen=True)
class Layout:
    """Where the files of a set are: under `folder` in an archive, or as plain files.

    Each file name has its MD5; None: not published, the archive's hash covers the file.
    """

    train: Mapping[str, str | None]
    test: Mapping[str, str | None]
    archive: str = ""  # file name; empty: the set is published as plain files
    folder: str = ""
    most_bytes: int = 300_000_000  # of a file

    @property
    def hashes(self) -> dict[str, str | None]:
        return {**self.train, **self.test}

    def find(self, place: Path) -> Path | None:
        """The archive, or the folder with all members, at or in `place`; None if there is neither."""
        if place.name == self.archive and place.is_file():
            return place
        if self.archive and (place / self.archive).is_file():
            return place / self.archive
        for folder in (place, place / self.folder):
            if all((folder / name).is_file() for name in self.hashes):
                return folder
        return None

    def files(self, source: Path) -> list[Path]:
        return [source] if source.is_file() else [source / name for name in self.hashes]

    def read(self, source: Path) -> dict[str, bytes]:
        """The bytes of each file by name, from the path that `find` returned. Raises DataError."""
        try:
            contents = dict(self._contents(source))
        except DataError:
            raise
        except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, ValueError, RuntimeError) as error:
            raise DataError(f"{source}: is damaged or truncated: {error}") from None  # RuntimeError: an encrypted .zip
        except OSError as error:  # gzip.BadGzipFile is one
            raise DataError(f"{error.filename or source}: cannot be read: {error.strerror or error}") from None
        for name, expected in self.hashes.items():
            if name not in contents:
                raise DataError(f"{source}: {name} is missing")
            if expected is not None and md5(contents[name], usedforsecurity=False).hexdigest() != expected:
                raise DataError(f"{source}: {name} is not the published file (expected MD5 {expected})")
        return contents

    def _contents(self, source: Path) -> Iterator[tuple[str, bytes]]:
        if source.is_dir():
            for name in self.hashes:
                self._check_length((source / name).stat().st_size, name, source)
                yield name, (source / name).read_bytes()
            return
        wanted = {f"{self.folder}/{name}": name for name in self.hashes}
        yield from (self._zip_members if source.suffix == ".zip" else self._tar_members)(source, wanted)

    def _tar_members(self, path: Path, wanted: dict[str, str]) -> Iterator[tuple[str, bytes]]:
        with gzip.open(path) as unpacked, tarfile.open(fileobj=unpacked, mode="r|", tarinfo=_ShortHeaders) as archive:
            for entry in archive:
                if entry.isfile() and (name := wanted.pop(entry.name.removeprefix("./"), None)):
                    self._check_length(entry.size, name, path)
                    content = archive.extractfile(entry)
                    assert content is not None
                    yield name, content.read()
                if not wanted:  # the rest may be gigabytes
                    return

    def _zip_members(self, path: Path, wanted: dict[str, str]) -> Iterator[tuple[str, bytes]]:
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                if name := wanted.get(entry.filename):
                    self._check_length(entry.file_size, name, path)
                    with archive.open(entry) as content:
                        yield name, content.read(self.most_bytes)  # zipfile stops at file_size

    def _check_length(self, size_bytes: int, name: str, where: Path) -> None:
        if size_bytes > self.most_bytes:
            raise DataError(f"{where}: {name} is too large: {size_bytes:,} bytes, at most {self.most_bytes:,}")


class _ShortHeaders(tarfile.TarInfo):
    """Limits the length of an extended header, which tarfile would read into memory completely."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _ShortHeaders:
        entry = super().frombuf(buf, encoding, errors)
        if entry.type not in tarfile.REGULAR_TYPES and entry.size > _MOST_HEADER_BYTES:
            raise tarfile.ReadError(f"a header claims {entry.size:,} bytes")
        return entry
