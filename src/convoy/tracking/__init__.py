"""Writes runs to experiment trackers. Each tracker is a file in this package and a row of TRACKERS.

A tracker's library runs in a separate process (convoy.tracking.writer) that reads run folders. A failure, a slow
network or output of the library therefore cannot disturb training. An export sends this process the same messages as
training.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from convoy.registry import unknown
from convoy.runs import Run, Study
from convoy.text import gettext as _

PROJECT = "convoy"


class Row(NamedTuple):
    tracker: str  # the class, a convoy.tracking.contents.Tracker
    install: str  # requirement for pip
    is_folder: bool = False  # whether it writes into a folder instead of a project


TRACKERS = {  # by the name of the library
    "tensorboard": Row("convoy.tracking.tensorboard:TensorBoard", "'convoy-ml[track]'", is_folder=True),
    "trackio": Row("convoy.tracking.trackio:Trackio", "'convoy-ml[track]'"),
    "wandb": Row("convoy.tracking.wandb:WeightsAndBiases", "wandb"),
    "mlflow": Row("convoy.tracking.mlflow:MLflow", "mlflow"),
}


def check(name: str, flag: str) -> None:
    """Raises ValueError for an unknown tracker or a missing library."""
    if name not in TRACKERS:
        raise unknown(_("tracker"), name, TRACKERS, flag)
    if find_spec(name) is None:
        raise ValueError(
            _(
                "{flag} {name} needs the package {name}: pip install {install}",
                flag=flag,
                name=name,
                install=TRACKERS[name].install,
            )
        )


def default_place(name: str, out: str | Path) -> str:
    """Returns the folder or project; "" for the project set by the library's own environment variable."""
    return str(Path(out, name)) if TRACKERS[name].is_folder else ""


def export(target: Run | Study, name: str, place: str) -> None:
    """Writes a run, or all runs of a study as a group. Replaces runs that the tracker already has.

    Prints the command or URL that shows them. Raises ValueError if the library is missing or fails.
    """
    from convoy.tracking.live import Feed, print_view

    check(name, "--to")
    if TRACKERS[name].is_folder and Path(place).is_file():
        raise ValueError(_("{place}: expected a folder, got a file", place=place))
    runs = [target] if isinstance(target, Run) else [member.run for member in target.members]
    if missing := [run.path for run in runs if not run.metrics]:
        raise ValueError(_("{missing} has no finished epoch", missing=missing[0]))
    feed = Feed(name, place)
    for run in runs:
        feed.update(run.path, None if isinstance(target, Run) else target.name)
    outcome = feed.close()
    if outcome.error:
        raise ValueError(f"{name}: {outcome.error}")
    print_view(name, outcome)
