"""The text that a kind of study adds to lab reports and checklists. The optional function `about` in its words.py
returns it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Cite = Callable[..., str]  # names of convoy.lab.references.METHODS -> " [1, 2]"


def _nothing(cite: Cite) -> str:
    return ""


@dataclass(frozen=True)
class About:
    """Sentences; empty ones are left out."""

    method: Callable[[Cite], str] = _nothing  # how results are scored and compared, for a lab report
    question: str = ""  # about the results, for the reader of a lab report
    compares_models: bool = False  # by paired tests; then `method` is for two or more models
    uncertainty: str = ""  # the intervals of the results, for a checklist; empty: depends on the number of seeds
    hyperparameters: str = ""  # how they were chosen, for a checklist; empty: by the author


NOTHING = About()
