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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import md5
from pathlib import Path

from convoy.data.imageset import DataError

_MOST_HEADER_BYTES = 1_000_000


@dataclass(frozen=True)
class Member:
    name: str
    most_bytes: int
    md5: str | None = None  # None: not published; the archive's hash covers the member


@dataclass(frozen=True)
class Layout:
    """Where the files of a set are: under `folder` in an archive, or as plain files."""

    members: tuple[Member, ...]
    archive: str = ""  # file name; empty: the set is published as plain files
    folder: str = ""

    def find(self, place: Path) -> Path | None:
        """The archive, or the folder with all members, at or in `place`; None if there is neither."""
        if place.name == self.archive and place.is_file():
            return place
        if self.archive and (place / self.archive).is_file():
            return place / self.archive
        for folder in (place, place / self.folder):
            if all((folder / member.name).is_file() for member in self.members):
                return folder
        return None

    def files(self, source: Path) -> list[Path]:
        return [source] if source.is_file() else [source / member.name for member in self.members]

    def read(self, source: Path) -> dict[str, bytes]:
        """The members' bytes by name, from the path that `find` returned. Raises DataError."""
        try:
            contents = dict(self._contents(source))
        except DataError:
            raise
        except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, ValueError, RuntimeError) as error:
            raise DataError(f"{source}: is damaged or truncated: {error}") from None  # RuntimeError: an encrypted .zip
        except OSError as error:  # gzip.BadGzipFile is one
            raise DataError(f"{error.filename or source}: cannot be read: {error.strerror or error}") from None
        for member in self.members:
            if member.name not in contents:
                raise DataError(f"{source}: {member.name} is missing")
            if member.md5 is not None and md5(contents[member.name], usedforsecurity=False).hexdigest() != member.md5:
                raise DataError(f"{source}: {member.name} is not the published file (expected MD5 {member.md5})")
        return contents

    def _contents(self, source: Path) -> Iterator[tuple[str, bytes]]:
        if source.is_dir():
            return _plain_files(source, self.members)
        wanted = {f"{self.folder}/{member.name}": member for member in self.members}
        return (_zip_members if source.suffix == ".zip" else _tar_members)(source, wanted)


def _plain_files(folder: Path, members: Sequence[Member]) -> Iterator[tuple[str, bytes]]:
    for member in members:
        path = folder / member.name
        _check_length(path.stat().st_size, member, str(folder))
        yield member.name, path.read_bytes()


def _tar_members(path: Path, wanted: dict[str, Member]) -> Iterator[tuple[str, bytes]]:
    missing = set(wanted)
    with gzip.open(path) as unpacked, tarfile.open(fileobj=unpacked, mode="r|", tarinfo=_ShortHeaders) as archive:
        for entry in archive:
            name = entry.name.removeprefix("./")
            if name in missing and entry.isfile():
                _check_length(entry.size, wanted[name], str(path))
                content = archive.extractfile(entry)
                assert content is not None
                yield wanted[name].name, content.read()
                missing.remove(name)
            if not missing:  # the rest may be gigabytes
                return


class _ShortHeaders(tarfile.TarInfo):
    """Limits the length of an extended header, which tarfile would read into memory completely."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _ShortHeaders:
        entry = super().frombuf(buf, encoding, errors)
        if entry.type not in tarfile.REGULAR_TYPES and entry.size > _MOST_HEADER_BYTES:
            raise tarfile.ReadError(f"a header claims {entry.size:,} bytes")
        return entry


def _zip_members(path: Path, wanted: dict[str, Member]) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            if entry.filename in wanted:
                member = wanted[entry.filename]
                _check_length(entry.file_size, member, str(path))
                with archive.open(entry) as content:
                    yield member.name, content.read(member.most_bytes)  # zipfile stops at file_size


def _check_length(size_bytes: int, member: Member, where: str) -> None:
    if size_bytes > member.most_bytes:
        raise DataError(f"{where}: {member.name} is too large: {size_bytes:,} bytes, at most {member.most_bytes:,}")
