"""Decodes image files to uint8 arrays of a common size, in this process.

`python -m convoy.data.decode_images` is the worker process of `decode.decode_files`. It exits at the end of its input.
A request is a line of JSON; a reply is a line of JSON, followed by the bytes of the pixels.
"""

from __future__ import annotations

import io
import json
import os
import signal
import sys
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps

from convoy.data.arrays import LUMINANCE
from convoy.data.imageset import DataError
from convoy.text import gettext as _

FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "TIFF")
BITS_PER_SAMPLE = 258  # a tag of TIFF
# 202 bytes of WebP can claim 132 million pixels, which take a second to decode. The best ratio of 8-bit PNG is 1,032.
LARGE_PIXELS, MAX_PIXELS_PER_BYTE = 64_000_000, 1_032
Size = tuple[int, int]  # width, height
Decoded = tuple[np.ndarray, list[Size]]  # uint8 [N, 3, H, H], and the original sizes
_SIXTEEN_BIT_MODES = ("I", "I;16", "I;16B", "I;16L", "I;16N", "F")


def decode_chunk(paths: Sequence[str], size: int) -> Decoded:
    return decode_contents(((path, read_content(path)) for path in paths), len(paths), size)


def decode_contents(contents: Iterable[tuple[str, bytes]], count: int, size: int) -> Decoded:
    """Decodes `count` files, given as (name, content). Raises DataError that contains the name."""
    pixels = np.empty((count, size, size, 3), np.uint8)
    sizes = []
    with warnings.catch_warnings(action="ignore"):  # Pillow warns about unusual but readable files
        for index, (name, content) in enumerate(contents):
            image, original_size = open_upright(name, content, size)
            sizes.append(original_size)
            pixels[index] = fitted(image, size)
    return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)), sizes


def fitted(image: Image.Image, size: int) -> np.ndarray:
    """Resizes the shorter side and crops the centre; returns uint8 [size, size, 3] of an RGB image."""
    if image.size != (size, size):
        image = ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR)
    return np.asarray(image)


def with_channels(pixels: np.ndarray, in_chans: int) -> np.ndarray:
    """Converts uint8 [N, 3, H, W] to grey (ITU-R 601 luma) if `in_chans` is 1."""
    if in_chans == 3:
        return pixels
    luma = np.tensordot(pixels, np.array(LUMINANCE, np.float32), axes=(1, 0))  # (N, H, W)
    return np.rint(luma).astype(np.uint8)[:, None]


def sizes_of(files: Iterable[str | BinaryIO]) -> Counter[Size]:
    """Counts the images of each size. Reads only headers; skips unreadable files, which are reported when decoded."""
    sizes: Counter[Size] = Counter()
    for file in files:
        try:
            with warnings.catch_warnings(action="ignore"), Image.open(file, formats=FORMATS) as image:
                sizes[image.size] += 1
        except Exception:
            continue
    return sizes


def read_content(path: str) -> bytes:
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read()
    except OSError as error:
        raise DataError(
            _("{path}: cannot be read as an image: {strerror}", path=path, strerror=error.strerror)
        ) from None


def open_upright(path: str, data: bytes, size: int) -> tuple[Image.Image, Size]:
    """Returns the image in RGB, rotated according to EXIF, on a white background, and its original size.

    A large JPEG is decoded at a reduced size, at least twice `size`. Raises DataError.
    """
    try:
        image: Image.Image = Image.open(io.BytesIO(data), formats=FORMATS)
        if not _has_sixteen_bits(image, data):
            if image.format == "TIFF" and _has_several_images(image):
                raise DataError(
                    _(
                        "expected one image, got a TIFF file of several; save each as a separate file: "
                        "for i, page in enumerate(ImageSequence.Iterator(Image.open(path))): page.save(f'{{i}}.png')"
                    )
                )
            width, height = image.size
            if width * height > max(LARGE_PIXELS, MAX_PIXELS_PER_BYTE * len(data)):
                raise DataError(
                    _(
                        "damaged: {count} bytes cannot be {width} x {height} pixels",
                        count=len(data),
                        width=width,
                        height=height,
                    )
                )
            image.draft(image.mode, (2 * size, 2 * size))
            draft_size = image.size
            image = to_rgb(image)
            return image, (width, height) if image.size == draft_size else (height, width)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    except Exception as error:  # a malicious file can make a decoder raise anything
        reason = getattr(error, "strerror", None) or error
        if isinstance(error, Image.UnidentifiedImageError):
            reason = _("expected one of {formats}", formats=", ".join(FORMATS))
        raise DataError(_("{path}: cannot be read as an image: {reason}", path=path, reason=reason)) from None
    raise DataError(f"{path}: {_sixteen_bits()}")


def _has_sixteen_bits(image: Image.Image, data: bytes) -> bool:
    """Whether Pillow would drop the lower half of 16 bits without an error."""
    if image.format == "TIFF":
        bits: Sequence[int] = getattr(image, "tag_v2").get(BITS_PER_SAMPLE, (1,))  # noqa: B009 (not an attribute of Image)
        return max(bits) > 8
    return image.format == "PNG" and data[24] == 16


def _has_several_images(image: Image.Image) -> bool:
    try:
        image.seek(1)
    except EOFError:
        return False
    return True


def to_rgb(image: Image.Image) -> Image.Image:
    """Rotates the image in place according to EXIF and returns it in RGB on a white background. Raises DataError."""
    if image.mode in _SIXTEEN_BIT_MODES:
        raise DataError(_sixteen_bits())
    ImageOps.exif_transpose(image, in_place=True)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def _sixteen_bits() -> str:
    return _(
        "expected an 8-bit image, got 16 or more bits per channel; convert all images by the same rule; grey values of "
        "0 to 65535: Image.fromarray((np.asarray(Image.open(path)) // 257).astype('uint8'))"
    )


def _serve() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the process group; the parent stops this process
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # libraries print to stderr, so that stdout has only replies
    try:
        for line in sys.stdin.buffer:
            try:
                pixels, sizes = decode_chunk(*json.loads(line))
                reply = [json.dumps(sizes).encode() + b"\n", pixels.tobytes()]
            except DataError as error:
                reply = [json.dumps(str(error)).encode() + b"\n"]
            replies.writelines(reply)
            replies.flush()
    except BrokenPipeError:  # the parent was killed
        os._exit(1)


if __name__ == "__main__":
    _serve()
