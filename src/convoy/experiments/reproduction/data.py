"""The data of an experiment on this machine."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from pathlib import Path

from convoy.data.cache import cache_folder
from convoy.data.sources import pack_tensors
from convoy.experiments.experiment import Experiment


def data_name(experiment: Experiment, asked: str | None) -> str | None:
    """The data.name override: `asked`, or a folder of tensor files, which is created; None: the recipes' own.

    Raises DataError if the data are not available.
    """
    if asked is None and experiment.as_tensors:
        return f"{experiment.data}={as_tensors(experiment.data)}"
    return asked


def as_tensors(name: str) -> Path:
    """The folder of a data set's four tensor files in the cache, created if it does not exist."""
    folder = cache_folder() / "tensors" / name
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=folder.parent))  # so that the rename is atomic
        pack_tensors(name, temporary)
        with suppress(OSError):  # another process was faster
            temporary.rename(folder)
    return folder
