"""Keeps imported modules and settings of the process as they were before a user's code was executed."""

import sys
import sysconfig
from collections.abc import Iterator
from contextlib import chdir, contextmanager, suppress
from itertools import takewhile
from pathlib import Path
from types import ModuleType

import torch

# Folders whose code is loaded once and is not the user's, even in the user's folder (a .venv, this package).
INSTALLED = (
    Path(__file__).parents[1],
    *(Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")),
)


@contextmanager
def restored_settings() -> Iterator[None]:
    """Restores settings that would also affect other networks: current folder, recursion limit, torch's defaults."""
    limit, records_gradients = sys.getrecursionlimit(), torch.is_grad_enabled()
    dtype, device = torch.get_default_dtype(), torch.get_default_device()
    try:
        with chdir("."):
            yield
    finally:
        sys.setrecursionlimit(limit)
        torch.set_grad_enabled(records_gradients)
        torch.set_default_dtype(dtype)
        if device.type == "cpu":
            torch.set_default_device(None)  # with a default device, also "cpu", each call of torch takes longer
        elif torch.get_default_device() != device:
            torch.set_default_device(device)


@contextmanager
def removed_modules(local_names: set[str]) -> Iterator[None]:
    """Removes loaded modules with the name of a local module, except installed ones, and restores them on exit."""
    if sys.modules.keys().isdisjoint(local_names):
        yield
        return
    starts = tuple(f"{name}." for name in local_names)
    removed = {
        key: module
        for key in [*sys.modules]  # a copy: another thread may import a module
        if (key in local_names or key.startswith(starts))
        and (module := sys.modules.get(key)) is not None
        and (file := _origin(module))
        and not in_library(file)
    }
    for key in removed:
        sys.modules.pop(key, None)
    try:
        yield
    finally:
        sys.modules.update(removed)


@contextmanager
def folder_importable(folder: Path, last: str) -> Iterator[None]:
    """Makes the folder's modules importable, and on exit removes those imported after the module `last`."""
    writes_bytecode, root = sys.dont_write_bytecode, str(folder)
    sys.path.insert(0, root)
    # A .pyc file is matched by its source's size and time in seconds, so that an edit within a second would be missed.
    sys.dont_write_bytecode = True
    # The listings of these folders may be older than their files; invalidate_caches takes longer than such a file.
    for stale in [entry for entry in [*sys.path_importer_cache] if entry.startswith(root)]:
        del sys.path_importer_cache[stale]
    try:
        yield
    finally:
        sys.dont_write_bytecode = writes_bytecode
        with suppress(ValueError):  # the file may have removed it
            sys.path.remove(root)
        for key in takewhile(lambda key: key != last, reversed([*sys.modules])):  # in the order of their import
            module = sys.modules.get(key)  # None: removed by another thread
            origin = None if module is None else _origin(module)
            is_local = origin and origin.is_relative_to(folder) and not in_library(origin)
            if is_local and not key.startswith("convoy_user_"):
                sys.modules.pop(key, None)


def _origin(module: ModuleType) -> Path | None:
    """File of a module, folder of a namespace package, None for built-in modules."""
    if getattr(module, "__file__", None):
        return Path(str(module.__file__))
    return next((Path(entry) for entry in getattr(module, "__path__", ())), None)


def in_library(file: Path) -> bool:
    return any(file.is_relative_to(root) for root in INSTALLED)
