"""Groups of training images that a split does not divide, such as all images of one patient, writer or scene.

`data.split.group_by` is one of

- a file with one value per training image, in the order of the data set: .npy (one dimension), .csv or .txt (one line
  per image). An image folder is ordered by class and file name, train before val. A .csv file may have a header.
- for an image folder, a regular expression that is searched for in each file's path relative to the folder (such as
  "cat/0017_3.png"); the text of its first capture group names the image's group.
- "duplicates": images with the same pixels or the same picture are a group (convoy.data.duplicates).
"""

from __future__ import annotations

import csv
import re
from contextlib import suppress
from io import BytesIO
from pathlib import Path

import numpy as np

from convoy.data.cache import cache_folder
from convoy.data.duplicates import REVISION, find_duplicates
from convoy.data.imageset import DataError, DataSet, ImageSet, first_line
from convoy.files import write_bytes
from convoy.recipe.files import GROUP_FILES
from convoy.text import gettext as _
from convoy.text.lists import joined

DUPLICATES = "duplicates"
_KEY = "data.split.group_by"


def groups_of(dataset: DataSet, group_by: str | None) -> np.ndarray | None:
    """Returns the group of each training image, int64 [N]; None without `group_by`. Raises DataError."""
    if group_by == DUPLICATES:
        return _groups_of_duplicates(dataset.train)
    values = values_of(dataset, group_by)
    return None if values is None else np.unique(values, return_inverse=True)[1].astype(np.int64)


def values_of(dataset: DataSet, group_by: str | None) -> np.ndarray | None:
    """Returns the value of each training image, [N]; None without `group_by` and for duplicates. Raises DataError."""
    if group_by is None or group_by == DUPLICATES:
        return None
    if Path(group_by).suffix.lower() in GROUP_FILES:
        return values_in_file(Path(group_by), len(dataset.train), _("training images of {name}", name=dataset.name))
    return _values_from_paths(dataset, group_by)


def values_in_file(path: Path, n_images: int, images: str) -> np.ndarray:
    """Returns the values of a file, one per image. `images` names them in the error message. Raises DataError."""
    suffix = path.suffix.lower()
    if suffix not in GROUP_FILES:
        raise DataError(
            _(
                "{path}: expected a file with one value per image: {group_files}",
                path=path,
                group_files=joined(GROUP_FILES),
            )
        )
    values = _values_from_file(path.expanduser(), suffix)
    if len(values) == n_images + 1 and suffix == ".csv" and values[0] not in values[1:]:
        values = values[1:]  # without the header
    if len(values) != n_images:
        raise DataError(
            _(
                "{path}: {n:,} values for the {n_images:,} {images}",
                path=path,
                n=len(values),
                n_images=n_images,
                images=images,
            )
        )
    return values


def _values_from_file(path: Path, suffix: str) -> np.ndarray:
    try:
        if suffix == ".npy":
            values = np.load(path, allow_pickle=False)
        else:
            lines = path.read_text(encoding="utf-8-sig").rstrip().split("\n")
            rows = list(csv.reader(lines)) if suffix == ".csv" else [[line] for line in lines]
    except OSError as error:
        raise DataError(
            _("{path}: cannot be read ({key}): {reason}", path=path, key=_KEY, reason=error.strerror or error)
        ) from None
    except Exception as error:  # numpy and zip files, which np.load also reads, raise many types of errors
        raise DataError(_("{path}: cannot be read: {reason}", path=path, reason=first_line(error))) from None
    if suffix == ".npy":
        if not isinstance(values, np.ndarray):
            raise DataError(_("{path}: expected one array, got several", path=path))
        if values.ndim != 1:
            raise DataError(
                _("{path}: expected one value per image, got an array of shape {shape}", path=path, shape=values.shape)
            )
        return values
    for number, row in enumerate(rows, start=1):
        if len(row) != 1 or not row[0].strip():
            raise DataError(
                _(
                    "{path}, line {number}: expected one value, got {value}",
                    path=path,
                    number=number,
                    value=len(row) if "".join(row).strip() else 0,
                )
            )
    return np.array([row[0].strip() for row in rows])


def _values_from_paths(dataset: DataSet, pattern: str) -> np.ndarray:
    if dataset.paths is None:
        raise DataError(
            _(
                "{key} = {pattern!r}: {name} has no file names to search; expected a file "
                "({group_files}) with one value per training image",
                key=_KEY,
                pattern=pattern,
                name=dataset.name,
                group_files=joined(GROUP_FILES),
            )
        )
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise DataError(
            _("{key} = {pattern!r}: invalid regular expression: {error}", key=_KEY, pattern=pattern, error=error)
        ) from None
    if not expression.groups:
        raise DataError(
            _(
                "{key} = {pattern!r}: expected parentheses around the part of the path that is the group",
                key=_KEY,
                pattern=pattern,
            )
        )
    matches = [expression.search(path) for path in dataset.paths]
    for path, match in zip(dataset.paths, matches, strict=True):
        if match is None or match[1] is None:
            raise DataError(_("{key} = {pattern!r}: does not match {path!r}", key=_KEY, pattern=pattern, path=path))
    return np.array([match[1] for match in matches if match is not None])


def _groups_of_duplicates(train: ImageSet) -> np.ndarray:
    """Returns the connected components of the pairs of duplicates.

    They are cached, because the search takes half a minute for 60,000 images and every fold needs the result.
    """
    cached = cache_folder() / "groups" / f"duplicates-{REVISION}-{train.content_hash}.npy"
    with suppress(OSError, ValueError, EOFError):
        groups = np.load(cached)
        if len(groups) == len(train):
            return groups
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    duplicates = find_duplicates([train.images], lambda share: None)
    pairs = np.concatenate([duplicates.same_pixels, duplicates.same_picture])
    graph = coo_array((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), shape=(len(train), len(train)))
    groups = connected_components(graph, directed=False)[1].astype(np.int64)
    with suppress(OSError):  # the cache cannot be written
        np.save(buffer := BytesIO(), groups)
        write_bytes(cached, buffer.getvalue())
    return groups
