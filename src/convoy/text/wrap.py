"""Chinese typography: line breaks on a terminal, where a character takes two columns, and punctuation."""

from __future__ import annotations

import re
import unicodedata

from convoy.text import page_language

# Unbreakable pieces: a word, a short note in brackets, or a single Chinese character, with the punctuation around it.
_PIECE = re.compile(
    r"\s+|[（“《]*(?:(?:\[[^\[\]]{,20}\]|[^\s\u3000-\u9fff\uff00-\uffef“”（）《》])+|[^\s])[，。、：；！？）”》…]*"
)

_CHINESE = re.compile("[\u3400-\u9fff\uff00-\uffef]")  # or its punctuation
_PARENTHESES = re.compile(r" ?\(([^()\[\]]*[\u3400-\u9fff][^()]*)\)|(?<=[\u3400-\u9fff%]) ?\((?![a-z]\))([^()]+)\)")
_MARKS = re.compile(r"(?<=[\u3400-\u9fff）”])[;,:](?= )|[;,:](?= [\u3400-\u9fff（“])")
_FULL_WIDTH = {";": "；", ",": "，", ":": "："}


def columns(text: str) -> int:
    return sum(1 + (unicodedata.east_asian_width(sign) in "WF") for sign in text)


def wrapped(text: str, width: int) -> list[str]:
    """Wraps a text into lines of at most `width` columns. A longer piece is on a line of its own."""
    lines, line = [], ""
    for piece in _PIECE.findall(text):
        if line and columns(line + piece.rstrip()) > width:
            lines.append(line.rstrip())
            line = ""
        if line or not piece.isspace():
            line += piece
    return [*lines, line.rstrip()] if line.strip() or not lines else lines


def shortened(text: str, width: int) -> str:
    """Returns a text of at most `width` columns. A longer text ends with " ..." after a complete word."""
    return text if columns(text) <= width else f"{wrapped(text, width - 4)[0]} ..."


def typeset(text: str) -> str:
    """Corrects joined Chinese sentences: full-width punctuation next to Chinese characters, no space after it."""
    if page_language() == "en":
        return text
    text = re.sub(r"(?<=\d)[ \u00a0]%", "%", text)
    if _CHINESE.search(text) is None:
        return text
    text = re.sub(r"(?<=\d[ \u00a0])(?=百分点)", "个", text)
    text = _PARENTHESES.sub(lambda match: f"（{match[1] or match[2]}）", text)
    text = text.replace("）（", "；")
    text = _MARKS.sub(lambda mark: _FULL_WIDTH[mark.group()], text).replace("; ", "；")
    text = re.sub(r"(?<=[\u3400-\u9fff]) (?=[\u3400-\u9fff])", "", text)
    text = re.sub(r"(?<=[\u3400-\u9fff）”])\.(?= |$)", "。", text)
    return re.sub(r"(?<=[，。、：；！？）]) +(?=\S)", "", text)
