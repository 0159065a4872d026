"""Simulated photographs of handwritten digits: pen strokes on paper in uneven light."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

Stroke = tuple[tuple[float, float], ...]

# One or more ways to write each digit. A stroke is a curve through its points, in a box of width 1 and height 1.5.
DIGITS: tuple[tuple[tuple[Stroke, ...], ...], ...] = (
    (
        (
            (
                (0.5, 0),
                (0.1, 0.35),
                (0.05, 0.8),
                (0.2, 1.35),
                (0.5, 1.5),
                (0.85, 1.25),
                (0.95, 0.7),
                (0.8, 0.2),
                (0.5, 0),
            ),
        ),
    ),
    ((((0.5, 0), (0.5, 0.75), (0.5, 1.5)),), (((0.25, 0.35), (0.5, 0.05)), ((0.52, 0.05), (0.5, 0.7), (0.48, 1.5)))),
    (
        (
            ((0.1, 0.35), (0.3, 0.05), (0.65, 0.02), (0.88, 0.35), (0.7, 0.8), (0.35, 1.2), (0.08, 1.48)),
            ((0.08, 1.48), (0.5, 1.46), (0.95, 1.45)),
        ),
    ),
    (
        (
            ((0.12, 0.2), (0.4, 0), (0.75, 0.1), (0.82, 0.4), (0.6, 0.65), (0.35, 0.72)),
            ((0.35, 0.72), (0.7, 0.8), (0.9, 1.1), (0.7, 1.4), (0.4, 1.5), (0.08, 1.32)),
        ),
    ),
    (
        (
            ((0.65, 0), (0.4, 0.5), (0.05, 1.0)),
            ((0.05, 1.0), (0.5, 1.0), (0.98, 0.98)),
            ((0.7, 0.6), (0.69, 1.0), (0.66, 1.5)),
        ),
        (
            ((0.15, 0.05), (0.1, 0.45), (0.15, 0.75)),
            ((0.15, 0.75), (0.5, 0.78), (0.85, 0.72)),
            ((0.8, 0.02), (0.78, 0.7), (0.76, 1.5)),
        ),
    ),
    (
        (
            ((0.85, 0.02), (0.5, 0.03), (0.2, 0.05)),
            ((0.2, 0.05), (0.18, 0.3), (0.14, 0.62)),
            ((0.14, 0.62), (0.5, 0.55), (0.85, 0.8), (0.85, 1.2), (0.5, 1.48), (0.08, 1.38)),
        ),
    ),
    (
        (
            (
                *((0.72, 0.02), (0.4, 0.3), (0.15, 0.8), (0.15, 1.25), (0.45, 1.5)),
                *((0.8, 1.35), (0.85, 1.05), (0.6, 0.82), (0.3, 0.92), (0.16, 1.15)),
            ),
        ),
    ),
    ((((0.08, 0.05), (0.5, 0.04), (0.9, 0.02)), ((0.9, 0.02), (0.62, 0.6), (0.4, 1.5))),),
    (
        (
            (
                *((0.75, 0.2), (0.45, 0), (0.18, 0.22), (0.3, 0.55), (0.65, 0.85), (0.82, 1.2)),
                *((0.5, 1.5), (0.18, 1.25), (0.3, 0.9), (0.65, 0.6), (0.8, 0.3), (0.72, 0.14)),
            ),
        ),
    ),
    (
        (
            ((0.8, 0.25), (0.5, 0.02), (0.2, 0.25), (0.25, 0.6), (0.55, 0.68), (0.8, 0.35)),
            ((0.82, 0.15), (0.8, 0.75), (0.7, 1.5)),
        ),
    ),
)


def photographs(count: int, seed: int) -> list[tuple[int, Image.Image]]:
    """`count` grey photographs with their digits, 0 to 9 in turn."""
    draw = np.random.default_rng(seed)
    return [(number % 10, photograph(number % 10, draw)) for number in range(count)]


def photograph(digit: int, draw: np.random.Generator, *more: int) -> Image.Image:
    """Draws 150 to 600 pixels per side, and size, position, rotation (up to 15 degrees), pen, light, blur and noise.

    `more` digits are written to the right of the first, on larger paper.
    """
    width, height = draw.integers(150, 600, 2)
    strokes = DIGITS[digit][draw.integers(len(DIGITS[digit]))]
    tall = min(width / 0.9, height) * draw.uniform(0.3, 0.75)
    angle, slant, aspect = np.radians(draw.uniform(-15, 15)), draw.uniform(-0.15, 0.25), draw.uniform(0.8, 1.15)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    room = np.maximum(np.array([width, height]) - 1.15 * tall, 0) / 2
    centre = np.array([width, height]) / 2 + draw.uniform(-1, 1, 2) * room
    pen = tall * draw.uniform(0.04, 0.12)
    for place, other in enumerate(more, start=1):
        strokes += tuple(tuple((x + 1.4 * place, y) for x, y in stroke) for stroke in DIGITS[other][0])
    added = (np.array([1.4, 0.6]) * len(more) * tall / 1.5).astype(int)
    width, height = np.array([width, height]) + added
    centre = centre + added / 2
    cover = Image.new("L", (2 * int(width), 2 * int(height)))
    canvas = ImageDraw.Draw(cover)
    for stroke in strokes:
        line = _curve(np.array(stroke) + draw.normal(0, 0.03, (len(stroke), 2))) - (0.5 + 0.7 * len(more), 0.75)
        line[:, 0] = line[:, 0] * aspect - slant * line[:, 1]
        for x, y in 2 * (line / 1.5 * tall @ rotation.T + centre):
            canvas.ellipse((x - pen, y - pen, x + pen, y + pen), fill=255)
    cover = cover.resize((int(width), int(height)), Image.Resampling.BOX)
    cover = cover.filter(ImageFilter.GaussianBlur(draw.uniform(0.3, 1.5)))
    ink = np.asarray(cover) / 255
    paper, pigment, direction = draw.uniform(150, 250), draw.uniform(10, 90), draw.uniform(0, 2 * np.pi)
    y, x = np.mgrid[0:height, 0:width]
    shadow = np.cos(direction) * (x / width - 0.5) + np.sin(direction) * (y / height - 0.5) + 0.7
    light = 1 - draw.uniform(0, 0.5) * shadow / 1.4
    pixels = (paper * (1 - ink) + pigment * ink) * light + draw.normal(0, draw.uniform(1, 8), ink.shape)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _curve(points: np.ndarray) -> np.ndarray:
    """A Catmull-Rom curve through the points [M, 2], with 60 steps between two points."""
    ends = np.vstack([2 * points[0] - points[1], points, 2 * points[-1] - points[-2]])
    t = np.linspace(0, 1, 60)[:, None]
    pieces = [
        b + (c - a) * t / 2 + (2 * a - 5 * b + 4 * c - d) * t**2 / 2 + (3 * b - a - 3 * c + d) * t**3 / 2
        for a, b, c, d in zip(ends, ends[1:], ends[2:], ends[3:], strict=False)
    ]
    return np.vstack(pieces)
