"""Image data sets of the Hugging Face Hub, loaded by the optional package `datasets`.

Columns are found by their feature type, not by name. Convoy decodes the images, as those of an image folder, and caches
the result under the fingerprints that `datasets` gives the splits.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from convoy.data import cache
from convoy.data.image_folder import assemble
from convoy.data.image_sizes import note_on_sizes
from convoy.data.imageset import DataError, DataSet

PREFIX = "hf:"
OLDEST = 4  # major version of `datasets`; older ones run scripts of a data set
_PARTS = {"train": "train", "validation": "validation", "valid": "validation", "val": "validation", "test": "test"}
_CHUNK = 250  # images


def load(name: str, size: int | None) -> DataSet:
    """`name`: owner/name, or owner/name/configuration. `datasets` downloads the set unless its own cache has it.

    Raises DataError: missing package or set, no column of images or labels, an unreadable image.
    """
    where = PREFIX + name
    if not name:
        raise DataError(f"{where}: expected hf:owner/name, a data set of the Hugging Face Hub")
    try:
        import datasets
    except ImportError:
        raise DataError(f"{where}: the Hugging Face Hub needs the package datasets: pip install datasets") from None
    if int(datasets.__version__.partition(".")[0]) < OLDEST:
        raise DataError(
            f"{where}: expected version {OLDEST} or newer of the package datasets, got {datasets.__version__}, which "
            "may run code of the data set: pip install --upgrade datasets"
        )
    owner, _, rest = name.partition("/")
    set_name, _, configuration = rest.partition("/")
    try:
        splits = datasets.load_dataset(f"{owner}/{set_name}" if rest else owner, configuration or None)
    except Exception as error:  # network, names and formats have various exceptions
        line = next(iter(str(error).splitlines()), "no reason given")
        raise DataError(f"{where}: cannot be loaded by datasets: {line}") from None
    parts, notes = _parts(splits, where, datasets)
    fingerprints = [f"{part} {split._fingerprint}" for part, split in parts.items()]
    import PIL

    key = cache.key_of(["hub", PIL.__version__, str(size), *notes, *fingerprints])
    return cache.remembered(key, lambda: _read(name, parts, size, notes))


def _parts(splits: Mapping[str, Any], where: str, datasets: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Train, validation and test, with only their image and label columns, and notes on ignored splits."""
    if "train" not in splits:
        raise DataError(f"{where}: expected a split 'train', got {', '.join(splits)}")
    features = splits["train"].features
    images = [column for column, feature in features.items() if isinstance(feature, datasets.Image)]
    labels = [column for column, feature in features.items() if isinstance(feature, datasets.ClassLabel)]
    if len(images) != 1 or not labels:
        columns = ", ".join(f"{column} ({type(feature).__name__})" for column, feature in features.items())
        raise DataError(f"{where}: expected one Image column and a ClassLabel column, got {columns}")
    label = "label" if "label" in labels else labels[0]
    if len(features[label].names) < 2:
        raise DataError(f"{where}: expected at least two classes, got one")
    notes = [f"labels are from {label}, not from {', '.join(c for c in labels if c != label)}"] if labels[1:] else []
    parts: dict[str, Any] = {}
    for name, split in splits.items():
        part = _PARTS.get(name)
        if part is None or part in parts:
            notes.append(f"ignored: the split {name}")
        elif any(value is None or value < 0 for value in split[label][:]):  # -1: unpublished
            notes.append(f"ignored: the split {name}, which has images without labels")
        else:
            renamed = split.select_columns([images[0], label]).rename_columns({images[0]: "image", label: "label"})
            parts[part] = renamed.cast_column("image", datasets.Image(decode=False))
    if "train" not in parts:
        raise DataError(f"{where}: the split 'train' has images without labels")
    return {part: parts[part] for part in ("train", "validation", "test") if part in parts}, tuple(notes)


def _read(name: str, parts: Mapping[str, Any], size: int | None, notes: tuple[str, ...]) -> DataSet:
    from convoy.data.decode import at_usual_size
    from convoy.data.decode_images import decode_contents

    lengths = {part: len(split) for part, split in parts.items()}

    def decode_all(side: int) -> tuple[np.ndarray, Counter[tuple[int, int]]]:
        pixels = np.empty((sum(lengths.values()), 3, side, side), np.uint8)
        sizes: Counter[tuple[int, int]] = Counter()
        done = 0
        for part, split in parts.items():
            for start in range(0, lengths[part], _CHUNK):
                contents = _contents(split[start : start + _CHUNK]["image"], f"{PREFIX}{name}: {part}", start)
                count = min(_CHUNK, lengths[part] - start)
                pixels[done : done + count], chunk_sizes = decode_contents(contents, count, side)
                sizes.update(chunk_sizes)
                done += count
        return pixels, sizes

    pixels, sizes = at_usual_size(size, _sizes_of_some(parts["train"]), decode_all)
    labels = np.concatenate([np.array(split["label"][:], np.int64) for split in parts.values()])
    classes = tuple(parts["train"].features["label"].names)
    notes += note_on_sizes(sizes, pixels.shape[-1], is_chosen=size is not None)
    return assemble(name, classes, pixels, labels, lengths, notes)


def _contents(rows: list[dict[str, Any] | None], where: str, start: int) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of each image; for an image in a file, `datasets` gives the path."""
    for number, row in enumerate(rows, start=start):
        name = f"{where}, image {number}"
        if row is None or (row["bytes"] is None and row["path"] is None):
            raise DataError(f"{name}: is missing")
        try:
            yield name, row["bytes"] if row["bytes"] is not None else Path(row["path"]).read_bytes()
        except OSError as error:
            raise DataError(f"{name}: {row['path']}: cannot be read: {error.strerror}") from None


def _sizes_of_some(split: Any) -> Counter[tuple[int, int]]:
    from PIL import Image

    from convoy.data.decode_images import FORMATS

    sizes: Counter[tuple[int, int]] = Counter()
    for row in split[:: max(1, len(split) // 64)]["image"]:
        try:
            file = io.BytesIO(row["bytes"]) if row["bytes"] is not None else row["path"]
            with Image.open(file, formats=FORMATS) as image:
                sizes[image.size] += 1
        except Exception:  # decoding reports the image
            continue
    return sizes
