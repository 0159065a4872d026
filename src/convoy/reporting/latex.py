"""Renders a page as LaTeX (.tex) for pdflatex, xelatex and lualatex with the packages of a small TeX Live."""

from __future__ import annotations

import re
from functools import cache, partial
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from convoy.reporting.content import MANY_COLUMNS, Cell, Page, Table, readable
from convoy.reporting.figure_files import inches_of, png_of
from convoy.reporting.render import figure_titles, full_stop, kind_of, readable_lines
from convoy.text import gettext as _

MAX_ROWS = 45  # rows of a table on one page; longer tables are split
LONG = 42  # characters; longer texts are wrapped
_COMMANDS = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}",
    ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\textquotedbl{}", "`": r"\textasciigrave{}",
    "-": "-{}", "_": r"\_\allowbreak{}", "/": r"/\allowbreak{}", "[": "{[}", "]": "{]}",
    "×": r"\ensuremath{\times}", "±": r"\ensuremath{\pm}", "−": r"\ensuremath{-}", "→": r"\ensuremath{\rightarrow}",
    "≤": r"\ensuremath{\leq}", "≥": r"\ensuremath{\geq}", "²": r"\ensuremath{^2}", "α": r"\ensuremath{\alpha}",
    "β": r"\ensuremath{\beta}", "μ": r"\ensuremath{\mu}", "…": r"\dots{}",
    "·": r"\ensuremath{\cdot}", "–": r"\textendash{}", "“": r"\textquotedblleft{}", "”": r"\textquotedblright{}",
    "’": "'", "\u00a0": "~", **{letter: f"\\{letter}" for letter in "&%$#{}"},
}  # fmt: skip
_HASH = re.compile("[0-9a-f]{40,}")  # wider than a column
_EAST_ASIAN = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
_KNOWN_TO_PDFLATEX = 0x17F  # last Latin character; others need xelatex or lualatex and a font


class _Raw(str):
    """Text that is already LaTeX."""

    __slots__ = ()


def tex(page: Page, folder: Path) -> bytes:
    """`folder` is the folder of the .tex file, which contains figures/."""
    titles = figure_titles(page)
    text = (
        _environment()
        .get_template("report.tex.j2")
        .render(
            page=page,
            full_stop=full_stop,
            figure_word=_("Figure"),
            figures=titles,
            kind=kind_of,
            raw=_Raw,
            code=_code,
            parts=lambda table: [table.rows[i : i + MAX_ROWS] for i in range(0, len(table.rows), MAX_ROWS)] or [()],
            columns=_columns,
            has_header=lambda table: any(column.title or column.unit for column in table.columns),
            row=partial(_row, bold=False),
            header=_header,
            size=lambda name: inches_of(png_of(folder / "figures", name)),
        )
    )
    for mark, lines in zip(("letters", "font", "east asian"), _letters(text), strict=True):
        text = text.replace(f"%% {mark}", lines)
    return re.sub(r"\n{3,}", "\n\n", text).encode()


def _letters(text: str) -> tuple[str, str, str]:
    """Returns preamble lines for characters missing from LaTeX's font: for pdflatex, for other compilers, for both.

    pdflatex stops at an undefined character; the definition makes it print the character's number.
    """
    unknown = sorted({letter for letter in text if ord(letter) > _KNOWN_TO_PDFLATEX})
    others, east_asian = (
        [
            rf"  \DeclareUnicodeCharacter{{{ord(letter):04X}}}{{U+{ord(letter):04X}}}"
            for letter in unknown
            if bool(_EAST_ASIAN.match(letter)) == is_east_asian
        ]
        for is_east_asian in (False, True)
    )
    font = r"  \IfFontExistsTF{DejaVu Serif}{\setmainfont{DejaVu Serif}}{}" if others else ""
    if not east_asian:
        return "\n".join(others), font, ""
    without = "\n".join([r"\ifPDFTeX", *east_asian, r"\fi"])
    ctex = rf"\IfFileExists{{ctex.sty}}{{\usepackage[UTF8,scheme=plain]{{ctex}}}}{{{without}}}"
    return "\n".join(others), font, ctex


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("convoy.reporting"),
        block_start_string="<%",
        block_end_string="%>",
        variable_start_string="<<",
        variable_end_string=">>",
        comment_start_string="<#",
        comment_end_string="#>",
        finalize=_escaped,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _escaped(value: Any) -> Any:
    """Escapes everything that the template prints, so that names cannot become commands."""
    if isinstance(value, _Raw) or not isinstance(value, str):
        return value
    text = "".join(_COMMANDS.get(letter, letter) for letter in readable(value)) if value else ""
    return _HASH.sub(lambda digits: re.sub("(.{8})(?=.)", r"\1\\allowbreak{}", digits.group()), text)


def _code(text: str) -> _Raw:
    """Formats code in monospace with line breaks, which LaTeX's verbatim does not have."""
    lines = []
    for line in readable_lines(text).split("\n"):
        indent = len(line) - len(line.lstrip())
        text = str(_escaped(line.strip())).replace("'", r"\textquotesingle{}") if line.strip() else ""
        lines.append(r"\mbox{}" + r"\ " * indent + text)
    return _Raw("\\\\\n".join(lines))


def _columns(table: Table) -> _Raw:
    """Returns the column specification of a tabular: numbers right-aligned, long texts wrapped."""
    if not any(column.title or column.unit for column in table.columns):
        return _Raw(r"p{0.28\linewidth}p{0.66\linewidth}")
    longest = [max((len(row[place].text) for row in table.rows), default=0) for place in range(len(table.columns))]
    limited = r">{\raggedright\arraybackslash}p{6.5cm}"
    return _Raw(
        "".join(
            "r" if column.numeric else limited if length > LONG else "l"
            for column, length in zip(table.columns, longest, strict=True)
        )
    )


def _header(table: Table) -> _Raw:
    """Formats titles and units, on separate lines if there are many columns, so that the table is not scaled down."""
    if len(table.columns) <= MANY_COLUMNS:
        return _row([Cell(column.title, column.unit) for column in table.columns], bold=True)
    texts = []
    for column in table.columns:
        lines = [rf"\textbf{{{_escaped(word)}}}" for word in re.split(r"\s+(?!\d)", column.title)]
        if column.unit:
            lines.append(rf"\scriptsize {_escaped(column.unit)}")
        stack = r" \\ ".join(lines)
        texts.append(rf"\shortstack[{'r' if column.numeric else 'l'}]{{{stack}}}")
    return _Raw(" & ".join(texts) + r" \\")


def _row(cells: Any, *, bold: bool) -> _Raw:
    texts = []
    for cell in cells:
        text = _escaped(cell.text)
        if text and (bold or cell.bold):
            text = rf"\textbf{{{text}}}"
        texts.append(f"{text} {{\\scriptsize {_escaped(cell.note)}}}" if cell.note else text)
    return _Raw(" & ".join(texts) + r" \\")
