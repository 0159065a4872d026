"""convoy data: get, add, pack and clean data sets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from convoy.cli.app import Json, data_app, print_json
from convoy.text import gettext as _
from convoy.text import ngettext
from convoy.text.lists import joined

if TYPE_CHECKING:
    from convoy.data import DataSet

Source = Annotated[str, Parameter(help="Name of a data set, a path, or NAME=PATH.")]
Name = Annotated[str, Parameter(help="Name of a data set, as in `convoy list data`.")]


@data_app.command(name="get")
def get(name: Name, *, as_json: Json = False) -> None:
    """Download a data set if it is missing, check its hashes and decode it.

    Example: `convoy data get mnist`
    """
    from convoy.data import get

    _show(get(name), as_json=as_json)


@data_app.command(name="add")
def add(name: Name, files: list[Path], *, as_json: Json = False) -> None:
    """Add files of a data set that you downloaded yourself: check their hashes and copy them.

    Example: `convoy data add cifar10 cifar-10-python.tar.gz`

    Parameters
    ----------
    files
        The published files, under any name.
    """
    from convoy.data import add, missing_files

    dataset = add(name, files)
    if dataset is not None:
        _show(dataset, as_json=as_json)
    elif as_json:
        print_json({"name": name, "missing": missing_files(name)})
    else:
        print(_("{name}: added; still missing: {files}", name=name, files=joined(missing_files(name))))


@data_app.command(name="clean")
def clean(
    *,
    everything: Annotated[bool, Parameter(name="--all", negative="", show_default=False)] = False,
    as_json: Json = False,
) -> None:
    """Remove decoded copies of data sets that have not been used for 60 days. Downloaded files are kept.

    Example: `convoy data clean`

    Parameters
    ----------
    everything
        Remove all decoded copies.
    """
    from convoy.data import cache

    entries, size_bytes = cache.clean(0 if everything else cache.UNUSED_AFTER_SECONDS)
    if as_json:
        print_json({"folder": cache.cache_folder(), "entries": entries, "bytes": size_bytes})
    else:
        print(
            ngettext(
                "removed {n} decoded data set, {megabytes:,.0f} MB, from {folder}",
                "removed {n} decoded data sets, {megabytes:,.0f} MB, from {folder}",
                entries,
                megabytes=size_bytes / 1e6,
                folder=cache.cache_folder(),
            )
        )


def _show(dataset: DataSet, *, as_json: bool) -> None:
    name, content_hash, classes = dataset.name, dataset.content_hash, len(dataset.train.classes)
    shape = dataset.train.images.shape[1:]
    counts = {"train": len(dataset.train)} | ({} if dataset.test is None else {"test": len(dataset.test)})
    if as_json:
        print_json({"name": name, "images": counts, "shape": shape, "classes": classes, "content_hash": content_hash})
        return
    print(
        ngettext(
            "{name}: {images} images of {shape}, {n} class; content hash {content_hash}",
            "{name}: {images} images of {shape}, {n} classes; content hash {content_hash}",
            classes,
            name=name,
            images=" + ".join(f"{count:,}" for count in counts.values()),
            shape=" x ".join(map(str, shape)),
            content_hash=content_hash,
        )
    )


@data_app.command(name="pack")
def pack(folder: Path, *, data: Source = "mnist", to: Literal["tensors"] = "tensors", as_json: Json = False) -> None:
    """Write a data set as four tensor files: train_data, train_labels, test_data, test_labels (.pth).

    Example: `convoy data pack tensors/ --data mnist --to tensors`

    Parameters
    ----------
    folder
        Folder for the files.
    to
        The format: tensors.
    """
    from convoy.data import pack_tensors

    paths = pack_tensors(data, folder)
    if as_json:
        print_json({"files": [str(path) for path in paths]})
        return
    for path in paths:
        print(path)
