"""Archives runs in folders that are small enough to commit: without weights, logits and images.

    ARCHIVE/<model>-s<seed>-<fingerprint>/   the files of a run, with three differences: predictions.npz has classes
                                             instead of logits, steps.npz has at most MAX_STEPS steps, status.json also
                                             has `bits` and `measured`, computed from the complete files
    ARCHIVE/../studies/<name>/               study.toml and finding.json of a study
    ARCHIVE/../profiles/<name>.json.xz       the profiles of an experiment's networks

An archived run in OUT is reused like any finished run. Commands that need its weights (`convoy test`, `convoy predict`)
report that they are missing.
"""

from __future__ import annotations

import hashlib
import json
import lzma
import re
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import resources
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from convoy.files import read_json, write_bytes
from convoy.recipe import Recipe
from convoy.registry import HUB, is_user_class
from convoy.run_contents import state_name
from convoy.run_files import result_hashes, sealed
from convoy.runs import Run, Study
from convoy.text import gettext as _
from convoy.text.stored import stored

JSON_FILES = ("data.json", "environment.json", "scores.json", "cost.json", "corruptions.json")
MAX_STEPS = 2000  # points per curve; figures are at most this many pixels wide
MANTISSA_BITS = 9  # a float32 has 23: precise enough for a curve, half the size
MAX_ARRAYS_BYTES = 300_000  # larger .npz files of studies are omitted, such as oof.npz of a cross-validation
LAYERS = "profile.json"  # omitted; `write_profiles` stores it in compressed form
DIGITS = 6  # significant digits of a number in metrics.jsonl
TEMPORARY = ".temporary-"  # prefix of a folder that is being written
_ABSOLUTE_PATH = re.compile(r"(?<![\w.:/])/[^\s'\",;]+")


def archive_run(run: Run, folder: str | Path, *, measured: Mapping[str, float] | None = None) -> Run:
    """Archives a finished run in `folder`, under the run's name, unless it is already there.

    `measured`: numbers computed from all steps, because the archive does not store all of them. Absolute paths are
    replaced by their last part, so that no home directory is published. Raises ValueError for an unfinished run.
    """
    if not run.finished:
        raise ValueError(
            _("{path} is {state}: only finished runs are archived", path=run.path, state=state_name(run.state))
        )
    target = Path(folder) / run.name
    if not _is_archived(target, run, measured or {}):
        _check_archive(Path(folder))
        with atomic_folder(target) as temporary:
            _write_archived(run, temporary, measured or {})
    return Run(target)


def _write_archived(run: Run, target: Path, measured: Mapping[str, float]) -> None:
    recipe = portable(run).to_toml().encode()
    write_bytes(target / "recipe.toml", recipe)
    for name in JSON_FILES:
        if (run.path / name).is_file():
            write_bytes(target / name, _compact(_without_paths(stored(read_json(run.file(name))))).encode())
    epochs = [
        {key: float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value for key, value in line.items()}
        for line in (epoch.as_line() for epoch in run.metrics)
    ]
    write_bytes(target / "metrics.jsonl", "".join(map(_compact, epochs)).encode())
    probes = {name: values for name, values in run.arrays.items() if name != "first_layer_filters"}
    contents = {"predictions.npz": _classes(run), "steps.npz": thin_steps(run.steps), "arrays.npz": probes}
    for name, arrays in contents.items():
        if arrays:
            write_bytes(target / name, _compressed(arrays))
    added = {"bits": bits(run), "measured": dict(run.status.measured if run.is_archived else measured)}
    stated = _without_paths(stored(read_json(run.path / "status.json")))
    files = result_hashes(target) | {"recipe.toml": hashlib.sha256(recipe).hexdigest()}
    status = {**stated, **{key: value for key, value in added.items() if value}, "files": files}
    write_bytes(target / "status.json", _compact(sealed(status)).encode())


def bits(run: Run) -> dict[str, str]:
    """Returns the SHA-256 of the values of all steps ("steps") and of the predicted classes of each scored part.

    An archived run has fewer and rounded steps, so its hashes are read from status.json; empty if not recorded.
    """
    steps = run.steps
    if "step" in steps:
        return dict(run.status.bits)
    if not steps:
        return {}
    parts = [part for part in run.scores if f"{part}_labels" in run.predictions]
    digests = {part: _digest(dict(zip(("labels", "predicted"), run.predicted(part), strict=True))) for part in parts}
    return {"steps": _digest({name: values for name, values in steps.items() if "seconds" not in name}), **digests}


