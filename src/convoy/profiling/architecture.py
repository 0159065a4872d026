"""The picture of a network: layers from input to output, and next to them each kind of block in detail."""

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
from convoy.profiling.svg import Surface, fitted, lines_of, width_of
from convoy.reporting.palette import MODELS, MUTED, WASH
from convoy.text import gettext as _
from convoy.text import ngettext

SIZE, NOTE = 12.5, 11.0
ROW, LINE, BELOW = 27.0, 14.0, 17.0  # heights of a layer, of its second line, and of the gap below
SHAPES, LAYERS = 48.0, 138.0  # x where sizes and layers begin
WIDTH, NUMBERS, BARS = 236.0, 78.0, 54.0  # widths of a layer, of the parameters, of the longest bar
LANE, BETWEEN, PAD = 9.0, 30.0, 14.0  # gaps between skips; between layers and blocks; around a block
PILE = 3.0  # offset of the sheets of a repeated layer
MAX_KINDS = 6
MAX_WIDTH = 1120.0
PHONE = 358.0  # a picture of this width needs no scaling on a phone
NARROW_LAYERS, NARROW_NUMBERS = 80.0, 68.0  # there the sizes have no drawing, and the parameters no bars
COLOURS = {
    "conv": MODELS[0][0], "linear": MODELS[1][0], "pool": MODELS[2][0], "resize": MODELS[2][0],
    "attention": MODELS[3][0], "product": MODELS[3][0],
}  # fmt: skip
BLOCKS = [MODELS[place][0] for place in (4, 6, 8, 9, 7, 5)]


class Picture(NamedTuple):
    svg: str
    width: int
    narrow_svg: str  # for a phone: narrow layers, and the blocks below them
    reading: tuple[str, ...]  # sentences on how to read it, shared by several pictures


def draw(label: str, image: Shape, root: Call, *, parameters: int, unreached: int) -> Picture:
    """The picture of a network, from the calls of a pass; `unreached`: the parameters that no call uses."""
    title = _("The architecture of {label}", label=label)
    drawing = _Drawing(image, root, parameters, unreached)
    surface = Surface()
    end = drawing.layers(surface)
    drawing.blocks(surface, surface.right + BETWEEN, end)
    narrow = _Drawing(image, root, parameters, unreached, narrow=True)
    phone = Surface()
    narrow.blocks_below(phone, narrow.layers(phone) + BETWEEN)
    return Picture(surface.svg(title), round(surface.right + 1), phone.svg(title), tuple(drawing.reading()))


