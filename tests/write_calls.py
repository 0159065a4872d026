"""Makes the n-th write call of this process fail, or kills the process during it.

Write calls are those of Python: open for writing, write, fsync, rename, link, mkdir, delete. Those of SQLite and of
numpy's `tofile` are not among them.
"""

from __future__ import annotations

import builtins
import errno
import io
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

Action = Callable[[str, str], None]  # the call ("write") and the path

CALLS_WITH_PATHS = ("mkdir", "rename", "replace", "link", "symlink", "unlink", "remove", "rmdir")
DELETIONS = ("unlink", "remove", "rmdir")
NO_SPACE_NEEDED = (*DELETIONS, "rename", "replace", "fsync")


class Calls:
    """Counts the write calls below a folder and calls `action` from the `first` to the `last` one (from 0)."""

    def __init__(self, root: Path, action: Action, *, first: int, last: int) -> None:
        self.root, self.action, self.numbers = str(root), action, range(first, last + 1)
        self.seen: list[tuple[str, str]] = []

    def happens(self, call: str, path: str) -> bool:
        """Counts the call; returns whether `action` must be called."""
        if not path.startswith(self.root):
            return False
        self.seen.append((call, path))
        return len(self.seen) - 1 in self.numbers


class _File(io.FileIO):
    """A file whose write calls are counted."""

    calls: Calls

    def write(self, content: Any) -> int:
        path = os.fspath(self.name)
        if self.calls.happens("write", path):
            super().write(memoryview(content)[: len(content) // 2])  # as on a disk that becomes full
            self.calls.action("write", path)
        return super().write(content)


def _path_of(target: Any, folder: int | None = None) -> str:
    if isinstance(target, int):
        return os.readlink(f"/proc/self/fd/{target}")
    base = os.getcwd() if folder is None else os.readlink(f"/proc/self/fd/{folder}")
    return os.path.join(base, os.fsdecode(target))


@contextmanager
def counted(calls: Calls) -> Iterator[Calls]:
    """While active, the write calls of this process go through `calls`."""
    opened, os_opened = io.open, os.open

    def announced(call: str, path: str) -> None:
        if calls.happens(call, path):
            calls.action(call, path)

    def open_(file: Any, mode: str = "r", buffering: int = -1, *args: Any, **options: Any) -> Any:
        is_read = not set(mode) & set("wax+")
        if is_read or isinstance(file, int) or not (path := _path_of(file)).startswith(calls.root):
            return opened(file, mode, buffering, *args, **options)
        announced("open", path)
        raw = _File(path, mode.replace("b", "").replace("t", ""))
        raw.calls = calls
        buffer = raw if buffering == 0 else io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
        return buffer if "b" in mode else io.TextIOWrapper(buffer, *args, **options)  # type: ignore[arg-type]

    def os_open(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR):
            announced("open", _path_of(path, dir_fd))
        return os_opened(path, flags, mode, dir_fd=dir_fd)

    def with_path(name: str) -> Callable[..., Any]:
        original = getattr(os, name)

        def call(path: Any, *args: Any, **options: Any) -> Any:
            full = _path_of(path, options.get("dir_fd"))
            if name != "mkdir" or not os.path.isdir(full):  # an existing folder: EEXIST on any disk
                announced(name, full)
            return original(path, *args, **options)

        return call

    def with_handle(name: str) -> Callable[..., Any]:
        original = getattr(os, name)

        def call(handle: int, *args: Any) -> Any:
            announced("write" if name == "sendfile" else name, _path_of(handle))
            return original(handle, *args)

        return call

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(builtins, "open", open_)
        patch.setattr(io, "open", open_)
        patch.setattr(os, "open", os_open)
        for name in CALLS_WITH_PATHS:
            patch.setattr(os, name, with_path(name))
        for name in ("fsync", "sendfile"):
            patch.setattr(os, name, with_handle(name))
        yield calls


def failing(number: int) -> Action:
    """Fails as on a full disk (ENOSPC), a broken one (EIO) or one that has become read-only (EROFS)."""

    def fail(call: str, path: str) -> None:
        if number != errno.ENOSPC or call not in NO_SPACE_NEEDED:
            has_path = call not in ("write", "fsync")  # errors of calls on a file descriptor have no path
            raise OSError(number, os.strerror(number), *([path] if has_path else []))

    return fail


def kill(call: str, path: str) -> None:
    """Prints the call and kills this process."""
    os.write(2, f"{call} {path}\n".encode())
    os.kill(os.getpid(), signal.SIGKILL)
