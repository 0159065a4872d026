"""Messages of the package: their extraction for translators, and their translation."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from string import Formatter

import numpy as np
import pytest
from babel.messages import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import write_po

import convoy
from convoy import text
from convoy.files import read_json, write_json
from convoy.recipe.faults import Fault, limited
from convoy.text import ngettext
from convoy.text.lists import joined, listed
from convoy.text.stored import restored

PACKAGE = Path(convoy.__file__).parent


@cache
def calls() -> list[tuple[str, ast.Call, int]]:
    """Location, call, and the number of its leading arguments that are messages."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        if "convoy.text" not in (source := path.read_text(encoding="utf-8")):
            continue
        nodes = list(ast.walk(ast.parse(source)))
        names = {
            alias.asname or alias.name: 1 + (alias.name == "ngettext")
            for node in nodes
            if isinstance(node, ast.ImportFrom) and node.module == "convoy.text"
            for alias in node.names
            if alias.name in ("gettext", "ngettext")
        }
        for node in nodes:
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names:
                found.append((f"{path.relative_to(PACKAGE)}:{node.lineno}", node, names[node.func.id]))
    return found


def test_no_message_is_in_an_f_string_where_it_is_not_extracted() -> None:
    """Babel 2.19 skips such calls without an error."""
    paths = [*PACKAGE.rglob("*.py")]
    assert paths
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                inside = [
                    call.func.id
                    for call in ast.walk(node)
                    if isinstance(call, ast.Call) and isinstance(call.func, ast.Name)
                ]
                assert not {"_", "gettext", "ngettext"} & {*inside}, f"{path}:{node.lineno}"


def placeholders(message: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(message) if name is not None}


def test_every_message_is_a_literal_whose_placeholders_are_the_keywords() -> None:
    assert len(calls()) > 5
    for location, call, messages in calls():
        keywords = {keyword.arg for keyword in call.keywords} | ({"n"} if messages == 2 else set())
        for argument in call.args[:messages]:
            assert isinstance(argument, ast.Constant), location
            assert placeholders(argument.value) <= keywords, location
        used = set().union(*(placeholders(argument.value) for argument in call.args[:messages]))  # type: ignore[attr-defined]
        assert keywords - {"n"} <= used | {"n"}, location


# Texts of other libraries, names of packages, and keys of evidence in JSON files.
NOT_TRANSLATED = {
    "module 'convoy' has no attribute ",
    "as it is",
    "other channel order",
    "uv pip install --reinstall torch --torch-backend=auto",
    ", unable to parse",
    "Value error, ",
    "^Input should be ",
    "Noto Sans CJK SC (apt install fonts-noto-cjk)",
}
READ_BY_USERS = re.compile(r"\w*Error|Stopped|Failed|Note|say|unknown|first_problem|Contradiction|Finding")
ENGLISH = re.compile("[A-Za-z]{2,} [a-z]{2,}|^(?:an?|the|no|not|to|with|without) ")