class _Drawing:
    def __init__(self, image: Shape, root: Call, parameters: int, unreached: int, *, narrow: bool = False) -> None:
        self._narrow = narrow
        self._boxes = outline(root)
        self._image, self._total, self._unreached = image, parameters, unreached
        self._kinds = blocks(self._boxes)
        self._letters = dict(zip(list(self._kinds)[:MAX_KINDS], ascii_lowercase, strict=False))
        titles = dict.fromkeys(kind[0].title for kind in self._kinds.values())
        self._colours = {title: BLOCKS[place % len(BLOCKS)] for place, title in enumerate(titles)}
        rows = list(rows_of(self._boxes))
        self._outside = self._total - self._unreached - sum(row.parameters for row in rows)
        self._most = max([self._outside, self._unreached, *(row.parameters for row in rows)])
        shapes = [self._image, *(row.output for row in rows)]
        self._widest_map = max(shape[-1] for shape in shapes if len(shape) == 3)
        self._most_channels = max(shape[0] for shape in shapes if shape)
        self._skips = _skips(self._boxes)
        self._left = NARROW_LAYERS if narrow else LAYERS
        self._left += LANE * (1 + max(self._skips.values())) if self._skips else 0
        self._shapes = 0.0 if narrow else SHAPES
        self._numbers = NARROW_NUMBERS if narrow else NUMBERS
        self._width = max(PHONE - self._left - NARROW_NUMBERS - 2, 150.0) if narrow else WIDTH

    # ---- the layers ----

    def layers(self, surface: Surface) -> float:
        """Draws the layers from the top; returns the y of their end."""
        right = self._left + self._width + self._numbers
        surface.text(self._shapes, 12, _("output"), size=10.5, colour=MUTED)
        surface.text(right, 12, _("parameters"), size=10.5, colour=MUTED, anchor="end")
        middle, y = self._left + self._width / 2, 38.0
        self._draw_shape(surface, y, self._image)
        surface.rect(middle - 34, y - 11, (68, 22), MUTED, fill=0, edge=0.6)
        surface.text(middle, y, _("input"), size=NOTE, colour=MUTED, anchor="middle")
        ends: dict[int, tuple[float, float]] = {ENTRY: (y, y + 11)}  # y of middle and lower end of each box
        for place, box in enumerate(self._boxes):
            y = ends[place - 1][1] + BELOW
            ends[place] = self._draw_group(surface, box, y) if box.role == "group" else self._draw_row(surface, box, y)
            if place - 1 in box.inputs:
                surface.wire([(middle, y - BELOW), (middle, y)])
        for (source, place), lane in self._skips.items():
            x = self._left - 7 - LANE * lane
            start = middle - 34 if source == ENTRY else self._edge(self._boxes[source])
            points = [(start, ends[source][0]), (x, ends[source][0]), (x, ends[place][0])]
            surface.wire([*points, (self._edge(self._boxes[place]), ends[place][0])])
        y = ends[len(self._boxes) - 1][1]
        for name, count in ((_("outside layers"), self._outside), (_("not used in a pass"), self._unreached)):
            if count:
                y += BELOW + NOTE
                surface.text(middle, y - NOTE / 2, name, size=NOTE, colour=MUTED, anchor="middle")
                self._draw_parameters(surface, y - NOTE / 2, count, MUTED)
        surface.text(right, y + BELOW, f"{self._total:,}", size=NOTE, bold=True, anchor="end")
        surface.text(right - self._numbers, y + BELOW, _("total"), size=NOTE, colour=MUTED, anchor="end")
        return y + BELOW + 8

    def _draw_row(self, surface: Surface, box: Box, top: float) -> tuple[float, float]:
        """Draws one layer, or a block as one box. Returns the y of the middle and of the lower end."""
        if box.role == "merge":
            return self._draw_merge(surface, box, top)
        times = f"×{box.repeats}" if box.repeats > 1 else ""
        letters = self._letters_of(box)
        notes = [*([letters] if letters else []), *box.notes]
        title = fitted(box.title, SIZE, self._width - 30 - width_of(times, SIZE, bold=True), bold=True)
        wide = width_of(title, SIZE, bold=True) + (6 + width_of(times, SIZE, bold=True) if times else 0)
        same_line = lines_of(notes, NOTE, self._width - 34 - wide)
        fits = len(same_line) <= 1 and (not notes or same_line[0] == " · ".join(notes))
        below = [] if fits else lines_of(notes, NOTE, self._width - 24)
        height, colour = ROW + LINE * len(below), self._colour(box)
        for sheet in (2, 1) if box.repeats > 1 else ():
            surface.rect(
                self._left + PILE * sheet, top + PILE * sheet, (self._width, height), colour, fill=0.05, edge=0.5
            )
        surface.rect(self._left, top, (self._width, height), colour)
        surface.text(self._left + 12, top + ROW / 2, title, size=SIZE, bold=True)
        if times:  # separate, or it would seem to multiply the channels
            end = self._left + 18 + width_of(title, SIZE, bold=True)
            surface.text(end, top + ROW / 2, times, size=SIZE, colour=MUTED, bold=True)
        if fits and same_line:
            surface.text(
                self._left + self._width - 12, top + ROW / 2, same_line[0], size=NOTE, colour=MUTED, anchor="end"
            )
        for number, line in enumerate(below):
            surface.text(self._left + 12, top + ROW + LINE * number + 2, line, size=NOTE, colour=MUTED)
        self._draw_shape(surface, top + height / 2, box.output)
        self._draw_parameters(surface, top + height / 2, box.parameters, colour)
        return top + height / 2, top + height + (2 * PILE if box.repeats > 1 else 0)

    def _draw_merge(self, surface: Surface, box: Box, top: float) -> tuple[float, float]:
        middle = self._left + self._width / 2
        if len(box.title) == 1:
            surface.circle(middle, top + 10, 10)
            surface.text(middle, top + 9.5, box.title, size=14, anchor="middle")
        else:
            surface.rect(middle - 34, top, (68, 20), MUTED)
            surface.text(middle, top + 10, box.title, size=NOTE, anchor="middle")
        surface.text(middle + 40, top + 10, " · ".join(box.notes), size=NOTE, colour=MUTED)
        self._draw_shape(surface, top + 10, box.output)
        return top + 10, top + 20

    def _draw_group(self, surface: Surface, box: Box, top: float) -> tuple[float, float]:
        start, y = top, top
        for place, row in enumerate(box.inside):
            if place:
                surface.wire([(self._left + self._width / 2, y), (self._left + self._width / 2, y + BELOW)])
                y += BELOW
            y = self._draw_row(surface, row, y)[1]
        x = self._left + self._width + 5  # a bracket to the right
        surface.wire([(x, start), (x + 6, start), (x + 6, y), (x, y)], arrow=False)
        surface.text(x + 10, (start + y) / 2, f"×{box.repeats}", size=SIZE, bold=True)
        return (start + y) / 2, y

    def _edge(self, box: Box) -> float:
        if box.role != "merge":
            return self._left
        return self._left + self._width / 2 - (10 if len(box.title) == 1 else 34)

    def _draw_parameters(self, surface: Surface, y: float, count: int, colour: str) -> None:
        if not count:
            return
        right = self._left + self._width + self._numbers
        surface.text(right, y, f"{count:,}", size=NOTE, anchor="end")
        if self._narrow:
            return
        surface.rect(right + 7, y - 4, (max(1.0, BARS * count / self._most), 8), colour, fill=0.75, edge=0, radius=1.5)

    def _draw_shape(self, surface: Surface, y: float, shape: tuple[int, ...]) -> None:
        """Maps as a box whose front shows their size and whose depth shows their number (log); a vector as a bar."""
        surface.text(self._shapes, y, "×".join(map(str, shape)), size=NOTE, colour=MUTED)
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
        """Draws each kind once, in columns as high as the layers, or higher if the page would be too wide."""
        panels = [self._panel(kind, letter) for kind, letter in self._letters.items()]
        bottom = max([bottom, *(panel.bottom for panel in panels)])
        places, width = _columns(panels, bottom)
        while width > MAX_WIDTH - left and any(x for x, _y in places):
            bottom *= 1.1
            places, width = _columns(panels, bottom)
        for panel, (x, y) in zip(panels, places, strict=True):
            surface.place(panel, left + x, y)

    def blocks_below(self, surface: Surface, top: float) -> None:
        """Each kind once, below the layers and as wide as they are at most."""
        for kind, letter in self._letters.items():
            panel = self._panel(kind, letter)
            scale = min(1.0, surface.right / panel.right)
            surface.place(panel, 0, top, scale)
            top += scale * panel.bottom + PAD

    def _panel(self, kind: tuple[object, ...], letter: str) -> Surface:
        boxes = self._kinds[kind]
        inside = draw_block(boxes[0].inside, self._colour)
        where = places_of([box.name for box in boxes])
        room = max(inside.right, 176.0)
        title = fitted(f"({letter}) {boxes[0].title}", SIZE, room, bold=True)
        width = max(inside.right, width_of(title, SIZE, bold=True), width_of(fitted(where, 10.5, room), 10.5)) + 2 * PAD
        panel = Surface()
        panel.rect(0, 0, (width, inside.bottom + 58), WASH, fill=0.7, edge=0)
        panel.text(PAD, 18, title, size=SIZE, bold=True)
        panel.text(PAD, 34, fitted(where, 10.5, room), size=10.5, colour=MUTED)
        panel.place(inside, (width - inside.right) / 2, 50)
        return panel

    def _letters_of(self, box: Box) -> str:
        """The kinds of its members in order: "(a), then (b)"."""
        kinds = dict.fromkeys(member.topology for member in box.members or (box,))
        letters = [f"({self._letters[kind]})" for kind in kinds if kind in self._letters]
        return reduce(lambda before, last: _("{before}, then {last}", before=before, last=last), letters or [""])

    def _colour(self, box: Box) -> str:
        return self._colours[box.title] if box.role == "block" else COLOURS.get(box.role, MUTED)

    def reading(self) -> Iterator[str]:
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


def places_of(names: Sequence[str]) -> str:
    """Dotted names in short form: blocks.0, 2, 4–7."""
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
    """The position of each panel in columns, and the total width."""
    places = []
    left = right = y = 0.0
    for panel in panels:
        if y and y + panel.bottom > bottom:
            left, y = right + PAD, 0.0
        places.append((left, y))
        right, y = max(right, left + panel.right), y + panel.bottom + PAD
    return places, right


def _skips(boxes: Sequence[Box]) -> dict[tuple[int, int], int]:
    """Edges that skip boxes -> lane. Shorter skips get inner lanes; lanes do not overlap."""
    edges = [(source, place) for place, box in enumerate(boxes) for source in box.inputs if source != place - 1]
    lanes: dict[tuple[int, int], int] = {}
    for source, place in sorted(edges, key=lambda edge: edge[1] - edge[0]):
        taken = {lane for (start, end), lane in lanes.items() if start < place and source < end}
        lanes[source, place] = next(lane for lane in range(len(edges)) if lane not in taken)
    return lanes
