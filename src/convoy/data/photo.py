"""Converts photographs of handwritten characters to images like those of MNIST.

In MNIST (LeCun, Bottou, Bengio, Haffner 1998), characters are white on black. They are scaled to fit into a box of 20 x
20 pixels, and their centre of mass is the centre of 28 x 28 pixels.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from convoy.data.arrays import resize_and_crop
from convoy.data.decode_images import open_upright, read_content
from convoy.data.image_folder import image_files
from convoy.data.imageset import DataError
from convoy.data.pixels import Source, as_list, frames_of, rgb_images
from convoy.text import gettext as _

SIDE = 28  # pixels
BOX = 20  # pixels, the longer side of the character
WORKING_SIDE = 256  # pixels, the longer side of the photograph while the ink is located
MIN_CONTRAST = 16  # grey levels between paper and ink
MIN_AREA = 0.08  # fraction of the largest part's area; smaller parts are discarded as dirt
MIN_HEIGHT = 0.5  # fraction of the tallest part's height; a shorter part belongs to another one, like the bar of a 5


class Ink(NamedTuple):
    """The bounding box of the character in a photograph."""

    dark: bool  # dark ink on light paper
    left: int  # bounding box, in pixels of the photograph
    top: int
    right: int
    bottom: int
    characters: int = 1  # if there are several, the box contains all of them, and they are converted as one


def read_characters(paths: Iterable[str | Path], size: int) -> tuple[list[Path], np.ndarray, list[Ink | None]]:
    """Reads image files, or all images in folders. Each image shows one character.

    Returns the files, their pixels uint8 [N, 1, size, size], white on black, and the bounding box of each character. An
    image of 28 or `size` pixels with a black border is not converted, and its box is None. Raises DataError for a
    photograph without ink.
    """
    files = image_files(paths)
    pixels, inks = zip(*(_read(file, size) for file in files), strict=True)
    return files, np.stack(pixels), list(inks)


def character_pixels(images: Source | Sequence[Source], size: int, in_chans: int = 1) -> np.ndarray:
    """Like `read_characters`, for images as in `as_pixels`. Warns if an image shows several characters."""
    characters = [each for source in as_list(images) for each in _characters(source, size)]
    for number, (_character, ink) in enumerate(characters, start=1):
        if ink is not None and ink.characters > 1:
            text = _("image {number}: expected one character, found {n}", number=number, n=ink.characters)
            warnings.warn(str(text), stacklevel=2)
    return np.repeat(np.stack([pixels for pixels, _ in characters]), in_chans, axis=1)


def _characters(source: Source, size: int) -> list[tuple[np.ndarray, Ink | None]]:
    if isinstance(source, np.ndarray) and (frames := frames_of(source)).shape[1:] == (size, size, 1):
        pixels = frames.transpose(0, 3, 1, 2)
        if all(np.median(_border(image)) < MIN_CONTRAST for (image,) in pixels):
            return [(image, None) for image in pixels]  # without Pillow
    return [_character(image, image.width, size) for image in rgb_images(source, WORKING_SIDE)]


def _read(file: Path, size: int) -> tuple[np.ndarray, Ink | None]:
    with warnings.catch_warnings(action="ignore"):  # Pillow warns about unusual but readable files
        image, (width, _) = open_upright(str(file), read_content(str(file)), WORKING_SIDE)
    try:
        return _character(image, width, size)
    except DataError as error:
        raise DataError(f"{file}: {error}") from None


def _character(image: Image.Image, width: int, size: int) -> tuple[np.ndarray, Ink | None]:
    """Returns uint8 [1, size, size]. `width` is that of the file, which may have been reduced when it was decoded."""
    if width == image.height and width in (SIDE, size) and np.median(_border(_grey(image))) < MIN_CONTRAST:
        pixels, ink = np.asarray(image.convert("L")), None
    else:
        pixels, box = find_ink(image)
        scale = width / image.width
        left, top, right, bottom = (round(edge * scale) for edge in box[1:5])
        ink = Ink(box.dark, left, top, right, bottom, box.characters)
    return resize_and_crop(pixels[None, None], size, [])[0], ink


def find_ink(image: Image.Image) -> tuple[np.ndarray, Ink]:
    """Returns the character, uint8 [28, 28], and its bounding box. Raises DataError without ink.

    Shadows wider than a stroke are ignored. Otsu's threshold (1979) separates ink from paper. The grey edges of strokes
    are preserved.
    """
    small = image.copy()
    small.thumbnail((WORKING_SIDE, WORKING_SIDE), Image.Resampling.BOX)
    light = _blurred(_grey(small), max(small.size) / WORKING_SIDE)  # against noise
    paper_level = np.median(_border(light))
    dark = bool(paper_level - light.min() > light.max() - paper_level)
    if dark:
        light = 255 - light
    ink = np.maximum(light - _paper(light), 0)
    parts = _parts(ink > _otsu_threshold(ink))
    strokes = parts > 0
    level = float(np.median(ink[strokes])) if strokes.any() else 0.0
    if level < MIN_CONTRAST:
        raise DataError(
            _(
                "no ink found: expected strokes that differ from the paper by {min_contrast} of 255 levels or more",
                min_contrast=MIN_CONTRAST,
            )
        )
    rows, columns = (np.flatnonzero(strokes.any(axis)) for axis in (1, 0))
    left, top, right, bottom = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    intensity = np.clip(ink / level, 0, 1) * _highest(np.pad(strokes, 2), 5)
    pixels, scale = _centred(intensity[top:bottom, left:right]), image.width / small.width
    left, top, right, bottom = (round(float(edge) * scale) for edge in (left, top, right, bottom))
    return pixels, Ink(dark, left, top, right, bottom, _count_characters(parts))


def _grey(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("L"), np.float32)


def _border(light: np.ndarray) -> np.ndarray:
    return np.concatenate([light[0], light[-1], light[:, 0], light[:, -1]])


def _paper(light: np.ndarray) -> np.ndarray:
    """Estimates the brightness of the paper by a morphological opening wider than a stroke, linearly extrapolated."""
    width = max(2, max(light.shape) // 4)
    padded = np.pad(light, width, "reflect", reflect_type="odd")
    opened = _highest(-_highest(-np.pad(padded, width - 1, "symmetric"), width), width)
    return _blurred(opened, width / 2)[width:-width, width:-width]


def _highest(values: np.ndarray, width: int) -> np.ndarray:
    """Returns the maximum of each square of this width, [h - width + 1, w - width + 1]."""
    covered = 1  # width of the squares so far
    while covered < width:
        step = min(covered, width - covered)
        values = np.maximum(values[:-step], values[step:])
        values = np.maximum(values[:, :-step], values[:, step:])
        covered += step
    return values


def _blurred(values: np.ndarray, sigma: float) -> np.ndarray:
    """Convolves with a Gaussian. `sigma` is in pixels."""
    radius = round(4 * sigma)
    for _axis in (0, 1):  # the columns, then the rows
        padded = np.pad(values, ((radius, radius), (0, 0)), "symmetric")
        distance = np.arange(len(padded)) - radius - np.arange(len(values))[:, None]
        weights = np.exp(-0.5 * (distance / sigma) ** 2).astype(np.float32)
        values = (weights / weights.sum(1, keepdims=True) @ padded).T
    return values


def _otsu_threshold(values: np.ndarray) -> float:
    counts, edges = np.histogram(values, 128)
    centres = (edges[1:] + edges[:-1]) / 2
    below = np.cumsum(counts)
    sums = np.cumsum(counts * centres)
    between = (sums[-1] * below / below[-1] - sums) ** 2 / np.maximum(below * (below[-1] - below), 1)
    return float(centres[between.argmax()])


def _parts(ink: np.ndarray) -> np.ndarray:
    """Numbers the large connected components from 1. Those that touch the border are dropped if there are others."""
    labels = _labelled(ink)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    inside = ~np.isin(np.arange(len(sizes)), _border(labels))
    if sizes[inside].max(initial=0) >= MIN_AREA * sizes.max():
        sizes[~inside] = 0
    large = (sizes >= MIN_AREA * sizes.max()) & (sizes > 0)
    return (np.cumsum(large) * large)[labels]


def _labelled(ink: np.ndarray) -> np.ndarray:
    """Labels 8-connected components by the largest index of their pixels; 0 outside the ink."""
    labels = np.where(ink, np.arange(1, ink.size + 1).reshape(ink.shape), 0)
    while True:
        linked = _highest(np.pad(labels, 1), 3) * ink
        linked = np.append(0, linked)[linked]  # pointer jumping, which halves the number of iterations
        if np.array_equal(linked, labels):
            return labels
        labels = linked


def _count_characters(parts: np.ndarray) -> int:
    """Counts the tall parts that do not overlap horizontally or vertically."""
    ink = [np.nonzero(parts == number) for number in range(1, parts.max() + 1)]  # rows and columns
    boxes = np.array([[(axis.min(), axis.max()) for axis in axes] for axes in ink])  # (part, axis, end)
    heights = np.ptp(boxes[:, 0], axis=1) + 1
    apart: list[np.ndarray] = []
    for box in boxes[heights >= MIN_HEIGHT * heights.max()]:
        if all(((box[:, 0] > other[:, 1]) | (box[:, 1] < other[:, 0])).any() for other in apart):
            apart.append(box)
    return len(apart)


def _centred(intensity: np.ndarray) -> np.ndarray:
    """Scales and centres ink intensities in 0..1, [h, w]; returns uint8 [28, 28]."""
    scale = BOX / max(intensity.shape)
    height, width = (max(1, round(length * scale)) for length in intensity.shape)
    method = Image.Resampling.BOX if scale < 1 else Image.Resampling.BICUBIC
    character = np.asarray(Image.fromarray(intensity.astype(np.float32)).resize((width, height), method)).clip(0, 1)
    top, left = (
        int(np.clip(round((SIDE - 1) / 2 - np.arange(length) @ mass / mass.sum()), 0, SIDE - length))
        for length, mass in zip(character.shape, (character.sum(1), character.sum(0)), strict=True)
    )
    pixels = np.zeros((SIDE, SIDE), np.float32)
    # Downscaling makes thin strokes pale: scale the brightness to a maximum of 1, by a factor of at most 2.
    pixels[top : top + height, left : left + width] = character * min(2, 1 / character.max())
    return np.rint(255 * pixels).astype(np.uint8)
