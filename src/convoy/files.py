"""Atomic file writes, and reads whose error messages contain the path. No pickle."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from io import BytesIO
from pathlib import Path
from typing import IO, Any, Concatenate, ParamSpec, TypeVar
from zipfile import BadZipFile

import numpy as np

from convoy.text import gettext as _
from convoy.text.stored import restored, stored

T = TypeVar("T")
P = ParamSpec("P")

LARGE_BYTES = 1_000_000  # hashed in half a millisecond; a thread costs as much

_flushes = True
_read: ContextVar[dict[object, Any] | None] = ContextVar("_read", default=None)


@contextmanager
def reading_once() -> Iterator[None]:
    """Within this context, functions with `@once` read a file again only if it has changed."""
    if _read.get() is not None:
        yield
        return
    token = _read.set({})
    try:
        yield
    finally:
        _read.reset(token)


def once(read: Callable[Concatenate[Path, P], T]) -> Callable[Concatenate[Path, P], T]:
    """Within `reading_once`, returns the same object as long as the file's inode, size and change time stay the same.
    Callers must not modify it.
    """

    @wraps(read)
    def wrapper(path: Path, *arguments: P.args, **keywords: P.kwargs) -> T:
        results = _read.get()
        if results is None or not path.is_file():
            return read(path, *arguments, **keywords)
        status = path.stat()  # of the file, because runs of studies have paths such as studies/NAME/../../runs/RUN
        key = read, arguments, *keywords.items(), status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
        if key not in results:
            results[key] = read(path, *arguments, **keywords)
        result: T = results[key]
        return result

    return wrapper


def flush(handle: int) -> None:
    """Flushes the file or folder with this descriptor to disk (fsync)."""
    if _flushes:
        os.fsync(handle)


def stop_flushing() -> None:
    """Skips fsync in this process, for processes whose files another process copies: a power failure loses nothing."""
    global _flushes
    _flushes = False


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a file atomically: writes a temporary file, flushes it to disk and renames it."""
    with replacing(path) as file:
        file.write(content)


def write_pieces(path: Path, pieces: Sequence[bytes | memoryview]) -> str:
    """Writes a file atomically, without a copy of its content. Returns its SHA-256 (hex).

    The hash of a large file is computed in a second thread while the file is written and flushed.
    """
    if sum(map(len, pieces)) < LARGE_BYTES:
        with replacing(path) as file:
            file.writelines(pieces)
        return _sha256(pieces)
    with ThreadPoolExecutor(1) as thread:
        digest = thread.submit(_sha256, pieces)
        with replacing(path) as file:
            file.writelines(pieces)
        return digest.result()


def _sha256(pieces: Sequence[bytes | memoryview]) -> str:
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Yields a temporary file that replaces `path` when it is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with errors_naming(path):
        try:
            with temporary.open("wb") as file:
                yield file
                file.flush()
                flush(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def append_line(path: Path, line: str) -> None:
    """Appends to a file in an existing folder."""
    with errors_naming(path), path.open("a", encoding="utf-8") as file:
        file.write(line + "\n")


@contextmanager
def errors_naming(path: Path) -> Iterator[None]:
    """Adds the path to an OSError. Python omits it if the disk is full."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error


def write_json(path: Path, value: object) -> None:
    """Writes a JSON file. Messages are stored in English; `read_json` returns them in the language of the reader."""
    write_bytes(path, (json.dumps(stored(value), indent=1, allow_nan=False) + "\n").encode())


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    buffer = BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    write_bytes(path, buffer.getvalue())


def read_json(path: Path, *keys: str) -> dict[str, Any]:
    """Reads a JSON object. Raises ValueError if the file is not an object with these keys."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"), object_hook=restored)
    except FileNotFoundError:
        raise ValueError(_("{path} does not exist", path=path)) from None
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(_("{path} is damaged: {error}", path=path, error=error)) from None
    missing = [key for key in keys if not isinstance(value, dict) or key not in value]
    if missing or not isinstance(value, dict):
        expected = missing[0] if missing else _("a JSON object")
        raise ValueError(_("{path} is damaged: expected {value}", path=path, value=expected))
    return value


@once
def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Reads an .npz file; empty if it does not exist. Raises ValueError if it is damaged."""
    if not path.is_file():
        return {}
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (BadZipFile, EOFError, ValueError, KeyError):
        raise ValueError(_("{path} is damaged: not a readable .npz file", path=path)) from None


def file_name(text: str) -> str:
    """Returns the text with characters other than letters, digits and "._+-" replaced by "_"."""
    return re.sub(r"[^A-Za-z0-9._+-]+", "_", text).strip("._") or "unnamed"
