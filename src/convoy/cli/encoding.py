"""Output on a console that cannot encode every character."""

from __future__ import annotations

import codecs
import sys

SPELLED_OUT = {"±": "+/-", "−": "-", "–": "-", "×": "x", "·": "-", "…": "...", "→": "->", "²": "^2", "\u00a0": " "}


def replace_unencodable() -> None:
    """Makes stdout and stderr replace characters that they cannot encode: "±" by "+/-", others by their code."""
    codecs.register_error("convoy", _spelled_out)
    for stream in (sys.stdout, sys.stderr, sys.__stdout__):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="convoy")


def _spelled_out(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    text = error.object[error.start : error.end]
    replaced = (SPELLED_OUT.get(sign) or sign.encode("ascii", "backslashreplace").decode() for sign in text)
    return "".join(replaced), error.end
