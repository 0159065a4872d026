"""Collects the messages of the package and renews its catalogs: `make messages`.

New messages are added without a translation, and unused ones are removed; the test of the catalogs then lists what to
translate. `python -m tools.messages LANGUAGE` also creates a catalog, for example `de`.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

from babel.messages import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po, write_po

import convoy
from convoy.cli import guesses
from convoy.cli import help as help_pages
from convoy.cli.main import app
from convoy.data import DATA_SETS
from convoy.data.augment import AUGMENTATIONS
from convoy.models import MODELS
from convoy.recipe.faults import Fault
from convoy.text import CATALOGS
from convoy.text.labels import SOURCES

PACKAGE = Path(convoy.__file__).parent
KEYWORDS = {"_": None, "ngettext": (1, 2)}
# Keys of recipes and experiments with a text:
WORDS = {"about", "title", "sentence", "hardware", "notes", "reason", "full_size_only"}


def collected() -> Catalog:
    """All messages, by file: arguments of gettext calls, and texts that are translated when they are shown."""
    catalog = Catalog(project="convoy", fuzzy=False)
    rows = sorted(extract_from_dir(PACKAGE, keywords=KEYWORDS), key=lambda row: row[:2])  # not the file system's order
    for file, line, message, _comments, _context in rows:
        catalog.add(message[:2] if isinstance(message, tuple) else message, locations=[(f"src/convoy/{file}", line)])
    for file, text in (*_help_texts(), *_summaries(), *_recipes()):
        catalog.add(text, locations=[(f"src/convoy/{file}", 1)])
    return catalog


def _help_texts() -> Iterator[tuple[str, str]]:
    for text in help_pages.texts(app):
        yield "cli/help.py", text


def _summaries() -> Iterator[tuple[str, str]]:
    for name in MODELS:
        yield "models/catalogue.py", MODELS[name].summary
    for name in DATA_SETS:
        yield "data/catalogue.py", DATA_SETS[name].summary
    for kind in (MODELS.kind, DATA_SETS.kind, AUGMENTATIONS.kind):
        yield "registry.py", kind
    for fault in Fault:
        yield "recipe/faults.py", fault.replace("_", " ")
    for sentence in guesses.SENTENCES:
        yield "cli/guesses.py", sentence
    for label in SOURCES.values():
        yield "text/labels.py", label


def _recipes() -> Iterator[tuple[str, str]]:
    for path in sorted(PACKAGE.glob("recipes/*/*.toml")):
        words = WORDS | {"label"} if path.name == "claims.toml" else WORDS
        table = tomllib.loads(path.read_text("utf-8"))
        names = [fault["name"].replace("_", " ") for fault in table.get("fault", ())]
        for text in (*_words(table, words), *names):
            yield path.relative_to(PACKAGE).as_posix(), text


def _words(table: object, words: set[str], key: str = "") -> Iterator[str]:
    if isinstance(table, dict):
        for name, value in table.items():
            yield from _words(value, words, name)
    elif isinstance(table, list):
        for value in table:
            yield from _words(value, words, key)
    elif isinstance(table, str) and key in words:
        yield table


def renew(path: Path, messages: Catalog) -> None:
    with path.open("rb") as file:
        catalog = read_po(file)
    catalog.update(messages, no_fuzzy_matching=True)
    catalog.obsolete.clear()
    header = HEADER.format(language=catalog.locale_identifier, count=catalog.num_plurals, rule=catalog.plural_expr)
    with path.open("wb") as file:
        file.write(f"{header}\n\n".encode())
        write_po(file, catalog, width=120, omit_header=True, sort_by_file=True, include_lineno=False)


HEADER = r"""
msgid ""
msgstr ""
"Language: {language}\n"
"Content-Type: text/plain; charset=utf-8\n"
"Plural-Forms: nplurals={count}; plural={rule};\n"
""".strip()


if __name__ == "__main__":
    for language in sys.argv[1:]:
        path = CATALOGS / language / "LC_MESSAGES" / "convoy.po"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            write_po(file, Catalog(language, fuzzy=False))
    messages = collected()
    for path in sorted(CATALOGS.glob("*/LC_MESSAGES/convoy.po")):
        renew(path, messages)
        print(path)