def outside_messages(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes of an expression that are not part of a message in it."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("_", "ngettext"):
        return
    yield node
    for child in ast.iter_child_nodes(node):
        yield from outside_messages(child)


def test_values_of_messages_and_texts_of_errors_are_messages_themselves() -> None:
    """Finds English texts in the arguments of calls whose result is shown, or in variables that are among them."""
    found = set()
    for path in sorted(PACKAGE.rglob("*.py")):
        nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
        assigned: dict[str, list[ast.AST]] = {}
        for node in nodes:
            if isinstance(node, ast.Assign | ast.AnnAssign | ast.NamedExpr) and node.value is not None:
                for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                    assigned.setdefault(ast.unparse(target), []).append(node.value)
        for call in nodes:
            if not isinstance(call, ast.Call):
                continue
            name = ast.unparse(call.func).rpartition(".")[2]
            positional = call.args if READ_BY_USERS.fullmatch(name) else []
            if positional or name in ("_", "ngettext"):
                values: list[ast.AST] = [*positional, *(keyword.value for keyword in call.keywords)]
                names = [each.id for value in values for each in outside_messages(value) if isinstance(each, ast.Name)]
                for value in [*values, *(value for name in names for value in assigned.get(name, ()))]:
                    constants = [each.value for each in outside_messages(value) if isinstance(each, ast.Constant)]
                    found |= {text for text in constants if isinstance(text, str) and ENGLISH.search(text)}
    assert found == NOT_TRANSLATED


def test_babel_extracts_every_message() -> None:
    keywords = {"_": None, "ngettext": (1, 2)}
    extracted = [row[2] for row in extract_from_dir(PACKAGE, keywords=keywords)]
    singular = {row if isinstance(row, str) else row[0] for row in extracted}
    assert singular == {call.args[0].value for _, call, _ in calls()}  # type: ignore[attr-defined]


@pytest.fixture
def other_language(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A catalog for the language "xx", selected by CONVOY_LANG."""
    catalog = Catalog(locale="de")
    catalog.add("{a} before {b}", "{b} nach {a}")
    catalog.add(("{n} run", "{n} runs"), ("{n} Lauf", "{n} Läufe"))
    path = tmp_path / "xx" / "LC_MESSAGES" / "convoy.po"
    path.parent.mkdir(parents=True)
    with path.open("wb") as file:
        write_po(file, catalog)
    monkeypatch.setattr(text, "CATALOGS", tmp_path)
    monkeypatch.setenv("CONVOY_LANG", "xx")


@pytest.mark.usefixtures("other_language")
def test_translation_can_reorder_values() -> None:
    assert text.gettext("{a} before {b}", a=1, b="two") == "two nach 1"
    assert text.ngettext("{n} run", "{n} runs", 1) == "1 Lauf"
    assert text.ngettext("{n} run", "{n} runs", 3) == "3 Läufe"


@pytest.mark.usefixtures("other_language")
def test_messages_without_a_translation_are_english(monkeypatch) -> None:
    assert text.gettext("{n} seeds", n=2) == "2 seeds"
    monkeypatch.setenv("CONVOY_LANG", "yy")
    assert text.gettext("{a} before {b}", a=1, b=2) == "1 before 2"


def test_lists_have_the_punctuation_of_the_language() -> None:
    assert listed("abc", "or") == "a, b or c"
    assert listed("abcd", max_items=2) == "a, b and 2 more"
    assert (listed("a"), listed("")) == ("a", "")
    with text.in_language("zh"):
        assert listed(map(repr, "abc"), "or") == "'a'、'b' 或 'c'"


def test_a_stored_message_is_shown_in_the_language_of_its_reader(tmp_path: Path) -> None:
    file = tmp_path / "status.json"
    with text.in_language("zh"):
        parts = joined([text.gettext("validation"), "test"])
        plural = ngettext("{n} run", "{n} runs", np.int64(1))
        chinese = [limited(2000), Fault.MACS_AS_FLOPS.flag, plural, text.gettext("Not run yet: {parts}", parts=parts)]
        write_json(file, {"flags": chinese, "reason": "plain text"})
    content = file.read_bytes()
    assert content.isascii()
    english = read_json(file)
    assert english["flags"][0] == limited(2000)
    assert (english["flags"][2:], english["reason"]) == (["1 run", "Not run yet: validation, test"], "plain text")
    write_json(file, english)
    assert file.read_bytes() == content
    with text.in_language("zh"):
        assert read_json(file)["flags"] == chinese


@pytest.mark.parametrize("message", ["{n:>9999999999}", "{n.__class__}", "{other}", "{n:d}", 3])
def test_a_changed_message_in_a_file_is_not_formatted(message: object) -> None:
    table = {"message": message, "values": {"n": "x"}}
    assert restored(table) == table


def test_paths_in_messages_are_relative_to_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shown = text.gettext("{path} and {other}", path=tmp_path / "runs" / "a", other=Path("/elsewhere"))
    assert shown == f"{Path('runs/a')} and {Path('/elsewhere')}"
    folder = tmp_path / "deleted"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    assert text.short_path(tmp_path) == str(tmp_path)
