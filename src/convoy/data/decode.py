"""Decodes image files to uint8 arrays of one size, in several processes if there are many files.

Processes instead of threads, because most of the 0.13 ms for a 32 x 32 JPEG is Python code of Pillow under the global
lock. 60,000 such files on 2 cores, with other work running: 12 s in one thread, 10 s in two, 8 s in two processes (9 s
of CPU time in total). They are started by subprocess, so that the user's script or notebook is not imported.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import subprocess
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from queue import SimpleQueue

import numpy as np
from PIL import Image, ImageOps

from convoy.data.image_folder import usual_size
from convoy.data.imageset import DataError
from convoy.process import cores
from convoy.recipe import LARGEST_IMAGE

FORMATS = ("PNG", "JPEG", "BMP", "WEBP")
_CHUNK = 250  # images per request
_Decoded = tuple[np.ndarray, list[tuple[int, int]]]  # uint8 (N, 3, H, H), and the files' own (width, height)
_AllDecoded = tuple[np.ndarray, Counter[tuple[int, int]]]
_SIXTEEN_BIT_MODES = ("I", "I;16", "I;16B", "I;16L", "I;16N", "F")


def decode_files(paths: Sequence[str], size: int | None) -> _AllDecoded:
    """The images as uint8 [N, 3, size, size], and the number of files of each (width, height).

    Resizes the shorter side to `size` and crops the centre. The default size is the shorter side of the most frequent
    size. Raises DataError with the file: not a PNG, JPEG, BMP or WebP image, damaged, or 16 bits per channel.
    """
    return at_usual_size(size, _sizes_of_some(paths), lambda side: _decode_all(paths, side))


def at_usual_size(
    size: int | None, some_sizes: Counter[tuple[int, int]], decode_all: Callable[[int], _AllDecoded]
) -> _AllDecoded:
    """Calls `decode_all` with `size`, by default the shorter side of the most frequent size, guessed from some files.

    This saves a separate pass over the headers. In the rare case of a wrong guess, the files are decoded again.
    """
    guess = size or _usual_size(some_sizes)
    pixels, sizes = decode_all(guess)
    if size is None and _usual_size(sizes) != guess:
        pixels, sizes = decode_all(_usual_size(sizes))
    return pixels, sizes


def decode_chunk(paths: Sequence[str], size: int) -> _Decoded:
    return decode_contents(((path, _content(path)) for path in paths), len(paths), size)


def decode_contents(contents: Iterable[tuple[str, bytes]], count: int, size: int) -> _Decoded:
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


def _sizes_of_some(paths: Sequence[str]) -> Counter[tuple[int, int]]:
    sizes: Counter[tuple[int, int]] = Counter()
    for path in paths[:: max(1, len(paths) // 64)]:
        try:
            with warnings.catch_warnings(action="ignore"), Image.open(path, formats=FORMATS) as image:
                sizes[image.size] += 1
        except Exception:  # decoding reports the file
            continue
    return sizes


def _usual_size(sizes: Counter[tuple[int, int]]) -> int:
    """The shorter side of the most frequent size."""
    if not sizes:
        return 32
    shorter = min(usual_size(sizes))
    if shorter > LARGEST_IMAGE:
        raise DataError(f"most images have sides of {shorter} pixels or more: set data.size to at most {LARGEST_IMAGE}")
    return shorter


def _decode_all(paths: Sequence[str], size: int) -> _AllDecoded:
    pixels = np.empty((len(paths), 3, size, size), np.uint8)
    sizes: Counter[tuple[int, int]] = Counter()
    starts = range(0, len(paths), _CHUNK)
    seconds = _expected_seconds(paths)
    is_worth_starting_processes = seconds > 0.6 and sys.executable  # to start them takes 0.3 s
    workers = min(cores(), len(starts)) if is_worth_starting_processes else 0
    if seconds > 4:
        print(f"decoding {len(paths):,} images; next time they are read from the cache", file=sys.stderr, flush=True)
    with ExitStack() as stack:
        idle: SimpleQueue[Callable[[Sequence[str], int], _Decoded]] = SimpleQueue()
        for _ in range(workers):
            idle.put(stack.enter_context(_Worker()).decode)
        if not workers:
            idle.put(decode_chunk)

        def decode(start: int) -> list[tuple[int, int]]:
            chunk = slice(start, start + _CHUNK)
            decode_somewhere = idle.get()
            try:
                pixels[chunk], chunk_sizes = decode_somewhere(paths[chunk], size)
            finally:
                idle.put(decode_somewhere)
            return chunk_sizes

        # The threads only wait for the processes. `map` keeps the order: of two bad files, the first is reported.
        with ThreadPoolExecutor(workers or 1) as pool:
            try:
                for chunk_sizes in pool.map(decode, starts):
                    sizes.update(chunk_sizes)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                stack.close()
                raise
    return pixels, sizes


def _expected_seconds(paths: Sequence[str]) -> float:
    """With one process: about 0.13 ms per image and 30 ms per megabyte of JPEG."""
    some = paths[:: max(1, len(paths) // 64)]
    bytes_each = sum(os.path.getsize(path) for path in some if os.path.exists(path)) / max(1, len(some))
    return len(paths) * (0.00013 + bytes_each * 30e-9)


class _Worker:
    """A process that decodes chunks. A request is a line of JSON, a reply a line of JSON and the pixels' bytes."""

    def __enter__(self) -> _Worker:
        search_path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
        environment = {**os.environ, "PYTHONPATH": search_path, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        # -P: the worker does not import modules from the current folder first.
        command = [sys.executable, "-P", "-m", "convoy.data.decode_worker"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        with contextlib.suppress(BrokenPipeError):
            self._process.communicate()

    def decode(self, paths: Sequence[str], size: int) -> _Decoded:
        requests, replies = self._process.stdin, self._process.stdout
        assert requests is not None
        assert replies is not None
        try:
            requests.write(json.dumps({"paths": paths, "size": size}).encode() + b"\n")
            requests.flush()
            reply = json.loads(replies.readline() or b"null")
        except BrokenPipeError:
            reply = None
        if reply is not None and "error" in reply:
            raise DataError(reply["error"])
        shape = (len(paths), 3, size, size)
        body = replies.read(math.prod(shape)) if reply is not None else b""
        if reply is None or len(body) != math.prod(shape):
            raise DataError(f"{paths[0]} or one of the next {len(paths) - 1} images crashed the decoding process")
        return np.frombuffer(body, np.uint8).reshape(shape), [(width, height) for width, height in reply["sizes"]]
