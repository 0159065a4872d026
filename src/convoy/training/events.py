"""What a run yields while it trains, and what its caller may ask of it."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

Wish = Literal["go on", "interrupt", "prune"]
OpenTest = bool | Literal["by fault"]  # by fault: only as the recipe's fault selection_on_test opens it


class Event(NamedTuple):
    """A step of a run's progress; JSON throughout, because worker processes send it over a pipe."""

    kind: Literal["start", "progress", "epoch", "note", "end"]
    text: str  # a plain line for the console and the log; empty for progress
    values: dict[str, Any]
