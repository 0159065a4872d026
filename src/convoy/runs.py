"""Run folders, study folders and the workspace that contains them: create, append, read, list, lock.

OUT/runs/<model>-s<seed>-<fingerprint>/    one run; docs/architecture.md lists its files
OUT/studies/<name>/                        study.toml, finding.json, report.html, report.md, figures/
OUT/test_openings.json                     how often each data set's test part was opened
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import tomli_w

from convoy import counts, run_contents, run_files
from convoy.files import append_line, file_name, read_arrays, read_json, write_bytes, write_json
from convoy.notebook import html_of
from convoy.options import DEFAULT_OUT
from convoy.recipe import Recipe
from convoy.run_contents import Cost, Environment, EpochMetrics, RunData, RunState, Score, Status, StudyContents
from convoy.run_files import Contradiction
from convoy.text import gettext as _

WEIGHTS, SCORES = "best.safetensors", "scores.json"


@contextmanager
def _with_advice(prefix: str = "") -> Iterator[None]:
    """Adds a prefix and advice to the error message for a damaged file."""
    try:
        yield
    except (ValueError, RecursionError, KeyError, TypeError) as error:
        raise ValueError(
            _("{prefix}{error}; delete the folder to train it again", prefix=prefix, error=error)
        ) from None


@dataclass(frozen=True)
class Run:
    """One training, read from its folder. Scores are fractions; names of costs include the unit."""

    path: Path

    def __post_init__(self) -> None:
        if not (self.path / "recipe.toml").is_file():
            raise ValueError(_("{path!r} is not a run folder: it has no recipe.toml", path=str(self.path)))

    _repr_html_ = html_of

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
        return self.recipe.label

    def __fspath__(self) -> str:
        return str(self.path)

    @property
    def status(self) -> Status:
        with _with_advice():
            return run_contents.read(Status, self.path / "status.json")

    @property
    def flags(self) -> Sequence[str]:
        """Warnings that every output of the run shows; if none are recorded, those of the recipe's faults."""
        return self.status.flags or [fault.flag for fault in self.recipe.protocol.faults]

    def file(self, name: str) -> Path:
        """Returns the path of one of its files. Raises ValueError like `check_file`."""
        self.check_file(name)
        return self.path / name

    def check_file(self, name: str) -> None:
        """Raises ValueError if the file has changed since the run wrote it."""
        run_files.check(self.path, name)

    def check_files(self) -> None:
        """Calls `check_file` for all files except the weights of each epoch, which are checked when they are read."""
        for name in run_files.recorded_hashes(self.path):
            if not name.startswith("weights/"):
                self.check_file(name)

    def finish(self, **values: object) -> None:
        """Marks the run as finished and records the SHA-256 of its files."""
        now = time.strftime("%Y-%m-%d %H:%M:%S")
        self.write_status(state=RunState.FINISHED, finished_at=now, **values, files=self._hashes())

    def _hashes(self) -> dict[str, str]:
        return run_files.result_hashes(self.path) | {"recipe.toml": run_files.sha256_of(self.file("recipe.toml"))}

    @contextmanager
    def updating(self) -> Iterator[None]:
        """Checks the files of a finished run, lets the caller write to them, and records their new SHA-256."""
        self.check_files()
        self._forget_results()
        run_files.remove_abandoned(self.path)
        try:
            yield
        finally:
            self.write_status(files=self._hashes())

    def record_files(self) -> None:
        """Records the SHA-256 of the files of a finished run if a process was killed while it was `updating` them."""
        if run_files.recorded_hashes(self.path).keys() == {"recipe.toml"}:
            self.write_status(files=self._hashes())

    def _forget_results(self, **values: object) -> None:
        hashes = run_files.recorded_hashes(self.path)
        files = {name: digest for name, digest in hashes.items() if name == "recipe.toml"}
        self.write_status(**values, files=files)

    @property
    def state(self) -> RunState:
        """The state in status.json; that of a killed run is "interrupted" instead of "running"."""
        state = self.status.state
        if state not in list(RunState):
            raise ValueError(
                _("{path} is damaged: unknown state {state!r}", path=self.path / "status.json", state=state)
            )
        is_killed = state == RunState.RUNNING and not self._is_locked()
        return RunState.INTERRUPTED if is_killed else RunState(state)

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
        return (self.path / "status.json").is_file() and self.state is RunState.FINISHED

    @property
    def is_archived(self) -> bool:
        """Whether the folder is an archived run, without weights, logits and images (convoy.archive)."""
        has_weights = (self.path / WEIGHTS).is_file() or WEIGHTS in run_files.recorded_hashes(self.path)
        return self.finished and not has_weights

    @property
    def scores(self) -> dict[str, Score]:
        """The scores on the parts held out from training: validation, fold, test.

        Raises ValueError if scores.json has changed or, in a run with hashes, does not follow from the predictions
        (convoy.record compares more).
        """
        self.check_file("scores.json")
        held_out = {part: score for part, score in self.stated_scores.items() if part != "train"}
        has_hash = SCORES in run_files.recorded_hashes(self.path)
        if has_hash and (first := next(self.contradicted_scores(), None)) is not None:
            raise ValueError(
                _(
                    "{path}: {first}; delete the folder, or use --fresh, to train it again",
                    path=self.path,
                    first=first[2],
                )
            )
        return held_out

    def contradicted_scores(self) -> Iterator[tuple[str, Score, Contradiction]]:
        """Yields the same as `counts.contradicted_scores`, even if scores.json has changed since the run wrote it."""
        if predictions := self.predictions:
            yield from counts.contradicted_scores(self.name, self.stated_scores, predictions, self.data.classes)

    @property
    def train_score(self) -> Score | None:
        """The score on a sample of the training images; None before the run has finished."""
        self.check_file("scores.json")
        return self.stated_scores.get("train")

    def write_score(self, part: str, score: Score) -> None:
        self.update("scores.json", **{part: score.as_table()})

    @property
    def stated_scores(self) -> dict[str, Score]:
        """The content of scores.json, even if it has changed since the run wrote it; see convoy.record."""
        path = self.path / "scores.json"
        with _with_advice():
            scores = read_json(path) if path.is_file() else {}
            if not all(isinstance(part, dict) and {"accuracy", "correct", "n"} <= {*part} for part in scores.values()):
                raise ValueError(_("{path} is damaged: a part has no accuracy", path=path))
        return {part: run_contents.score_of(score) for part, score in scores.items()}

    @property
    def cost(self) -> Cost:
        return run_contents.read(Cost, path) if (path := self.file("cost.json")).is_file() else Cost()

    @property
    def data(self) -> RunData:
        return run_contents.read(RunData, self.file("data.json"))

    @property
    def environment(self) -> Environment:
        return run_contents.read(Environment, self.file("environment.json"))

    @property
    def metrics(self) -> list[EpochMetrics]:
        """The metrics of the finished epochs."""
        path = self.file("metrics.jsonl")
        lines = path.read_text().splitlines(keepends=True) if path.is_file() else []
        complete = [line for line in lines if line.endswith("\n")]  # a killed process may leave half a line
        with _with_advice(f"{path} is damaged: "):
            return [run_contents.epoch_of(json.loads(line)) for line in complete]

    @property
    def steps(self) -> dict[str, np.ndarray]:
        """loss, lr and grad_norm, float32 [steps] each."""
        return read_arrays(self.file("steps.npz"))

    @property
    def predictions(self) -> dict[str, np.ndarray]:
        return read_arrays(self.file("predictions.npz"))

    def predicted(self, part: str) -> tuple[np.ndarray, np.ndarray]:
        """Returns labels and predicted classes of a part ("test", "validation"), int64 [N] each, in image order.

        Raises ValueError if the run was not scored on that part.
        """
        try:
            return counts.predicted_in(self.predictions, part)
        except KeyError:
            raise ValueError(_("{path} has no predictions of the {part} part", path=self.path, part=part)) from None

    @property
    def gallery(self) -> dict[str, np.ndarray]:
        return read_arrays(self.file("gallery.npz"))

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        return read_arrays(self.file("arrays.npz"))

    def lock(self) -> filelock.BaseFileLock | None:
        """Returns a lock to hold while training; None if another process is training this run."""
        try:
            return filelock.FileLock(self.path / ".lock", timeout=0).acquire().lock
        except filelock.Timeout:
            return None

    def clear(self) -> None:
        """Deletes all results, to train the same recipe from scratch."""
        self._forget_results(state=RunState.RUNNING, reason="", stopped=None)
        for name in ("scores.json", "cost.json", "metrics.jsonl", "log.txt", "environment.json"):
            (self.path / name).unlink(missing_ok=True)
        for path in (*self.path.glob("*.npz"), *self.path.glob("*.safetensors")):
            path.unlink()
        for name in ("checkpoints", "weights"):
            shutil.rmtree(self.path / name, ignore_errors=True)

    def log(self, text: str) -> None:
        append_line(self.path / "log.txt", f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}")

    def append_metrics(self, epoch: EpochMetrics) -> None:
        append_line(self.path / "metrics.jsonl", json.dumps(epoch.as_line(), allow_nan=False))

    def write_metrics(self, lines: Sequence[Mapping[str, float | None]]) -> None:
        """Replaces the metrics by those of the checkpoint to resume from."""
        text = "".join(json.dumps(line, allow_nan=False) + "\n" for line in lines)
        write_bytes(self.path / "metrics.jsonl", text.encode())

    def update(self, name: str, **values: object) -> None:
        """Replaces values in a JSON file of the run."""
        path = self.file(name)
        write_json(path, {**(read_json(path) if path.is_file() else {}), **values})

    def write_status(self, **values: object) -> None:
        path = self.path / "status.json"
        write_json(path, run_files.sealed({**(read_json(path) if path.is_file() else {}), **values}))


