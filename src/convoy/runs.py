"""The run folder and its neighbours: create, append, read, list, lock, find by fingerprint. No torch.

    OUT/runs/<model>-s<seed>-<fingerprint>/    one run, each file named in docs/architecture.md
    OUT/studies/<name>/                        study.toml, finding.json, report.html, report.md, figures/
    OUT/test_openings.json                     how often each data set's test part was opened

Everything that anyone looks at is read from here. Nothing here is a pickle.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import sys
import time
import tomllib
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import tomli_w

from convoy import run_files
from convoy.files import append_line, read_arrays, read_json, write_bytes, write_json
from convoy.recipe import Recipe
from convoy.registry import is_user_class

DEFAULT_OUT = Path("convoy-runs")


def fingerprint(
    recipe: Recipe,
    *,
    options: Mapping[str, Any],
    hashes: Mapping[str, str],
    training_revision: int,
    revisions: Mapping[str, int] | None = None,
) -> str:
    """SHA-256 (hex) of all that decides a run's result: the same fingerprint finds its finished run and does not train.

    `options` are the model's that differ from its defaults; `hashes` those of the data, the split and a user's code;
    `revisions` those above 1 of the model and of the rules that decide something in this run.
    """
    table = recipe.canonical()
    table["model"]["options"] = dict(options)
    covered = {"recipe": table, "hashes": dict(hashes), "training_revision": training_revision}
    if revisions:
        covered["revisions"] = dict(revisions)
    return hashlib.sha256(json.dumps(covered, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


@dataclass(frozen=True)
class Run:
    """One trained recipe, read from its folder. Scores are fractions; costs carry their unit in the name."""

    path: Path

    def __post_init__(self) -> None:
        if not (self.path / "recipe.toml").is_file():
            raise ValueError(f"{str(self.path)!r} is not a run folder: it holds no recipe.toml")

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    @property
    def name(self) -> str:
        return self.path.name

    @cached_property
    def recipe(self) -> Recipe:
        return Recipe.load(self.file("recipe.toml").resolve())

    @property
    def label(self) -> str:
        return model_label(self.recipe)

    @property
    def status(self) -> dict[str, Any]:
        return self._read("status.json", "state", "fingerprint")

    def _read(self, name: str, *keys: str) -> dict[str, Any]:
        try:
            return read_json(self.path / name, *keys)
        except ValueError as error:
            raise ValueError(f"{error}; delete the folder to train it again") from None

    def file(self, name: str) -> Path:
        """The path of one of its files. Raises ValueError where that is not the file that the run wrote."""
        return run_files.checked(self.path, name)

    def check_files(self) -> None:
        run_files.check_all(self.path, run_files.recorded(self.path))

    def finish(self, **values: object) -> None:
        """Marks it finished and records the SHA-256 of its files."""
        self.write_status(state="finished", **values, files=self._hashes())

    def _hashes(self) -> dict[str, str]:
        return run_files.result_hashes(self.path) | {"recipe.toml": run_files.sha256_of(self.file("recipe.toml"))}

    @contextmanager
    def updating(self) -> Iterator[None]:
        """For writing into a finished run: its files are checked before, and recorded again after."""
        self.check_files()
        self._forget_results()
        try:
            yield
        finally:
            self.write_status(files=self._hashes())

    def _forget_results(self, **values: object) -> None:
        files = {name: digest for name, digest in run_files.recorded(self.path).items() if name == "recipe.toml"}
        self.write_status(**values, files=files)

    @property
    def state(self) -> str:
        """running, interrupted, pruned or finished; a run that was killed is interrupted, whatever its file says."""
        state = self.status["state"]
        return "interrupted" if state == "running" and not self._is_locked() else state

    def _is_locked(self) -> bool:
        try:
            lock = self.lock()
        except OSError:
            return True
        if lock is not None:
            lock.release()
        return lock is None

    @property
    def finished(self) -> bool:
        return (self.path / "status.json").is_file() and self.state == "finished"

    @property
    def is_archived(self) -> bool:
        """Whether only its small files were kept (convoy.archive): neither weights nor logits nor images."""
        return self.finished and not (self.path / "best.safetensors").is_file()

    @property
    def scores(self) -> dict[str, Any]:
        """Of each part that was held out from the training: validation, fold, test."""
        return {part: score for part, score in self._scores().items() if part != "train"}

    @property
    def train_score(self) -> dict[str, Any] | None:
        """Of a sample of the training images, by the weights that were kept; None in a run of an older version."""
        return self._scores().get("train")

    def write_score(self, part: str, score: Mapping[str, Any]) -> None:
        write_json(self.path / "scores.json", {**self._scores(), part: score})

    def _scores(self) -> dict[str, Any]:
        self.file("scores.json")
        return self.stated_scores

    @property
    def stated_scores(self) -> dict[str, Any]:
        """Those of all parts, whether or not scores.json has changed; see convoy.counts."""
        path = self.path / "scores.json"
        scores = self._read("scores.json") if path.is_file() else {}
        if not all(isinstance(part, dict) and "accuracy" in part for part in scores.values()):
            raise ValueError(f"{path} is damaged: a part has no accuracy; delete the folder to train it again")
        return scores

    @property
    def cost(self) -> dict[str, Any]:
        path = self.file("cost.json")
        return read_json(path) if path.is_file() else {}

    @property
    def data(self) -> dict[str, Any]:
        return read_json(self.file("data.json"), "classes", "in_chans", "image_size", "mean", "std", "data_hash")

    @property
    def environment(self) -> dict[str, Any]:
        return read_json(self.file("environment.json"), "torch", "cpu", "threads", "date", "command")

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """A dictionary per finished epoch."""
        path = self.file("metrics.jsonl")
        lines = path.read_text().splitlines(keepends=True) if path.is_file() else []
        try:
            return [json.loads(line) for line in lines if line.endswith("\n")]  # a kill may leave half a line
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path} is damaged: {error}; delete the folder to train it again") from None

    @property
    def steps(self) -> dict[str, np.ndarray]:
        """float32 [steps] each: loss, lr, grad_norm."""
        return read_arrays(self.file("steps.npz"))

    @property
    def predictions(self) -> dict[str, np.ndarray]:
        return read_arrays(self.file("predictions.npz"))

    def predicted(self, part: str) -> tuple[np.ndarray, np.ndarray]:
        """Labels and predicted classes of a part ("test", "validation"), int64 [N] each, in the images' order.

        An archived run holds the classes and no logits. Raises ValueError where the run was not scored on that part.
        """
        arrays = self.predictions
        if f"{part}_predicted" in arrays:
            predicted = arrays[f"{part}_predicted"]
        elif f"{part}_logits" in arrays:
            predicted = arrays[f"{part}_logits"].argmax(1)
        else:
            raise ValueError(f"{self.path} holds no predictions of the {part} part")
        return arrays[f"{part}_labels"].astype(np.int64), predicted.astype(np.int64)

    @property
    def gallery(self) -> dict[str, np.ndarray]:
        return read_arrays(self.file("gallery.npz"))

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        return read_arrays(self.file("arrays.npz"))

    def lock(self) -> filelock.BaseFileLock | None:
        """Held while training. None where another process trains this run."""
        try:
            return filelock.FileLock(self.path / ".lock", timeout=0).acquire().lock
        except filelock.Timeout:
            return None

    def clear(self) -> None:
        """Back to an empty run of the same recipe, to train anew."""
        self._forget_results(state="running", reason="")
        for name in ("scores.json", "cost.json", "metrics.jsonl", "log.txt", "environment.json"):
            (self.path / name).unlink(missing_ok=True)
        for path in (*self.path.glob("*.npz"), *self.path.glob("*.safetensors")):
            path.unlink()
        for name in ("checkpoints", "weights"):
            shutil.rmtree(self.path / name, ignore_errors=True)

    def log(self, text: str) -> None:
        append_line(self.path / "log.txt", f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}")

    def append_metrics(self, line: Mapping[str, Any]) -> None:
        append_line(self.path / "metrics.jsonl", json.dumps(line, allow_nan=False))

    def cut_metrics(self, epochs: int) -> None:
        """Keeps the lines of the first `epochs` epochs: what a checkpoint knows of, when a run resumes from it."""
        path = self.path / "metrics.jsonl"
        kept = path.read_bytes().splitlines(keepends=True)[:epochs] if path.is_file() else []
        write_bytes(path, b"".join(kept))

    def write_status(self, **values: object) -> None:
        path = self.path / "status.json"
        old = read_json(path) if path.is_file() else {}
        write_json(path, {**old, **values})


@dataclass(frozen=True)
class Member:
    """A run's place in a study: what it is called there, and its seed."""

    label: str
    seed: int
    run: Run


