"""The code of a user's network in a run folder. It is read once, hashed, and imported from the hashed bytes.

Nothing is imported from disk: no bytecode, no shared library, no file that was added or changed after hashing.
"""

from __future__ import annotations

import linecache
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from importlib.abc import InspectLoader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from pathlib import Path
from types import ModuleType

from convoy.text import gettext as _


@dataclass(frozen=True)
class RunCode:
    """The source files in `folder`, by relative POSIX path."""

    folder: Path
    files: Mapping[str, bytes]

    @classmethod
    def read(cls, folder: Path) -> RunCode:
        """Reads all files recursively. Raises ValueError for anything but folders and regular .py files."""
        if folder.is_symlink() or not folder.is_dir():
            raise ValueError(_("{folder}: expected a folder with the code of the run's network", folder=folder))
        files: dict[str, bytes] = {}
        pending = [folder]
        while pending:
            with os.scandir(pending.pop()) as entries:
                for entry in entries:
                    path = Path(entry.path)
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(path)
                    elif entry.is_file(follow_symlinks=False) and path.suffix == ".py":
                        files[path.relative_to(folder).as_posix()] = path.read_bytes()
                    else:
                        kind = _("a symbolic link") if entry.is_symlink() else _("not a .py file")
                        raise ValueError(
                            _(
                                "{path} is {kind}: code/ of a run may contain only .py files; delete it",
                                path=path,
                                kind=kind,
                            )
                        )
        return cls(folder.resolve(), files)

    def digest(self, *details: str) -> str:
        """SHA-256 (hex) of all paths, contents and `details`, each prefixed with its length."""
        hasher = sha256()
        parts = [part for path, content in sorted(self.files.items()) for part in (os.fsencode(path), content)]
        for part in (b"%d" % len(parts), *parts, *map(os.fsencode, details)):
            hasher.update(b"%d:" % len(part) + part)
        return hasher.hexdigest()


class RunCodeImporter(MetaPathFinder, InspectLoader):
    """Imports from a RunCode: module x as `package.x`, and inside `importing` also as `x`."""

    def __init__(self, code: RunCode, package: str) -> None:
        self.code, self.package = code, package
        self._plain_names = False
        self._entry: dict[str, str] = {}  # module name -> the network's file

    def install(self) -> None:
        others = [finder for finder in sys.meta_path if getattr(finder, "package", None) != self.package]
        sys.meta_path[:] = [self, *others]

    @contextmanager
    def importing(self) -> Iterator[None]:
        self._plain_names = True
        try:
            yield
        finally:
            self._plain_names = False
            for name, module in list(sys.modules.items()):
                if getattr(module, "__loader__", None) is self and not name.startswith(self.package):
                    del sys.modules[name]

    @property
    def top_level_names(self) -> set[str]:
        return {path.partition("/")[0].removesuffix(".py") for path in self.code.files}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not (self._plain_names or fullname.startswith(f"{self.package}.")):
            return None
        if self._file(fullname) is not None:
            return self._spec(fullname)
        folder = self._path(fullname) + "/"
        if not any(file.startswith(folder) for file in self.code.files):
            return None
        return spec_from_loader(fullname, self, is_package=True)  # a folder without __init__.py

    def entry_spec(self, fullname: str, file: str) -> ModuleSpec:
        """The spec of the network's file, whose module name may differ from the file name."""
        self._entry = {fullname: file}
        return self._spec(fullname)

    def _spec(self, fullname: str) -> ModuleSpec:
        """Modules have no __file__: code that adds its folder to `sys.path` must not add the run folder."""
        origin = f"{os.devnull}/{self._file(fullname)}"
        spec = spec_from_loader(fullname, self, origin=origin, is_package=self.is_package(fullname))
        assert spec is not None
        spec.has_location = True
        return spec

    def exec_module(self, module: ModuleType) -> None:
        if (file := self._file(module.__name__)) is None:
            return
        path, content = str(self.code.folder / file), self.code.files[file]
        # For inspect and torch.jit.script, which read the source; without a timestamp, linecache does not reload it.
        lines = content.decode("utf-8", "replace").splitlines(keepends=True)
        for name in (path, str(module.__file__)):  # __file__ is the same for the net.py of every run
            linecache.cache[name] = (len(content), None, lines, name)
        exec(compile(content, path, "exec", dont_inherit=True), module.__dict__)

    def is_package(self, fullname: str) -> bool:
        return fullname not in self._entry and not str(self._file(fullname)).endswith(f"{self._path(fullname)}.py")

    def get_source(self, fullname: str) -> str | None:
        file = self._file(fullname)
        return None if file is None else self.code.files[file].decode("utf-8", "replace")

    def _file(self, fullname: str) -> str | None:
        base = self._path(fullname)
        names = [self._entry[fullname]] if fullname in self._entry else [f"{base}/__init__.py", f"{base}.py"]
        return next((name for name in names if name in self.code.files), None)

    def _path(self, fullname: str) -> str:
        return fullname.removeprefix(f"{self.package}.").replace(".", "/")
