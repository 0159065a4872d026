"""Draws charts as files and as inline SVG of a page, with matplotlib's object-oriented interface.

Sizes are fixed: constrained layout and tight bounding boxes draw everything twice, which took half of a report's time.
For the same reason, a chart is drawn once as SVG, which is then split into the panels of the page.
"""

from __future__ import annotations

import logging
import math
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import matplotlib
from markupsafe import escape
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.ticker import FixedFormatter, FuncFormatter

from convoy.files import write_bytes
from convoy.reporting import fonts
from convoy.reporting.content import Chart, Panel, readable, short, shortened
from convoy.reporting.palette import INK, MUTED, PAPER, RULE, Look, by_variable
from convoy.text.labels import label_text
from convoy.text.wrap import columns as columns_of
from convoy.text.wrap import wrapped

WIDTH = 4.4  # inches per panel; 10 pt text is readable with one panel per row (phone) and with two (screen)
RIGHT = 0.22  # right margin, inches
LETTERS_PER_INCH = 12
DPI = 200
PANEL = "panel-"  # id of the first panel's group in an SVG, before its number
STYLE: Any = {
    "font.size": 10,
    "text.color": INK,
    "text.parse_math": False,  # a class may be named $x$
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.titlepad": 10,
    "axes.labelsize": 10,
    "axes.formatter.useoffset": False,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "figure.facecolor": "none",
    "svg.fonttype": "none",
    "svg.hashsalt": "convoy",
    "image.composite_image": False,
}


def draw_chart(chart: Chart, look: Look) -> tuple[str, bytes]:
    """Returns SVG and PNG of all panels, two per row, with the legend below."""
    with style():
        figure = _readable(chart, look)
        return _svg(figure), _png(figure)


def chart_svg(chart: Chart, look: Look) -> str:
    with style():
        return _svg(_readable(chart, look))


def _readable(chart: Chart, look: Look) -> Figure:
    figure = _all_panels(chart, look)
    make_readable(figure)
    return figure


def inline_panels(chart: Chart, svg: str, prefix: str) -> list[str]:
    """Splits the SVG of a chart into an <svg> per panel, with CSS variables as colours. Ids begin with `prefix`.

    A page must show all panels of a chart, because a shape may be defined in one panel and used in another.
    """
    panels = []
    for number, (panel, (left, top)) in enumerate(zip(chart.panels, _layout(chart)[0], strict=True)):
        box = " ".join(f"{72 * inches:g}" for inches in (left, top, WIDTH, panel.height))
        body = _group(svg, f"{PANEL}{number}")
        if number == 0:
            body += "".join(re.findall(r"<clipPath.*?</clipPath>", svg, flags=re.S))
        title = f"{chart.title}: {panel.title}" if panel.title else chart.title
        panels.append(for_page(f'<svg viewBox="{box}">{body}</svg>', prefix, title))
    return panels


def _group(svg: str, name: str) -> str:
    """Returns the content of the <g> with this id."""
    start = svg.index(f'<g id="{name}">')
    depth = 0
    for tag in re.finditer(r"<(/?)g\b[^>]*(?<!/)>", svg[start:]):
        depth += -1 if tag[1] else 1
        if depth == 0:
            return svg[start : start + tag.end()]
    raise AssertionError(name)


def save(figure: Figure, *paths: Path) -> None:
    """Writes the figure as .svg or .png. Call it within `style()`."""
    make_readable(figure)
    for path in paths:
        if path.suffix == ".svg":
            write_bytes(path, _svg(figure).encode())
        else:
            write_bytes(path, _png(figure))


def make_readable(figure: Figure) -> None:
    """Converts each text of the figure to one line without control characters."""
    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        formatter = axis.get_major_formatter()
        if isinstance(formatter, FixedFormatter | FuncFormatter) and axis.get_scale() == "linear":  # ticks with names
            names = [label.get_text() for label in axis.get_ticklabels()]
            if [*map(_shown, names)] != names:
                axis.set_ticks(axis.get_ticklocs(), [*map(_shown, names)])
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        text.set_text(_shown(text.get_text()))


def _shown(text: str) -> str:
    return fonts.drawable(readable(text))


@contextmanager
def style() -> Iterator[None]:
    """Sets the rc parameters of a report and ignores warnings about glyphs that are only in the fonts of the page."""
    with matplotlib.rc_context(STYLE | {"font.family": fonts.families()}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")
        logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)  # a Chinese font may have only one weight
        yield


def _all_panels(chart: Chart, look: Look) -> Figure:
    corners, (width, height) = _layout(chart)
    legend_columns = _legend_columns(chart.legend, width)
    letters = int(LETTERS_PER_INCH * (width - 0.4))
    line_legend = wrapped(readable(chart.line_legend), letters) if chart.line_legend else []
    legend_rows = math.ceil(len(chart.legend) / legend_columns) + len(line_legend)
    height += 0.24 * legend_rows + (0.2 if legend_rows else 0)
    figure = Figure(figsize=(width, height), facecolor=PAPER)
    for number, (panel, (left, top)) in enumerate(zip(chart.panels, corners, strict=True)):
        axes = _add_panel(figure, panel, left=left, top=height - top, size=(width, height))
        axes.set_gid(f"{PANEL}{number}")
    for i, line in enumerate(reversed(line_legend)):
        figure.text(0.2 / width, (0.12 + 0.24 * i) / height, line, color=MUTED)
    if chart.legend:
        bottom = (0.1 + 0.24 * len(line_legend)) / height
        _draw_legend(figure, chart.legend, look, legend_columns, (0.1 / width, bottom))
    return figure


