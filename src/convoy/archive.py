"""Runs kept small enough to be committed, and found again: a run folder without weights, logits and images.

    ARCHIVE/<model>-s<seed>-<fingerprint>/   recipe, status, data, environment, metrics, scores and cost as they were,
                                             predictions.npz with classes for logits, steps.npz thinned; in status.json
                                             what thinned curves no longer tell: `bits` and `measured`
    ARCHIVE/../studies/<name>/               what a study found, so that a folder "runs" has its studies beside it

An archived run in OUT is a finished run like any other: its fingerprint is found and nothing is trained. What needs
its weights (`convoy test`, `convoy predict`) says that they are not there.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w

from convoy.files import read_json, write_bytes
from convoy.recipe import Recipe
from convoy.registry import is_user_class
from convoy.run_files import result_hashes
from convoy.runs import Run, Study

JSON_FILES = ("data.json", "environment.json", "scores.json", "cost.json")
MOST_STEPS = 2000  # points of a curve; a figure is no wider
MANTISSA_BITS = 9  # of the 23 of a float32: what a curve shows, and half the bytes
LARGEST_ARRAYS = 300_000  # bytes of a study's file of arrays; those of a cross-validation hold logits
LAYERS = "profile.json"  # of the networks of a study; hundreds of kilobytes, and made again in seconds
DIGITS = 6  # of a number in metrics.jsonl
_ABSOLUTE_PATH = re.compile(r"(?<![\w.:/])/[^\s'\",;]+")


def keep(run: Run, folder: str | Path, *, measured: Mapping[str, float] | None = None) -> Run:
    """Writes the slim form of a finished run into `folder`, under the run's own name; what is there already stays.

    `measured` are numbers that take each step of the training, which the slim form lacks. Absolute paths of this
    machine become their last part, so that a command can be read and nobody's home is told. Raises
    ValueError: a run that is not finished.
    """
    if not run.finished:
        raise ValueError(f"{run.path} is {run.state}: only finished runs are archived")
    target = Path(folder) / run.name
    if not _is_kept(target, run, measured or {}):
        _check_archive(Path(folder))
        with _written_beside(target) as beside:
            _write_slim(run, beside, measured or {})
    return Run(target)


def _write_slim(run: Run, target: Path, measured: Mapping[str, float]) -> None:
    recipe = tomli_w.dumps(_portable(run)).encode()
    write_bytes(target / "recipe.toml", recipe)
    for name in JSON_FILES:
        if (run.path / name).is_file():
            write_bytes(target / name, _compact(_without_paths(read_json(run.file(name)))).encode())
    write_bytes(target / "metrics.jsonl", "".join(_line(epoch) for epoch in run.metrics).encode())
    looks = {name: values for name, values in run.arrays.items() if name != "first_layer_filters"}
    slim = {"predictions.npz": _classes(run), "steps.npz": thinned(run.steps), "arrays.npz": looks}
    for name, arrays in slim.items():
        if arrays:
            write_bytes(target / name, _compressed(arrays))
    own = {"bits": bits(run), "measured": dict(run.status.get("measured", {}) if run.is_archived else measured)}
    status = {**_without_paths(run.status), **{key: value for key, value in own.items() if value}}
    status["files"] = result_hashes(target) | {"recipe.toml": hashlib.sha256(recipe).hexdigest()}
    write_bytes(target / "status.json", _compact(status).encode())


def bits(run: Run) -> dict[str, str]:
    """SHA-256 of the updates ("steps") and of what the images of each scored part were taken for, by the part's name.

    Taken from the whole files; of an archived run, whose curves are thinned and rounded, what was noted then. Empty
    where that was not done.
    """
    steps = run.steps
    if "step" in steps:
        return dict(run.status.get("bits", {}))
    if not steps:
        return {}
    known = [part for part in run.scores if f"{part}_labels" in run.predictions]
    found = {part: _digest(dict(zip(("labels", "predicted"), run.predicted(part), strict=True))) for part in known}
    return {"steps": _digest({name: values for name, values in steps.items() if "seconds" not in name}), **found}


def keep_study(study: Study, folder: str | Path) -> None:
    """Writes what a study found, without its report, beside the archived runs that it names."""
    target = Path(folder).parent / "studies" / study.name
    for path in sorted(study.path.iterdir()):
        if path.name == LAYERS:
            continue
        if path.suffix in (".toml", ".json"):
            write_bytes(target / path.name, _nameless(path.read_text(encoding="utf-8")).encode())
        elif path.suffix == ".npz" and path.stat().st_size <= LARGEST_ARRAYS:
            write_bytes(target / path.name, path.read_bytes())


def adopt(folder: str | Path, out: str | Path) -> int:
    """Copies the archived runs that OUT does not hold finished into OUT/runs; how many. So with their studies.

    Raises ValueError for a folder that is not there, or holds runs with their weights.
    """
    if not Path(folder).is_dir():
        raise ValueError(f"{folder}: is no folder, and an archive of runs is one")
    _check_archive(Path(folder))
    adopted = 0
    for recipe in sorted(Path(folder).glob("*/recipe.toml")):
        source, target = recipe.parent, Path(out) / "runs" / recipe.parent.name
        if not source.name.startswith(".") and Run(source).finished:  # one that a kill left half written
            adopted += _adopt_run(source, target)
    for finding in sorted(Path(folder).parent.glob("studies/*/finding.json")):
        target = Path(out) / "studies" / finding.parent.name
        if not (target / finding.name).is_file():
            _copy(finding.parent, target)
    return adopted


def _adopt_run(source: Path, target: Path) -> bool:
    """False where the run is there already, or is being trained at this moment."""
    if not (target / "recipe.toml").is_file():
        _copy(source, target)
        return True
    lock = Run(target).lock()
    if lock is None:
        return False
    try:
        if (target / "status.json").is_file() and Run(target).status["state"] == "finished":
            return False
        _copy(source, target)
    finally:
        lock.release()
    return True


def _copy(source: Path, target: Path) -> None:
    with _written_beside(target) as beside:
        shutil.copytree(source, beside, dirs_exist_ok=True)


@contextmanager
def _written_beside(target: Path) -> Iterator[Path]:
    """A folder that becomes `target` once it is whole: a kill leaves no half of a run that would be taken for one."""
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=".beside-", dir=target.parent))
    try:
        yield beside
        if target.exists():  # begun here and finished there, or kept before
            shutil.rmtree(target)
        beside.chmod(0o755)
        beside.rename(target)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _check_archive(folder: Path) -> None:
    """Raises ValueError for a folder of whole runs, which an archive would cut down."""
    whole = next(folder.glob("*/best.safetensors"), None)
    if whole is not None:
        raise ValueError(f"{folder}: {whole.parent.name} has its weights there; an archive is a folder of small runs")


def thinned(steps: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Evenly spaced updates, MOST_STEPS at most, the first and the last among them; `step` says which they are."""
    if not steps:
        return {}
    count = len(next(iter(steps.values())))
    at = np.unique(np.linspace(0, max(count - 1, 0), min(count, MOST_STEPS)).round().astype(np.int32))
    number = steps.get("step", np.arange(count, dtype=np.int32))
    kept = {name: _rounded(values[at]) for name, values in steps.items() if name != "step" and len(values) == count}
    return {**kept, "step": number[at]}


