"""Reads the .po files of gettext, which the package contains instead of compiled .mo files."""

from __future__ import annotations

import gettext
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

_FIELD = re.compile(r'^(msgid|msgid_plural|msgstr(?:\[\d\])?) ((?:".*"\n?)+)', re.MULTILINE)


@dataclass(frozen=True)
class Catalog:
    code: str  # code of the language
    messages: dict[str, str] = field(default_factory=dict)  # by English message
    forms: dict[str, list[str]] = field(default_factory=dict)  # plural forms, by English singular
    form: Callable[[int], int] = lambda n: int(n != 1)

    def plural(self, one: str, many: str, n: int) -> str:
        forms = self.forms.get(one)
        return forms[self.form(n)] if forms else one if n == 1 else many

    @staticmethod
    def read(path: Path) -> Catalog:
        """Reads a complete catalog. Its strings are escaped as in JSON."""
        messages: dict[str, str] = {}
        forms: dict[str, list[str]] = {}
        message = ""
        for name, lines in _FIELD.findall(path.read_text(encoding="utf-8")):
            text = "".join(json.loads(f"[{lines.strip().replace(chr(10), ',')}]"))
            if name == "msgid":
                message = text
            elif name == "msgstr" and text:
                messages[message] = text
            elif name.startswith("msgstr[") and text:
                forms.setdefault(message, []).append(text)
        header = messages.pop("")
        code = re.search(r"^Language: (\w+)", header, re.MULTILINE)
        rule = re.search(r"plural=(.*?);", header)
        assert code is not None and rule is not None, path
        return Catalog(code.group(1), messages, forms, gettext.c2py(rule.group(1)))
