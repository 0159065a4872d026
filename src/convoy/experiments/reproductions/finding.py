"""The finding of several reproductions: their findings, and experiments that were not run yet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from convoy.experiments.reproduction.finding import Reproduction
from convoy.notebook import html_of


@dataclass(frozen=True)
class Entry:
    experiment: str
    study: str = ""  # folder of the study, relative to that of this one
    finding: Reproduction | None = None  # None: not run yet


@dataclass(frozen=True)
class Reproductions:
    experiments: tuple[Entry, ...]
    kind: Literal["reproductions"] = "reproductions"
    schema: int = 1
    _repr_html_ = html_of

    @property
    def findings(self) -> list[Reproduction]:
        return [entry.finding for entry in self.experiments if entry.finding is not None]
