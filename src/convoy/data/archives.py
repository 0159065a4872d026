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
from convoy.text import gettext as _

_MAX_HEADER_BYTES = 1_000_000


@dataclass(frozen=True)
class Layout:
    """The files of a data set: members of an archive under `folder`, or plain files.

    `train` and `test` map file names to MD5 hashes, or to None for a file that only the hash of the archive covers.
    """

    train: Mapping[str, str | None]
    test: Mapping[str, str | None]
    archive: str = ""  # file name of the archive; empty if the data set is published as plain files
    folder: str = ""
    max_bytes: int = 300_000_000  # maximum size of a file

    @property
    def hashes(self) -> dict[str, str | None]:
        return {**self.train, **self.test}

    def find(self, path: Path) -> Path | None:
        """Returns the archive, or the folder with all files: `path` or directly in it. None if there is neither."""
        if path.name == self.archive and path.is_file():
            return path
        if self.archive and (path / self.archive).is_file():
            return path / self.archive
        for folder in (path, path / self.folder):
            if all((folder / name).is_file() for name in self.hashes):
                return folder
        return None

    def files(self, source: Path) -> list[Path]:
        return [source] if source.is_file() else [source / name for name in self.hashes]

    def read(self, source: Path) -> dict[str, bytes]:
        """Returns the bytes of each file by name. `source` is the path that `find` returned. Raises DataError."""
        try:
            contents = dict(self._contents(source))
        except DataError:
            raise
        except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, ValueError, RuntimeError) as error:
            raise DataError(
                _("{source}: damaged or truncated: {error}", source=source, error=error)
            ) from None  # RuntimeError: an encrypted .zip
        except OSError as error:  # gzip.BadGzipFile is one
            raise DataError(
                _("{file}: cannot be read: {reason}", file=error.filename or source, reason=error.strerror or error)
            ) from None
        for name, expected in self.hashes.items():
            if name not in contents:
                raise DataError(_("{source}: {name} is missing", source=source, name=name))
            if expected is not None and md5(contents[name], usedforsecurity=False).hexdigest() != expected:
                raise DataError(
                    _(
                        "{source}: {name} is not the published file (expected MD5 {expected})",
                        source=source,
                        name=name,
                        expected=expected,
                    )
                )
        return contents

    def _contents(self, source: Path) -> Iterator[tuple[str, bytes]]:
        if source.is_dir():
            for name in self.hashes:
                self._check_length((source / name).stat().st_size, name, source)
                yield name, (source / name).read_bytes()
            return
        names = {f"{self.folder}/{name}": name for name in self.hashes}  # by path in the archive
        yield from (self._zip_members if source.suffix == ".zip" else self._tar_members)(source, names)

    def _tar_members(self, path: Path, names: dict[str, str]) -> Iterator[tuple[str, bytes]]:
        with gzip.open(path) as unpacked, tarfile.open(fileobj=unpacked, mode="r|", tarinfo=_LimitedHeader) as archive:
            for entry in archive:
                if entry.isfile() and (name := names.pop(entry.name.removeprefix("./"), None)):
                    self._check_length(entry.size, name, path)
                    content = archive.extractfile(entry)
                    assert content is not None
                    yield name, content.read()
                if not names:  # does not read the rest, which may be gigabytes
                    return

    def _zip_members(self, path: Path, names: dict[str, str]) -> Iterator[tuple[str, bytes]]:
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                if name := names.get(entry.filename):
                    self._check_length(entry.file_size, name, path)
                    with archive.open(entry) as content:
                        yield name, content.read(self.max_bytes)  # zipfile stops at file_size

    def _check_length(self, size_bytes: int, name: str, source: Path) -> None:
        if size_bytes > self.max_bytes:
            raise DataError(
                _(
                    "{source}: {name}: expected {max_bytes:,} bytes or less, got {size_bytes:,}",
                    source=source,
                    name=name,
                    max_bytes=self.max_bytes,
                    size_bytes=size_bytes,
                )
            )


class _LimitedHeader(tarfile.TarInfo):
    """Rejects long extended headers, because tarfile would read a header of any length into memory."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _LimitedHeader:
        entry = super().frombuf(buf, encoding, errors)
        if entry.type not in tarfile.REGULAR_TYPES and entry.size > _MAX_HEADER_BYTES:
            raise tarfile.ReadError(_("a header claims {size:,} bytes", size=entry.size))
        return entry
