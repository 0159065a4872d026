"""The parsers of files from outside, each as a function of bytes, with valid files to begin with.

A parser may only raise DataError or ValueError, and takes less than 1 s of processor time and 1 GB per input. The suite
tries a few changed files (tests/test_fuzz.py); `make fuzz` searches for hours, guided by coverage (tools/fuzz.py).
"""

from __future__ import annotations

import gzip
import io
import json
import pickle
import resource
import shutil
import struct
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save

from convoy.checkpoint import load_weights, saved_step
from convoy.data.archives import Layout
from convoy.data.decode_images import open_upright
from convoy.data.formats import read_idx_bytes, read_npz, read_tensor
from convoy.data.groups import values_in_file
from convoy.data.image_folder import list_folder
from convoy.data.named import Content
from convoy.data.published import read_cifar_binary
from convoy.recipe import Recipe
from convoy.recipe.files import parse_override, parse_values

MOST_SECONDS, MOST_BYTES = 1.0, 1_000_000_000


@dataclass(frozen=True)
class Target:
    """`parse` gets the bytes and, if it reads files, an empty folder."""

    parse: Callable[[bytes, Path], object]
    seeds: Callable[[], Sequence[bytes]]
    reads_files: bool = False


def check(target: Target, content: bytes, folder: Path) -> None:
    """Raises AssertionError if the parser raises another error, or takes too long or too much memory."""
    if target.reads_files:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    started_at, peak = time.process_time(), _peak_bytes()
    with suppress(ValueError):  # DataError is one
        target.parse(content, folder)
    seconds, grown = time.process_time() - started_at, _peak_bytes() - peak
    assert seconds < MOST_SECONDS, f"{seconds:.1f} s"
    assert grown < MOST_BYTES, f"{grown / 1e6:,.0f} MB"


def _peak_bytes() -> int:
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def in_file(name: str, parse: Callable[[Path], object]) -> Callable[[bytes, Path], object]:
    def parse_file(content: bytes, folder: Path) -> object:
        (folder / name).write_bytes(content)
        return parse(folder / name)

    return parse_file


def idx() -> list[bytes]:
    return [
        struct.pack(">BBBB3I", 0, 0, 8, 3, 2, 3, 4) + bytes(range(24)),
        struct.pack(">BBBBI", 0, 0, 8, 1, 5) + b"abcde",
    ]


def read_gzip(content: bytes, folder: Path) -> object:
    """An odd first byte: the rest is compressed first, because a changed file would fail its checksum."""
    packed = gzip.compress(content[1:], 1, mtime=0) if content[:1] and content[0] % 2 else content
    return read_idx_bytes(packed if packed.startswith(b"\x1f\x8b") else b"\x1f\x8b" + packed, "file")


def saved(save_to: Callable[[io.BytesIO], object]) -> bytes:
    save_to(file := io.BytesIO())
    return file.getvalue()


def npz() -> list[bytes]:
    images, labels = np.arange(2 * 5 * 5, dtype=np.uint8).reshape(2, 5, 5), np.arange(2)
    names = np.array(["a", "b"])
    return [
        saved(lambda file: np.savez(file, x_train=images, y_train=labels, class_names=names)),
        saved(lambda file: np.savez_compressed(file, train_images=images, train_labels=labels)),
    ]


def npy() -> list[bytes]:
    return [saved(lambda file: np.save(file, np.arange(3))), *npz()]


def pth() -> list[bytes]:
    tensor = torch.arange(12.0).reshape(3, 4)
    contents = [tensor, {"weight": tensor, "bias": tensor[0]}, {"state_dict": {"weight": tensor}}]
    return [
        *(saved(partial(torch.save, each)) for each in contents),
        saved(lambda file: torch.save(tensor, file, _use_new_zipfile_serialization=False)),
        pickle.dumps([1.0]),
        pickle.dumps(print),
    ]


def pictures() -> list[bytes]:
    image = Image.fromarray(np.arange(8 * 8 * 3, dtype=np.uint8).reshape(8, 8, 3))
    return [saved(partial(image.save, format=kind)) for kind in ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP")]


def read_image_folder(content: bytes, folder: Path) -> object:
    """The content is the paths of the folder's files, one per line."""
    for line in content.split(b"\n")[:20]:
        name = line.replace(b"\0", b"").replace(b"..", b"").lstrip(b"/")[:200]
        path = folder / name.decode("utf-8", "surrogateescape")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(line)
        except OSError:  # a folder of this name, a name that is too long
            continue
    return list_folder(folder)


def read_manifest(content: bytes, folder: Path) -> object:
    (folder / "7").mkdir()
    (folder / "7" / "state.json").write_text("{}", encoding="utf-8")
    (folder / "7" / "manifest.json").write_bytes(content)
    return saved_step(folder)


def read_overrides(content: bytes, folder: Path) -> object:
    text = content.decode("utf-8", "replace")
    key, _, value = text.partition("=")
    return parse_values(text), parse_override(key, value)


CIFAR = Layout(train={"data_batch_1": "c99cafc152244af753f735de768cd75f"}, test={})  # published MD5

RECIPE = b"""extends = "defaults/images"
[model]
name = "lenet"
[data]
name = "mnist"
augment = [{ name = "rotate", degrees = 10 }]
[optim]
name = "adamw"
lr = 0.001
"""


TARGETS = {
    "idx": Target(lambda content, _: read_idx_bytes(content, "file"), idx),
    "gzip": Target(read_gzip, lambda: [gzip.compress(each) for each in idx()] + [b"\1" + each for each in idx()]),
    "cifar-binary": Target(
        lambda content, _: read_cifar_binary([Content(content, "file")]), lambda: [bytes(3073), bytes(2 * 3073)]
    ),
    "cifar-pickle": Target(
        in_file("data_batch_1", lambda path: CIFAR.read(path.parent)),
        lambda: [pickle.dumps({"data": [0] * 9, "labels": [1]}), pickle.dumps(print)],
        reads_files=True,
    ),
    "npz": Target(in_file("a.npz", lambda path: read_npz(path, "data", size=None, classes=None)), npz, True),
    "groups": Target(in_file("a.npy", lambda path: values_in_file(path, 3, "images")), npy, True),
    "groups-csv": Target(
        in_file("a.csv", lambda path: values_in_file(path, 3, "images")), lambda: [b"a\nb\nc\n", b'"a, b"\nb\nc'], True
    ),
    "pth": Target(in_file("a.pth", read_tensor), pth, True),
    "weights": Target(in_file("a.pth", load_weights), pth, True),
    "safetensors": Target(
        in_file("a.safetensors", load_weights),
        lambda: [save({"a": torch.ones(2)}, metadata={"aliases": '{"b": "a"}'})],
        True,
    ),
    "image": Target(lambda content, _: open_upright("file", content, 16), pictures),
    "image-folder": Target(
        read_image_folder, lambda: [b"train/a/1.png\ntrain/b/2.jpg\ntest/a/1.png", b"a/1.png\nb/1.png"], True
    ),
    "manifest": Target(read_manifest, lambda: [json.dumps({"state.json": "0" * 64}).encode()], True),
    "recipe": Target(in_file("a.toml", lambda path: Recipe.load(path)), lambda: [RECIPE], True),
    "override": Target(read_overrides, lambda: [b"optim.lr=0.1", b'data.augment=[{name="rotate"}]', b"optim.lr=1,2"]),
}
