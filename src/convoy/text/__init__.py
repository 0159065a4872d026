"""The text that users read: English messages, translated by gettext catalogs.

A message has named placeholders, which a translation can reorder: `gettext("{n} runs of {label}", n=3, label=label)`.
Values are formatted as in `str.format`. Numbers, units, names of models, data sets and recipe keys are not translated.
`make messages` renews the catalogs with the messages of the package.
"""

from __future__ import annotations

import locale
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import Any

from convoy.text.catalog import Catalog

CATALOGS = Path(__file__).with_name("locale")  # LANGUAGE/LC_MESSAGES/convoy.po
_chosen: ContextVar[str | None] = ContextVar("language", default=None)


def gettext(message: str, /, **values: Any) -> str:
    return translated(message).format(**values)


def ngettext(one: str, many: str, n: int, /, **values: Any) -> str:
    """The message for `n` things; both forms have the same placeholders."""
    return _catalog(language(), CATALOGS).plural(one, many, n).format(n=n, **values)


def translated(message: str) -> str:
    """The translation of a message that is defined elsewhere, such as the summary of a model; not formatted."""
    return _catalog(language(), CATALOGS).messages.get(message, message)


def messages() -> Mapping[str, str]:
    """The translations of the reader's language by their English message; without those that have a number."""
    return _catalog(language(), CATALOGS).messages


def language() -> str:
    """CONVOY_LANG if set, otherwise the language of the locale, such as "zh_CN"; English without a catalog."""
    names = ("CONVOY_LANG", "LC_ALL", "LC_MESSAGES", "LANG")
    code = _chosen.get() or next(filter(None, map(os.environ.get, names)), None) or locale.getlocale()[0] or "en"
    return code.partition(".")[0].replace("-", "_")


def languages() -> list[str]:
    """The languages that messages exist in: English, then those with a catalog."""
    return ["en", *sorted(file.parents[1].name for file in CATALOGS.glob("*/LC_MESSAGES/*.po"))]


@contextmanager
def in_language(code: str) -> Iterator[None]:
    """Messages are in this language, one of `languages()`."""
    token = _chosen.set(code)
    try:
        yield
    finally:
        _chosen.reset(token)


@contextmanager
def selected(code: str | None) -> Iterator[None]:
    """Messages are in this language, also in processes that are started; None: in that of the system."""
    before = os.environ.get("CONVOY_LANG")
    if code is not None:
        os.environ["CONVOY_LANG"] = code
    try:
        yield
    finally:
        if code is not None:
            os.environ.pop("CONVOY_LANG")
        if before is not None:
            os.environ["CONVOY_LANG"] = before


def page_language() -> str:
    """The language that messages are in, as HTML's `lang`: "en" without a catalog."""
    return _catalog(language(), CATALOGS).code.replace("_", "-")


@cache
def _catalog(code: str, folder: Path) -> Catalog:
    """The catalog of a language, or of another variety of it: Simplified Chinese for zh and zh_TW."""
    name = code if (folder / code).is_dir() else ""
    for other in () if name else sorted(folder.glob(f"{code.partition('_')[0]}_*")):
        name = other.name
    return Catalog.read(folder / f"{name}/LC_MESSAGES/convoy.po") if name else Catalog("en")