@dataclass(frozen=True)
class Study:
    """Many runs with one question, read from its folder."""

    path: Path

    def __post_init__(self) -> None:
        if not (self.path / "study.toml").is_file():
            raise ValueError(f"{str(self.path)!r} is not a study folder: it holds no study.toml")

    @property
    def name(self) -> str:
        return self.path.name

    @cached_property
    def table(self) -> dict[str, Any]:
        path = self.path / "study.toml"
        try:
            return tomllib.loads(path.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ValueError(f"{path} is damaged: {error}") from None

    @property
    def has_found(self) -> bool:
        """False where it was stopped before its first finding."""
        return (self.path / "finding.json").is_file()

    @property
    def finding(self) -> dict[str, Any]:
        return read_json(self.path / "finding.json")

    @property
    def members(self) -> list[Member]:
        """Raises ValueError for a run that is gone."""
        entries = self.table.get("runs", [])
        if gone := [entry["run"] for entry in entries if not (self.path / entry["run"]).is_dir()]:
            raise ValueError(f"run {Path(gone[0]).name} of {self.path} is gone: give the study's command again")
        return [Member(entry["label"], entry["seed"], Run(self.path / entry["run"])) for entry in entries]


class Workspace:
    """The folder OUT that holds runs and studies."""

    def __init__(self, out: str | Path = DEFAULT_OUT) -> None:
        self.path = Path(out)
        if self.path.exists() and not self.path.is_dir():
            raise ValueError(f"{out}: is a file, and runs and studies need a folder")

    def folder(self, *parts: str) -> Path:
        """A folder in it, made where it is not there. Raises ValueError where it cannot be."""
        try:
            (path := self.path.joinpath(*parts)).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(f"--out {self.path}: no folder can be made there: {error.strerror}") from None
        return path

    def runs(self) -> Iterator[Run]:
        for path in sorted(self.path.glob("runs/*/recipe.toml")):
            yield Run(path.parent)

    def studies(self) -> Iterator[Study]:
        for path in sorted(self.path.glob("studies/*/study.toml")):
            yield Study(path.parent)

    def find(self, digest: str) -> Run | None:
        """The run with this fingerprint, finished or not."""
        for path in self.path.glob(f"runs/*-{digest[:12]}"):
            if (path / "recipe.toml").is_file() and (path / "status.json").is_file():
                run = Run(path)
                if run.status["fingerprint"] == digest:
                    return run
        return None

    def open_run(self, recipe: Recipe, digest: str) -> Run:
        """The run folder of this fingerprint, made where it is not there yet."""
        found = self.find(digest)
        if found is not None:
            _restore_recipe(found, recipe)
            return found
        # A run that starts from another, and a range test, are not found by the plain run's name, "lenet-s42".
        kinds = ["tuned"] * (recipe.model.init is not None) + ["range"] * (recipe.schedule.name == "range")
        if (split := recipe.data.split).folds:
            kinds += [f"f{split.fold + 1}of{split.folds}" + (f"r{split.repeat + 1}" if split.repeat else "")]
        name = "-".join([file_name(model_label(recipe)), *kinds, f"s{recipe.seed}", digest[:12]])
        path = self.folder("runs", name)
        content = recipe.to_toml().encode()
        status = {"state": "running", "reason": "", "fingerprint": digest, "files": _recipe_hash(content)}
        write_json(path / "status.json", status)
        write_bytes(path / "recipe.toml", content)
        return Run(path)

    def write_study(self, name: str, table: Mapping[str, Any], members: Iterable[Member]) -> Study:
        path = self.path / "studies" / file_name(name)
        entries = [{"label": m.label, "seed": m.seed, "run": os.path.relpath(m.run.path, path)} for m in members]
        write_bytes(path / "study.toml", tomli_w.dumps({**table, "runs": entries}).encode())
        return Study(path)

    def record_opening(self, data_hash: str, run: str) -> int:
        """Counts an opening of the test part of these data by this run; the count so far, this one included."""
        self.path.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(self.path / ".test_openings.lock", timeout=30):
            path = self.path / "test_openings.json"
            ledger = read_json(path) if path.is_file() else {}
            ledger.setdefault(data_hash, []).append(run)
            write_json(path, ledger)
            return len(ledger[data_hash])

    def openings_by(self, runs: Collection[str]) -> int:
        """How often runs of these names opened a test part."""
        path = self.path / "test_openings.json"
        ledger = read_json(path) if path.is_file() else {}
        return sum(run in runs for opened_by in ledger.values() for run in opened_by)


def _restore_recipe(run: Run, recipe: Recipe) -> None:
    """The recipe of a run that is about to be trained, where its own file has changed."""
    try:
        run.file("recipe.toml")
    except ValueError:
        content = recipe.to_toml().encode()
        run.write_status(files=run_files.recorded(run.path) | _recipe_hash(content))
        write_bytes(run.path / "recipe.toml", content)


def _recipe_hash(content: bytes) -> dict[str, str]:
    return {"recipe.toml": hashlib.sha256(content).hexdigest()}


def command_line() -> str:
    """The command as it would be typed again; worker processes are told their parent's."""
    return os.environ.get("CONVOY_COMMAND") or " ".join([Path(sys.argv[0] or "python").name, *sys.argv[1:]])


def model_label(recipe: Recipe) -> str:
    """The model's name as figures and folders show it; a user's class by its own name."""
    name = recipe.model.name
    return name.rpartition(":")[2] if is_user_class(name) else name


def locate(argument: str | Path, out: str | Path = DEFAULT_OUT) -> Run | Study:
    """The run or study that a path or a name in OUT means; part of a name will do where only one fits.

    A part is one or more of the words between hyphens; of a run's last word, its fingerprint, the beginning is enough.
    Raises ValueError: nothing fits, or several do.
    """
    path = Path(argument)
    for kind in (Run, Study):
        marker = "recipe.toml" if kind is Run else "study.toml"
        if (path / marker).is_file():
            return kind(path)
    workspace = Workspace(out)
    candidates: list[Run | Study] = [*workspace.runs(), *workspace.studies()]
    exact = [candidate for candidate in candidates if candidate.name == str(argument)]
    fitting = exact or [candidate for candidate in candidates if _is_part(str(argument), candidate)]
    if len(fitting) == 1:
        return fitting[0]
    if not fitting:
        raise ValueError(f"no run or study {str(argument)!r}, neither as a path nor in {workspace.path}")
    names = ", ".join(candidate.name for candidate in fitting[:6])
    raise ValueError(f"{str(argument)!r} fits {len(fitting)} runs and studies in {workspace.path}: {names}")


def _is_part(text: str, candidate: Run | Study) -> bool:
    end = "-|[0-9a-f]*$" if isinstance(candidate, Run) else "-|$"
    return re.search(f"(^|-){re.escape(text)}({end})", candidate.name) is not None


def file_name(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._+-]+", "_", text).strip("._") or "unnamed"
