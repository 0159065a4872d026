"""The text that users read: English messages, translated by gettext catalogs.

A message has named placeholders, which a translation can reorder: `gettext("{n} runs of {label}", n=3, label=label)`.
Values are formatted as in `str.format`. Numbers, units, names of models, data sets and recipe keys are not translated.
`make messages` collects the messages of the package.
"""

from __future__ import annotations

import locale
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from gettext import NullTranslations, translation
from pathlib import Path
from typing import Any

CATALOGS = Path(__file__).with_name("locale")  # LANGUAGE/LC_MESSAGES/convoy.mo
_chosen: ContextVar[str | None] = ContextVar("language", default=None)


def gettext(message: str, /, **values: Any) -> str:
    return _catalog(language(), CATALOGS).gettext(message).format(**values)


def ngettext(one: str, many: str, n: int, /, **values: Any) -> str:
    """The message for `n` things; both forms have the same placeholders."""
    return _catalog(language(), CATALOGS).ngettext(one, many, n).format(n=n, **values)


def language() -> str:
    """CONVOY_LANG if set, otherwise the language of the locale, such as "zh_CN"; English without a catalog."""
    return _chosen.get() or os.environ.get("CONVOY_LANG") or locale.getlocale()[0] or "en"


def languages() -> list[str]:
    """The languages that messages exist in: English, then those with a catalog."""
    return ["en", *sorted(file.parents[1].name for file in CATALOGS.glob("*/LC_MESSAGES/convoy.mo"))]


@contextmanager
def in_language(code: str) -> Iterator[None]:
    """Messages are in this language, one of `languages()`."""
    token = _chosen.set(code)
    try:
        yield
    finally:
        _chosen.reset(token)


def page_language() -> str:
    """The language that messages are in, as HTML's `lang`: "en" without a catalog."""
    return _catalog(language(), CATALOGS).info().get("language", "en").replace("_", "-")


@cache
def _catalog(code: str, folder: Path) -> NullTranslations:
    return translation("convoy", folder, languages=[code], fallback=True)
