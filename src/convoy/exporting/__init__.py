"""Exports the results of a run for other tools. Each format is a file here and a row of FORMATS."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from convoy.exporting import logs, weights
from convoy.files import write_bytes
from convoy.registry import unknown
from convoy.runs import Run


class Format(NamedTuple):
    files: tuple[str, ...]  # description of each file
    required: int  # how many of the files must be named
    contents: Callable[[Run, int], list[bytes]]  # (run, number of files) -> contents. Raises ValueError


FORMATS = {
    "pth": Format(("the best weights",), 1, weights.contents),
    "logs": Format(("the log of the epochs", "the log of the test accuracies"), 1, logs.contents),
}


def export(run: Run, names: Sequence[Path], *, to: str, overwrite: bool) -> list[Path]:
    """Writes the files of a format under exactly these names.

    Raises ValueError for an unknown format, too few or too many names, an existing file, and data that the run does not
    have. All checks are made before the first file is written.
    """
    if to not in FORMATS:
        raise unknown("format", to, FORMATS)
    export_format = FORMATS[to]
    if not export_format.required <= len(names) <= len(export_format.files):
        expected = ", then ".join(f"a file name for {file}" for file in export_format.files)
        optional = " (optional)" * (export_format.required < len(export_format.files))
        raise ValueError(f"--to {to}: expected {expected}{optional}; got {len(names)} names")
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{name}: expected a different name for each file")
        if name.is_dir():
            raise ValueError(f"{name}: expected a file name, got a folder")
        if not name.parent.is_dir():
            raise ValueError(f"{name}: the folder {name.parent} does not exist")
        if name.exists() and not overwrite:
            raise ValueError(f"{name} already exists; use another name or --overwrite")
    for name, content in zip(names, export_format.contents(run, len(names)), strict=True):
        write_bytes(name, content)
    return list(names)
