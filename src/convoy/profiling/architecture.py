"""Draws a network: layers from input to output, and next to them each kind of block with its layers."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from functools import reduce
from string import ascii_lowercase
from typing import NamedTuple

from convoy.evaluation.calls import Call
from convoy.profiling.architecture_block import draw_block
from convoy.profiling.outline import ENTRY, Box, blocks, outline, rows_of
from convoy.profiling.result import Shape
from convoy.profiling.svg import Surface, text_width, truncate, wrap
from convoy.reporting.palette import MODELS, MUTED, WASH
from convoy.text import gettext as _
from convoy.text import ngettext

TITLE_SIZE, NOTE_SIZE = 12.5, 11.0  # font sizes
ROW_HEIGHT, LINE_HEIGHT, ROW_GAP = 27.0, 14.0, 17.0  # heights of a layer, of its second line, and of the gap below
SHAPES_X, LAYERS_X = 48.0, 138.0  # left edges of output shapes and layers
# widths of a layer, of its parameters, and of the longest bar
LAYER_WIDTH, NUMBERS_WIDTH, BAR_WIDTH = 236.0, 78.0, 54.0
LANE, PANEL_GAP, PADDING = 9.0, 30.0, 14.0  # between skip connections; between layers and blocks; around a block
SHEET_OFFSET = 3.0  # between the sheets of a repeated layer
MAX_KINDS = 6
MAX_WIDTH = 1120.0
PHONE_WIDTH = 358.0  # fits on a phone without scaling
NARROW_LAYERS_X, NARROW_NUMBERS_WIDTH = 80.0, 68.0  # for a phone: without drawn shapes, without bars
COLOURS = {
    "conv": MODELS[0][0], "linear": MODELS[1][0], "pool": MODELS[2][0], "resize": MODELS[2][0],
    "attention": MODELS[3][0], "product": MODELS[3][0],
}  # fmt: skip
BLOCK_COLOURS = [MODELS[index][0] for index in (4, 6, 8, 9, 7, 5)]


class Picture(NamedTuple):
    svg: str
    width: int
    narrow_svg: str  # for phones: narrow layers, with the blocks below them
    legend: tuple[str, ...]  # sentences


def draw(label: str, image: Shape, root: Call, *, parameters: int, unreached: int) -> Picture:
    """Draws a network from the calls of a forward pass. `unreached`: number of parameters that no call uses."""
    title = _("The architecture of {label}", label=label)
    drawing = _Drawing(image, root, parameters, unreached)
    surface = Surface()
    end = drawing.layers(surface)
    drawing.blocks(surface, surface.right + PANEL_GAP, end)
    narrow = _Drawing(image, root, parameters, unreached, narrow=True)
    phone = Surface()
    narrow.blocks_below(phone, narrow.layers(phone) + PANEL_GAP)
    return Picture(surface.svg(title), round(surface.right + 1), phone.svg(title), tuple(drawing.legend()))


class _Drawing:
    def __init__(self, image: Shape, root: Call, parameters: int, unreached: int, *, narrow: bool = False) -> None:
        self._narrow = narrow
        self._boxes = outline(root)
        self._image, self._total, self._unreached = image, parameters, unreached
        self._kinds = blocks(self._boxes)
        self._letters = dict(zip(list(self._kinds)[:MAX_KINDS], ascii_lowercase, strict=False))
        titles = dict.fromkeys(kind[0].title for kind in self._kinds.values())
        self._colours = {title: BLOCK_COLOURS[index % len(BLOCK_COLOURS)] for index, title in enumerate(titles)}
        rows = list(rows_of(self._boxes))
        self._outside = self._total - self._unreached - sum(row.parameters for row in rows)
        self._most = max([self._outside, self._unreached, *(row.parameters for row in rows)])
        shapes = [self._image, *(row.output for row in rows)]
        self._widest_map = max(shape[-1] for shape in shapes if len(shape) == 3)
        self._most_channels = max(shape[0] for shape in shapes if shape)
        self._skips = _skips(self._boxes)
        self._left = NARROW_LAYERS_X if narrow else LAYERS_X
        self._left += LANE * (1 + max(self._skips.values())) if self._skips else 0
        self._shapes = 0.0 if narrow else SHAPES_X
        self._numbers = NARROW_NUMBERS_WIDTH if narrow else NUMBERS_WIDTH
        self._width = max(PHONE_WIDTH - self._left - NARROW_NUMBERS_WIDTH - 2, 150.0) if narrow else LAYER_WIDTH

    # ---- the layers ----

    def layers(self, surface: Surface) -> float:
        """Draws the layers; returns the y of their lower end."""
        right = self._left + self._width + self._numbers
        surface.text(self._shapes, 12, _("output"), size=10.5, colour=MUTED)
        surface.text(right, 12, _("parameters"), size=10.5, colour=MUTED, anchor="end")
        middle, y = self._left + self._width / 2, 38.0
        self._draw_shape(surface, y, self._image)
        surface.rect(middle - 34, y - 11, (68, 22), MUTED, fill=0, edge=0.6)
        surface.text(middle, y, _("input"), size=NOTE_SIZE, colour=MUTED, anchor="middle")
        ends: dict[int, tuple[float, float]] = {ENTRY: (y, y + 11)}  # y of middle and lower end of each box
        for index, box in enumerate(self._boxes):
            y = ends[index - 1][1] + ROW_GAP
            ends[index] = self._draw_group(surface, box, y) if box.role == "group" else self._draw_row(surface, box, y)
            if index - 1 in box.inputs:
                surface.wire([(middle, y - ROW_GAP), (middle, y)])
        for (source, index), lane in self._skips.items():
            x = self._left - 7 - LANE * lane
            start = middle - 34 if source == ENTRY else self._edge(self._boxes[source])
            points = [(start, ends[source][0]), (x, ends[source][0]), (x, ends[index][0])]
            surface.wire([*points, (self._edge(self._boxes[index]), ends[index][0])])
        y = ends[len(self._boxes) - 1][1]
        for name, count in ((_("outside layers"), self._outside), (_("not used in a pass"), self._unreached)):
            if count:
                y += ROW_GAP + NOTE_SIZE
                surface.text(middle, y - NOTE_SIZE / 2, name, size=NOTE_SIZE, colour=MUTED, anchor="middle")
                self._draw_parameters(surface, y - NOTE_SIZE / 2, count, MUTED)
        surface.text(right, y + ROW_GAP, f"{self._total:,}", size=NOTE_SIZE, bold=True, anchor="end")
        surface.text(right - self._numbers, y + ROW_GAP, _("total"), size=NOTE_SIZE, colour=MUTED, anchor="end")
        return y + ROW_GAP + 8

    def _draw_row(self, surface: Surface, box: Box, top: float) -> tuple[float, float]:
        """Draws a layer, or a block as one box. Returns the y of the middle and of the lower end."""
        if box.role == "merge":
            return self._draw_merge(surface, box, top)
        left, middle = self._left, top + ROW_HEIGHT / 2
        times = f"×{box.repeats}" if box.repeats > 1 else ""
        letters = self._letters_of(box)
        notes = [*([letters] if letters else []), *box.notes]
        times_width = text_width(times, TITLE_SIZE, bold=True)
        title = truncate(box.title, TITLE_SIZE, self._width - 30 - times_width, bold=True)
        width = text_width(title, TITLE_SIZE, bold=True)
        same_line = wrap(notes, NOTE_SIZE, self._width - 34 - width - (6 + times_width if times else 0))
        fits = len(same_line) <= 1 and (not notes or same_line[0] == " · ".join(notes))
        below = [] if fits else wrap(notes, NOTE_SIZE, self._width - 24)
        height, colour = ROW_HEIGHT + LINE_HEIGHT * len(below), self._colour(box)
        for sheet in (2, 1) if box.repeats > 1 else ():
            offset = SHEET_OFFSET * sheet
            surface.rect(left + offset, top + offset, (self._width, height), colour, fill=0.05, edge=0.5)
        surface.rect(left, top, (self._width, height), colour)
        surface.text(left + 12, middle, title, size=TITLE_SIZE, bold=True)
        if times:  # in grey, because "64 ×3" could be read as a product
            surface.text(left + 18 + width, middle, times, size=TITLE_SIZE, colour=MUTED, bold=True)
        if fits and same_line:
            right = left + self._width - 12
            surface.text(right, middle, same_line[0], size=NOTE_SIZE, colour=MUTED, anchor="end")
        for number, line in enumerate(below):
            y = top + ROW_HEIGHT + LINE_HEIGHT * number + 2
            surface.text(left + 12, y, line, size=NOTE_SIZE, colour=MUTED)
        self._draw_shape(surface, top + height / 2, box.output)
        self._draw_parameters(surface, top + height / 2, box.parameters, colour)
        return top + height / 2, top + height + (2 * SHEET_OFFSET if box.repeats > 1 else 0)

    def _draw_merge(self, surface: Surface, box: Box, top: float) -> tuple[float, float]:
        middle = self._left + self._width / 2
        if len(box.title) == 1:
            surface.circle(middle, top + 10, 10)
            surface.text(middle, top + 9.5, box.title, size=14, anchor="middle")
        else:
            surface.rect(middle - 34, top, (68, 20), MUTED)
            surface.text(middle, top + 10, box.title, size=NOTE_SIZE, anchor="middle")
        surface.text(middle + 40, top + 10, " · ".join(box.notes), size=NOTE_SIZE, colour=MUTED)
        self._draw_shape(surface, top + 10, box.output)
        return top + 10, top + 20

    def _draw_group(self, surface: Surface, box: Box, top: float) -> tuple[float, float]:
        start, y = top, top
        for index, row in enumerate(box.inside):
            if index:
                surface.wire([(self._left + self._width / 2, y), (self._left + self._width / 2, y + ROW_GAP)])
                y += ROW_GAP
            y = self._draw_row(surface, row, y)[1]
        x = self._left + self._width + 5  # a bracket to the right
        surface.wire([(x, start), (x + 6, start), (x + 6, y), (x, y)], arrow=False)
        surface.text(x + 10, (start + y) / 2, f"×{box.repeats}", size=TITLE_SIZE, bold=True)
        return (start + y) / 2, y

    def _edge(self, box: Box) -> float:
        if box.role != "merge":
            return self._left
        return self._left + self._width / 2 - (10 if len(box.title) == 1 else 34)

    def _draw_parameters(self, surface: Surface, y: float, count: int, colour: str) -> None:
        if not count:
            return
        right = self._left + self._width + self._numbers
        surface.text(right, y, f"{count:,}", size=NOTE_SIZE, anchor="end")
        if self._narrow:
            return
        width = max(1.0, BAR_WIDTH * count / self._most)
        surface.rect(right + 7, y - 4, (width, 8), colour, fill=0.75, edge=0, radius=1.5)

    def _draw_shape(self, surface: Surface, y: float, shape: tuple[int, ...]) -> None:
        """Draws feature maps as a box (front: their size; depth: the log of their number), a vector as a bar."""
        surface.text(self._shapes, y, "×".join(map(str, shape)), size=NOTE_SIZE, colour=MUTED)
        if not shape or self._narrow:
            return
        depth = 1 + 13 * math.log2(shape[0]) / math.log2(max(2, self._most_channels))
        if len(shape) != 3:
            surface.polygon([(18, y - depth), (22, y - depth), (22, y + depth), (18, y + depth)], MUTED, fill=0.25)
            return
        side = 3 + 19 * math.sqrt(shape[-1] / self._widest_map)
        left, top, back = 20 - (side + depth) / 2, y - side / 2 + depth / 4, 0.5 * depth
        right, bottom = left + side, top + side
        body = [(left, top), (left + depth, top - back), (right + depth, top - back), (right + depth, bottom - back)]
        surface.polygon([*body, (right, bottom), (left, bottom)], MUTED, fill=0.3)
        surface.polygon([(left, top), (right, top), (right, bottom), (left, bottom)], MUTED, fill=0.1)
        surface.polygon([(right, top), (right + depth, top - back)], MUTED, fill=0)

    # ---- the blocks ----

    def blocks(self, surface: Surface, left: float, bottom: float) -> None:
        """Draws each kind of block once, in columns as high as the layers, or higher if there are too many columns."""
        panels = [self._panel(kind, letter) for kind, letter in self._letters.items()]
        bottom = max([bottom, *(panel.bottom for panel in panels)])
        positions, width = _columns(panels, bottom)
        while width > MAX_WIDTH - left and any(x for x, _y in positions):
            bottom *= 1.1
            positions, width = _columns(panels, bottom)
        for panel, (x, y) in zip(panels, positions, strict=True):
            surface.insert(panel, left + x, y)

    def blocks_below(self, surface: Surface, top: float) -> None:
        """Draws each kind of block once, below the layers. A wide block scrolls horizontally on a phone."""
        for kind, letter in self._letters.items():
            panel = self._panel(kind, letter)
            surface.insert(panel, 0, top)
            top += panel.bottom + PADDING

    def _panel(self, kind: tuple[object, ...], letter: str) -> Surface:
        boxes = self._kinds[kind]
        inside = draw_block(boxes[0].inside, self._colour)
        limit = max(inside.right, 176.0)
        title = truncate(f"({letter}) {boxes[0].title}", TITLE_SIZE, limit, bold=True)
        names = truncate(short_form([box.name for box in boxes]), 10.5, limit)
        width = max(inside.right, text_width(title, TITLE_SIZE, bold=True), text_width(names, 10.5)) + 2 * PADDING
        panel = Surface()
        panel.rect(0, 0, (width, inside.bottom + 58), WASH, fill=0.7, edge=0)
        panel.text(PADDING, 18, title, size=TITLE_SIZE, bold=True)
        panel.text(PADDING, 34, names, size=10.5, colour=MUTED)
        panel.insert(inside, (width - inside.right) / 2, 50)
        return panel

    def _letters_of(self, box: Box) -> str:
        """Returns the letters of the kinds of its members: "(a), then (b)"."""
        kinds = dict.fromkeys(member.topology for member in box.members or (box,))
        letters = [f"({self._letters[kind]})" for kind in kinds if kind in self._letters]
        return reduce(lambda before, last: _("{before}, then {last}", before=before, last=last), letters or [""])

    def _colour(self, box: Box) -> str:
        return self._colours[box.title] if box.role == "block" else COLOURS.get(box.role, MUTED)

    def legend(self) -> Iterator[str]:
        yield _("Left of a layer: its output (channels × height × width); right: its parameters.")
        if any(box.repeats > 1 for box in self._boxes):
            yield _("×n: n in a row, parameters summed.")
        if self._letters:
            yield _(
                "Each kind of block is drawn once, with the numbers of the first; "
                "blocks of one kind differ only in widths and strides."
            )
        if len(self._kinds) > MAX_KINDS:
            hidden = len(self._kinds) - MAX_KINDS
            yield ngettext("{n} more kind is not drawn.", "{n} more kinds are not drawn.", hidden)


def short_form(names: Sequence[str]) -> str:
    """Shortens a list of dotted names: blocks.0, 2, 4–7."""
    matches = [re.fullmatch(r"(.*?)(\d+)", name) for name in names]
    prefixes = {match[1] for match in matches if match}
    if len(names) == 1 or not all(matches) or len(prefixes) > 1:
        return names[0] if len(names) == 1 else _("{name} and {n} more", name=names[0], n=len(names) - 1)
    spans: list[list[int]] = []
    for number in (int(match[2]) for match in matches if match):
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return prefixes.pop() + ", ".join(str(a) if a == b else f"{a}–{b}" for a, b in spans)


def _columns(panels: Sequence[Surface], bottom: float) -> tuple[list[tuple[float, float]], float]:
    """Arranges panels in columns. Returns their positions and the total width."""
    positions = []
    left = right = y = 0.0
    for panel in panels:
        if y and y + panel.bottom > bottom:
            left, y = right + PADDING, 0.0
        positions.append((left, y))
        right, y = max(right, left + panel.right), y + panel.bottom + PADDING
    return positions, right


def _skips(boxes: Sequence[Box]) -> dict[tuple[int, int], int]:
    """Returns the lane of each edge that skips boxes. Shorter edges are in inner lanes; lanes have no overlaps."""
    edges = [(source, index) for index, box in enumerate(boxes) for source in box.inputs if source != index - 1]
    lanes: dict[tuple[int, int], int] = {}
    for source, index in sorted(edges, key=lambda edge: edge[1] - edge[0]):
        taken = {lane for (start, end), lane in lanes.items() if start < index and source < end}
        lanes[source, index] = next(lane for lane in range(len(edges)) if lane not in taken)
    return lanes
