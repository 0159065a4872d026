"""Names in every text of a page leave the structure of the page as plain names do, in all formats."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from markdown_it import MarkdownIt
from matplotlib.axes import Axes
from tests.reporting.parsed import Page as Parsed

from convoy.reporting import cells, formats
from convoy.reporting.content import (
    Cell,
    Chart,
    Code,
    Gallery,
    Page,
    Panel,
    Prose,
    Section,
    Strip,
    Table,
    TextField,
    Tile,
)

CONTROLS = set("\u202e\u2066\x00\x1b")
HOSTILE = "\n\n".join(
    (
        "<script>alert(1)</script>",
        "\"'><img src=x onerror=alert(1)>",
        "</td></table>&lt;b&gt;",
        "a|b\n# c\n- d",
        "*a* _b_ `c` [x](javascript:alert(1)) ![y](//z) <javascript:alert(1)>",
        "\u202eabc\u2066\x00\x1b[31m",
        r"\input{/etc/passwd}\end{document}$x^2$ 50% #1 {a} ~ _ & \write18{ls}",
        "--> ]]> {{ 7*7 }} {% raw %}",
    )
)


def page_with(name: str) -> Page:
    """A page that has the name in each of its texts."""

    def draw(axes: Axes) -> None:
        axes.set_xticks([0.5], [name])
        axes.text(0.5, 0.5, name)
        axes.set_xlabel(name)

    tile = Tile(np.zeros((1, 4, 4), np.uint8), name, name, name, name)
    cell = Cell(name, note=name, bold=True, model=name)
    blocks = (
        Table((TextField(name, lambda _: name, name),), ((cell,), (Cell(name),)), name, name),
        Table((TextField(name, lambda _: name),), ((cell,),), name, collapsed_title=name),
        Chart("chart", name, (Panel(name, draw),), name, (name,), name),
        Gallery("gallery", name, (Strip(name, (tile,), name),), name),
        Code(name, name),
        Prose(name, link="report.html", link_text=name),
    )
    return Page(
        name,
        name,
        name,
        (name,),
        (blocks[0],),
        (Section(name, blocks),),
        (name,),
        {name: name},
        (Cell(name, link="report.html"),),
    )


def rendered(name: str, kind: str, folder: Path) -> str:
    return formats.write(page_with(name), folder, "report", kind).read_text(encoding="utf-8")


def structure_of_html(html: str) -> list[object]:
    """Tags with the names of their attributes, and where links lead."""
    tags = [(tag, sorted(attributes), attributes.get("href")) for tag, attributes in Parsed(html).tags]
    return [each for each in tags if each[0] not in SHAPES]


SHAPES = ("path", "g", "use", "defs", "text", "tspan", "rect", "wbr", "title")  # of a chart, and where a name may wrap


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, str]]:
    """The page with the hostile name and that with a plain one, by format."""
    folders = {name: tmp_path_factory.mktemp("page") for name in (HOSTILE, "plain")}
    return [
        {
            kind: formats.write(page_with(name), folder, "report", kind).read_text("utf-8")
            for kind in ("html", "md", "tex")
        }
        | {"cell": cells.cell_html(page_with(name))}
        for name, folder in folders.items()
    ]


def test_names_do_not_change_the_tags_and_links_of_a_page(pages: list[dict[str, str]]) -> None:
    for kind in ("html", "cell"):
        hostile, plain = (structure_of_html(page[kind]) for page in pages)
        assert hostile == plain
        assert not CONTROLS & set(pages[0][kind])
    assert "<script>alert(1)</script>" in Parsed(pages[0]["html"]).text


def test_names_do_not_change_what_markdown_is_rendered_as(pages: list[dict[str, str]]) -> None:
    markdown = MarkdownIt("commonmark").enable("table")
    hostile, plain = (structure_of_html(markdown.render(page["md"])) for page in pages)
    assert hostile == plain
    assert not CONTROLS & set(pages[0]["md"])


def test_names_are_no_latex_commands(pages: list[dict[str, str]]) -> None:
    hostile, plain = (page["tex"] for page in pages)
    assert environments(hostile) == environments(plain)
    assert not {r"\input", r"\write"} & {*re.findall(r"\\[A-Za-z]+", hostile.partition(r"\begin{document}")[2])}
    bare = re.sub(r"\\[\\{}%&$#_]", "", hostile)
    assert bare.count("{") == bare.count("}")
    assert not CONTROLS & set(hostile)


def environments(tex: str) -> list[str]:
    return re.findall(r"\\(?:begin|end)\{\w+\}", tex)


def test_names_are_text_of_a_word_document(tmp_path: Path) -> None:
    docx = pytest.importorskip("docx")
    document = docx.Document(formats.write(page_with(HOSTILE), tmp_path, "report", "docx"))  # invalid XML would raise
    assert [len(table.columns) for table in document.tables[:2]] == [1, 1]
    assert any("<script>alert(1)</script>" in each.text for each in document.paragraphs)
