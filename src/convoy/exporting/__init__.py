"""A run's results as files for other tools. Each format is a file here and a row of FORMATS."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from convoy.exporting import logs, weights
from convoy.files import write_bytes
from convoy.registry import unknown
from convoy.runs import Run


class Format(NamedTuple):
    files: tuple[str, ...]  # what is written, one name each
    required: int  # of these names
    contents: Callable[[Run, int], list[bytes]]  # of the first so many files. Raises ValueError


FORMATS = {
    "pth": Format(("the best weights",), 1, weights.contents),
    "logs": Format(("the log of the epochs", "the log of the test accuracies"), 1, logs.contents),
}


def export(run: Run, names: Sequence[Path], *, to: str, overwrite: bool) -> list[Path]:
    """Writes the files of a format under exactly these names. All is checked before the first is written.

    Raises ValueError: an unknown format, too few or too many names, a file that is there already, numbers that the run
    does not have.
    """
    if to not in FORMATS:
        raise unknown("format", to, FORMATS)
    chosen = FORMATS[to]
    if not chosen.required <= len(names) <= len(chosen.files):
        expected = ", then ".join(f"a name for {file}" for file in chosen.files)
        optional = " (optional)" * (chosen.required < len(chosen.files))
        raise ValueError(f"--to {to}: expected {expected}{optional}; got {len(names)} names")
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{name} is given twice: each file needs a name of its own")
        if name.is_dir():
            raise ValueError(f"{name} is a folder: expected the name of a file in it")
        if not name.parent.is_dir():
            raise ValueError(f"{name}: the folder {name.parent} does not exist")
        if name.exists() and not overwrite:
            raise ValueError(f"{name} exists already: give another name, or --overwrite")
    for name, content in zip(names, chosen.contents(run, len(names)), strict=True):
        write_bytes(name, content)
    return list(names)