def archive_study(study: Study, folder: str | Path) -> None:
    """Archives a study without its report, next to `folder`, which contains its archived runs."""
    target = Path(folder).parent / "studies" / study.name
    for path in sorted(study.path.iterdir()):
        if path.name == LAYERS:
            continue
        if path.suffix in (".toml", ".json"):
            write_bytes(target / path.name, without_folders(path.read_text(encoding="utf-8")).encode())
        elif path.suffix == ".npz" and path.stat().st_size <= MAX_ARRAYS_BYTES:
            write_bytes(target / path.name, path.read_bytes())


def packaged() -> Path:
    """Returns the folder of the archived runs and studies included in Convoy; in a clone, docs/results."""
    installed = Path(str(resources.files("convoy") / "results"))
    return installed if installed.is_dir() else Path(__file__).parents[2] / "docs" / "results"


def read_profiles(experiment: str, folder: Path | None = None) -> bytes:
    """Returns the profiles of an experiment's networks as JSON, from `folder` or Convoy's archive; b"" if there are
    none.
    """
    path = (folder or packaged()) / "profiles" / f"{experiment}.json.xz"
    return lzma.decompress(path.read_bytes()) if path.is_file() else b""


def write_profiles(experiment: str, profiles: bytes, folder: Path) -> None:
    compressed = lzma.compress(profiles, preset=9 | lzma.PRESET_EXTREME)
    write_bytes(folder / "profiles" / f"{experiment}.json.xz", compressed)


def restore(folder: str | Path, out: str | Path) -> int:
    """Copies archived runs and studies into OUT, except runs already finished there. Returns the number of copied runs.

    Raises ValueError if the folder does not exist or contains runs with weights.
    """
    if not Path(folder).is_dir():
        raise ValueError(_("--archive {folder}: expected an existing folder", folder=folder))
    _check_archive(Path(folder))
    copied = 0
    for recipe in sorted(Path(folder).glob("*/recipe.toml")):
        source, target = recipe.parent, Path(out) / "runs" / recipe.parent.name
        if not source.name.startswith(".") and Run(source).finished:  # skips incomplete folders of killed processes
            copied += _restore_run(source, target)
    for finding in sorted(Path(folder).parent.glob("studies/*/finding.json")):
        target = Path(out) / "studies" / finding.parent.name
        if not (target / finding.name).is_file():
            _copy(finding.parent, target)
    return copied


def _restore_run(source: Path, target: Path) -> bool:
    """Returns False if the run in OUT is finished or is being trained."""
    if not (target / "recipe.toml").is_file():
        _copy(source, target)
        return True
    lock = Run(target).lock()
    if lock is None:
        return False
    try:
        if (target / "status.json").is_file() and Run(target).status.state == "finished":
            return False
        _copy(source, target)
    finally:
        lock.release()
    return True


def _copy(source: Path, target: Path) -> None:
    with atomic_folder(target) as temporary:
        shutil.copytree(source, temporary, dirs_exist_ok=True)


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """Yields a temporary folder and renames it to `target` at the end, so that `target` is never incomplete."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=TEMPORARY, dir=target.parent))
    try:
        yield temporary
        if target.exists():  # an unfinished run, or an earlier archive of it
            shutil.rmtree(target)
        temporary.chmod(0o755)
        temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _check_archive(folder: Path) -> None:
    """Raises ValueError for a folder of complete runs, because archiving into it would delete their weights."""
    weights = next(folder.glob("*/best.safetensors"), None)
    if weights is not None:
        raise ValueError(
            _(
                "--archive {folder}: expected archived runs only, but {name} has weights",
                folder=folder,
                name=weights.parent.name,
            )
        )


def thin_steps(steps: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns at most MAX_STEPS evenly spaced steps, including the first and the last, and their indices as `step`."""
    if not steps:
        return {}
    count = len(next(iter(steps.values())))
    at = np.unique(np.linspace(0, max(count - 1, 0), min(count, MAX_STEPS)).round().astype(np.int32))
    indices = steps.get("step", np.arange(count, dtype=np.int32))
    curves = {name: rounded(values[at]) for name, values in steps.items() if name != "step" and len(values) == count}
    return {**curves, "step": indices[at]}


