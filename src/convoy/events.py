"""The events that a run yields, how its caller controls it, and their JSON for worker processes. No torch."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter

from convoy.run_contents import EpochMetrics, RunState

OpenTest = bool | Literal["by fault"]  # by fault: only if the recipe has the fault selection_on_test


class Control(StrEnum):
    """The caller's answer to each progress report."""

    CONTINUE = "continue"
    PAUSE = "pause"  # save and end, to be resumed later
    PRUNE = "prune"  # save and end permanently


@dataclass(frozen=True)
class Started:
    text: str  # here and below: one line for the console and the log


@dataclass(frozen=True)
class Progress:
    epoch: int  # from 1
    epochs: int
    images: int  # of the run so far
    total: int  # images of the full run
    loss: float | None  # mean since the last report; None if it is not finite
    accuracy: float  # of the images since the last report
    images_per_second: float
    batches_per_second: float


@dataclass(frozen=True)
class EpochEnded:
    text: str
    metrics: EpochMetrics


@dataclass(frozen=True)
class Note:
    text: str


@dataclass(frozen=True)
class Ended:
    text: str
    run: Path
    state: RunState
    cached: bool = False  # the run was finished before


@dataclass(frozen=True)
class Failed:
    """From a worker process only: in this process, an exception."""

    text: str
    is_bug: bool = False


Event = Started | Progress | EpochEnded | Note | Ended
_TYPES: dict[str, TypeAdapter[Event | Failed]] = {
    each.__name__: TypeAdapter(each) for each in (Started, Progress, EpochEnded, Note, Ended, Failed)
}


def to_json(event: Event | Failed) -> str:
    return json.dumps({"event": type(event).__name__, **asdict(event)}, default=str)


def from_json(line: str) -> Event | Failed:
    fields = json.loads(line)
    return _TYPES[fields.pop("event")].validate_python(fields)
