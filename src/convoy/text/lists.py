"""Joins words with the punctuation of the language: "a, b or c" is "a、b 或 c" in Chinese."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from convoy.text import Message
from convoy.text import gettext as _


def joined(words: Iterable[str]) -> str:
    """Joins words without a conjunction: "a, b, c". A stored list is translated by its reader, with its words."""
    words = [*words]
    return Message(_(", ").join(words), ", ", None, {"words": words})


def clauses(texts: Iterable[str]) -> str:
    """Joins texts that may contain commas: "a, b; c"."""
    return _("; ").join(texts)


def listed(words: Iterable[str], last: Literal["and", "or"] = "and", *, max_items: int = 0) -> str:
    """Joins words: "a, b and c" or "a, b or c". With `max_items`, only counts the rest: "a, b and 7 more"."""
    words = [*words]
    if max_items and len(words) > max_items:
        words = [*words[:max_items], _("{n} more", n=len(words) - max_items)]
    if len(words) < 2:
        return joined(words)
    others = joined(words[:-1])
    if last == "or":
        return _("{others} or {last}", others=others, last=words[-1])
    return _("{others} and {last}", others=others, last=words[-1])