@dataclass(frozen=True)
class Member:
    """A run of a study, with its label in the study and its seed."""

    label: str
    seed: int
    run: Run


def digest_of(fingerprints: Iterable[str]) -> str:
    """Returns eight hexadecimal digits that identify a list of runs."""
    return hashlib.sha256("".join(fingerprints).encode()).hexdigest()[:8]


@dataclass(frozen=True)
class Study:
    """Several runs with one question, read from its folder."""

    path: Path

    def __post_init__(self) -> None:
        if not (self.path / "study.toml").is_file():
            raise ValueError(_("{path!r} is not a study folder: it has no study.toml", path=str(self.path)))

    _repr_html_ = html_of

    @property
    def name(self) -> str:
        return self.path.name

    @cached_property
    def contents(self) -> StudyContents:
        return run_contents.read_study(self.path / "study.toml")

    @property
    def command(self) -> str:
        return self.contents.command

    @property
    def has_finding(self) -> bool:
        return (self.path / "finding.json").is_file()

    @property
    def finding_json(self) -> dict[str, Any]:
        """The content of finding.json; `convoy.studies.kinds` converts it to its type."""
        return read_json(self.path / "finding.json")

    @property
    def members(self) -> list[Member]:
        """Raises ValueError if a run is missing."""
        runs = self.contents.runs
        if missing := [each.run for each in runs if not (self.path / each.run).is_dir()]:
            raise ValueError(
                _(
                    "run {name} of {path} is missing: run the study's command again",
                    name=Path(missing[0]).name,
                    path=self.path,
                )
            )
        return [Member(each.label, each.seed, Run(self.path / each.run)) for each in runs]


