"""Converts the SVG of a drawing to PNG for formats without SVG. Supports the elements that `profiling.svg` writes."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyBboxPatch, Patch, PathPatch, Polygon, Rectangle
from matplotlib.path import Path as Outline
from matplotlib.transforms import Affine2D, Transform

from convoy.reporting import canvas
from convoy.reporting.content import Drawing

PIXELS_PER_INCH = 120  # resolution of a drawing: 12 pixels of text are about 7 points
FONT_SCALE = 0.9  # matplotlib's font is wider than the fonts for which a drawing is laid out


def save_drawing(block: Drawing, folder: Path) -> None:
    """Writes figures/<name>.png."""
    root = ElementTree.fromstring(block.svg)
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    with canvas.style():
        figure = Figure(figsize=(width / PIXELS_PER_INCH, height / PIXELS_PER_INCH))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_xlim(0, width)
        axes.set_ylim(height, 0)
        axes.axis("off")
        _draw(axes, root, Affine2D(), 1.0)
        canvas.save(figure, folder / f"{block.name}.png")


def _draw(axes: Axes, parent: ElementTree.Element, move: Transform, scale: float) -> None:
    for element in parent:
        tag, get = element.tag.rpartition("}")[2], element.attrib.get
        if tag == "g":
            numbers = [float(number) for number in re.findall(r"[-\d.]+", get("transform", ""))]
            x, y, factor = (*numbers, 1.0)[:3]
            _draw(axes, element, Affine2D().scale(factor).translate(x, y) + move, scale * factor)
        elif tag == "text":
            size = float(get("font-size", 12)) * scale * FONT_SCALE * 72 / PIXELS_PER_INCH
            x, y = move.transform((float(get("x", 0)), float(get("y", 0))))
            align = {"middle": "center", "end": "right"}.get(get("text-anchor", ""), "left")
            weight = "bold" if get("font-weight") else "normal"
            axes.text(
                x, y, element.text or "", fontsize=size, color=get("fill"), ha=align, va="baseline", fontweight=weight
            )  # fmt: skip
        elif patch := _patch(tag, element.attrib, move + axes.transData):
            fill, line = get("fill", "none"), get("stroke", "none")
            patch.set_facecolor((fill, float(get("fill-opacity", 1))) if fill != "none" else "none")
            patch.set_edgecolor((line, float(get("stroke-opacity", 1))) if line != "none" else "none")
            patch.set_linewidth(float(get("stroke-width", 1)) * scale * 72 / PIXELS_PER_INCH)
            patch.set_zorder(1)
            axes.add_artist(patch)


def _patch(tag: str, values: dict[str, str], transform: Transform) -> Patch | None:
    def number(key: str) -> float:
        return float(values.get(key, 0))

    size = number("width"), number("height")
    match tag:
        case "rect" if number("rx"):
            radius = number("rx")
            box = f"round,pad=0,rounding_size={radius}"
            return FancyBboxPatch((number("x"), number("y")), *size, boxstyle=box, transform=transform)
        case "rect":
            return Rectangle((number("x"), number("y")), *size, transform=transform)
        case "circle":
            return Circle((number("cx"), number("cy")), number("r"), transform=transform)
        case "polygon":
            points = [tuple(map(float, point.split(","))) for point in values["points"].split()]
            return Polygon(points, closed=True, transform=transform)
        case "path":
            return PathPatch(_outline(values["d"]), transform=transform)
    return None


def _outline(commands: str) -> Outline:
    vertices, codes = [], []
    for letter, text in re.findall(r"([MLQ])([^MLQ]*)", commands):
        numbers = [float(number) for number in text.split()]
        vertices += list(zip(numbers[::2], numbers[1::2], strict=True))
        codes += {"M": [Outline.MOVETO], "L": [Outline.LINETO], "Q": [Outline.CURVE3] * 2}[letter]
    return Outline(vertices, codes)
