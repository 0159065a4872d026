"""A run folder, OUT/runs/<model>-s<seed>-<fingerprint>/: read, append, lock. docs/architecture.md lists its files."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import filelock
import numpy as np

from convoy import counts, run_contents, run_files
from convoy.files import append_line, once, read_arrays, read_json, write_bytes, write_json
from convoy.notebook import html_of
from convoy.recipe import Recipe
from convoy.run_contents import Cost, Environment, EpochMetrics, RunData, RunState, Score, Status
from convoy.run_files import Contradiction
from convoy.text import gettext as _
from convoy.text import short_path

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


@once
def _recipe(path: Path) -> Recipe:
    return Recipe.load(path)


@once
def _metrics(path: Path) -> list[EpochMetrics]:
    lines = path.read_text().splitlines(keepends=True)
    complete = [line for line in lines if line.endswith("\n")]  # a killed process may leave half a line
    with _with_advice(_("{path} is damaged: ", path=path)):
        return [run_contents.epoch_of(json.loads(line)) for line in complete]


@once
def _scores(path: Path) -> Mapping[str, Score]:
    with _with_advice():
        scores = read_json(path)
        if not all(isinstance(part, dict) and {"accuracy", "correct", "n"} <= {*part} for part in scores.values()):
            raise ValueError(_("{path} is damaged: scores without an accuracy", path=path))
    return {part: run_contents.score_of(score) for part, score in scores.items()}


@dataclass(frozen=True)
class Run:
    """One training run, read from its folder. Scores are fractions; names of costs include the unit."""

    path: Path  # absolute; converted from a relative path or a str

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.path).absolute())  # valid after os.chdir
        if not (self.path / "recipe.toml").is_file():
            raise ValueError(_("{path!r} is not a run folder: it has no recipe.toml", path=str(self.path)))

    _repr_html_ = html_of

    def __repr__(self) -> str:
        return f"Run({short_path(self.path)!r})"

    @property
    def name(self) -> str:
        return self.path.name

    @cached_property
    def recipe(self) -> Recipe:
        return _recipe(self.file("recipe.toml"))

    @property
    def label(self) -> str:
        return self.recipe.label

    def __fspath__(self) -> str:
        return str(self.path)

    @property
    def status(self) -> Status:
        with _with_advice():
            return run_contents.read(self.path / "status.json", Status)

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
        hashes = run_files.recorded_hashes(self.path).items()
        self.write_status(updating=True, files={name: sha for name, sha in hashes if name not in run_files.UPDATED})
        run_files.remove_abandoned(self.path)
        try:
            yield
        finally:
            self.write_status(updating=False, files=self._hashes())

    def record_files(self) -> None:
        """Records the SHA-256 of the files of a finished run if a process was killed while it was `updating` them."""
        if self.status.updating:
            self.check_files()
            self.write_status(updating=False, files=self._hashes())

    @property
    def state(self) -> RunState:
        """The state in status.json, with "interrupted" instead of "running" for a killed run."""
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

        Raises ValueError if scores.json has changed or, in a run with hashes, contradicts the predictions.
        convoy.record checks more.
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
        return {**_scores(path)} if (path := self.path / SCORES).is_file() else {}

    @property
    def cost(self) -> Cost:
        return run_contents.read(path, Cost) if (path := self.file("cost.json")).is_file() else Cost()

    @property
    def data(self) -> RunData:
        return run_contents.read(self.file("data.json"), RunData)

    @property
    def environment(self) -> Environment:
        return run_contents.read(self.file("environment.json"), Environment)

    @property
    def metrics(self) -> list[EpochMetrics]:
        """The metrics of the finished epochs."""
        return _metrics(path) if (path := self.file("metrics.jsonl")).is_file() else []

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
            raise ValueError(
                _("{path} has no predictions of the {part} set", path=self.path, part=run_contents.part_name(part))
            ) from None

    @property
    def gallery(self) -> dict[str, np.ndarray]:
        return read_arrays(self.file("gallery.npz"))

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        return read_arrays(self.file("arrays.npz"))

    def lock(self) -> filelock.BaseFileLock | None:
        """Returns a lock to hold during training; None if another process is training this run."""
        try:
            return filelock.FileLock(self.path / ".lock", timeout=0).acquire().lock
        except filelock.Timeout:
            return None

    def clear(self) -> None:
        """Deletes all results, to train the same recipe from scratch."""
        hashes = run_files.recorded_hashes(self.path)
        of_recipe = {name: digest for name, digest in hashes.items() if name == "recipe.toml"}
        self.write_status(state=RunState.RUNNING, reason="", stopped=None, updating=False, files=of_recipe)
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
        """Replaces the metrics with those in the checkpoint from which the run resumes."""
        text = "".join(json.dumps(line, allow_nan=False) + "\n" for line in lines)
        write_bytes(self.path / "metrics.jsonl", text.encode())

    def update(self, name: str, **values: object) -> None:
        """Replaces values in a JSON file of the run."""
        path = self.file(name)
        write_json(path, {**(read_json(path) if path.is_file() else {}), **values})

    def write_status(self, **values: object) -> None:
        path = self.path / "status.json"
        write_json(path, run_files.sealed({**(read_json(path) if path.is_file() else {}), **values}))
