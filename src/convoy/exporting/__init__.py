"""Exports the results of a run for other tools. Each format is a file in this package and a row of FORMATS."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from convoy.exporting import bundle, graphs, logs, weights
from convoy.exporting.content import Contents, Parity, Settings
from convoy.files import write_bytes
from convoy.registry import unknown
from convoy.runs import Run
from convoy.text import gettext as _
from convoy.text.lists import joined, listed
from convoy.tracking import TRACKERS

PREPROCESSING = ("inside", "outside")


class Format(NamedTuple):
    contents: Callable[[Run, Settings], Contents]  # raises ValueError
    packages: tuple[str, ...] = ()  # required packages, from the extra with the format's name
    max_files: int = 1
    is_graph: bool = False  # whether the option `preprocessing` applies


FORMATS = {
    "pth": Format(weights.pth),
    "safetensors": Format(weights.safetensors),
    "onnx": Format(graphs.onnx, ("onnx", "onnxscript", "onnxruntime"), is_graph=True),
    "pt2": Format(graphs.pt2, is_graph=True),
    "bundle": Format(bundle.contents),
    "logs": Format(logs.contents, max_files=2),
}


SUFFIXES = {f".{name}": name for name in ("onnx", "pt2", "pth", "safetensors")} | {".zip": "bundle"}


def format_of(names: Sequence[Path]) -> str:
    """Returns the format of a file by its suffix. Raises ValueError for another suffix, and without a name."""
    if names and (found := SUFFIXES.get(names[0].suffix.lower())):
        return found
    formats = joined(f"{suffix} ({name})" if name not in suffix else suffix for suffix, name in SUFFIXES.items())
    known = joined(FORMATS)
    if not names:
        raise ValueError(
            _(
                "expected a file name with one of the suffixes {formats}, or --to with one of {known}",
                formats=formats,
                known=known,
            )
        )
    raise ValueError(
        _(
            "{name}: expected one of the suffixes {formats}, or --to with one of {known}",
            name=names[0],
            formats=formats,
            known=known,
        )
    )


def export(
    run: Run, names: Sequence[Path], settings: Settings, *, to: str, preprocessing: str | None, overwrite: bool
) -> Parity | None:
    """Writes the files of a format under these names.

    Raises ValueError for an unknown format, a missing package, too few or too many names, an existing file, data that
    the run does not have, and a network whose outputs change in the export. Everything is checked before the first file
    is written.
    """
    if to not in FORMATS:
        raise unknown(_("format"), to, [*FORMATS, *TRACKERS])
    export_format = FORMATS[to]
    check_packages(to, f"--to {to}")
    _check_names(names, to, export_format, overwrite=overwrite)
    own = {"--preprocessing": preprocessing is not None, "--temperature": settings.temperature}
    if not export_format.is_graph and any(own.values()):
        option = next(name for name, is_set in own.items() if is_set)
        graphs_ = listed(name for name, each in FORMATS.items() if each.is_graph)
        raise ValueError(_("{option}: only for --to {graphs}, not for {to}", option=option, graphs=graphs_, to=to))
    if preprocessing is not None:
        if preprocessing not in PREPROCESSING:
            raise unknown(_("preprocessing"), preprocessing, PREPROCESSING)
        settings = replace(settings, preprocessing=preprocessing)
    contents = export_format.contents(run, replace(settings, files=len(names)))
    for name, content in zip(names, contents.files, strict=True):
        write_bytes(name, content)
    return contents.parity


def check_packages(to: str, option: str) -> None:
    """Raises ValueError if a package that a format needs is missing. `option`: the option that selects the format."""
    if missing := [package for package in FORMATS[to].packages if find_spec(package) is None]:
        raise ValueError(
            _(
                "{option} needs {missing}: pip install 'convoy-ml[{to}]'",
                option=option,
                missing=joined(missing),
                to=to,
            )
        )


def _check_names(names: Sequence[Path], to: str, export_format: Format, *, overwrite: bool) -> None:
    if not 1 <= len(names) <= export_format.max_files:
        expected = _("a file name") if export_format.max_files == 1 else _("one or two file names")
        raise ValueError(_("--to {to}: expected {expected}; got {n} names", to=to, expected=expected, n=len(names)))
    for name in names:
        if names.count(name) > 1:
            raise ValueError(_("{name}: expected a different name for each file", name=name))
        if name.is_dir():
            raise ValueError(_("{name}: expected a file name, got a folder", name=name))
        if not name.parent.is_dir():
            raise ValueError(_("{name}: the folder {parent} does not exist", name=name, parent=name.parent))
        if name.exists() and not overwrite:
            raise ValueError(_("{name} already exists; use another name or --overwrite", name=name))
