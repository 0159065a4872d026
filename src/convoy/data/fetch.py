"""Downloads the files of a named data set once per machine, with mirrors, resumed downloads and SHA-256 checks.

Uses urllib, because pooch restarts an interrupted download from the beginning, and STL-10 has 2.6 GB. Received bytes
are stored in a hidden file next to the destination, so that a later attempt, from any mirror, requests only the rest
(HTTP Range, RFC 9110 section 14). If the hash of a resumed file is wrong, it is downloaded again from the beginning.
Only a complete file with the expected hash gets its final name; later calls check only its size, and the hash when the
file cannot be read.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import re
import shutil
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from convoy.data.cache import cache_folder
from convoy.data.imageset import DataError
from convoy.data.named import Download, RemoteFile
from convoy.registry import missing as missing_path
from convoy.text import gettext as _
from convoy.text.lists import joined

TIMEOUT_SECONDS = 30.0  # without receiving a byte; also the interval over which the speed is measured
MIN_BYTES_PER_SECOND = 1000
MAX_INTERRUPTIONS = 3  # consecutive ones with less than _PROGRESS_BYTES each, before the next mirror is tried
PAUSE_SECONDS = 1.0  # after an interruption
_PROGRESS_BYTES = 1 << 20
COPY = ".added.part"  # name of a file that is being added
_CHUNK_BYTES = 1 << 18
_HTML = re.compile(rb"\s*(<!--.*?-->\s*)*<(!doctype html|html|head|body)", re.IGNORECASE | re.DOTALL)

ShowProgress = Callable[[int], None]  # called with the number of received bytes


class _IncompleteError(Exception):
    """The response ended early; the rest can be requested again."""


class _MirrorError(Exception):
    """This mirror does not provide the file."""


def folder_of(download: Download) -> Path:
    return cache_folder() / "downloads" / download.folder


def missing(download: Download) -> list[RemoteFile]:
    """Returns the files that are missing or truncated."""
    folder = folder_of(download)
    return [file for file in download.files if not _is_complete(folder / file.name, file.size_bytes)]


def _is_complete(path: Path, size_bytes: int | None) -> bool:
    return path.is_file() and size_bytes in (None, path.stat().st_size)


def delete_damaged(download: Download) -> list[str]:
    """Deletes the files whose content has changed since the download; returns their names."""
    folder = folder_of(download)
    try:
        names = [file.name for file in download.files if _sha256(folder / file.name) != file.sha256]
        for name in names:
            (folder / name).unlink()
    except OSError:
        return []
    return names


def fetch(name: str, download: Download) -> Path:
    """Downloads the missing files of a data set; returns their folder. Raises DataError.

    Another process that needs the same files waits for this one.
    """
    folder = folder_of(download)
    if missing(download):
        with _lock(folder):
            for file in missing(download):
                _fetch_file(name, file, folder)
    return folder


def add(name: str, download: Download, paths: Sequence[Path]) -> None:
    """Copies manually downloaded files, identified by hash, to the folder of the data set. Raises DataError."""
    folder = folder_of(download)
    with _lock(folder):
        for path in paths:
            try:
                _add_file(name, download, path, folder)
            finally:
                (folder / COPY).unlink(missing_ok=True)


@contextlib.contextmanager
def _lock(folder: Path) -> Iterator[None]:
    from filelock import FileLock, Timeout

    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock")
        try:
            held = lock.acquire(timeout=0)
        except Timeout:
            print(_("waiting for another process that downloads to {folder}", folder=folder), file=sys.stderr)
            held = lock.acquire()
        with held:
            yield
    except OSError as error:
        raise DataError(
            _("{file}: cannot be written: {reason}", file=error.filename or folder, reason=error.strerror or error)
        ) from None


def _fetch_file(name: str, file: RemoteFile, folder: Path) -> None:
    problems = []
    for url in file.urls:
        try:
            with _progress(file) as show_progress:
                _from_mirror(url, file, folder, show_progress)
            return
        except _MirrorError as error:
            problems.append(f"{url}: {error}")
    raise DataError(
        _(
            "{name}: cannot download {file}: {problems}; download it yourself and run `convoy data add {name} FILE`",
            name=name,
            file=file.name,
            problems="; ".join(problems),
        )
    )


def _from_mirror(
    url: str, file: RemoteFile, folder: Path, show_progress: ShowProgress, *, may_restart: bool = True
) -> None:
    """`may_restart`: a file that was received in several parts and has the wrong hash is downloaded again."""
    partial = folder / f".{file.name}.part"
    is_resumed = partial.exists()
    interruptions = 0
    while True:
        before = _size_bytes(partial)
        try:
            _receive(url, file, partial, show_progress)
            break
        except _IncompleteError as error:
            is_resumed = True
            interruptions = 0 if _size_bytes(partial) >= before + _PROGRESS_BYTES else interruptions + 1
            if interruptions == MAX_INTERRUPTIONS:
                raise _MirrorError(str(error)) from None
            time.sleep(PAUSE_SECONDS)
    if _sha256(partial) == file.sha256:
        partial.replace(folder / file.name)
        return
    size_bytes = _size_bytes(partial)
    partial.unlink()
    if not (is_resumed and may_restart):
        raise _MirrorError(
            _(
                "sent a different file of {size_bytes:,} bytes (expected SHA-256 {sha256}...)",
                size_bytes=size_bytes,
                sha256=file.sha256[:12],
            )
        )
    _from_mirror(url, file, folder, show_progress, may_restart=False)


def _receive(url: str, file: RemoteFile, partial: Path, show_progress: ShowProgress) -> None:
    """Downloads the rest of a partial file. Raises _IncompleteError, _MirrorError."""
    start = _size_bytes(partial)
    if start == file.size_bytes:
        return
    response = _request(url, start)
    if response is None:
        return
    with response:
        if response.status != 206:
            start = 0  # the server sends the complete file
        elif not (content_range := response.headers["Content-Range"] or "").startswith(f"bytes {start}-"):
            raise _MirrorError(
                _(
                    "expected bytes from {start:,}, got Content-Range {content_range!r}",
                    start=start,
                    content_range=content_range,
                )
            )
        content_length = response.length
        received = start
        chunks = _chunks(response)
        chunk = next(chunks, b"")
        if start == 0 and _HTML.match(chunk):
            raise _MirrorError(_("answered with an HTML page instead of the file"))
        with open(partial, "ab" if start else "wb") as out:
            while chunk:
                out.write(chunk)
                received += len(chunk)
                show_progress(received)
                if file.size_bytes is not None and received > file.size_bytes:
                    partial.unlink()
                    raise _MirrorError(
                        _("sent more than the {size_bytes:,} bytes of the file", size_bytes=file.size_bytes)
                    )
                chunk = next(chunks, b"")
    expected = file.size_bytes if file.size_bytes is not None else start + (content_length or 0)
    if received < expected:
        raise _IncompleteError(
            _("ended after {received:,} of {expected:,} bytes", received=received, expected=expected)
        )


def _request(url: str, start: int) -> http.client.HTTPResponse | None:
    """Requests the bytes from `start`. Returns None if the server has no more bytes.

    Then either the partial file is complete, or it does not belong to the server's file, which the hash check detects.
    """
    headers = {"User-Agent": "convoy", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    try:
        return urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and start:
            return None
        raise _MirrorError(_("HTTP {code} {reason}", code=error.code, reason=error.reason)) from None
    except (OSError, http.client.HTTPException, ValueError) as error:  # ValueError: a redirect to an invalid URL
        raise _MirrorError(_reason(error)) from None


def _chunks(response: http.client.HTTPResponse) -> Iterator[bytes]:
    """Yields bytes as they arrive. Raises _IncompleteError if the connection breaks or is too slow."""
    window_start, window_bytes = time.monotonic(), 0
    while True:
        try:
            chunk = response.read1(_CHUNK_BYTES)  # `read` would wait for the full chunk
        except (OSError, http.client.HTTPException) as error:
            raise _IncompleteError(_reason(error)) from None
        if not chunk:
            return
        yield chunk
        window_bytes += len(chunk)
        elapsed = time.monotonic() - window_start
        if elapsed >= TIMEOUT_SECONDS:
            if window_bytes < MIN_BYTES_PER_SECOND * elapsed:
                raise _IncompleteError(
                    _("too slow: {window_bytes:,} bytes in {elapsed:.0f} s", window_bytes=window_bytes, elapsed=elapsed)
                )
            window_start, window_bytes = time.monotonic(), 0


def _reason(error: Exception) -> str:
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, TimeoutError):
        return _("no answer in {seconds:g} s", seconds=TIMEOUT_SECONDS)
    return getattr(cause, "strerror", None) or str(cause) or type(cause).__name__


def _add_file(name: str, download: Download, path: Path, folder: Path) -> None:
    if not path.exists():
        raise DataError(f"{path}: {missing_path(path)}")
    copy = folder / COPY
    try:
        shutil.copyfile(path, copy)
    except OSError as error:
        raise DataError(
            _(
                "{path}: cannot be copied to {folder}: {reason}",
                path=path,
                folder=folder,
                reason=error.strerror or error,
            )
        ) from None
    digest = _sha256(copy)
    for file in download.files:
        if file.sha256 == digest:
            copy.replace(folder / file.name)
            return
    with open(copy, "rb") as added:
        is_page = _HTML.match(added.read(4096))
    actual = _("an HTML page") if is_page else _("a file with SHA-256 {digest}", digest=digest)
    expected = joined(f"{file.name} ({file.sha256})" for file in download.files)
    raise DataError(
        _(
            "{path}: expected a published file of {name}, {expected}; got {actual}",
            path=path,
            name=name,
            expected=expected,
            actual=actual,
        )
    )


def _size_bytes(partial: Path) -> int:
    return partial.stat().st_size if partial.exists() else 0


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def _progress(file: RemoteFile) -> Iterator[ShowProgress]:
    """Shows a progress bar on stderr if that is a terminal."""
    if not os.isatty(2):
        yield lambda received: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (TextColumn(file.name), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(file.name, total=file.size_bytes)
        yield lambda received: bar.update(task, completed=received)
