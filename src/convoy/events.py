"""The events of a run, with their JSON for worker processes, and the caller's replies."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter

from convoy.run_contents import EpochMetrics, RunState

OpenTest = bool | Literal["only with fault"]  # score the test set; "only with fault": if selection_on_test is set


class Control(StrEnum):
    """The caller's reply to each progress event."""

    CONTINUE = "continue"
    PAUSE = "pause"  # save and end, to be resumed later
    PRUNE = "prune"  # save and end permanently


@dataclass(frozen=True)
class Started:
    text: str  # one line for the console and the log
    run: Path  # folder of the run
    step: int = 0  # above 0 if the run resumes from a checkpoint


@dataclass(frozen=True)
class Progress:
    epoch: int  # from 1
    epochs: int
    images: int  # processed so far, in all epochs
    total: int  # images of all epochs
    loss: float | None  # mean since the last event; None if it is not finite
    accuracy: float  # accuracy on the images since the last event
    images_per_second: float
    batches_per_second: float


@dataclass(frozen=True)
class EpochEnded:
    text: str
    metrics: EpochMetrics
    run: Path


@dataclass(frozen=True)
class Note:
    text: str
    of_study: bool = False  # whether it applies to all runs


@dataclass(frozen=True)
class Ended:
    text: str
    run: Path
    state: RunState
    cached: bool = False  # the run was finished before


@dataclass(frozen=True)
class Failed:
    """An exception in a worker process."""

    text: str
    is_bug: bool = False


Event = Started | Progress | EpochEnded | Note | Ended
_TYPES: dict[str, TypeAdapter[Event | Failed]] = {
    event.__name__: TypeAdapter(event) for event in (Started, Progress, EpochEnded, Note, Ended, Failed)
}


def to_json(event: Event | Failed) -> str:
    return json.dumps({"event": type(event).__name__, **asdict(event)}, default=str)


def from_json(line: str) -> Event | Failed:
    fields = json.loads(line)
    return _TYPES[fields.pop("event")].validate_python(fields)
