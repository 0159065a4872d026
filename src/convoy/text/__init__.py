"""The messages for users: English text, translated by gettext catalogs.

A message has named placeholders, which a translation can reorder: `gettext("{n} runs of {label}", n=3, label=label)`.
Values are formatted as in `str.format`, and paths as in `short_path`. Numbers, names of models, data sets and recipe
keys are not translated.
`make messages` updates the catalogs with the messages of the package.
"""

from __future__ import annotations

import locale
import os
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import Any

from convoy.text.catalog import Catalog

CATALOGS = Path(__file__).with_name("locale")  # LANGUAGE/LC_MESSAGES/convoy.po
_chosen: ContextVar[str | None] = ContextVar("language", default=None)


class Message(str):
    """A text that keeps its English message and values, so that files can store it without its language (`stored`)."""

    english: str
    many: str | None  # the plural form of a message with `n` among its values
    values: Mapping[str, Any]

    def __new__(cls, text: str, english: str, many: str | None, values: Mapping[str, Any]) -> Message:
        self = super().__new__(cls, text)
        self.english, self.many, self.values = english, many, values
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return str, (str(self),)  # copied and pickled as a plain text: the values can be of any type

    def __deepcopy__(self, memo: object) -> Message:  # by dataclasses.asdict
        return self


def gettext(message: str, /, **values: Any) -> str:
    values = {name: _shown(value) for name, value in values.items()}
    return Message(translated(message).format(**values), message, None, values)


def ngettext(one: str, many: str, n: int, /, **values: Any) -> str:
    """Returns the singular or plural message for `n`. Both forms have the same placeholders."""
    values = {"n": n} | {name: _shown(value) for name, value in values.items()}
    return Message(_catalog(language(), CATALOGS).plural(one, many, n).format(**values), one, many, values)


def short_path(path: Path) -> str:
    """Returns the path as shown to users: relative to the current folder if it is below it."""
    with suppress(ValueError, OSError):  # elsewhere; the current folder was deleted
        return str(path.relative_to(Path.cwd()))
    return str(path)


def _shown(value: object) -> object:
    return short_path(value) if isinstance(value, Path) else value


def translated(message: str) -> str:
    """Returns the translation of a message that is defined elsewhere, such as a model's summary; not formatted."""
    return _catalog(language(), CATALOGS).messages.get(message, message)


def messages() -> Mapping[str, str]:
    """Returns the translations of the current language by English message, without plural messages."""
    return _catalog(language(), CATALOGS).messages


def language() -> str:
    """Returns CONVOY_LANG if set, otherwise the language of the locale, such as "zh_CN"; English without a catalog."""
    names = ("CONVOY_LANG", "LC_ALL", "LC_MESSAGES", "LANG")
    code = _chosen.get() or next(filter(None, map(os.environ.get, names)), None) or locale.getlocale()[0] or "en"
    return code.partition(".")[0].replace("-", "_")


def is_language_chosen() -> bool:
    """Returns whether the language is the user's choice (`--lang`, CONVOY_LANG) instead of the locale's."""
    return bool(_chosen.get() or os.environ.get("CONVOY_LANG"))


def languages() -> list[str]:
    """Returns the languages in which messages exist: English, then those with a catalog."""
    return ["en", *sorted(file.parents[1].name for file in CATALOGS.glob("*/LC_MESSAGES/*.po"))]


def language_base(code: str) -> str:
    """Returns "zh" for "zh_CN.UTF-8" and "zh-TW"."""
    return re.split("[-_.]", code, maxsplit=1)[0]


def language_bases() -> list[str]:
    return list(map(language_base, languages()))


def warn_of_language() -> None:
    """Warns once if CONVOY_LANG, which the user set for Convoy, is a language without messages."""
    _warn_of_language(os.environ.get("CONVOY_LANG", ""))


@cache
def _warn_of_language(code: str) -> None:
    if code and language_base(code) not in (known := language_bases()):
        message = f"CONVOY_LANG={code}: expected one of {', '.join(known)}; messages are in English"
        warnings.warn(message, stacklevel=4)  # the caller of a public function


@contextmanager
def in_language(code: str) -> Iterator[None]:
    """Sets the language of messages in this context, one of `languages()`."""
    token = _chosen.set(code)
    try:
        yield
    finally:
        _chosen.reset(token)


@contextmanager
def selected(code: str | None) -> Iterator[None]:
    """Sets the language of messages in this context and in processes started in it; None: the system's."""
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
    """Returns the language of messages as HTML's `lang`: "en" without a catalog."""
    return _catalog(language(), CATALOGS).code.replace("_", "-")


@cache
def _catalog(code: str, folder: Path) -> Catalog:
    """Returns the catalog of a language or of a variant of it: Simplified Chinese for zh and zh_TW."""
    name = code if (folder / code).is_dir() else ""
    for other in () if name else sorted(folder.glob(f"{code.partition('_')[0]}_*")):
        name = other.name
    return Catalog.read(folder / f"{name}/LC_MESSAGES/convoy.po") if name else Catalog("en")
