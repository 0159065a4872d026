"""Writes the page: one HTML file with script, style and arrays, without external resources."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from convoy.exploring.arrays import Arrays
from convoy.exploring.bundle import bundle
from convoy.exploring.content import PageContent, page_table
from convoy.exploring.words import words_by_language
from convoy.files import write_bytes
from convoy.reporting import palette
from convoy.text import page_language


def write_page(content: PageContent, path: Path) -> Path:
    write_bytes(path, html(content).encode(errors="backslashreplace"))  # a folder name may not be valid UTF-8
    return path


def html(content: PageContent) -> str:
    arrays = Arrays()
    words = words_by_language(content)
    table = page_table(content, arrays, words)
    # "</script>" in the name of a class must not close the element.
    text = json.dumps(table, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    return (
        _templates()
        .get_template("page.html.j2")
        .render(
            content=content,
            words=words[page_language()],
            language=page_language(),
            languages=len(words),
            light=Markup(palette.variables(dark=False)),
            dark=Markup(palette.variables(dark=True)),
            table=Markup(text),
            arrays=Markup(arrays.base64()),
            script=Markup(bundle()),
            has_epochs=any(run.epochs for run in content.runs),
        )
    )


@cache
def _templates() -> Environment:
    return Environment(
        loader=PackageLoader("convoy.exploring"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
