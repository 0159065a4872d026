"""convoy data show: the data sheet."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict

from convoy import api
from convoy.cli.app import Call, command, data_app, print_json, print_path, print_table, say
from convoy.text import gettext as _
from convoy.text.wrap import typeset


@command(api.data_sheet, "show", data_app)
def show(call: Call, as_json: bool) -> None:
    with _progress_bar() as progress:
        sheet = call(progress=progress)
    if as_json:
        print_json({"page": sheet.page, **asdict(sheet.summary)})
        return
    from convoy.datasheet import words

    say(_("{labels}: {text}", labels=sheet.summary.name, text=words.sentence(sheet.summary)))
    for caveat in words.caveats(sheet.summary):
        say(f"- {caveat}")
    for table in (words.parts_table(sheet.summary), words.duplicates_table(sheet.summary)):
        titles = [
            typeset(f"{column.title} ({column.unit})") if column.unit else column.title for column in table.columns
        ]
        print()
        print_table([dict(zip(titles, (cell.text for cell in row), strict=True)) for row in table.rows], titles[:1])
    print()
    for title, fact in words.about(sheet.summary):
        if fact:
            say(_("{labels}: {text}", labels=title, text=fact))
    print_path(sheet.page)


@contextmanager
def _progress_bar() -> Iterator[Callable[[float], None]]:
    """Shows a progress bar on a terminal, because the search for duplicates may take a minute."""
    if not sys.stderr.isatty():
        yield lambda share: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(_("looking for duplicates"), total=1.0)
        yield lambda share: bar.update(task, completed=share)
