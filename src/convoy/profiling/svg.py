"""Draws shapes and text as SVG. The width of text is estimated without a font."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from markupsafe import escape

from convoy.reporting.content import readable
from convoy.reporting.palette import INK, MUTED, PAPER

FONT = "'Helvetica Neue', Arial, 'Liberation Sans', 'DejaVu Sans', sans-serif"
# Widths of characters in Helvetica and similar fonts, in thousandths of the font size. MARGIN allows for wider fonts.
WIDTHS = dict.fromkeys("ijl.,:;'|!·() ", 280) | dict.fromkeys("rtf-/[]", 333) | dict.fromkeys("mwMW%", 870)
WIDTHS |= dict.fromkeys("ABCDEFGHJKLNOPQRSTUVXYZ_", 690) | {"…": 1000}
ASCII_WIDTH, MARGIN = 560, 1.06

Point = tuple[float, float]


def text_width(text: str, size: float, *, bold: bool = False) -> float:
    """Estimates the width of a text in pixels. `size`: the font size."""
    thousandths = sum(WIDTHS.get(char, ASCII_WIDTH if char.isascii() or char in "×−" else 900) for char in text)
    return thousandths / 1000 * size * MARGIN * (1.06 if bold else 1)


def truncate(text: str, size: float, width: float, *, bold: bool = False) -> str:
    """Truncates the text with an ellipsis if it is wider than `width`."""
    if text_width(text, size, bold=bold) <= width:
        return text
    while text and text_width(text + "…", size, bold=bold) > width:
        text = text[:-1]
    return text.rstrip() + "…"


def wrap(words: Sequence[str], size: float, width: float) -> list[str]:
    """Joins words with dots and wraps them into lines of at most this width."""
    lines: list[str] = []
    for word in words:
        if lines and text_width(f"{lines[-1]} · {word}", size) <= width:
            lines[-1] += f" · {word}"
        else:
            lines.append(truncate(word, size, width))
    return lines


@dataclass
class Surface:
    """Shapes in pixels from the upper left corner. `right` and `bottom` are the extent of all shapes."""

    shapes: list[str] = field(default_factory=list)
    right: float = 0.0
    bottom: float = 0.0

    def text(
        self,
        x: float,
        y: float,
        text: str,
        *,
        size: float,
        colour: str = INK,
        anchor: str = "start",
        bold: bool = False,
    ) -> None:
        """`y` is the middle of lower-case letters, `size` the font size."""
        weight = ' font-weight="600"' if bold else ""
        alignment = "" if anchor == "start" else f' text-anchor="{anchor}"'
        self.shapes.append(
            f'<text x="{x:.1f}" y="{y + 0.35 * size:.1f}" font-size="{size:g}" fill="{colour}"{alignment}{weight}>'
            f"{escape(readable(text))}</text>"
        )
        width = text_width(text, size, bold=bold)
        self._extend(x + width * {"start": 1.0, "middle": 0.5, "end": 0.0}[anchor], y + size)

    def rect(
        self, x: float, y: float, size: Point, colour: str, *, fill: float = 0.14, edge: float = 0.85, radius: float = 5
    ) -> None:
        """Draws an opaque rectangle. `fill` and `edge` are opacities of `colour` over the page colour."""
        width, height = size
        shape = f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="{radius:g}"'
        self.shapes.append(
            f'{shape} fill="{PAPER}"/>{shape} fill="{colour}" fill-opacity="{fill:g}" stroke="{colour}" '
            f'stroke-opacity="{edge:g}"/>'
        )
        self._extend(x + width, y + height)

    def circle(self, x: float, y: float, radius: float) -> None:
        self.shapes.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}" fill="{PAPER}" stroke="{INK}" stroke-width="1.1"/>'
        )
        self._extend(x + radius, y + radius)

    def polygon(self, points: Sequence[Point], colour: str, *, fill: float, edge: float = 0.85) -> None:
        corners = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self.shapes.append(
            f'<polygon points="{corners}" fill="{colour}" fill-opacity="{fill:g}" stroke="{colour}" '
            f'stroke-opacity="{edge:g}" stroke-width="0.8"/>'
        )

    def wire(self, points: Sequence[Point], *, arrow: bool = True, bend: float = 6) -> None:
        """Draws a line through the points, with rounded corners and an arrow head at the end."""
        (x, y), *rest = points
        path = [f"M{x:.1f} {y:.1f}"]
        for before, here, after in zip(points, points[1:], points[2:], strict=False):
            path.append(f"L{_towards(here, before, bend)}Q{here[0]:.1f} {here[1]:.1f} {_towards(here, after, bend)}")
        path.append(f"L{rest[-1][0]:.1f} {rest[-1][1]:.1f}")
        self.shapes.append(f'<path d="{"".join(path)}" fill="none" stroke="{MUTED}" stroke-width="1.1"/>')
        if arrow:
            self._head(points[-2], points[-1])
        for x, y in points:
            self._extend(x, y)

    def _head(self, start: Point, end: Point) -> None:
        length = max(abs(end[0] - start[0]), abs(end[1] - start[1]), 1e-9)
        dx, dy = (end[0] - start[0]) / length, (end[1] - start[1]) / length
        base = end[0] - 5 * dx, end[1] - 5 * dy
        points = (end, (base[0] - 3 * dy, base[1] + 3 * dx), (base[0] + 3 * dy, base[1] - 3 * dx))
        corners = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self.shapes.append(f'<polygon points="{corners}" fill="{MUTED}"/>')

    def _extend(self, x: float, y: float) -> None:
        self.right, self.bottom = max(self.right, x), max(self.bottom, y)

    def insert(self, other: Surface, x: float, y: float) -> None:
        self.shapes.append(f'<g transform="translate({x:.1f} {y:.1f})">{"".join(other.shapes)}</g>')
        self._extend(x + other.right, y + other.bottom)

    def svg(self, title: str) -> str:
        """Returns the complete SVG file, with a background in the page colour."""
        width, height = round(self.right + 1), round(self.bottom + 1)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
            f'height="{height}" font-family="{FONT}"><title>{escape(readable(title))}</title>'
            f'<rect width="{width}" height="{height}" fill="{PAPER}"/>{"".join(self.shapes)}</svg>\n'
        )


def _towards(corner: Point, other: Point, bend: float) -> str:
    """Returns the point where the rounding of a corner begins, on the line to another point."""
    length = max(abs(other[0] - corner[0]), abs(other[1] - corner[1]), 1e-9)
    share = min(bend, length / 2) / length
    return f"{corner[0] + (other[0] - corner[0]) * share:.1f} {corner[1] + (other[1] - corner[1]) * share:.1f}"