class Workspace:
    """The folder OUT, which contains runs and studies."""

    def __init__(self, out: str | Path = DEFAULT_OUT) -> None:
        self.path = Path(out)
        if self.path.exists() and not self.path.is_dir():
            raise ValueError(_("--out {out}: expected a folder for runs and studies, got a file", out=out))

    def folder(self, *parts: str) -> Path:
        """Returns a folder in the workspace. Creates it if necessary; raises ValueError if this fails."""
        try:
            (path := self.path.joinpath(*parts)).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(
                _("--out {path}: cannot create a folder there: {strerror}", path=self.path, strerror=error.strerror)
            ) from None
        return path

    def runs(self) -> Iterator[Run]:
        for path in sorted(self.path.glob("runs/*/recipe.toml")):
            yield Run(path.parent)

    def studies(self) -> Iterator[Study]:
        for path in sorted(self.path.glob("studies/*/study.toml")):
            yield Study(path.parent)

    def find(self, digest: str) -> Run | None:
        """Returns the run with this fingerprint, finished or not."""
        paths = self.path.glob(f"runs/*-{digest[:12]}")
        runs = [Run(path) for path in paths if (path / "recipe.toml").is_file() and (path / "status.json").is_file()]
        for run in runs:
            if (run.path / "checkpoints").is_dir() and not run_files.has_valid_seal(run.path):
                status = {"state": RunState.INTERRUPTED, "fingerprint": digest}  # the checkpoint has all else
                write_json(run.path / "status.json", run_files.sealed(status))
        return next((run for run in runs if run.status.fingerprint == digest), None)

    def open_run(self, recipe: Recipe, digest: str) -> Run:
        """Returns the run with this fingerprint; creates its folder if necessary."""
        content = recipe.to_toml().encode()
        recipe_hash = {"recipe.toml": hashlib.sha256(content).hexdigest()}
        if (existing := self.find(digest)) is not None:
            recorded = run_files.recorded_hashes(existing.path).get("recipe.toml")
            if recorded != run_files.sha256_of(existing.path / "recipe.toml"):  # the given recipe is trained
                existing.write_status(files=run_files.recorded_hashes(existing.path) | recipe_hash)
                write_bytes(existing.path / "recipe.toml", content)
            return existing
        # Fine-tuned runs and range tests have another name, so that "lenet-s42" refers to the ordinary run only.
        kinds = ["tuned"] * (recipe.model.init is not None) + ["range"] * (recipe.schedule.name == "range")
        if (split := recipe.data.split).folds:
            kinds += [f"f{split.fold + 1}of{split.folds}" + (f"r{split.repeat + 1}" if split.repeat else "")]
        name = "-".join([file_name(recipe.label), *kinds, f"s{recipe.seed}", digest[:12]])
        path = self.folder("runs", name)
        status = {"state": RunState.RUNNING, "reason": "", "fingerprint": digest, "files": recipe_hash}
        write_json(path / "status.json", run_files.sealed(status))
        write_bytes(path / "recipe.toml", content)
        return Run(path)

    def write_study(self, name: str, kind: str, members: Iterable[Member], command: str) -> Study:
        path = self.path / "studies" / file_name(name)
        runs = [run_contents.StudyRun(m.label, m.seed, os.path.relpath(m.run.path, path)) for m in members]
        write_bytes(path / "study.toml", tomli_w.dumps(asdict(StudyContents(kind, command, runs))).encode())
        return Study(path)

    def record_opening(self, data_hash: str, run: str) -> int:
        """Records that a run opens the test set of these data; returns how often it has been opened."""
        self.path.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(self.path / ".test_openings.lock", timeout=30):
            openings = self.openings()
            openings.setdefault(data_hash, []).append(run)
            write_json(self.path / "test_openings.json", openings)
            return len(openings[data_hash])

    def openings_by(self, runs: Collection[str]) -> int:
        """Returns how often the named runs opened a test set."""
        return sum(run in runs for opened_by in self.openings().values() for run in opened_by)

    def openings(self) -> dict[str, list[str]]:
        """Returns the names of the runs that opened a test set, by hash of the data."""
        return read_json(path) if (path := self.path / "test_openings.json").is_file() else {}
