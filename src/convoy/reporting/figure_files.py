"""The figure files of a page, for formats that read them from figures/."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from convoy.reporting.canvas import DPI


def png_of(figures: Path, name: str) -> Path:
    return figures / f"{name}.png"


WIDTH = 6.7  # inches of text on an A4 page
HEIGHT = 5.2  # inches; two figures with their captions fit on a page
TALL, TALL_HEIGHT = 1.6, 8.2  # maximum height in inches if a figure is more than TALL times as high as wide


def inches_of(path: Path) -> tuple[float, float]:
    """Returns width and height of a figure on paper, reduced if necessary."""
    with Image.open(path) as picture:
        width, height = picture.width / DPI, picture.height / DPI
    scale = min(1.0, WIDTH / width, (TALL_HEIGHT if height > TALL * width else HEIGHT) / height)
    return width * scale, height * scale
