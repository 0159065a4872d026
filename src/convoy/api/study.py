"""Studies and workspaces of the Python interface, with typed findings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from convoy import runs
from convoy.experiments import kinds


class Study(runs.Study):
    """Several runs with one question, and the finding."""

    @property
    def finding(self) -> Any:
        """The finding, a dataclass such as `convoy.studies.compare.finding.CompareFinding`.

        Raises ValueError if finding.json is damaged or was written by another version.
        """
        return kinds.finding_of(self)


class Workspace(runs.Workspace):
    """The folder OUT with runs and studies."""

    def studies(self) -> Iterator[Study]:
        return (Study(study.path) for study in super().studies())
