"""Image data sets on the Hugging Face Hub, loaded by the optional package `datasets`.

Columns are found by their feature type, not by name. Images are decoded like those of an image folder and cached; the
cache key contains the fingerprints that `datasets` computes for the splits.
"""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from convoy.data import cache
from convoy.data.image_folder import PART_NAMES, PARTS, assemble
from convoy.data.imageset import DataError, DataSet, first_line
from convoy.registry import HUB
from convoy.text import gettext as _
from convoy.text.lists import joined
from convoy.text.stored import stored

MIN_MAJOR_VERSION = 4  # version of `datasets`; older versions execute scripts of the data set
_IMAGE, _LABEL = "image", "label"  # names of the selected columns after renaming
_TRAIN = "train"  # the required split
_CHUNK = 250  # images


class _Part(NamedTuple):
    name: str
    rows: Any  # datasets.Dataset with the columns image and label


class _EncodedImage(NamedTuple):
    """An image that `datasets` has not decoded: the content of its file, or its path."""

    bytes: bytes | None = None
    path: str | None = None


def load(name: str, size: int | None) -> DataSet:
    """Loads owner/name or owner/name/configuration. `datasets` downloads the data set if it is not in its own cache.

    Raises DataError for a missing package or data set, a missing column of images or labels, and an unreadable image.
    """
    where = HUB + name
    if not name:
        raise DataError(_("{where}: expected hf:owner/name, a data set on the Hugging Face Hub", where=where))
    try:
        import datasets
    except ImportError:
        raise DataError(
            _("{where}: the Hugging Face Hub needs the package datasets: pip install datasets", where=where)
        ) from None
    if int(datasets.__version__.partition(".")[0]) < MIN_MAJOR_VERSION:
        raise DataError(
            _(
                "{where}: expected version {min_major_version} or newer of the package datasets, got "
                "{version}, which may run code from the data set: pip install --upgrade datasets",
                where=where,
                min_major_version=MIN_MAJOR_VERSION,
                version=datasets.__version__,
            )
        )
    owner, _slash, rest = name.partition("/")
    set_name, _slash, configuration = rest.partition("/")
    try:
        splits = datasets.load_dataset(f"{owner}/{set_name}" if rest else owner, configuration or None)
    except Exception as error:  # wrong names, formats and network errors raise many types
        raise DataError(
            _("{where}: cannot be loaded by datasets: {reason}", where=where, reason=first_line(error))
        ) from None
    parts, notes = _parts(splits, where, datasets)
    fingerprints = [f"{part.name} {part.rows._fingerprint}" for part in parts]
    import PIL

    key = cache.key_of(["hub", PIL.__version__, str(size), json.dumps(stored(notes)), *fingerprints])
    return cache.get_or_create(key, lambda: _read(name, parts, size, notes))


def _parts(splits: Mapping[str, Any], where: str, datasets: Any) -> tuple[list[_Part], tuple[str, ...]]:
    """Returns train, validation and test with only their image and label columns, and notes on ignored splits."""
    if _TRAIN not in splits:
        raise DataError(_("{where}: expected a split 'train', got {splits}", where=where, splits=joined(splits)))
    features = splits[_TRAIN].features
    images = [column for column, feature in features.items() if isinstance(feature, datasets.Image)]
    labels = [column for column, feature in features.items() if isinstance(feature, datasets.ClassLabel)]
    if len(images) != 1 or not labels:
        columns = joined(f"{column} ({type(feature).__name__})" for column, feature in features.items())
        raise DataError(
            _("{where}: expected one Image column and a ClassLabel column, got {columns}", where=where, columns=columns)
        )
    label = _LABEL if _LABEL in labels else labels[0]
    if len(features[label].names) < 2:
        raise DataError(_("{where}: expected at least two classes, got one", where=where))
    others = [column for column in labels if column != label]
    notes = [_("labels are from {label}, not from {others}", label=label, others=joined(others))] if others else []
    parts: dict[str, Any] = {}
    for name, split in splits.items():
        part = PART_NAMES.get(name)
        if part is None or part in parts:
            notes.append(_("ignored: the split {name}", name=name))
        elif any(value is None or value < 0 for value in split[label][:]):  # -1: label not published
            notes.append(_("ignored: the split {name}, which has images without labels", name=name))
        else:
            renamed = split.select_columns([images[0], label]).rename_columns({images[0]: _IMAGE, label: _LABEL})
            parts[part] = renamed.cast_column(_IMAGE, datasets.Image(decode=False))
    if _TRAIN not in parts:
        raise DataError(_("{where}: the split 'train' has images without labels", where=where))
    return [_Part(part, parts[part]) for part in PARTS if part in parts], tuple(notes)


def _read(name: str, parts: Sequence[_Part], size: int | None, notes: tuple[str, ...]) -> DataSet:
    from convoy.data.decode import decode_to_size, sample
    from convoy.data.decode_images import Size, decode_contents, sizes_of

    lengths = {part.name: len(part.rows) for part in parts}
    chunks = [(part, start) for part in parts for start in range(0, len(part.rows), _CHUNK)]

    def decode_all(side: int) -> tuple[np.ndarray, Counter[Size]]:
        pixels = np.empty((sum(lengths.values()), 3, side, side), np.uint8)
        sizes: Counter[Size] = Counter()
        for part, start in chunks:
            images = _encoded_images(part.rows, slice(start, start + _CHUNK))
            contents = _contents(images, f"{HUB}{name}: {part.name}", start)
            chunk = slice(sizes.total(), sizes.total() + len(images))
            pixels[chunk], chunk_sizes = decode_contents(contents, len(images), side)
            sizes.update(chunk_sizes)
        return pixels, sizes

    train = parts[0].rows
    images = _encoded_images(train, sample(len(train)))
    sizes = sizes_of(io.BytesIO(image.bytes) if image.bytes is not None else image.path or "" for image in images)
    pixels, size_notes = decode_to_size(size, sizes, decode_all)
    labels = np.concatenate([np.array(part.rows[_LABEL][:], np.int64) for part in parts])
    return assemble(name, tuple(train.features[_LABEL].names), pixels, labels, lengths, notes + size_notes)


def _encoded_images(rows: Any, selection: slice) -> list[_EncodedImage]:
    return [_EncodedImage() if image is None else _EncodedImage(**image) for image in rows[selection][_IMAGE]]


def _contents(images: list[_EncodedImage], where: str, start: int) -> Iterator[tuple[str, bytes]]:
    """Yields name and bytes of each image."""
    for number, image in enumerate(images, start=start):
        name = f"{where}, image {number}"
        if image.bytes is not None:
            yield name, image.bytes
        elif image.path is None:
            raise DataError(_("{name}: expected an image, got None", name=name))
        else:
            try:
                yield name, Path(image.path).read_bytes()
            except OSError as error:
                raise DataError(
                    _("{name}: {path}: cannot be read: {strerror}", name=name, path=image.path, strerror=error.strerror)
                ) from None
