"""Wraps text for a terminal. Chinese has no spaces between words, and its characters take two columns."""

from __future__ import annotations

import re
import unicodedata

# What is not divided: a word with the punctuation around it, or one Chinese character with that around it.
_PIECE = re.compile(r"\s+|[（“《]*(?:[^\s\u3000-\u9fff\uff00-\uffef“”（）《》]+|[^\s])[，。、：；！？）”》…]*")


def columns(text: str) -> int:
    return sum(1 + (unicodedata.east_asian_width(sign) in "WF") for sign in text)


def wrapped(text: str, width: int) -> list[str]:
    """Divides a text into lines of at most this many columns; a longer piece is on a line of its own."""
    lines, line = [], ""
    for piece in _PIECE.findall(text):
        if line and columns(line + piece.rstrip()) > width:
            lines.append(line.rstrip())
            line = ""
        if line or not piece.isspace():
            line += piece
    return [*lines, line.rstrip()] if line.strip() or not lines else lines
