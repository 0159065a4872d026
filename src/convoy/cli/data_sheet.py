"""convoy data show: the sheet of a data set."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from convoy.cli.app import Json, data_app, print_json


@data_app.command(name="show")
def show(
    name: str,
    *,
    size: Annotated[int | None, Parameter(help="Pixels; each image resized to it. Else the data's own size.")] = None,
    out: Annotated[Path | None, Parameter(help="Folder of the page; else convoy-runs/data/NAME-HASH.")] = None,
    as_json: Json = False,
) -> None:
    """Show what a data set holds: samples, classes, levels, and the images that stand in it twice. Nothing is trained.

    Example: `convoy data show mnist`

    Parameters
    ----------
    name
        A data set's name, a path, or NAME=PATH.
    """
    from convoy import api

    with _search_shown() as progress:
        sheet = api.data_sheet(name, size=size, out=out, progress=progress)
    if as_json:
        print_json({"page": sheet.page, **sheet.facts})
        return
    from convoy.reporting import data_sheet_words as words

    print(f"{sheet.facts['name']}: {words.sentence(sheet.facts)}")
    for caveat in words.caveats(sheet.facts):
        print(f"- {caveat}")
    for rows in (words.parts_rows(sheet.facts), words.duplicates_rows(sheet.facts)):
        print()
        _print_table(rows)
    print()
    for title, fact in words.about(sheet.facts):
        if fact:
            print(f"{title}: {fact}")
    print(sheet.page)


@contextmanager
def _search_shown() -> Iterator[Callable[[float], None]]:
    """A bar on a terminal; a minute of silence looks like a fault."""
    if not sys.stderr.isatty():
        yield lambda share: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("looking for duplicates", total=1.0)
        yield lambda share: bar.update(task, completed=share)


def _print_table(rows: Sequence[Mapping[str, str]]) -> None:
    """The first column to the left, the numbers to the right."""
    lines = [dict(zip(rows[0], rows[0], strict=True)), *rows]
    widths = {title: max(len(line[title]) for line in lines) for title in rows[0]}
    for line in lines:
        first, *others = ((line[title], width) for title, width in widths.items())
        print("  ".join([f"{first[0]:<{first[1]}}", *(f"{text:>{width}}" for text, width in others)]))
