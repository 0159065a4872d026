"""Decodes image files to uint8 arrays of one size, in this process.

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

from convoy.data.imageset import DataError

FORMATS = ("PNG", "JPEG", "BMP", "WEBP")
Size = tuple[int, int]  # width, height
Decoded = tuple[np.ndarray, list[Size]]  # uint8 [N, 3, H, H], and the original sizes
_SIXTEEN_BIT_MODES = ("I", "I;16", "I;16B", "I;16L", "I;16N", "F")


def decode_chunk(paths: Sequence[str], size: int) -> Decoded:
    return decode_contents(((path, read_content(path)) for path in paths), len(paths), size)


def decode_contents(contents: Iterable[tuple[str, bytes]], count: int, size: int) -> Decoded:
    """Decodes `count` files, given by name and content. Raises DataError with the name."""
    pixels = np.empty((count, size, size, 3), np.uint8)
    sizes = []
    with warnings.catch_warnings(action="ignore"):  # Pillow warns about unusual but readable files
        for index, (name, content) in enumerate(contents):
            image, original_size = open_upright(name, content, size)
            sizes.append(original_size)
            if image.size != (size, size):
                image = ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR)
            pixels[index] = np.asarray(image)
    return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)), sizes


def sizes_of(files: Iterable[str | BinaryIO]) -> Counter[Size]:
    """Counts the images of each size; reads only headers and skips unreadable files, which decoding reports."""
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
        raise DataError(f"{path}: cannot be read as an image: {error.strerror}") from None


def open_upright(path: str, data: bytes, size: int) -> tuple[Image.Image, Size]:
    """Returns the image in RGB, rotated according to EXIF, on a white background; and its original size.

    A large JPEG is decoded at a reduced size, at least twice `size`. Raises DataError.
    """
    try:
        image: Image.Image = Image.open(io.BytesIO(data), formats=FORMATS)
        is_sixteen_bit = image.mode in _SIXTEEN_BIT_MODES or (image.format == "PNG" and data[24] == 16)
        if not is_sixteen_bit:
            width, height = image.size
            image.draft(image.mode, (2 * size, 2 * size))
            draft_size = image.size
            ImageOps.exif_transpose(image, in_place=True)
            if image.size != draft_size:
                width, height = height, width
            if image.has_transparency_data:
                image = image.convert("RGBA")
                white = Image.new("RGBA", image.size, "white")
                image = Image.alpha_composite(white, image)
            return image.convert("RGB"), (width, height)
    except Exception as error:  # a malicious file can make a decoder raise anything
        reason = getattr(error, "strerror", None) or error
        if isinstance(error, Image.UnidentifiedImageError):
            reason = f"it is not one of {', '.join(FORMATS)}"
        raise DataError(f"{path}: cannot be read as an image: {reason}") from None
    raise DataError(f"{path}: expected an 8-bit image, got 16 or more bits per channel")


def _serve() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the process group; the parent stops this process
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # keeps the output of libraries out of the replies
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
