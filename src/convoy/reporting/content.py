"""The content of a report. All formats are rendered from the same `Page`."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from convoy.text import gettext as _
from convoy.text.wrap import typeset

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from convoy.reporting.palette import Look

MANY_COLUMNS = 7  # in Word and LaTeX, a table with more has a smaller font or multi-line headers

# Control characters break XML; with bidirectional overrides, a malicious name could reverse the text after it.
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]+")


def readable(text: str) -> str:
    """Returns one line without characters that are invalid in HTML or SVG. The renderers apply it to all text."""
    text = typeset(text)
    return text if _UNSAFE.search(text) is None else _UNSAFE.sub(" ", text).strip() or no_name()


def no_name() -> str:
    return _("(no name)")


def short(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


def shortened(names: Sequence[str], length: int) -> list[str]:
    """Shortens names to at most `length` characters. If this makes names equal, it cuts their common prefix instead."""
    truncated = [short(name, length) for name in names]
    if len(set(truncated)) == len(set(names)):
        return truncated
    common = len(os.path.commonprefix(list(names)))  # noqa: RUF071  by character, on purpose
    suffixes = [short("…" + name[common:], length) for name in names]
    if len(set(suffixes)) == len(set(names)):
        return suffixes
    return [f"{short(name, length - 4)} {number}" for number, name in enumerate(names, start=1)]


@dataclass(frozen=True)
class Cell:
    text: str
    note: str = ""  # grey text after it: an interval or a unit
    bold: bool = False
    link: str = ""  # relative: a folder, or another report.html
    model: str = ""  # label of the model whose mark precedes the text


T = TypeVar("T")


@dataclass(frozen=True)
class Field(Generic[T]):
    """A column of a table with one row per object. `of` creates the cell of an object."""

    title: str
    of: Callable[[T], Cell | str]
    unit: str = ""
    numeric: bool = True


@dataclass(frozen=True)
class TextField(Field[T]):
    """A column of text, aligned to the left."""

    numeric: bool = False


@dataclass(frozen=True)
class Table:
    columns: tuple[Field[Any], ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""
    title: str = ""
    collapsed_title: str = ""  # if set, the page shows this line, which expands to the table
    cards: bool = False  # on a phone, each row is a card: its first two cells are the title, the others have labels


def table_of(
    fields: Sequence[Field[T]],
    rows: Iterable[T],
    note: str = "",
    title: str = "",
    collapsed_title: str = "",
    cards: bool = False,
) -> Table:
    contents = ([field.of(row) for field in fields] for row in rows)
    cells = (tuple(Cell(content) if isinstance(content, str) else content for content in row) for row in contents)
    return Table(tuple(fields), tuple(cells), note, title, collapsed_title, cards)


@dataclass(frozen=True)
class Panel:
    """One pair of axes of a chart. Sizes and margins are in inches; the width is the same for all."""

    title: str
    draw: Callable[[Axes], None]
    height: float = 2.5
    left: float = 0.75
    bottom: float = 0.6
    top: float = 0.4


@dataclass(frozen=True)
class Chart:
    name: str  # name of the files in figures/
    title: str
    panels: tuple[Panel, ...]
    caption: str
    legend: tuple[str, ...] = ()  # labels of models
    line_legend: str = ""  # what dashed and solid lines mean
    look: Look | None = None  # colours of the page that the chart was made for; None: of the page that shows it


@dataclass(frozen=True)
class Tile:
    image: np.ndarray  # uint8 [C, H, W]
    name: str = ""  # class name: predicted, or true for a sample
    confidence: str = ""  # such as "98 %"
    true_class: str = ""  # set only if the prediction is wrong
    alt: str = ""  # alternative text


@dataclass(frozen=True)
class Strip:
    """Images under one heading, such as the predictions of a model or the samples of a class."""

    title: str
    tiles: tuple[Tile, ...]
    model: str = ""  # label of the model whose mark precedes the title

    @property
    def aspect(self) -> float:
        """Width / height of the images, which all have the same shape; about 2 for a pair of images."""
        return self.tiles[0].image.shape[2] / self.tiles[0].image.shape[1]


@dataclass(frozen=True)
class Gallery:
    name: str
    title: str
    strips: tuple[Strip, ...]
    caption: str
    titles_left: bool = False  # strip titles to the left of the images, not above


@dataclass(frozen=True)
class Code:
    text: str
    title: str = ""
    columns: bool = False  # typeset in two columns, for many short lines


@dataclass(frozen=True)
class Prose:
    """A paragraph, followed by a link."""

    text: str
    link: str = ""  # relative, to report.html, or a URL
    link_text: str = ""
    blank_lines: int = 0  # below it, as space for an answer


@dataclass(frozen=True)
class Drawing:
    """An SVG image in the light colours of the palette."""

    name: str  # name of the file in figures/
    title: str
    svg: str
    width: int  # pixels; the maximum on a page
    caption: str
    narrow_svg: str = ""  # version for phones


@dataclass(frozen=True)
class Points3D:
    """Points coloured by their height, or in one colour if they have a label. All arrays are [N]."""

    x: np.ndarray
    y: np.ndarray
    z: np.ndarray
    text: tuple[str, ...] = ()  # hover text of each point
    label: str = ""


@dataclass(frozen=True)
class Surface3D:
    x: np.ndarray  # [M]
    y: np.ndarray  # [N]
    z: np.ndarray  # [N, M]; values that are not finite leave a gap


@dataclass(frozen=True)
class Path3D:
    """Points joined by lines in their order. All arrays are [N]."""

    x: np.ndarray
    y: np.ndarray
    z: np.ndarray
    label: str = ""


@dataclass(frozen=True)
class Scene3D:
    """A 3D figure: interactive on a page; a static image in print, in Markdown and in figures/."""

    name: str  # name of the files in figures/
    title: str
    caption: str
    traces: tuple[Points3D | Surface3D | Path3D, ...]
    axes: tuple[str, str, str]  # titles
    log: tuple[bool, bool, bool] = (False, False, False)


HALF_PAGE = 560  # pixels; drawings of at most this width share a row


Block = Table | Chart | Gallery | Code | Prose | Drawing | Scene3D


@dataclass(frozen=True)
class Section:
    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Page:
    kicker: str  # line above the title
    title: str
    sentence: str  # the result in one sentence
    caveats: tuple[str, ...]
    tables: tuple[Table, ...]  # above all sections
    sections: tuple[Section, ...]
    labels: tuple[str, ...]  # labels of the models; the index determines the colour
    aliases: Mapping[str, str] = field(default_factory=dict)  # other name of a model -> its label in `labels`
    links: tuple[Cell, ...] = ()  # below the sentence and the caveats

    @property
    def blocks(self) -> list[Block]:
        return [block for section in self.sections for block in section.blocks]


def in_rows(blocks: Sequence[Block]) -> list[tuple[Block, ...]]:
    """Groups two or three consecutive small figures into a row. Any other block is a row of its own."""
    rows: list[tuple[Block, ...]] = []
    for small, group in groupby(blocks, _is_small):
        remaining = list(group)
        while remaining:
            count = 1
            if small:
                by_three = not any(isinstance(each, Drawing | Scene3D) for each in remaining)
                count = 3 if by_three and len(remaining) in (3, 5, 6) else 2
            rows.append(tuple(remaining[:count]))
            remaining = remaining[count:]
    return rows


def _is_small(block: Block) -> bool:
    match block:
        case Chart():
            return len(block.panels) == 1
        case Drawing():
            return block.width <= HALF_PAGE
        case _:
            return isinstance(block, Gallery | Scene3D)
