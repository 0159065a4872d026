"""Converts photographs of a handwritten character to images as in MNIST.

In MNIST (LeCun, Bottou, Bengio, Haffner 1998), characters are white on black. They are scaled to fit into a box of 20 x
20 pixels, and their centre of mass is the centre of 28 x 28 pixels.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from scipy import ndimage

from convoy.data.arrays import resize_and_crop
from convoy.data.decode_images import open_upright, read_content
from convoy.data.image_folder import image_files
from convoy.data.imageset import DataError

SIDE = 28  # pixels
BOX = 20  # pixels, the longer side of the character
WORKING_SIDE = 256  # pixels, the longer side of the photograph while the ink is located
MIN_CONTRAST = 16  # grey levels between paper and ink
MIN_PART = 0.08  # of the largest part's area; smaller parts are considered dirt


class Ink(NamedTuple):
    """The bounding box of the character in a photograph."""

    dark: bool  # dark ink on light paper
    left: int  # in pixels of the photograph
    top: int
    right: int
    bottom: int


def read_characters(paths: Iterable[str | Path], size: int) -> tuple[list[Path], np.ndarray, list[Ink | None]]:
    """Reads files, or all images of folders, each with one character.

    Returns the files, their pixels uint8 [N, 1, size, size], white on black, and the bounding box of each character. An
    image of 28 x 28 pixels with a black border is not converted, and its box is None. Raises DataError for a photograph
    without ink.
    """
    files = image_files(paths)
    characters = [_read(file) for file in files]
    return files, _stacked(characters, size), [ink for _, ink in characters]


def characters_in(images: Iterable[Image.Image], size: int) -> np.ndarray:
    """Like `read_characters`, for RGB images."""
    return _stacked([_character(image, image.width) for image in images], size)


def _stacked(characters: Iterable[tuple[np.ndarray, Ink | None]], size: int) -> np.ndarray:
    return resize_and_crop(np.stack([pixels for pixels, _ in characters])[:, None], size, [])


def _read(file: Path) -> tuple[np.ndarray, Ink | None]:
    with warnings.catch_warnings(action="ignore"):  # Pillow warns about unusual but readable files
        image, (width, _) = open_upright(str(file), read_content(str(file)), WORKING_SIDE)
    try:
        return _character(image, width)
    except DataError as error:
        raise DataError(f"{file}: {error}") from None


def _character(image: Image.Image, width: int) -> tuple[np.ndarray, Ink | None]:
    """`width` is that of the file, which may have been reduced when it was decoded."""
    if width == SIDE == image.height and np.median(_border(_grey(image))) < MIN_CONTRAST:
        return np.asarray(image.convert("L")), None
    pixels, ink = find_ink(image)
    scale = width / image.width
    return pixels, Ink(ink.dark, *(round(edge * scale) for edge in ink[1:]))


def find_ink(image: Image.Image) -> tuple[np.ndarray, Ink]:
    """Returns the character, uint8 [28, 28], and its bounding box. Raises DataError without ink.

    Shadows wider than a stroke are ignored. Otsu's threshold (1979) separates ink from paper; strokes keep their grey
    edges.
    """
    small = image.copy()
    small.thumbnail((WORKING_SIDE, WORKING_SIDE), Image.Resampling.BOX)
    light = ndimage.gaussian_filter(_grey(small), max(small.size) / WORKING_SIDE)  # against noise
    paper_level = np.median(_border(light))
    dark = bool(paper_level - light.min() > light.max() - paper_level)
    if dark:
        light = 255 - light
    ink = np.maximum(light - _paper(light), 0)
    strokes = _strokes(ink > _otsu_threshold(ink))
    level = float(np.median(ink[strokes])) if strokes.any() else 0.0
    if level < MIN_CONTRAST:
        raise DataError(
            f"no ink found: expected strokes that differ from the paper by {MIN_CONTRAST} of 255 levels or more"
        )
    rows, columns = (np.flatnonzero(strokes.any(axis)) for axis in (1, 0))
    left, top, right, bottom = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    intensity = np.clip(ink / level, 0, 1) * ndimage.binary_dilation(strokes, iterations=2)
    scale = image.width / small.width
    box = (round(float(edge) * scale) for edge in (left, top, right, bottom))
    return _centred(intensity[top:bottom, left:right]), Ink(dark, *box)


def _grey(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("L"), np.float32)


def _border(light: np.ndarray) -> np.ndarray:
    return np.concatenate([light[0], light[-1], light[:, 0], light[:, -1]])


def _paper(light: np.ndarray) -> np.ndarray:
    """The brightness without ink: a morphological opening wider than a stroke. The image is extrapolated linearly."""
    width = max(2, max(light.shape) // 4)
    padded = np.pad(light, width, "reflect", reflect_type="odd")
    padded = ndimage.gaussian_filter(ndimage.grey_opening(padded, (width, width)), width / 2)
    return padded[width:-width, width:-width]


def _otsu_threshold(values: np.ndarray) -> float:
    counts, edges = np.histogram(values, 128)
    centres = (edges[1:] + edges[:-1]) / 2
    below = np.cumsum(counts)
    sums = np.cumsum(counts * centres)
    between = (sums[-1] * below / below[-1] - sums) ** 2 / np.maximum(below * (below[-1] - below), 1)
    return float(centres[between.argmax()])


def _strokes(ink: np.ndarray) -> np.ndarray:
    """The large connected components; those that touch the border are dropped if there are others."""
    labels, count = ndimage.label(ink, np.ones((3, 3)))
    sizes = ndimage.sum_labels(ink, labels, np.arange(count + 1))
    inside = ~np.isin(np.arange(count + 1), _border(labels))
    if sizes[inside].max(initial=0) >= MIN_PART * sizes.max():
        sizes[~inside] = 0
    return (sizes >= MIN_PART * sizes.max())[labels] & ink


def _centred(intensity: np.ndarray) -> np.ndarray:
    """Scales and centres ink intensities in 0..1, [h, w]; returns uint8 [28, 28]."""
    scale = BOX / max(intensity.shape)
    height, width = (max(1, round(length * scale)) for length in intensity.shape)
    method = Image.Resampling.BOX if scale < 1 else Image.Resampling.BICUBIC
    character = np.asarray(Image.fromarray(intensity.astype(np.float32)).resize((width, height), method)).clip(0, 1)
    centre = ndimage.center_of_mass(character)
    top, left = (
        int(np.clip(round((SIDE - 1) / 2 - middle), 0, SIDE - length))
        for middle, length in zip(centre, character.shape, strict=True)
    )
    pixels = np.zeros((SIDE, SIDE), np.float32)
    # Downscaling makes thin strokes pale, so the brightness is multiplied by up to 2, to a maximum of 1.
    pixels[top : top + height, left : left + width] = character * min(2, 1 / character.max())
    return np.rint(255 * pixels).astype(np.uint8)
