"""convoy data: what concerns data sets alone."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from convoy.cli.app import Json, data_app, print_json


@data_app.command(name="pack")
def pack(folder: Path, *, data: str = "mnist", to: Literal["tensors"] = "tensors", as_json: Json = False) -> None:
    """Write a data set as four tensor files: train_data, train_labels, test_data, test_labels (.pth).

    Example: `convoy data pack tensors/ --data mnist --to tensors`

    Parameters
    ----------
    folder
        Where the files go.
    to
        The form: tensors.
    """
    from convoy.data import pack_tensors

    paths = pack_tensors(data, folder)
    if as_json:
        print_json({"files": [str(path) for path in paths]})
        return
    for path in paths:
        print(path)
