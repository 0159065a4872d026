"""SHA-256 of the files in a run folder, and their comparison with those in status.json. No torch."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from convoy.files import read_json

RESULTS = ("*.json", "*.jsonl", "*.npz", "*.safetensors", "weights/*.safetensors")  # except status.json
_ADVICE = "delete the folder, or run its command with --fresh, to train it again"


def sha256_of(path: Path) -> str:
    """SHA-256 (hex) of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def result_hashes(folder: Path) -> dict[str, str]:
    """SHA-256 (hex) of the result files in a run folder, by relative path."""
    paths = [path for pattern in RESULTS for path in folder.glob(pattern) if path.name != "status.json"]
    return {path.relative_to(folder).as_posix(): sha256_of(path) for path in sorted(paths)}


def remove_abandoned(folder: Path) -> None:
    """Deletes the temporary files of killed processes. Call it only while no other process writes to the run."""
    for pattern in ("*.toml", *RESULTS):
        of_folder, slash, name = pattern.rpartition("/")
        for path in folder.glob(f"{of_folder}{slash}.{name}.*"):
            path.unlink()


def recorded_hashes(folder: Path) -> dict[str, str]:
    """SHA-256 (hex) by file, from status.json: of recipe.toml and, for a finished run, of the result files.

    Empty for a run of an older version. Raises ValueError if status.json is damaged.
    """
    path = folder / "status.json"
    files: Any = read_json(path).get("files", {}) if path.is_file() else {}
    if not isinstance(files, dict):
        raise ValueError(f"{path} is damaged: expected a table of files, got {files!r}; {_ADVICE}")
    return files


def check(folder: Path, name: str) -> None:
    """Raises ValueError if the file has changed since the run wrote it."""
    path, digest = folder / name, recorded_hashes(folder).get(name)
    if digest is not None and path.is_file() and sha256_of(path) != digest:
        raise ValueError(f"{path} has changed since the run wrote it (its SHA-256 differs from status.json); {_ADVICE}")
