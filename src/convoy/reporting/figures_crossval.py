"""Accuracy by fold; caption of the curves of the folds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from matplotlib.axes import Axes

from convoy.reporting import ticks
from convoy.reporting.figures_curves import TRAINING_VALUES, CurveNumbers
from convoy.reporting.palette import INK, MUTED, Look
from convoy.stats import Estimate


class FoldPoint(NamedTuple):
    """Percent, with the 95 % interval over the images of the fold."""

    label: str
    fold: int  # from 1
    repeat: int
    accuracy: float
    low: float
    high: float


class FoldNumbers(NamedTuple):
    points: tuple[FoldPoint, ...]
    folds: int
    repeats: int
    mean: float
    corrected: tuple[float, float]  # intervals of the mean
    naive: tuple[float, float]


def fold_numbers(finding: Mapping[str, Any]) -> FoldNumbers:
    points = []
    for row in finding["rows"]:
        accuracy, low, high = (100 * row["accuracy"][key] for key in ("mean", "low", "high"))
        points.append(FoldPoint(row["label"], row["fold"] + 1, row["repeat"] + 1, accuracy, low, high))
    corrected, naive = (Estimate.from_json(finding[key]) for key in ("accuracy", "naive"))
    return FoldNumbers(
        tuple(points), finding["folds"], finding["repeats"], 100 * corrected.mean, _percent(corrected), _percent(naive)
    )


def _percent(estimate: Estimate) -> tuple[float, float]:
    assert estimate.low is not None
    assert estimate.high is not None
    return 100 * estimate.low, 100 * estimate.high


def draw_folds(axes: Axes, numbers: FoldNumbers, look: Look, line_of: Mapping[str, str]) -> None:
    """`line_of`: label of a point -> label whose colour and mark it has."""
    low = min(numbers.corrected[0], *(point.low for point in numbers.points))
    high = max(numbers.corrected[1], *(point.high for point in numbers.points))
    margin = 0.06 * max(high - low, 0.5)
    axes.set_ylim(max(0.0, low - margin), min(100.0, high + margin))
    axes.set_xlim(0.4, numbers.folds + 0.6)
    axes.axhspan(*numbers.corrected, color=MUTED, alpha=0.16, linewidth=0)
    axes.axhline(numbers.mean, color=INK, linewidth=1.4)
    for edge in numbers.naive:
        axes.axhline(edge, color=INK, linewidth=1, linestyle=(0, (2, 2)))
    for point in numbers.points:
        place = point.fold + 0.6 * ((point.repeat - 0.5) / numbers.repeats - 0.5)
        label = line_of[point.label]
        axes.plot((place, place), (point.low, point.high), color=look.colour(label), alpha=0.45, linewidth=2.5)
        axes.plot(
            place, point.accuracy, look.mark(label), color=look.colour(label), markersize=7, markeredgewidth=0,
            clip_on=False,
        )  # fmt: skip
    if numbers.folds <= 12:
        axes.set_xticks(range(1, numbers.folds + 1))
    else:
        ticks.integers(axes.xaxis, 10)
    axes.grid(False, axis="x")
    axes.set_xlabel("scored fold")
    axes.set_ylabel("accuracy (%)")


def folds_caption(numbers: FoldNumbers) -> str:
    repeats = ", repeats next to each other" if numbers.repeats > 1 else ""
    return (
        f"Marks: folds (n = {numbers.folds}{repeats}) with 95 % intervals over their images. Line: mean; band: its "
        "corrected 95 % interval; dashed: the plain t interval, too narrow because folds share training images. "
        "The axis does not begin at 0."
    )


def fold_curves_caption(accuracy: CurveNumbers) -> str:
    """The scored folds are not in the figure."""
    bands = "Lines: means; bands: range over folds. " if accuracy.seeds > 1 else ""
    return f"{bands}The scored folds are not shown: each is scored once, after training. {TRAINING_VALUES}"
