"""Decodes image files to uint8 arrays of one size, one after another."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterable, Sequence

import numpy as np
from PIL import Image, ImageOps

from convoy.data.imageset import DataError

FORMATS = ("PNG", "JPEG", "BMP", "WEBP")
Decoded = tuple[np.ndarray, list[tuple[int, int]]]  # uint8 (N, 3, H, H), and the files' own (width, height)
_SIXTEEN_BIT_MODES = ("I", "I;16", "I;16B", "I;16L", "I;16N", "F")


def decode_chunk(paths: Sequence[str], size: int) -> Decoded:
    return decode_contents(((path, _content(path)) for path in paths), len(paths), size)


def decode_contents(contents: Iterable[tuple[str, bytes]], count: int, size: int) -> Decoded:
    """The images of `count` files, given by name and content. Raises DataError with the name."""
    pixels = np.empty((count, size, size, 3), np.uint8)
    sizes = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's warnings about unusual but readable files
        for index, (name, content) in enumerate(contents):
            image, original_size = _upright(name, content, size)
            sizes.append(original_size)
            if image.size != (size, size):
                image = ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR)
            pixels[index] = np.asarray(image)
    return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)), sizes


def _content(path: str) -> bytes:
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read()
    except OSError as error:
        raise DataError(f"{path}: cannot be read as an image: {error.strerror}") from None


def _upright(path: str, data: bytes, size: int) -> tuple[Image.Image, tuple[int, int]]:
    """The file as an RGB image, rotated according to EXIF, on a white background; and its original size."""
    try:
        image: Image.Image = Image.open(io.BytesIO(data), formats=FORMATS)
        is_sixteen_bit = image.mode in _SIXTEEN_BIT_MODES or (image.format == "PNG" and data[24] == 16)
        if not is_sixteen_bit:
            width, height = image.size
            # Decode a JPEG at 1/2, 1/4 or 1/8 of its size, if that is at least twice the target size.
            image.draft(image.mode, (2 * size, 2 * size))
            drafted = image.size
            ImageOps.exif_transpose(image, in_place=True)
            if image.size != drafted:
                width, height = height, width
            if image.has_transparency_data:
                image = image.convert("RGBA")
                white = Image.new("RGBA", image.size, "white")
                image = Image.alpha_composite(white, image)
            return image.convert("RGB"), (width, height)
    except OSError as error:
        raise DataError(f"{path}: cannot be read as an image: {_reason(error)}") from None
    except Exception as error:  # a malicious file can make a decoder raise anything
        raise DataError(f"{path}: cannot be read as an image: {error}") from None
    raise DataError(f"{path}: expected an 8-bit image, got 16 or more bits per channel")


def _reason(error: OSError) -> str:
    if isinstance(error, Image.UnidentifiedImageError):
        return f"it is not one of {', '.join(FORMATS)}"
    return error.strerror or str(error)
