"""SHA-256 of the files in a run folder, their comparison with status.json, and `Contradiction`. Needs no torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convoy.files import once, read_json
from convoy.text import gettext as _
from convoy.text.stored import stored

RESULTS = ("*.json", "*.jsonl", "*.npz", "*.safetensors", "weights/*.safetensors", "code/**/*.py")  # except status.json
STATUS, SEAL, RECIPE = "status.json", "seal", "recipe.toml"
# Files of every finished run; each must have a hash:
WRITTEN = ("scores.json", "predictions.npz", "metrics.jsonl", "data.json", "environment.json", "cost.json")
# Must have a hash if they exist:
OPTIONAL = ("best.safetensors", "last.safetensors", "steps.npz", "arrays.npz", "gallery.npz", "corruptions.json")
# What a process may write to a finished run, with `updating` in status.json while it does:
UPDATED = ("scores.json", "predictions.npz", "gallery.npz", "data.json", "cost.json", "corruptions.json")
HASH, CONTENT = "SHA-256", "content"  # values of Contradiction.quantity
DOCTOR = "doctor.json"  # written by every version that seals status.json when it opens a run


@dataclass(frozen=True)
class Contradiction:
    """Two files of a run that disagree: at least one was changed after the run wrote it."""

    run: str
    file: str  # the file with the value, such as "scores.json"
    against: str  # the file that contradicts it, such as "predictions.npz"
    quantity: str  # HASH (stated is None: no file; found is None: no hash), CONTENT (found: the error) or a name
    stated: Any = None
    found: Any = None  # value in `against`, or computed from it

    def __str__(self) -> str:
        if self.quantity == CONTENT:
            return _("{file} of {run} cannot be read: {error}", file=self.file, run=self.run, error=self.found)
        if self.quantity == HASH and self.found is None:
            return _("{against} has no SHA-256 of {file} of {run}", file=self.file, run=self.run, against=self.against)
        if self.quantity == HASH and self.stated is None:
            return _(
                "{file} of {run} is missing: {against} has its SHA-256",
                file=self.file,
                run=self.run,
                against=self.against,
            )
        if self.quantity == HASH:
            return _(
                "{file} of {run} has changed since the run wrote it: its SHA-256 differs from that in {against}",
                file=self.file,
                run=self.run,
                against=self.against,
            )
        if isinstance(self.found, list | tuple):
            return _(
                "{file} of {run} and {against} differ in {quantity}",
                file=self.file,
                run=self.run,
                against=self.against,
                quantity=self.quantity,
            )
        return _(
            "{file} of {run} has {quantity} = {stated}, but it is {found} according to {against}",
            file=self.file,
            run=self.run,
            against=self.against,
            quantity=self.quantity,
            stated=_value(self.stated),
            found=_value(self.found),
        )


def _value(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _advice() -> str:
    return _("delete the folder, or run its command with --fresh, to train it again")


def sealed(status: Mapping[str, object]) -> dict[str, object]:
    """Returns the table of status.json with the SHA-256 of its other values, to detect accidental changes."""
    values = {name: value for name, value in status.items() if name != SEAL}
    text = json.dumps(stored(values), sort_keys=True, separators=(",", ":"))
    return {**values, SEAL: hashlib.sha256(text.encode()).hexdigest()}


def has_valid_seal(folder: Path) -> bool:
    """Whether status.json is readable and unchanged since a run or an archive wrote it.

    Only runs without doctor.json, from versions before the doctor, may lack a seal.
    """
    try:
        status = stored(read_json(folder / STATUS))
    except ValueError:
        return False
    if SEAL not in status:
        return not (folder / DOCTOR).is_file()
    texts = json.dumps(status, indent=1) + "\n", json.dumps(status, separators=(",", ":")) + "\n"  # no repeated keys
    return sealed(status)[SEAL] == status[SEAL] and (folder / STATUS).read_text(encoding="utf-8") in texts


@once
def sha256_of(path: Path) -> str:
    """SHA-256 (hex) of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def result_hashes(folder: Path) -> dict[str, str]:
    """SHA-256 (hex) of the result files in a run folder, by relative path."""
    paths = [path for pattern in RESULTS for path in folder.glob(pattern) if path.name != STATUS]
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
    return _hashes_in(_status(folder / STATUS), folder)


def _hashes_in(status: Mapping[str, object], folder: Path) -> dict[str, str]:
    files: Any = status.get("files", {})
    if not isinstance(files, dict):
        raise ValueError(
            _(
                "{path} is damaged: expected a table of files, got {files!r}; {advice}",
                path=folder / STATUS,
                files=files,
                advice=_advice(),
            )
        )
    return files


@once
def _status(path: Path) -> Mapping[str, object]:
    return read_json(path) if path.is_file() else {}


def check(folder: Path, name: str) -> None:
    """Raises ValueError if the file has changed since the run wrote it, or is missing."""
    status = _status(folder / STATUS)
    recorded = _hashes_in(status, folder)
    if name not in recorded and name not in _results_with_hash(folder, status):
        return
    advice = _advice()
    path, digest = folder / name, recorded.get(name)
    if not path.is_file():
        if digest is not None:
            raise ValueError(_("{path} is missing (status.json has its SHA-256); {advice}", path=path, advice=advice))
    elif digest is None:
        raise ValueError(
            _(
                "{path} has no SHA-256 in status.json, although the run is finished; {advice}",
                path=path,
                advice=advice,
            )
        )
    elif sha256_of(path) != digest:
        raise ValueError(
            _(
                "{path} has changed since the run wrote it (its SHA-256 differs from status.json); {advice}",
                path=path,
                advice=advice,
            )
        )


def changed(folder: Path) -> tuple[Contradiction, ...]:
    """Returns the files that are changed, missing or without a hash. Raises ValueError if status.json is damaged."""
    status = _status(folder / STATUS)
    recorded, expected = _hashes_in(status, folder), _results_with_hash(folder, status)
    if (folder / DOCTOR).is_file():  # has a hash of the recipe from the start
        expected.append(RECIPE)
    names = dict.fromkeys([*recorded, *expected])
    now = {name: sha256_of(folder / name) if (folder / name).is_file() else None for name in names}
    differences = [
        Contradiction(folder.name, name, STATUS, HASH, now[name], recorded.get(name))
        for name in names
        if now[name] != recorded.get(name)
    ]
    if not has_valid_seal(folder):
        differences.append(Contradiction(folder.name, STATUS, STATUS, HASH, "", ""))
    return tuple(differences)


def _results_with_hash(folder: Path, status: Mapping[str, Any]) -> list[str]:
    """The result files that must have a hash. Empty for an unfinished or older run, and for one that is `updating`."""
    if status.get("state") != "finished" or status.get("updating"):
        return []
    if not (folder / DOCTOR).is_file() and not any(name in _hashes_in(status, folder) for name in WRITTEN):
        return []
    return [*WRITTEN, *(name for name in OPTIONAL if (folder / name).is_file())]
