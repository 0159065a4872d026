"""Decodes image files to uint8 arrays of one size, in several processes if there are many files.

Processes instead of threads, because most of the 0.13 ms for a 32 x 32 JPEG is Python code of Pillow under the global
lock. 60,000 such files on 2 cores, with other work running: 12 s in one thread, 10 s in two, 8 s in two processes (9 s
of CPU time in total). They are started by subprocess, so that the user's script or notebook is not imported.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from queue import SimpleQueue

import numpy as np

from convoy.data.decode_images import Decoded, Size, decode_chunk, sizes_of
from convoy.data.imageset import DataError
from convoy.process import cores
from convoy.recipe.sections import LARGEST_IMAGE
from convoy.text import gettext as _

_CHUNK = 250  # images per request
_SAMPLE = 64  # files, from which the usual size is guessed


def decode_files(paths: Sequence[str], size: int | None) -> tuple[np.ndarray, tuple[str, ...]]:
    """The images as uint8 [N, 3, size, size], and a note if they were resized to another size than `size`.

    Resizes the shorter side to `size` and crops the centre. The default size is the shorter side of the most frequent
    size. Raises DataError with the file: not a PNG, JPEG, BMP or WebP image, damaged, or 16 bits per channel.
    """
    return at_usual_size(size, sizes_of(paths[sample(len(paths))]), lambda side: _decode_all(paths, side))


def sample(count: int) -> slice:
    """Evenly spaced places of some of `count` images."""
    return slice(None, None, max(1, count // _SAMPLE))


def at_usual_size(
    size: int | None, some_sizes: Counter[Size], decode_all: Callable[[int], tuple[np.ndarray, Counter[Size]]]
) -> tuple[np.ndarray, tuple[str, ...]]:
    """As `decode_files`: calls `decode_all` with `size`, by default with the usual size, guessed from some images.

    This saves a separate pass over the headers. In the rare case of a wrong guess, the files are decoded again.
    """
    side = size or _shorter(_usual(some_sizes))
    pixels, sizes = decode_all(side)
    usual = _usual(sizes)
    if size is None and _shorter(usual) != side:
        side = _shorter(usual)
        pixels, sizes = decode_all(side)
    if size is not None or set(sizes) == {(side, side)}:
        return pixels, ()
    most = f"{usual[0]} x {usual[1]}, the size of {sizes[usual]:,} of the {sizes.total():,} images"
    return pixels, (
        f"images were resized to {side} x {side} pixels, from the most frequent size ({most}); data.size sets another",
    )


def _usual(sizes: Counter[Size]) -> Size:
    """The most frequent size; the smaller one in a tie."""
    return min(sizes, key=lambda size: (-sizes[size], size), default=(32, 32))


def _shorter(size: Size) -> int:
    if min(size) > LARGEST_IMAGE:
        message = f"most images have sides of {min(size)} pixels or more: set data.size to at most {LARGEST_IMAGE}"
        raise DataError(message)
    return min(size)


def _decode_all(paths: Sequence[str], size: int) -> tuple[np.ndarray, Counter[Size]]:
    pixels = np.empty((len(paths), 3, size, size), np.uint8)
    sizes: Counter[Size] = Counter()
    starts = range(0, len(paths), _CHUNK)
    seconds = _expected_seconds(paths)
    is_worth_starting_processes = seconds > 0.6 and sys.executable  # to start them takes 0.3 s
    workers = min(cores(), len(starts)) if is_worth_starting_processes else 0
    if seconds > 4:
        message = _("decoding {n:,} images; next time they are read from the cache", n=len(paths))
        print(message, file=sys.stderr, flush=True)
    with ExitStack() as stack:
        idle: SimpleQueue[Callable[[Sequence[str], int], Decoded]] = SimpleQueue()
        for _worker in range(workers):
            idle.put(stack.enter_context(_Worker()).decode)
        if not workers:
            idle.put(decode_chunk)

        def decode(start: int) -> list[Size]:
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
    some = paths[sample(len(paths))]
    bytes_each = sum(os.path.getsize(path) for path in some if os.path.exists(path)) / max(1, len(some))
    return len(paths) * (0.00013 + bytes_each * 30e-9)


class _Worker:
    """A process that decodes chunks; `decode_images` describes its requests and replies."""

    def __enter__(self) -> _Worker:
        search_path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
        environment = {**os.environ, "PYTHONPATH": search_path, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        # -P: the worker does not import modules from the current folder first.
        command = [sys.executable, "-P", "-m", "convoy.data.decode_images"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        with contextlib.suppress(BrokenPipeError):
            self._process.communicate()

    def decode(self, paths: Sequence[str], size: int) -> Decoded:
        requests, replies = self._process.stdin, self._process.stdout
        assert requests is not None
        assert replies is not None
        try:
            requests.write(json.dumps([paths, size]).encode() + b"\n")
            requests.flush()
            reply = json.loads(replies.readline() or b"null")
        except BrokenPipeError:
            reply = None
        if isinstance(reply, str):
            raise DataError(reply)
        shape = (len(paths), 3, size, size)
        body = replies.read(math.prod(shape)) if reply is not None else b""
        if reply is None or len(body) != math.prod(shape):
            raise DataError(f"{paths[0]} or one of the next {len(paths) - 1} images crashed the decoding process")
        return np.frombuffer(body, np.uint8).reshape(shape), [(width, height) for width, height in reply]
