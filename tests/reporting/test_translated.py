"""Reports in another language: every text of a page is in the catalog."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from babel.messages import Catalog
from babel.messages.pofile import read_po, write_po
from tests.datasheet.test_data_sheet import LEAK, MADE, make_sheet
from tests.fake_runs import FakeModel, Setting, fake_run, fake_study

from convoy import text
from convoy.datasheet.page import data_sheet_page
from convoy.profiling import measure, page
from convoy.recipe import resolve
from convoy.reporting import pages, render
from convoy.reporting.content import Cell, Field, Page, table_of
from convoy.run_contents import Environment
from convoy.runs import Member, Workspace
from convoy.studies import findings, kinds
from convoy.studies.compare import finding as compare_finding
from convoy.studies.compare.ablation import Design
from convoy.studies.crossval import finding as crossval_finding
from convoy.studies.crossval.finding import fold_label
from convoy.studies.seeds.finding import Source
from convoy.studies.seeds.finding import find as seeds_find

MODELS = {"lenet": FakeModel(0.98), "vgg": FakeModel(0.99)}
NAMES = {"Example CPU", "max pool", "global average pool", MADE.command}


class Texts(HTMLParser):
    """Texts and alternative texts of a page, without code."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text, self.code = "", 0
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.code += tag in ("style", "script", "pre")
        if tag != "wbr":
            self.text += "\n" + "\n".join(dict(attrs).get(name) or "" for name in ("alt", "aria-label"))

    def handle_endtag(self, tag: str) -> None:
        self.code -= tag in ("style", "script", "pre")
        self.text += "\n"

    def handle_data(self, data: str) -> None:
        self.text += "" if self.code else data.replace("\u00a0", " ")


def untranslated(html: str) -> set[str]:
    """Returns sequences of two or more words that are in no message. A figure may truncate a message with "…"."""
    rest = Texts(html).text
    while rest != (shorter := re.sub(r"⟦[^⟦⟧]*(?:⟧|…)", "#", rest)):
        rest = shorter
    return set(re.findall(r"[A-Za-z]{2,}(?: [A-Za-z]{2,})+", rest))


@pytest.fixture(scope="module")
def catalogs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalog for the language "xx", in which every message of the Chinese catalog is in brackets."""
    catalog = Catalog(locale="de")
    with (text.CATALOGS / "zh_CN" / "LC_MESSAGES" / "convoy.po").open("rb") as file:
        messages = [message.id for message in read_po(file) if message.id]
    for message in messages:
        single = isinstance(message, str)
        catalog.add(message, f"⟦{message}⟧" if single else tuple(f"⟦{form}⟧" for form in message))
    folder = tmp_path_factory.mktemp("catalogs")
    path = folder / "xx" / "LC_MESSAGES" / "convoy.po"
    path.parent.mkdir(parents=True)
    with path.open("wb") as file:
        write_po(file, catalog)
    return folder


def run_page(folder: Path) -> Page:
    return pages.run_page(fake_run(folder, "lenet"), folder)


def compare_page(folder: Path) -> Page:
    study = fake_study(folder, MODELS, seeds=(1, 2))
    return pages.study_page(study, study.path, kinds.page_of)


def ablation_page(folder: Path) -> Page:
    levels = {f"{label}, {size}": (label, str(size)) for label in MODELS for size in (32, 64)}
    members = [
        Member(label, seed, fake_run(folder, levels[label][0], seed=seed)) for label in levels for seed in (1, 2)
    ]
    finding = compare_finding.conclude(members, Design(("recipe", "size"), (tuple(MODELS), ("32", "64")), levels))
    return page_of(folder, members, finding)


def crossval_page(folder: Path) -> Page:
    setting = Setting(counts={"train": 600, "validation": 100, "fold": 300}, scored=("validation", "fold"))
    members = []
    for repeat, fold in product((0, 1), (0, 1, 2)):
        split = {"data.split.folds": 3, "data.split.fold": fold, "data.split.repeat": repeat}
        run = fake_run(folder, seed=repeat, setting=setting, changes=split)
        members.append(Member(fold_label(fold, 3, repeat, 2), repeat, run))
    return page_of(folder, members, crossval_finding.conclude("lenet", members))


def seeds_page(folder: Path) -> Page:
    members = [Member(source, seed, fake_run(folder, seed=seed)) for source in Source for seed in (1, 2)]
    return page_of(folder, members, seeds_find(members, differences=(0.002,)))


def page_of(folder: Path, members: list[Member], finding: Any) -> Page:
    study = Workspace(folder).write_study("study", finding.kind, members, "convoy")
    findings.write(study, finding)
    return pages.study_page(study, study.path, kinds.page_of)


def profile_page(folder: Path) -> Page:
    data = {"image": "1x28x28", "classes": 10, "from_data": False}
    profiles = [
        measure.profile(
            measure.subject_of(name, resolve(name), **data), torch.device("cpu"), state_per_parameter=2, quick=True
        )
        for name in ("lenet", "cifar_resnet20")
    ]
    return page.profile_page(profiles, Environment(torch="2.13", cpu="CPU", threads=1, date="2026", command="convoy"))


def data_page(folder: Path) -> Page:
    return data_sheet_page(*make_sheet(LEAK), MADE)


PAGES = [run_page, compare_page, ablation_page, crossval_page, seeds_page, profile_page, data_page]


@pytest.mark.usefixtures("page_alone")
@pytest.mark.parametrize("make", PAGES)
def test_every_text_of_a_page_is_a_message(
    make: Callable[[Path], Page], catalogs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text, "CATALOGS", catalogs)
    monkeypatch.setenv("CONVOY_LANG", "xx")
    html = render.write(make(tmp_path), tmp_path / "page").read_text()
    assert '<html lang="de">' in html
    assert untranslated(html) <= NAMES


@pytest.mark.parametrize(
    ("language", "header", "row"),
    [
        ("en", "| F1 (%) | % | n |", "| 54.3 (48.1–60.2) | 5.4 | 1 / 2 |"),
        ("zh_CN", "| F1（%） | % | n |", "| 54.3（48.1–60.2） | 5.4 | 1 / 2 |"),
    ],
)
def test_tables_in_markdown_have_the_brackets_of_the_language(language: str, header: str, row: str) -> None:
    fields: list[Field[str]] = [
        Field("F1", lambda interval: Cell("54.3", interval), "%"),
        Field("", lambda _: "5.4", "%"),
        Field("n", lambda _: Cell("1", "/ 2")),
    ]
    with text.in_language(language):
        table = table_of(fields, ["48.1–60.2"])
        lines = render.markdown(Page("", "Title", "Sentence", (), (table,), (), ())).splitlines()
    assert header in lines
    assert row in lines
