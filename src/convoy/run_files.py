"""The files of a run folder and their SHA-256, as status.json records them. No torch."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from convoy.files import read_json

RESULTS = ("*.json", "*.jsonl", "*.npz", "*.safetensors", "weights/*.safetensors")  # all but status.json
_WAY_OUT = "delete the folder, or give the run's command with --fresh, to train it again"


def sha256_of(path: Path) -> str:
    """In hex, of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def result_hashes(folder: Path) -> dict[str, str]:
    """SHA-256 (hex) of the result files in a run folder, by their path in it."""
    found = [path for pattern in RESULTS for path in folder.glob(pattern) if path.name != "status.json"]
    return {path.relative_to(folder).as_posix(): sha256_of(path) for path in sorted(found)}


def recorded(folder: Path) -> dict[str, str]:
    """SHA-256 (hex) by file: of recipe.toml since the run was opened, of all result files since it finished.

    Without the latter in a run that is not finished; without both in one of an older version.
    """
    path = folder / "status.json"
    files: Any = read_json(path).get("files", {}) if path.is_file() else {}
    if not isinstance(files, dict):
        raise ValueError(f"{path} is damaged: expected a table of files, got {files!r}; {_WAY_OUT}")
    return files


def checked(folder: Path, name: str) -> Path:
    """The path of a file in it. Raises ValueError where the file is not the one that the run wrote."""
    path, digest = folder / name, recorded(folder).get(name)
    if digest is not None and path.is_file() and sha256_of(path) != digest:
        raise ValueError(
            f"{path} has changed since the run wrote it (its SHA-256 is not that in status.json); {_WAY_OUT}"
        )
    return path


def check_all(folder: Path, files: Mapping[str, str]) -> None:
    """Raises ValueError for a file that has changed; the weights of single epochs are checked when they are read."""
    for name in files:
        if not name.startswith("weights/"):
            checked(folder, name)
