"""Draws a block: layers from top to bottom, branches in columns, shortcuts on the right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from convoy.profiling.outline import ENTRY, Box
from convoy.profiling.svg import Point, Surface, text_width, truncate, wrap
from convoy.reporting.palette import MUTED

TITLE_SIZE, NOTE_SIZE = 12.0, 10.5  # font sizes
ROW_GAP, COLUMN_GAP, LANE = 22.0, 16.0, 13.0  # LANE: distance between shortcuts
MIN_WIDTH, MAX_WIDTH = 92.0, 180.0  # width of a layer
RADIUS, DOT = 10.0, 3.0
SYMBOLS = ("+", "×", "−")


@dataclass
class _Cell:
    box: Box
    title: str
    notes: list[str]
    main: int  # index of the input that it is below
    rank: int
    column: int
    width: float
    height: float
    x: float = 0.0  # centre
    y: float = 0.0

    @property
    def is_symbol(self) -> bool:
        return self.title in SYMBOLS

    @property
    def is_bar(self) -> bool:
        """Whether it is a concatenation, which is drawn as wide as its branches."""
        return self.box.role == "merge" and not self.is_symbol

    @property
    def top(self) -> float:
        return self.y - self.height / 2

    @property
    def bottom(self) -> float:
        return self.y + self.height / 2


def draw_block(boxes: Sequence[Box], colour: Callable[[Box], str]) -> Surface:
    """Draws the layers of a block between a dot for the input and an arrow for the output."""
    layout = _Layout(boxes)
    surface = Surface()
    for index, cell in enumerate(layout.cells):
        for source in sorted(cell.box.inputs):
            surface.wire(layout.wire(source, index))
    read = {source for box in boxes for source in box.inputs}
    for index, cell in enumerate(layout.cells):
        if index not in read:
            surface.wire([(cell.x, cell.bottom), (cell.x, cell.bottom + 18)])
    surface.circle(layout.entry, DOT + 1, DOT)
    for cell in layout.cells:
        _draw_cell(surface, cell, colour(cell.box))
    return surface


def _draw_cell(surface: Surface, cell: _Cell, colour: str) -> None:
    if cell.is_symbol:
        surface.circle(cell.x, cell.y, RADIUS)
        surface.text(cell.x, cell.y - 0.5, cell.title, size=14, anchor="middle")
        if cell.notes:  # on the left: shortcuts come from the right
            surface.text(cell.x - RADIUS - 5, cell.y, cell.notes[0], size=NOTE_SIZE, colour=MUTED, anchor="end")
        return
    surface.rect(cell.x - cell.width / 2, cell.top, (cell.width, cell.height), colour)
    surface.text(cell.x, cell.top + 12.5, cell.title, size=TITLE_SIZE, anchor="middle", bold=True)
    for number, line in enumerate(cell.notes):
        surface.text(cell.x, cell.top + 26 + 13 * number, line, size=NOTE_SIZE, colour=MUTED, anchor="middle")


class _Layout:
    """The positions of boxes. A column is a branch: a box is placed below its input unless another box already is."""

    def __init__(self, boxes: Sequence[Box]) -> None:
        self.cells: list[_Cell] = []
        continued: set[int] = set()
        for box in boxes:
            self.cells.append(self._cell(box, continued))
            continued |= box.inputs
        self._place()
        starts = [cell.x for cell in self.cells if cell.box.inputs == {ENTRY}] or [self.cells[0].x]
        self.entry = starts[0] if len(starts) < 3 else (min(starts) + max(starts)) / 2
        self._lanes: dict[tuple[int, int], float] = {}  # x of the edges that skip layers
        for index, cell in enumerate(self.cells):
            for source in sorted(cell.box.inputs - {cell.main}):
                if self._is_blocked(source, cell):
                    self._lanes[source, index] = self._free_lane(source, cell)
            if cell.is_bar:
                ends = [(self._end(source, index), self._half_width(source)) for source in cell.box.inputs]
                left = min(end - half for end, half in ends)
                right = max(end + half for end, half in ends)
                cell.x, cell.width = (left + right) / 2, max(right - left, cell.width)

    def wire(self, source: int, index: int) -> list[Point]:
        cell = self.cells[index]
        x, y = (self.entry, 2 * DOT + 1) if source == ENTRY else (self.cells[source].x, self.cells[source].bottom)
        if source != ENTRY and self.cells[source].is_bar:
            x = cell.x  # leaves the bar above the target
        end = self._end(source, index)
        side = cell.x + (RADIUS if end > cell.x else -RADIUS), cell.y
        points = [(x, y)]
        if (source, index) in self._lanes or (source == ENTRY and abs(end - x) > 1):
            points += [(x, y + 8), (end, y + 8)]
        if cell.is_symbol and abs(end - cell.x) > 1:
            return [*points, (end, cell.y), side]
        if not cell.is_bar and abs(end - cell.x) > 1:
            return [*points, (end, cell.top - 11), (cell.x, cell.top - 11), (cell.x, cell.top)]
        if abs(end - points[-1][0]) > 1:
            points += [(x, y + 9), (end, y + 9)]
        return [*points, (end, cell.top)]

    def _cell(self, box: Box, continued: set[int]) -> _Cell:
        ranks = {source: -1 if source == ENTRY else self.cells[source].rank for source in box.inputs}
        main = max(sorted(ranks), key=lambda source: ranks[source], default=ENTRY)
        title = truncate(box.text, TITLE_SIZE, MAX_WIDTH - 20, bold=True)
        notes = wrap(box.notes, NOTE_SIZE, MAX_WIDTH - 20)
        if main in continued or (main == ENTRY and not box.inputs):
            column = 1 + max(cell.column for cell in self.cells)
        else:
            column = 0 if main == ENTRY else self.cells[main].column
        width = max([text_width(title, TITLE_SIZE, bold=True), *(text_width(line, NOTE_SIZE) for line in notes)])
        cell = _Cell(box, title, notes, main, ranks.get(main, -1) + 1, column, max(MIN_WIDTH, width + 20), 25.0)
        if cell.is_symbol:
            cell.width = cell.height = 2 * RADIUS
        else:
            cell.height += 13 * len(notes)
        return cell

    def _place(self) -> None:
        left = 0.0
        for column in sorted({cell.column for cell in self.cells}):
            cells = [cell for cell in self.cells if cell.column == column]
            width = max((cell.width for cell in cells if not cell.is_bar), default=MIN_WIDTH)
            note_widths = [text_width(note, NOTE_SIZE) for cell in cells if cell.is_symbol for note in cell.notes]
            width = max([width, *(2 * (note_width + RADIUS + 5) for note_width in note_widths)])
            for cell in cells:
                cell.x = left + width / 2
                cell.width = cell.width if cell.is_symbol else width
            left += width + COLUMN_GAP
        top = 2 * DOT + ROW_GAP
        for rank in sorted({cell.rank for cell in self.cells}):
            cells = [cell for cell in self.cells if cell.rank == rank]
            height = max(cell.height for cell in cells)
            for cell in cells:
                cell.y = top + height / 2
            top += height + ROW_GAP

    def _end(self, source: int, index: int) -> float:
        """Returns the x where a wire reaches its target."""
        cell = self.cells[index]
        if (source, index) in self._lanes:
            return self._lanes[source, index]
        if source in (ENTRY, cell.main) and not (cell.is_bar and self.cells[source].column == cell.column):
            return cell.x
        return self.cells[source].x

    def _half_width(self, source: int) -> float:
        return 12.0 if source == ENTRY else self.cells[source].width / 2

    def _is_blocked(self, source: int, cell: _Cell) -> bool:
        if source == ENTRY:
            return True
        above = self.cells[source]
        return any(
            above.rank < other.rank <= cell.rank and other.column == above.column and other is not cell
            for other in self.cells
        )

    def _free_lane(self, source: int, cell: _Cell) -> float:
        """Returns an x to the right of all cells in between and of existing shortcuts."""
        first = -1 if source == ENTRY else self.cells[source].rank
        between = [other for other in self.cells if first < other.rank < cell.rank or other is cell]
        right = max(other.x + other.width / 2 for other in between)
        return max([right + LANE, *(lane + LANE for lane in self._lanes.values() if lane > right)])
