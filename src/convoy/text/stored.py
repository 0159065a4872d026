"""Messages in JSON files: stored as the English message with its values, shown in the language of the reader.

A stored message is {"message": "{n} of {total} images", "values": {"n": 3, "total": 10}}, with "plural" if it has one;
a list joined by `lists.joined` is {"message": ", ", "values": {"words": ["a", "b"]}}. Values can be messages and lists.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any, NotRequired, TypedDict

from convoy import text
from convoy.text import Message
from convoy.text.lists import joined


class StoredMessage(TypedDict):
    message: str  # in English
    values: dict[str, Any]
    plural: NotRequired[str]


# Files can be damaged or changed, so a placeholder may not access attributes or items, or set a huge width.
_PLAIN = re.compile(r"(?:[^{}]|{{|}}|{[a-z_]\w*(?:![rs])?(?::[-+<>,.%\w]{0,4})?})*")


def stored(value: Any) -> Any:
    """Returns the value with each `Message` in its lists and tables replaced by a table of message and values."""
    if isinstance(value, Message):
        return _as_table(value)
    if isinstance(value, Mapping):
        return {key: stored(each) for key, each in value.items()}
    return [stored(each) for each in value] if isinstance(value, list | tuple) else value


def restored(table: dict[str, Any]) -> Any:
    """Converts a stored message to text in the current language; returns other tables unchanged. For `object_hook`."""
    match table:
        case {"message": ", ", "values": {"words": list(words)}} if all(isinstance(word, str) for word in words):
            return joined(words)
        case {"message": str(message), "values": dict(values), **rest} if rest.keys() <= {"plural"}:
            plural = rest.get("plural", message)
        case _:
            return table
    if not all(isinstance(form, str) and _PLAIN.fullmatch(form) for form in (message, plural)):
        return table
    try:
        return text.ngettext(message, plural, values["n"], **values) if rest else text.gettext(message, **values)
    except (KeyError, TypeError, ValueError):
        return table


def _as_table(message: Message) -> StoredMessage | str:
    """Returns the table, or the text if JSON cannot hold the values."""
    values = {key: _plain(value) for key, value in message.values.items()}
    table = StoredMessage(message=message.english, values=values)
    if message.many is not None:
        table["plural"] = message.many
    can_be_restored = isinstance(json.loads(json.dumps(table), object_hook=restored), str)
    return table if can_be_restored else str(message)


def _plain(value: Any) -> Any:
    if hasattr(value, "item") and not getattr(value, "shape", ()):  # a number of numpy or torch
        value = value.item()
    if isinstance(value, Message):
        return _as_table(value)
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    is_number = isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value))
    return value if is_number or value is None else str(value)
