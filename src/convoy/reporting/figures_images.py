"""Samples, predictions, hardest images and filters, as tiles of a page and as figure files."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.figure import Figure
from PIL import Image

from convoy.reporting import canvas
from convoy.reporting.content import Gallery, Strip, Tile, short, shortened
from convoy.reporting.palette import INK, MUTED, WRONG
from convoy.text import gettext as _

SAMPLES_PER_CLASS = 8
MANY_CLASSES = 12  # with more, one sample per class
COLUMNS = 12  # tiles per row of a figure file
TILE = 0.74  # inches
MAX_PNG_HEIGHT = 48  # pixels; a page embeds larger images as WebP, which is a quarter of the size
MAX_HEIGHT = 112  # pixels; maximum height of an image in a page, which shows it at about 75


def draw_gallery(tiles: Sequence[Tile], path: Path) -> None:
    """Writes images with predicted classes to a .png or .svg file. Wrong predictions are red, with the true class.

    Raises ValueError for another suffix or without images.
    """
    if not tiles:
        raise ValueError(_("a gallery needs at least one image, got none"))
    if path.suffix.lower() not in (".png", ".svg"):
        raise ValueError(_("{path!r}: expected the suffix .png or .svg", path=str(path)))
    columns = min(COLUMNS, max(1, math.ceil(math.sqrt(1.5 * len(tiles)))))
    path.parent.mkdir(parents=True, exist_ok=True)
    with canvas.style():
        canvas.save(_figure([Strip("", tuple(tiles))], columns), path.with_suffix(path.suffix.lower()))


def save_gallery(gallery: Gallery, folder: Path) -> None:
    """Writes figures/<name>.png. An SVG would only contain the same pixels."""
    longest = max(len(strip.tiles) for strip in gallery.strips)
    columns = min(longest, round(COLUMNS / gallery.strips[0].aspect))
    with canvas.style():
        canvas.save(_figure(gallery.strips, columns, titles_left=gallery.titles_left), folder / f"{gallery.name}.png")


def prediction_tiles(
    images: np.ndarray,
    labels: np.ndarray | None,
    predicted: np.ndarray,
    confidence: np.ndarray,
    classes: Sequence[str],
    index: np.ndarray | None = None,
) -> tuple[Tile, ...]:
    """Returns one tile per image, with its predicted class and, if that is wrong, the true class.

    `images`: uint8 [N, C, H, W] with 1 or 3 channels. `labels` (or None) and `predicted`: class indices [N]; -1 means
    no class. `confidence`: fractions [N]. `index`: numbers of the images [N], for the alternative text.
    """
    tiles = []
    for i, image in enumerate(images):
        name = classes[int(predicted[i])] if predicted[i] >= 0 else _("no class")
        true = classes[int(labels[i])] if labels is not None else name
        percent = f"{100 * float(confidence[i]):.0f} %"
        alt = _("predicted {name}, confidence {percent}", name=name, percent=percent)
        if labels is not None:
            alt = _("predicted {name}, confidence {percent}, true class {true}", name=name, percent=percent, true=true)
        if index is not None:
            alt = _("image {number}: {description}", number=int(index[i]), description=alt)
        tiles.append(Tile(image, name, percent, true if true != name else "", alt))
    return tuple(tiles)


def gallery_tiles(
    gallery: Mapping[str, np.ndarray], name: str, classes: Sequence[str], max_tiles: int
) -> tuple[Tile, ...]:
    """Returns the tiles of "predictions" or "hardest" in the gallery of a run; empty if it has none."""
    if f"{name}_images" not in gallery:
        return ()
    keys = ("images", "labels", "predicted", "confidence")
    images, labels, predicted, confidence = (gallery[f"{name}_{key}"][:max_tiles] for key in keys)
    index = gallery.get(f"{name}_index")
    return prediction_tiles(images, labels, predicted, confidence, classes, index)


def sample_strips(gallery: Mapping[str, np.ndarray], classes: Sequence[str]) -> tuple[Strip, ...]:
    """Returns one strip per class; with many classes, a single strip with one sample per class."""
    if "samples_images" not in gallery:
        return ()
    images, labels = gallery["samples_images"], gallery["samples_labels"]
    by_class = {c: np.flatnonzero(labels == c) for c in range(len(classes))}
    if len(classes) > MANY_CLASSES:
        tiles = [Tile(images[i[0]], classes[c], alt=classes[c]) for c, i in by_class.items() if len(i)]
        return (Strip("", tuple(tiles)),)
    return tuple(
        Strip(classes[c], tuple(Tile(images[i], alt=classes[c]) for i in indices[:SAMPLES_PER_CLASS]))
        for c, indices in by_class.items()
        if len(indices)
    )


def filter_tiles(filters: np.ndarray, max_tiles: int) -> tuple[Tile, ...]:
    """Converts filters, float [F, C, h, w], to grey or RGB tiles: 0 is grey, the largest weight white or black."""
    tiles = []
    for number, weights in enumerate(filters[:max_tiles]):
        kernel = weights if weights.shape[0] in (1, 3) else weights.mean(0, keepdims=True)
        kernel = np.nan_to_num(kernel.astype(np.float64))
        largest = max(float(np.abs(kernel).max()), 1e-12)
        pixels = np.round(127.5 + 127.5 * kernel / largest).astype(np.uint8)
        tiles.append(Tile(pixels, alt=_("filter {number}", number=number + 1)))
    return tuple(tiles)


def mosaic(tiles: Sequence[Tile], gap: int, columns: int = 0) -> np.ndarray:
    """Joins tiles into one row, uint8 [H, W, 4], `gap` transparent pixels apart, padded to `columns` tiles."""
    height, width = tiles[0].image.shape[1:]
    picture = np.zeros((height, max(columns, len(tiles)) * (width + gap) - gap, 4), dtype=np.uint8)
    for i, tile in enumerate(tiles):
        left = i * (width + gap)
        picture[:, left : left + width, :3] = _rgb(tile.image)
        picture[:, left : left + width, 3] = 255
    return picture


def data_uri(pixels: np.ndarray) -> str:
    """Returns a data: URI of uint8 [C, H, W] (1, 3 or, with opacity, 4 channels) or [H, W, 4], at most MAX_HEIGHT."""
    if pixels.shape[-1] == 4 and pixels.shape[0] not in (1, 3):
        picture = Image.fromarray(pixels, "RGBA")
    elif pixels.shape[0] == 1:
        picture = Image.fromarray(np.ascontiguousarray(pixels[0]))
    else:
        picture = Image.fromarray(np.ascontiguousarray(_rgb(pixels)))
    file, kind = BytesIO(), "png" if picture.height <= MAX_PNG_HEIGHT else "webp"
    _reduced(picture, MAX_HEIGHT).save(file, kind, quality=80)  # PNG ignores the quality
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"


def _reduced(picture: Image.Image, height: int) -> Image.Image:
    """Reduces the picture to at most this height."""
    if picture.height <= height:
        return picture
    return picture.resize((round(picture.width * height / picture.height), height), Image.Resampling.BOX)


def _rgb(image: np.ndarray) -> np.ndarray:
    """Converts [C, H, W] to [H, W, 3 or 4]. Unless C is 3 or 4 (RGB, with opacity), repeats the first channel."""
    channels = image if image.shape[0] in (3, 4) else np.repeat(image[:1], 3, axis=0)
    return channels.transpose(1, 2, 0)


def _figure(strips: Sequence[Strip], columns: int, *, titles_left: bool = False) -> Figure:
    """Draws the strips one below the other, wrapped after `columns` tiles. The unit of the axes is inches."""
    tiles = [tile for strip in strips for tile in strip.tiles]
    labelled, wrong = any(tile.name for tile in tiles), any(tile.true_class for tile in tiles)
    row_height = TILE + 0.08 + (0.15 if labelled else 0) + (0.15 if wrong else 0)
    titles = shortened([strip.title for strip in strips], 13)
    longest = max(map(len, titles))
    left = max(1.0, 0.15 + 0.085 * longest) if titles_left else 0.0
    head = 0.0 if titles_left or not any(strip.title for strip in strips) else 0.34
    rows = [math.ceil(len(strip.tiles) / columns) for strip in strips]
    tile_width = TILE * strips[0].aspect
    width, height = left + columns * (tile_width + 0.08) + 0.12, sum(r * row_height + head for r in rows) + 0.1
    figure = Figure(figsize=(width, height), dpi=canvas.DPI)
    axes = figure.add_axes((0, 0, 1, 1), frameon=False, xlim=(0, width), ylim=(height, 0), xticks=[], yticks=[])
    names = [name for name in dict.fromkeys(name for tile in tiles for name in (tile.name, tile.true_class)) if name]
    letters = int(13 * tile_width / TILE)
    confident = any(tile.confidence for tile in tiles)
    predicted = {"": "", **dict(zip(names, shortened(names, letters - 5 * confident), strict=True))}
    true = {"": "", **dict(zip(names, shortened(names, 11), strict=True))}
    picture = np.zeros((round(height * canvas.DPI), round(width * canvas.DPI), 4), dtype=np.uint8)
    top = 0.05
    for strip, title, count in zip(strips, titles, rows, strict=True):
        if head:
            axes.text(0.1, top + head - 0.1, short(strip.title, 60), fontweight="bold", color=INK)
        elif titles_left:
            axes.text(left - 0.06, top + TILE / 2, title, ha="right", va="center")
        for i, tile in enumerate(strip.tiles):
            x = 0.1 + left + (i % columns) * (tile_width + 0.08)
            y = top + head + (i // columns) * row_height
            _paste(tile.image, picture, x, y, tile_width)
            _label(axes, replace(tile, name=predicted[tile.name], true_class=true[tile.true_class]), x, y + TILE)
        top += head + count * row_height
    figure.add_artist(_Pixels(picture))
    return figure


class _Pixels(Artist):
    """All tiles of a figure as one image, because `imshow` takes milliseconds for each tile."""

    def __init__(self, picture: np.ndarray) -> None:
        super().__init__()
        self._picture = picture

    def draw(self, renderer: RendererBase) -> None:
        renderer.draw_image(renderer.new_gc(), 0, 0, self._picture[::-1])


def _paste(image: np.ndarray, picture: np.ndarray, x: float, y: float, width: float) -> None:
    """Copies uint8 [C, H, W] to this position of the picture, in inches. A pixel becomes a rectangle."""
    left, top = round(x * canvas.DPI), round(y * canvas.DPI)
    columns, rows = round(width * canvas.DPI), round(TILE * canvas.DPI)
    pixels = np.asarray(_reduced(Image.fromarray(np.ascontiguousarray(_rgb(image))), rows))
    pixels = pixels[np.arange(rows) * pixels.shape[0] // rows][:, np.arange(columns) * pixels.shape[1] // columns]
    picture[top : top + rows, left : left + columns, 3] = 255
    picture[top : top + rows, left : left + columns, : pixels.shape[2]] = pixels


def _label(axes: Axes, tile: Tile, x: float, y: float) -> None:
    if tile.name:
        text = f"{tile.name} {tile.confidence}".rstrip()
        axes.text(x, y + 0.13, text, fontsize=7, color=WRONG if tile.true_class else MUTED)
    if tile.true_class:
        axes.text(x, y + 0.26, _("true: {name}", name=tile.true_class), fontsize=6, color=INK)
