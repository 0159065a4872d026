"""What a run yields while it trains, and how its caller controls it."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal, NamedTuple

OpenTest = bool | Literal["by fault"]  # by fault: only as the recipe's fault selection_on_test opens it


class Control(StrEnum):
    """The caller's answer each time a run reports progress."""

    CONTINUE = "continue"
    PAUSE = "pause"  # save and end, to be resumed later
    PRUNE = "prune"  # keep what is there and end for good


class Event(NamedTuple):
    """A step of a run's progress; JSON throughout, because worker processes send it over a pipe."""

    kind: Literal["start", "progress", "epoch", "note", "end"]
    text: str  # a plain line for the console and the log; empty for progress
    values: dict[str, Any]