def _is_kept(target: Path, source: Run, measured: Mapping[str, float]) -> bool:
    """Whether the archive has this very run with all its scores: trained anew, or scored on the test part later, it is
    kept anew."""
    if not (target / "recipe.toml").is_file() or not Run(target).finished:
        return False
    kept = Run(target)
    same = kept.environment.get("date") == source.environment.get("date")
    told = kept.status.get("measured", {}).keys() >= measured.keys() and (source.is_archived or "bits" in kept.status)
    return same and told and kept.scores.keys() >= source.scores.keys()


def _portable(run: Run) -> dict[str, Any]:
    """The recipe with names in the place of this machine's paths; none of them is in a fingerprint."""
    recipe: Recipe = run.recipe
    table = recipe.as_table()
    if "/" in recipe.data.name and not recipe.data.name.startswith("hf:"):
        table["data"]["name"] = run.data["name"]
    if recipe.data.split.group_by is not None:
        table["data"]["split"]["group_by"] = _nameless(recipe.data.split.group_by)
    if is_user_class(recipe.model.name):
        table["model"]["name"] = Path(recipe.model.name).name
    if recipe.model.init is not None:
        table["model"]["init"] = Path(recipe.model.init).name
    return table


def _nameless(text: str) -> str:
    return _ABSOLUTE_PATH.sub(lambda found: Path(found.group()).name, text)


def _digest(arrays: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name in sorted(arrays):
        values = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {values.dtype.str} {values.shape} ".encode() + values.tobytes())
    return digest.hexdigest()


def _without_paths(value: Any) -> Any:
    if isinstance(value, str):
        return _nameless(value)
    if isinstance(value, dict):
        return {key: _without_paths(inner) for key, inner in value.items()}
    return [_without_paths(inner) for inner in value] if isinstance(value, list) else value


def _classes(run: Run) -> dict[str, np.ndarray]:
    """Labels and predicted classes of each scored part, in the smallest type that holds them; other small arrays.

    Of a run scored on the test part, or on a fold, those of the validation part are left out: what is compared image
    by image is what was scored last.
    """
    arrays = run.predictions
    whole = np.uint8 if len(run.data["classes"]) <= 256 else np.uint16
    kept: dict[str, np.ndarray] = {}
    for name, values in arrays.items():
        part, _, kind = name.rpartition("_")
        if part == "validation" and run.scores.keys() - {"validation"}:
            continue
        if kind in ("logits", "predicted"):
            predicted = run.predicted(part)[1]
            kept[f"{part}_predicted"] = predicted.astype(whole if predicted.min() >= 0 else np.int16)
        elif kind == "labels":
            kept[name] = values.astype(whole)
        else:  # the indices of a fold's images
            kept[name] = values.astype(np.int32) if np.issubdtype(values.dtype, np.integer) else values
    return kept


def _line(epoch: Mapping[str, Any]) -> str:
    return _compact({key: float(f"{v:.{DIGITS}g}") if isinstance(v, float) else v for key, v in epoch.items()})


def _compact(table: Mapping[str, Any]) -> str:
    return json.dumps(table, separators=(",", ":"), allow_nan=False) + "\n"


def _rounded(values: np.ndarray) -> np.ndarray:
    if values.dtype != np.float32:
        return values
    low_bits = np.uint32(23 - MANTISSA_BITS)
    bits = values.view(np.uint32)
    return np.where(np.isfinite(values), (bits >> low_bits) << low_bits, bits).astype(np.uint32).view(np.float32)


def _compressed(arrays: Mapping[str, np.ndarray]) -> bytes:
    """An .npz like any other, packed by LZMA, which takes a tenth less than numpy's own; np.load reads it."""
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_LZMA) as file:
        for name, values in arrays.items():
            array = BytesIO()
            np.save(array, values, allow_pickle=False)
            file.writestr(zipfile.ZipInfo(f"{name}.npy"), array.getvalue(), zipfile.ZIP_LZMA)
    return buffer.getvalue()
