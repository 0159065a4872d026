"""The events that a run yields, and how its caller controls it."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal, NamedTuple

OpenTest = bool | Literal["by fault"]  # by fault: only if the recipe has the fault selection_on_test


class Control(StrEnum):
    """The caller's answer to each progress report."""

    CONTINUE = "continue"
    PAUSE = "pause"  # save and end, to be resumed later
    PRUNE = "prune"  # save and end permanently


class Event(NamedTuple):
    """One progress message; JSON, because worker processes send it through a pipe."""

    kind: Literal["start", "progress", "epoch", "note", "end"]
    text: str  # one line for the console and the log; empty for progress
    values: dict[str, Any]
