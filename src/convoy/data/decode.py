"""Decodes image files to uint8 arrays of a common size, in several processes if there are many files.

Processes are used instead of threads, because most of the 0.13 ms for a 32 x 32 JPEG is Pillow's Python code, which
holds the GIL. 60,000 such files on 2 busy cores took 12 s in one thread, 10 s in two threads and 8 s in two processes
(9 s of CPU time). The processes are started with subprocess, so that they do not import the user's script or notebook.
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
from convoy.recipe.sections import MAX_IMAGE_SIZE
from convoy.text import gettext as _

_CHUNK = 250  # images per request
_SAMPLE = 64  # files that are read first to guess the most frequent size


def decode_files(paths: Sequence[str], size: int | None) -> tuple[np.ndarray, tuple[str, ...]]:
    """Returns the images as uint8 [N, 3, size, size], and a note if the default size resizes some of them.

    Resizes the shorter side to `size` and crops the centre. The default is the shorter side of the most frequent size.
    Raises DataError for a file that is damaged, has 16 bits per channel or is not a PNG, JPEG, BMP, WebP or TIFF image.
    """
    return decode_to_size(size, sizes_of(paths[sample(len(paths))]), lambda side: _decode_all(paths, side))


def sample(count: int) -> slice:
    """Returns a slice that selects 64 to 127 of `count` images, evenly spaced; all if there are fewer."""
    return slice(None, None, max(1, count // _SAMPLE))


def decode_to_size(
    size: int | None, sampled_sizes: Counter[Size], decode_all: Callable[[int], tuple[np.ndarray, Counter[Size]]]
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Calls `decode_all` with the size in pixels. Returns the same as `decode_files`.

    The default size is guessed from `sampled_sizes`, which saves reading all headers. If the guess is wrong, which is
    rare, the images are decoded again.
    """
    side = size or _shorter_side(_most_frequent(sampled_sizes))
    pixels, sizes = decode_all(side)
    width, height = _most_frequent(sizes)
    if size is None and min(width, height) != side:
        side = _shorter_side((width, height))
        pixels, sizes = decode_all(side)
    if size is not None or set(sizes) == {(side, side)}:
        return pixels, ()
    note = _(
        "images were resized to {side} x {side} pixels, from the most frequent size ({width} x {height}, "
        "the size of {n:,} of the {total:,} images); change it with data.size",
        side=side,
        width=width,
        height=height,
        n=sizes[width, height],
        total=sizes.total(),
    )
    return pixels, (note,)


def _most_frequent(sizes: Counter[Size]) -> Size:
    """Returns the most frequent size; among equally frequent ones, the smallest."""
    return min(sizes, key=lambda size: (-sizes[size], size), default=(32, 32))


def _shorter_side(size: Size) -> int:
    if min(size) > MAX_IMAGE_SIZE:
        raise DataError(
            _(
                "most images are {size} pixels or larger: set data.size to at most {largest_image}",
                size=min(size),
                largest_image=MAX_IMAGE_SIZE,
            )
        )
    return min(size)


def _decode_all(paths: Sequence[str], size: int) -> tuple[np.ndarray, Counter[Size]]:
    pixels = np.empty((len(paths), 3, size, size), np.uint8)
    sizes: Counter[Size] = Counter()
    starts = range(0, len(paths), _CHUNK)
    seconds = _expected_seconds(paths)
    is_worth_starting_processes = seconds > 0.6 and sys.executable  # starting them takes 0.3 s
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
            decoder = idle.get()
            try:
                pixels[chunk], chunk_sizes = decoder(paths[chunk], size)
            finally:
                idle.put(decoder)
            return chunk_sizes

        # The threads only wait for the processes. `map` keeps the order, so that the first unreadable file is reported.
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
    """Estimates the time in one process: about 0.13 ms per image and 30 ms per megabyte of JPEG."""
    sampled = paths[sample(len(paths))]
    mean_bytes = sum(os.path.getsize(path) for path in sampled if os.path.exists(path)) / max(1, len(sampled))
    return len(paths) * (0.00013 + mean_bytes * 30e-9)


class _Worker:
    """A process that decodes chunks. Its requests and replies are described in `decode_images`."""

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
            raise DataError(
                _(
                    "{paths} or one of the next {n} images crashed the decoding process",
                    paths=paths[0],
                    n=len(paths) - 1,
                )
            )
        return np.frombuffer(body, np.uint8).reshape(shape), [(width, height) for width, height in reply]
