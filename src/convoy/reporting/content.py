"""What a report consists of, before it is HTML or Markdown: both are written from the same page."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from convoy.reporting.palette import Look

# Control characters break XML; the bidirectional overrides let a hostile name reverse the text behind it.
_UNFIT = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]+")


def clean(text: object) -> str:
    """Names come from file names and from users: one line, no character that a page or an SVG cannot hold."""
    return _UNFIT.sub(" ", str(text)).strip() or "(no name)"


def clean_lines(text: str) -> str:
    return "\n".join(_UNFIT.sub(" ", line).rstrip() for line in text.strip().split("\n"))


def short(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


def shortened(names: Sequence[str], length: int) -> list[str]:
    """Names for a figure, each at most `length` long; where cutting their ends would make them alike, their common
    beginning goes instead."""
    cut = [short(name, length) for name in names]
    if len(set(cut)) == len(set(names)):
        return cut
    common = len(os.path.commonprefix(list(names)))  # noqa: RUF071  by character is what is wanted
    without = [short("…" + name[common:], length) for name in names]
    if len(set(without)) == len(set(names)):
        return without
    return [f"{short(name, length - 4)} {place}" for place, name in enumerate(names, start=1)]


@dataclass(frozen=True)
class Cell:
    text: str
    note: str = ""  # the interval beside the number, or a unit
    bold: bool = False
    link: str = ""  # relative: a folder, or another report.html
    key: str = ""  # a model's label: its mark stands before the text


@dataclass(frozen=True)
class Column:
    title: str
    unit: str = ""
    numeric: bool = True


@dataclass(frozen=True)
class Table:
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""
    title: str = ""
    folded: str = ""  # a long one stays shut until its reader opens it; what it then says it holds


@dataclass(frozen=True)
class Panel:
    """One pair of axes of a chart. Sizes and margins are in inches; the width is the same for all."""

    title: str
    draw: Callable[[Axes], None]
    height: float = 3.2
    left: float = 0.75
    bottom: float = 0.6
    top: float = 0.4


@dataclass(frozen=True)
class Chart:
    name: str  # of its files in figures/
    title: str
    panels: tuple[Panel, ...]
    caption: str
    key: tuple[str, ...] = ()  # labels of the models that its colours stand for
    line_key: str = ""  # what a dashed and a solid line stand for
    look: Look | None = None  # of the page that it was made for, where it is shown on another


@dataclass(frozen=True)
class Tile:
    image: np.ndarray  # uint8 [C, H, W]
    name: str = ""  # the class, predicted or true
    sure: str = ""  # the prediction's confidence, "98 %"
    wrong: str = ""  # the true class, where the prediction is not it
    about: str = ""  # for those who do not see it


@dataclass(frozen=True)
class Strip:
    """Images under one heading: a model's predictions, a class's samples."""

    title: str
    tiles: tuple[Tile, ...]
    key: str = ""

    @property
    def aspect(self) -> float:
        """Width over height of its images, which are of one shape: a pair's is about 2."""
        return self.tiles[0].image.shape[2] / self.tiles[0].image.shape[1]


@dataclass(frozen=True)
class Gallery:
    name: str
    title: str
    strips: tuple[Strip, ...]
    caption: str
    beside: bool = False  # the strips' titles stand beside them, as for the samples of a class


@dataclass(frozen=True)
class Code:
    text: str
    title: str = ""
    columns: bool = False  # short lines, many of them


@dataclass(frozen=True)
class Prose:
    """A paragraph, and behind it a way to another report."""

    text: str
    link: str = ""  # relative, to its report.html
    linked: str = ""  # the words that lead there


@dataclass(frozen=True)
class Drawing:
    """A picture made of an SVG file's text, in the palette's light colours."""

    name: str  # of its file in figures/
    title: str
    svg: str
    width: int  # pixels; it is not shown larger
    caption: str


@dataclass(frozen=True)
class Points3D:
    """Points in space, coloured by their height, or under a label in one colour. All arrays are [N]."""

    x: np.ndarray
    y: np.ndarray
    z: np.ndarray
    text: tuple[str, ...] = ()  # one a point, shown where the pointer is
    label: str = ""


@dataclass(frozen=True)
class Surface3D:
    x: np.ndarray  # [M]
    y: np.ndarray  # [N]
    z: np.ndarray  # [N, M]; a gap where it is not finite


@dataclass(frozen=True)
class Path3D:
    """Points in their order, joined by lines. All arrays are [N]."""

    x: np.ndarray
    y: np.ndarray
    z: np.ndarray
    label: str = ""


@dataclass(frozen=True)
class Turnable:
    """Something in space: a page lets its reader turn it; in print, in Markdown and in figures/ it stands still."""

    name: str  # of its files in figures/
    title: str
    caption: str
    traces: tuple[Points3D | Surface3D | Path3D, ...]
    axes: tuple[str, str, str]  # titles
    log: tuple[bool, bool, bool] = (False, False, False)


Block = Table | Chart | Gallery | Code | Prose | Drawing | Turnable


@dataclass(frozen=True)
class Section:
    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Page:
    kicker: str
    title: str
    sentence: str
    caveats: tuple[str, ...]
    tables: tuple[Table, ...]  # of the first screen
    sections: tuple[Section, ...]
    labels: tuple[str, ...]  # of the models; their places decide their colours
    alike: Mapping[str, str] = field(default_factory=dict)  # other names of models: each has its label's colour
