"""Runs, studies and the workspace that contains them: find, create, list, count the openings of the test set.

OUT/runs/<model>-s<seed>-<fingerprint>/    one run: run_folder.py
OUT/studies/<name>/                        study.toml, finding.json, report.html, report.md, figures/
OUT/test_openings.json                     how often each data set's test set was opened
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import filelock
import tomli_w

from convoy import run_contents, run_files
from convoy.files import file_name, read_json, write_bytes, write_json
from convoy.notebook import html_of
from convoy.options import DEFAULT_OUT
from convoy.recipe import Recipe
from convoy.run_contents import RunState, StudyContents
from convoy.run_folder import SCORES, WEIGHTS, Run
from convoy.text import gettext as _

__all__ = ["SCORES", "WEIGHTS", "Member", "Run", "Study", "Workspace", "digest_of"]

CREATION_SECONDS = 5.0  # a process that holds the lock for longer is training the run, so its files exist


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

    path: Path  # absolute; converted from a relative path or a str

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.path).absolute())
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
        self.path = Path(out).absolute()
        if self.path.exists() and not self.path.is_dir():
            raise ValueError(_("--out {out}: expected a folder for runs and studies, got a file", out=out))

    def folder(self, *parts: str) -> Path:
        """Returns a folder in the workspace. Creates it if necessary; raises ValueError if this fails."""
        try:
            (path := self.path.joinpath(*parts)).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(
                _(
                    "--out {out}: cannot create the folder {path}: {strerror}",
                    out=self.path,
                    path=error.filename,
                    strerror=error.strerror,
                )
            ) from None
        return path

    def runs(self) -> Iterator[Run]:
        yield from map(Run, self._folders("runs", "recipe.toml"))

    def studies(self) -> Iterator[Study]:
        yield from map(Study, self._folders("studies", "study.toml"))

    def _folders(self, parent: str, marker: str) -> Iterator[Path]:
        """Raises PermissionError for a parent that cannot be read; `Path.glob` would return nothing."""
        if (folder := self.path / parent).is_dir():
            yield from (path for path in sorted(folder.iterdir()) if os.path.isfile(path / marker))

    def find(self, fingerprint: str) -> Run | None:
        """Returns the run with this fingerprint. If it is unfinished, repairs a damaged status.json."""
        paths = self.path.glob(f"runs/*-{fingerprint[:12]}")
        runs = [Run(path) for path in paths if (path / "recipe.toml").is_file() and (path / "status.json").is_file()]
        for run in runs:
            if (run.path / "checkpoints").is_dir() and not run_files.has_valid_seal(run.path):
                # The checkpoint contains the values that are missing from this status.
                status = {"state": RunState.INTERRUPTED, "fingerprint": fingerprint}
                write_json(run.path / "status.json", run_files.sealed(status))
        return next((run for run in runs if run.status.fingerprint == fingerprint), None)

    def open_run(self, recipe: Recipe, fingerprint: str) -> Run:
        """Returns the run with this fingerprint; creates its folder if necessary."""
        content = recipe.to_toml().encode()
        recipe_hash = {"recipe.toml": hashlib.sha256(content).hexdigest()}
        if (existing := self.find(fingerprint)) is not None:
            recorded = run_files.recorded_hashes(existing.path).get("recipe.toml")
            # A damaged recipe.toml is replaced, because the fingerprint shows that the run belongs to this recipe.
            if recorded != run_files.sha256_of(existing.path / "recipe.toml"):
                existing.write_status(files=run_files.recorded_hashes(existing.path) | recipe_hash)
                write_bytes(existing.path / "recipe.toml", content)
            return existing
        # Fine-tuned runs and range tests have another name, so that "lenet-s42" refers to the ordinary run only.
        kinds = ["tuned"] * (recipe.model.init is not None) + ["range"] * (recipe.schedule.name == "range")
        if (split := recipe.data.split).folds:
            kinds += [f"f{split.fold + 1}of{split.folds}" + (f"r{split.repeat + 1}" if split.repeat else "")]
        name = "-".join([file_name(recipe.label), *kinds, f"s{recipe.seed}", fingerprint[:12]])
        path = self.folder("runs", name)
        status = {"state": RunState.RUNNING, "reason": "", "fingerprint": fingerprint, "files": recipe_hash}
        # A process that trains the run deletes temporary files, including those of another process that is creating it.
        with suppress(filelock.Timeout), filelock.FileLock(path / ".lock", timeout=CREATION_SECONDS):
            if self.find(fingerprint) is None:
                write_json(path / "status.json", run_files.sealed(status))
                write_bytes(path / "recipe.toml", content)
        return Run(path)

    def write_study(self, name: str, kind: str, members: Iterable[Member], command: str) -> Study:
        path = self.path / "studies" / file_name(name)
        runs = [run_contents.StudyRun(m.label, m.seed, os.path.relpath(m.run.path, path)) for m in members]
        write_bytes(path / "study.toml", tomli_w.dumps(asdict(StudyContents(kind, command, runs))).encode())
        return Study(path)

    def record_opening(self, data_hash: str, run: str) -> int:
        """Records that a run opens the test set of this data set; returns how often it has been opened."""
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
