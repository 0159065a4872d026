"""Renders a page as report.html (one file, no external resources), report.md and figures/."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from convoy.files import write_bytes
from convoy.reporting import canvas, forks, palette, scene3d
from convoy.reporting.content import Chart, Code, Drawing, Gallery, Page, Scene3D, Strip, in_rows, readable
from convoy.reporting.figures_images import data_uri, mosaic, save_gallery
from convoy.text import gettext as _
from convoy.text import page_language
from convoy.text.labels import label_text
from convoy.text.wrap import typeset

FIGURES = (Chart, Gallery, Drawing, Scene3D)  # blocks with a figure number


def write(page: Page, folder: Path, name: str = "report") -> Path:
    """Writes `name`.html, `name`.md and figures/; returns the path of the HTML file."""
    charts = write_figures(page, folder / "figures")
    write_bytes(folder / f"{name}.md", markdown(page).encode())
    write_bytes(folder / f"{name}.html", html(page, charts).encode())
    return folder / f"{name}.html"


def write_figures(page: Page, figures: Path) -> dict[str, str]:
    """Writes the figures; returns the SVG of each chart by its name."""
    figures.mkdir(parents=True, exist_ok=True)
    look = palette.Look(page.labels, page.aliases)
    charts = [block for block in page.blocks if isinstance(block, Chart)]
    drawn = forks.computed([partial(canvas.draw_chart, chart, chart.look or look) for chart in charts])
    for chart, (svg, png) in zip(charts, drawn, strict=True):
        write_bytes(figures / f"{chart.name}.svg", svg.encode())
        write_bytes(figures / f"{chart.name}.png", png)
    for block in page.blocks:
        match block:
            case Gallery():
                save_gallery(block, figures)
            case Scene3D():
                scene3d.save_scene(block, figures)
            case Drawing():
                write_bytes(figures / f"{block.name}.svg", block.svg.encode())
    return {chart.name: svg for chart, (svg, _png) in zip(charts, drawn, strict=True)}


def html(page: Page, charts: Mapping[str, str]) -> str:
    """`charts`: the SVG of each chart by its name."""
    return (
        html_templates()
        .get_template("report.html.j2")
        .render(
            html_context(page, charts, in_cell=False),
            language=page_language(),
            figure_title=figure_titles(page).__getitem__,
            in_rows=in_rows,
            plotly_json=lambda block: Markup(scene3d.plotly_json(block)),
            plotly=Markup(scene3d.library()) if any(isinstance(block, Scene3D) for block in page.blocks) else "",
        )
    )


def html_context(page: Page, charts: Mapping[str, str], *, in_cell: bool) -> dict[str, object]:
    """Returns the variables of blocks.html.j2, for a report or for the output of a notebook cell."""
    look = palette.Look(page.labels, page.aliases)
    return {
        "page": page,
        "in_cell": in_cell,
        "gap": "" if page_language().startswith("zh") else " ",  # between sentences
        "true_class": lambda tile: _("true: {name}", name=tile.true_class),
        "samples_alt": lambda strip: _("samples of the class {name}", name=strip.title),
        "light": Markup(palette.variables(dark=False)),
        "dark": Markup(palette.variables(dark=True)),
        "kind": kind_of,
        "prose": _prose,
        "full_stop": full_stop,
        "breakable": _breakable,
        "label_text": label_text,
        "panels": lambda chart: [
            Markup(svg) for svg in canvas.inline_panels(chart, charts[chart.name], f"f-{chart.name}")
        ],
        "drawing": lambda block: Markup(canvas.for_page(block.svg, f"f-{block.name}", block.title)),
        "readable_width": canvas.readable_width,
        "narrow_drawing": lambda block: Markup(canvas.for_page(block.narrow_svg, f"n-{block.name}", block.title)),
        "mark": lambda label, chart=None: _mark((chart and chart.look) or look, label),
        "uri": lambda tile: data_uri(tile.image),
        "strip_uri": _strip_uri,
        "hint": "" if in_cell else _("Drag to rotate."),
        "static_image": scene3d.static_uri,
    }


def markdown(page: Page) -> str:
    environment = html_templates().overlay(autoescape=False, finalize=_markdown_cell)
    text = environment.get_template("report.md.j2").render(
        page=page,
        full_stop=full_stop,
        fact=lambda name, text: _("{labels}: {text}", labels=name, text=text),
        figure_title=figure_titles(page).__getitem__,
        kind=kind_of,
        raw=_Raw,
        fence=_fence,
        cell=_cell_text,
        in_brackets=_in_brackets,
        markdown_link=_markdown_link,
    )
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


@cache
def html_templates() -> Environment:
    return Environment(
        loader=PackageLoader("convoy.reporting"),
        autoescape=True,
        finalize=_html_text,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def figure_titles(page: Page) -> dict[str, str]:
    """Maps the name of a block to "Figure 1." etc."""
    figures = [block for block in page.blocks if isinstance(block, FIGURES)]
    return {figure.name: _("Figure {n}.", n=number) for number, figure in enumerate(figures, start=1)}


def full_stop(sentence: str) -> str:
    return _("{sentence}.", sentence=sentence)


def kind_of(block: object) -> str:
    return type(block).__name__.lower()


def _html_text(value: Any) -> Any:
    return value if isinstance(value, Markup) or not isinstance(value, str) else readable_lines(value)


def readable_lines(text: str) -> str:
    return "\n".join(map(readable, text.split("\n")))


def _prose(text: str) -> Markup:
    """Prevents line breaks between a number and its unit or interval."""
    text = re.sub(
        r"(?<=\d) (?=%|±|points|s\b|seeds|images|of \d|个|轮|张)|(?<=[±=]) (?=\d)|(?<=\bn) (?==)", "\u00a0", text
    )
    return _breakable(text, longest=30)


def _breakable(text: str, longest: int = 14) -> Markup:
    """Allows line breaks after the underscores of words longer than `longest`, and none within a range of numbers."""
    words = (
        word.replace("_", "_<wbr>") if len(word) > longest else word for word in str(escape(readable(text))).split(" ")
    )
    return Markup(re.sub(r"\(?[−\d.,]+–−?\d[\d.,]*\)?", r'<span class="range">\g<0></span>', " ".join(words)))


def _mark(look: palette.Look, label: str) -> Markup:
    variable = palette.by_variable()[look.colour(label)]
    path = palette.MARK_PATHS[look.mark(label)]
    return Markup(
        f'<svg class="mark" viewBox="-6 -6 12 12" aria-hidden="true"><path d="{path}" fill="{variable}"/></svg>'
    )


def _strip_uri(strip: Strip, gallery: Gallery) -> str:
    """Joins the samples of a class into one image, because a page with many small images loads slowly."""
    columns = max(len(row.tiles) for row in gallery.strips)  # so that all images have the same width
    return data_uri(mosaic(strip.tiles, max(1, strip.tiles[0].image.shape[1] // 14), columns))


class _Raw(str):
    """Text that is already Markdown."""

    __slots__ = ()


def _markdown_cell(value: Any) -> Any:
    """Escapes everything that the Markdown template prints, so that names cannot become markup, tables or HTML."""
    if isinstance(value, _Raw) or not isinstance(value, str):
        return value
    text = re.sub(
        r"([\\`*\[\]|~$#])|(?<!\w)(_)|(_)(?!\w)", lambda m: "\\" + m.group(), " ".join(readable(value).split())
    )
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"^([-+=]|\d+[.)])(?=\s|$)", lambda m: m.group()[:-1] + "\\" + m.group()[-1], text)


def _cell_text(cell: Any) -> _Raw:
    text = _markdown_cell(cell.text)
    if cell.bold and text:
        text = f"**{text}**"
    if cell.link:
        text = f"[{text}]({_markdown_link(cell.link)})"
    note = _markdown_cell(cell.note)
    return _Raw(typeset(f"{text} {note}" if note[:1] in "±o/" else _in_brackets(text, note)) if note else text)


def _in_brackets(text: str, note: str) -> str:
    """Appends a note or a unit in the brackets of the language."""
    if not (text and note):
        return text or note
    return _("{text} ({note})", text=text, note=note.removeprefix("(").removesuffix(")"))


def _markdown_link(link: str) -> _Raw:
    """Converts a link to a page's HTML into one to its Markdown."""
    return _Raw(link if "://" in link else re.sub(r"\.html$", ".md", link))


def _fence(block: Code) -> _Raw:
    """Encloses code in a fence that is longer than any sequence of backticks in it."""
    text = readable_lines(block.text)
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return _Raw(f"{fence}\n{text}\n{fence}")
