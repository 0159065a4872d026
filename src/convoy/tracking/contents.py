"""The data of a run folder that are written to a tracker; the same for all trackers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO
from typing import Any, Protocol

from PIL import Image

from convoy.archive import portable, without_folders
from convoy.reporting.reading import PARTS
from convoy.run_contents import EpochMetrics, Score
from convoy.runs import Run
from convoy.stats import wilson

METRICS = {  # name in metrics.jsonl -> name in a tracker
    **{f"{part}_{key}": f"{part}/{key}" for part in ("train", "validation", "test") for key in ("loss", "accuracy")},
    "lr": "optimizer/learning_rate",
    "grad_norm": "optimizer/gradient_norm",
    "images_per_second": "speed/images_per_second",
    "total_seconds": "speed/seconds",
}
ENVIRONMENT = ("convoy", "torch", "cpu", "device", "precision", "threads", "command")


@dataclass(frozen=True)
class Head:
    run: str  # name of the run folder, which identifies the run in the tracker
    group: str | None  # name of the study
    place: str  # folder or project; "": the default
    parameters: Mapping[str, Any]  # the recipe with its sections as tables, and the environment
    started: float  # seconds since 1970


@dataclass(frozen=True)
class Results:
    """Results of a finished run."""

    scores: Mapping[str, float]
    confusion: Image.Image | None
    flags: Sequence[str]
    epoch: int  # the last
    ended: float  # seconds since 1970


class Tracker(Protocol):
    """A run in a tracker. It replaces an earlier run with the same name."""

    def __init__(self, head: Head) -> None: ...

    def log(self, values: Mapping[str, float], epoch: int, time: float) -> None:
        """Adds a point to each curve. `time`: seconds since 1970."""

    def close(self, results: Results | None) -> None:
        """`results`: None if the run is not finished."""

    @property
    def view(self) -> str:
        """Returns the command or URL that shows the run."""


def head_of(run: Run, group: str | None, place: str) -> Head:
    """Parameters contain no local paths, because trackers publish them."""
    environment = {key: getattr(run.environment, key) for key in ENVIRONMENT}
    environment["command"] = without_folders(run.environment.command)
    parameters = {**portable(run).as_table(), "environment": environment}
    started = datetime.fromisoformat(run.environment.date).timestamp()
    return Head(run.name, group, place, parameters, started)


def curves_of(metrics: EpochMetrics) -> dict[str, float]:
    """Returns the metrics of an epoch, without values that are not finite or not measured."""
    line = metrics.as_line()
    return {name: value for key, name in METRICS.items() if (value := line.get(key)) is not None}


def results_of(run: Run, started: float) -> Results:
    scores, metrics = run.scores, run.metrics
    part = next((part for part in PARTS if part in scores), "")
    return Results(
        scores={f"scores/{name}/{key}": value for name in scores for key, value in _values(scores[name]).items()},
        confusion=_confusion(run, scores[part]) if part and scores[part].confusion else None,
        flags=run.flags,
        epoch=len(metrics),
        ended=started + (run.cost.total_seconds or metrics[-1].total_seconds),
    )


def _values(score: Score) -> dict[str, float]:
    """Returns the accuracy with its 95 % interval over the images, and the other scores."""
    low, high = wilson(score.correct, score.n).span
    values = {
        "accuracy": score.correct / score.n,
        "accuracy_low": low,
        "accuracy_high": high,
        "correct": score.correct,
        "images": score.n,
        "loss": score.loss,
        "macro_f1": score.macro_f1,
        "mcc": score.mcc,
    }
    return {name: value for name, value in values.items() if value is not None}


def _confusion(run: Run, score: Score) -> Image.Image:
    from convoy.reporting.canvas import draw_chart
    from convoy.reporting.figures_classes import confusion_numbers
    from convoy.reporting.palette import Look
    from convoy.reporting.sections import confusion_chart

    chart = confusion_chart([confusion_numbers(run.label, run.data.classes, [score])], named=False)
    return Image.open(BytesIO(draw_chart(chart, Look([run.label]))[1]))
