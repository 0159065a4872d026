"""The page in two languages: with a catalog, it has a switch, and all of its text is translated."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from babel.messages import Catalog
from babel.messages.extract import extract_from_file
from babel.messages.pofile import write_po
from tests.exploring.browser import Browser

import convoy
from convoy import text
from convoy.exploring.bundle import bundle
from convoy.exploring.page import write_page
from convoy.exploring.run import collect
from convoy.exploring.words import words_of
from convoy.runs import Member, Run

SOURCES = ("exploring/words.py", "reporting/words.py", "reporting/quantities.py")
REORDERED = {"Row {y}, column {x}: {value}": "{value} @ {x} / {y}"}

# Removes text between the marks of the catalog. No word of three letters may remain, except names.
UNTRANSLATED = """(() => {
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    const texts = [...document.querySelectorAll("[aria-label], [aria-valuetext], [title]")].flatMap((each) =>
        ["aria-label", "aria-valuetext", "title"].map((name) => each.getAttribute(name) ?? ""));
    while (walker.nextNode()) {
        const element = walker.currentNode.parentElement;
        if (!element.closest("script, noscript, #languages, #flags, .flag, [hidden]"))
            texts.push(walker.currentNode.data);
    }
    const marks = /⟦[^⟦⟧]*⟧/;
    const rest = (text) => { while (marks.test(text)) text = text.replace(marks, ""); return text; };
    return [...new Set(texts.map(rest).filter((text) => /[a-z]{3}/i.test(text)))];
})()"""


@pytest.fixture(scope="module")
def catalogs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalog for Chinese in which each message is enclosed in marks and one has reordered values."""
    catalog = Catalog(locale="zh_CN")
    package = Path(convoy.__file__).parent
    for source in SOURCES:
        for _line, message, _comments, _context in extract_from_file("python", package / source, {"_": None}):
            catalog.add(message, REORDERED.get(str(message), f"⟦{message}⟧"))
    folder = tmp_path_factory.mktemp("locale")
    path = folder / "zh_CN" / "LC_MESSAGES" / "convoy.po"
    path.parent.mkdir(parents=True)
    with path.open("wb") as file:
        write_po(file, catalog)
    return folder


@pytest.fixture(scope="module")
def translated_page(digits_run: Run, catalogs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with every section: one run twice as two networks, with its epochs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text, "CATALOGS", catalogs)
        members = [Member(label, 0, digits_run) for label in ("A1", "B2")]
        content = collect(members, effect=lambda: text.gettext("test accuracy"), trust_code=False)
        return write_page(content, tmp_path_factory.mktemp("translated") / "page.html")


def test_the_switch_translates_all_text_and_is_stored_in_url_and_browser(
    browser: Browser, translated_page: Path
) -> None:
    browser.open(translated_page, "#layer=0&map=0&at=3,5")
    title = browser.text("h1")
    browser.click("#matrix button")
    browser.click("#languages button[lang='zh-CN']")
    browser.wait("location.hash.includes('lang=zh-CN')")
    names = {"features.", "head."}  # of layers

    assert browser.evaluate("document.documentElement.lang") == "zh-CN"
    assert browser.text("h1").startswith("⟦")
    assert str(browser.attribute("#pad", "aria-label")).startswith("⟦")
    assert browser.text("#pixel").partition(" @ ")[2] == "6 / 4"
    assert [each for each in browser.evaluate(UNTRANSLATED) if not any(name in each for name in names)] == []

    browser.open(translated_page)
    assert browser.text("h1").startswith("⟦")
    browser.open(translated_page, "#lang=en")
    assert browser.text("h1") == title


def test_the_page_starts_in_the_language_of_messages(
    browser: Browser, digits_run: Run, catalogs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text, "CATALOGS", catalogs)
    monkeypatch.setenv("CONVOY_LANG", "zh_CN")
    page = convoy.explore(digits_run, save=tmp_path / "page.html")

    assert '<html lang="zh-CN">' in page.read_text(encoding="utf-8")
    browser.open(page)
    browser.evaluate("localStorage.clear()")
    browser.open(page)
    assert browser.evaluate("document.documentElement.lang") == "zh-CN"


def test_the_page_follows_the_browser_unless_its_language_was_chosen(
    browser: Browser, translated_page: Path, tmp_path: Path
) -> None:
    agent = browser.evaluate("navigator.userAgent")
    content = translated_page.read_text(encoding="utf-8")
    free = tmp_path / "page.html"
    free.write_text(content.replace('"isLanguageChosen":true', '"isLanguageChosen":false'), encoding="utf-8")
    browser.open(translated_page)
    browser.evaluate("localStorage.clear()")

    languages = []
    for accepted, page in (("fr,zh-TW", free), ("fr", free), ("zh-TW", translated_page)):
        browser.send("Network.setUserAgentOverride", userAgent=agent, acceptLanguage=accepted)
        browser.open(page)
        languages.append(browser.evaluate("document.documentElement.lang"))
    browser.send("Network.setUserAgentOverride", userAgent="")

    assert languages == ["zh-CN", "en", "en"]


def test_without_a_catalog_there_is_no_switch(digits_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "CATALOGS", tmp_path)

    assert 'id="languages"' not in convoy.explore(digits_run, save=tmp_path / "page.html").read_text(encoding="utf-8")


def test_the_page_uses_every_message(digits_run: Run) -> None:
    content = collect([Member("A1", 0, digits_run), Member("B2", 1, digits_run)], effect=None, trust_code=False)
    template = Path(convoy.__file__).parent / "exploring" / "templates" / "page.html.j2"
    words, sources = words_of(content), bundle() + template.read_text(encoding="utf-8")
    unused = {key for key in words if json.dumps(key) not in sources and f"words.{key}" not in sources}

    # Other keys are composed of a name and a suffix, as in `${name}_text`.
    composed = ("op_", "label_", "sentence_", "flags_", "play_", "occlusion", "activation")
    assert [key for key in unused if not key.startswith(composed)] == []