def _layout(chart: Chart) -> tuple[list[tuple[float, float]], tuple[float, float]]:
    """Returns left and top of each panel, and width and height of the figure, in inches; two panels share a row."""
    columns = min(2, len(chart.panels))
    corners, top = [], 0.0
    for first in range(0, len(chart.panels), columns):
        row = chart.panels[first : first + columns]
        corners += [(column * WIDTH, top) for column in range(len(row))]
        top += max(panel.height for panel in row)
    return corners, (columns * WIDTH, top)


def _add_panel(figure: Figure, panel: Panel, *, left: float, top: float, size: tuple[float, float]) -> Axes:
    width, height = size
    axes: Axes = figure.add_axes(
        (
            (left + panel.left) / width,
            (top - panel.height + panel.bottom) / height,
            (WIDTH - panel.left - RIGHT) / width,
            (panel.height - panel.bottom - panel.top) / height,
        )
    )
    panel.draw(axes)
    if panel.title:
        # Aligned with the panel instead of the axes, so that long names fit.
        axes.text(
            (0.1 - panel.left) / (WIDTH - panel.left - RIGHT),
            1 + 0.14 / (panel.height - panel.bottom - panel.top),
            short(panel.title, 46),
            transform=axes.transAxes,
            fontsize=11,
            fontweight="bold",
        )
    return axes


def _legend_columns(labels: Sequence[str], width: float) -> int:
    longest = max(map(columns_of, shortened([label_text(label) for label in labels], 40)), default=1)
    return max(1, min(len(labels), int(width / (0.5 + 0.085 * longest))))


def _draw_legend(figure: Figure, labels: Sequence[str], look: Look, columns: int, corner: tuple[float, float]) -> None:
    handles = [
        Line2D([], [], color=look.colour(label), marker=look.mark(label), linewidth=2, label=name)
        for label, name in zip(labels, shortened([label_text(label) for label in labels], 40), strict=True)
    ]
    figure.legend(
        handles=handles, loc="lower left", bbox_to_anchor=corner, ncols=columns, frameon=False, borderpad=0,
        borderaxespad=0, labelspacing=0.4, handlelength=1.6,
    )  # fmt: skip


def _svg(figure: Figure) -> str:
    file = StringIO()
    FigureCanvasSVG(figure).print_svg(file, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    return file.getvalue()


def _png(figure: Figure) -> bytes:
    canvas, fast = FigureCanvasAgg(figure), {"compress_level": 4}  # instead of 6: 25 % less time, 1 % larger files
    canvas.print_figure(buffer := BytesIO(), format="png", dpi=DPI, facecolor=PAPER, pil_kwargs=fast)
    return buffer.getvalue()


def readable_width(svg: str) -> int:
    """Returns the minimum width in pixels for readable text: 0.9 of the SVG's width, so that 11 pixels become 10."""
    box = re.search(r'viewBox="0 0 (\d+)', svg)
    assert box is not None
    return int(0.9 * int(box.group(1)))


def for_page(svg: str, prefix: str, label: str) -> str:
    """Adapts an SVG to a page: unique ids, the page's font, colours and width. `label` is for screen readers."""
    body = svg[svg.index("<svg") :]
    box = re.search(r'viewBox="([^"]+)"', body)
    assert box is not None
    body = re.sub(r"<metadata>.*?</metadata>|<style[^>]*>.*?</style>", "", body[body.index(">") + 1 :], flags=re.S)
    # Changes tags only, not the text between them.
    body = re.sub(r"<[^>]+>", lambda tag: _tag_for_page(tag.group(), prefix), body)
    return f'<svg viewBox="{box.group(1)}" role="img" aria-label="{escape(readable(label))}">{body}'


def _tag_for_page(tag: str, prefix: str) -> str:
    if tag.startswith("<g id="):
        return "" if tag.endswith("/>") else "<g>"  # an empty group
    tag = tag.replace('id="', f'id="{prefix}-').replace("url(#", f"url(#{prefix}-")
    tag = tag.replace('href="#', f'href="#{prefix}-').replace("font-weight: 700", "font-weight: 600")
    tag = re.sub(r"font-family: [^;\"]+", "font-family: inherit", tag)
    tag = re.sub(r"(?<=font: )([^;\"]*?px) [^;\"]+", r"\1 var(--font)", tag)
    tag = re.sub(r' transform="rotate\(-0 [^"]*"', "", tag)
    return _COLOUR.sub(lambda match: _VARIABLES[match.group()], tag)


_VARIABLES = by_variable()
_COLOUR = re.compile("|".join(_VARIABLES))
