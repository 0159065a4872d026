"""The study of several reproduced experiments."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from convoy.experiments.reproduction.finding import Reproduction
from convoy.experiments.reproductions.finding import Entry, Reproductions
from convoy.runs import Study, Workspace
from convoy.studies import findings


def gather(studies: Mapping[str, Study], not_run: Sequence[str], out: str | Path, *, name: str, command: str) -> Study:
    """Writes a study with the findings of reproduced experiments. `not_run`: names of the other experiments."""
    study = Workspace(out).write_study(name, "reproductions", [], command)
    entries = [
        Entry(
            each, Path(os.path.relpath(reproduced.path, study.path)).as_posix(), findings.read(reproduced, Reproduction)
        )
        for each, reproduced in studies.items()
    ]
    findings.write(study, Reproductions((*entries, *map(Entry, not_run))))
    return study