def _is_archived(target: Path, source: Run, measured: Mapping[str, float]) -> bool:
    """Returns False if the run is not archived, was retrained, or has additional scores."""
    if not (target / "recipe.toml").is_file() or not Run(target).finished:
        return False
    archived = Run(target)
    same_date = archived.environment.date == source.environment.date
    has_measured = archived.status.measured.keys() >= measured.keys()
    has_bits = source.is_archived or bool(archived.status.bits)
    return same_date and has_measured and has_bits and archived.scores.keys() >= source.scores.keys()


def portable(run: Run) -> Recipe:
    """Returns the recipe with names instead of this machine's paths. The fingerprint does not include them."""
    recipe, data, model = run.recipe, run.recipe.data, run.recipe.model
    is_path = "/" in data.name and not data.name.startswith(HUB)
    group_by, init = data.split.group_by, model.init
    split = data.split.model_copy(update={"group_by": group_by and without_folders(group_by)})
    data = data.model_copy(update={"name": run.data.name if is_path else data.name, "split": split})
    name = Path(model.name).name if is_user_class(model.name) else model.name
    model = model.model_copy(update={"name": name, "init": init and Path(init).name})
    return recipe.model_copy(update={"data": data, "model": model})


def without_folders(text: str) -> str:
    """Returns the text with each absolute path replaced by its last part."""
    return _ABSOLUTE_PATH.sub(lambda path: Path(path.group()).name, text)


def folders_in(text: str) -> dict[str, str]:
    """Returns each absolute path in the text, with its last part."""
    return {path: Path(path).name for path in _ABSOLUTE_PATH.findall(text)}


def _digest(arrays: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name in sorted(arrays):
        values = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {values.dtype.str} {values.shape} ".encode() + values.tobytes())
    return digest.hexdigest()


def _without_paths(value: Any) -> Any:
    if isinstance(value, str):
        return without_folders(value)
    if isinstance(value, dict):
        return {key: _without_paths(inner) for key, inner in value.items()}
    return [_without_paths(inner) for inner in value] if isinstance(value, list) else value


def _classes(run: Run) -> dict[str, np.ndarray]:
    """Returns labels and predicted classes of each scored part, in the smallest integer type, and other small arrays.

    Omits the validation set if the run was also scored on a fold or the test set, because only these are used for
    comparisons image by image.
    """
    arrays = run.predictions
    class_type = np.uint8 if len(run.data.classes) <= 256 else np.uint16
    archived: dict[str, np.ndarray] = {}
    for name, values in arrays.items():
        part, _, kind = name.rpartition("_")
        if part == "validation" and run.scores.keys() - {"validation"}:
            continue
        if kind == "groups":  # may be names of people
            continue
        if kind in ("logits", "predicted"):
            predicted = run.predicted(part)[1]
            archived[f"{part}_predicted"] = predicted.astype(class_type if predicted.min() >= 0 else np.int16)
        elif kind == "labels":
            archived[name] = values.astype(class_type)
        else:  # indices of the images of a fold
            archived[name] = values.astype(np.int32) if np.issubdtype(values.dtype, np.integer) else values
    return archived


def _compact(table: Mapping[str, Any]) -> str:
    return json.dumps(table, separators=(",", ":"), allow_nan=False) + "\n"


def rounded(values: np.ndarray) -> np.ndarray:
    if values.dtype != np.float32:
        return values
    low_bits = np.uint32(23 - MANTISSA_BITS)
    bits = values.view(np.uint32)
    return np.where(np.isfinite(values), (bits >> low_bits) << low_bits, bits).astype(np.uint32).view(np.float32)


def _compressed(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Returns an .npz file with LZMA compression, a tenth smaller than numpy's. np.load can read it."""
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_LZMA) as file:
        for name, values in arrays.items():
            array = BytesIO()
            np.save(array, values, allow_pickle=False)
            file.writestr(zipfile.ZipInfo(f"{name}.npy"), array.getvalue(), zipfile.ZIP_LZMA)
    return buffer.getvalue()
