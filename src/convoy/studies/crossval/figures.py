"""Accuracy by fold; caption of the curves of the folds."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes

from convoy.reporting import ticks
from convoy.reporting.figures_curves import TRAINING_VALUES, CurveNumbers
from convoy.reporting.palette import INK, MUTED, Look
from convoy.stats import Estimate
from convoy.studies.crossval.finding import CrossvalFinding


def draw(axes: Axes, finding: CrossvalFinding, look: Look, lines: Sequence[str]) -> None:
    """`lines`: the label of each fold's curve, whose colour and mark it has."""
    corrected, naive = _percent(finding.accuracy), _percent(finding.naive)
    intervals = [_percent(row.accuracy) for row in finding.rows]
    low, high = min(corrected[0], *(ends[0] for ends in intervals)), max(corrected[1], *(ends[1] for ends in intervals))
    margin = 0.06 * max(high - low, 0.5)
    axes.set_ylim(max(0.0, low - margin), min(100.0, high + margin))
    axes.set_xlim(0.4, finding.folds + 0.6)
    axes.axhspan(*corrected, color=MUTED, alpha=0.16, linewidth=0)
    axes.axhline(100 * finding.accuracy.mean, color=INK, linewidth=1.4)
    for edge in naive:
        axes.axhline(edge, color=INK, linewidth=1, linestyle=(0, (2, 2)))
    for row, interval, label in zip(finding.rows, intervals, lines, strict=True):
        place = row.fold + 1 + 0.6 * ((row.repeat + 0.5) / finding.repeats - 0.5)
        axes.plot((place, place), interval, color=look.colour(label), alpha=0.45, linewidth=2.5)
        axes.plot(
            place, 100 * row.accuracy.mean, look.mark(label), color=look.colour(label), markersize=7,
            markeredgewidth=0, clip_on=False,
        )  # fmt: skip
    if finding.folds <= 12:
        axes.set_xticks(range(1, finding.folds + 1))
    else:
        ticks.integers(axes.xaxis, 10)
    axes.grid(False, axis="x")
    axes.set_xlabel("scored fold")
    axes.set_ylabel("accuracy (%)")


def _percent(estimate: Estimate) -> tuple[float, float]:
    assert estimate.low is not None
    assert estimate.high is not None
    return 100 * estimate.low, 100 * estimate.high


def caption(finding: CrossvalFinding) -> str:
    repeats = ", repeats next to each other" if finding.repeats > 1 else ""
    return (
        f"Marks: folds (n = {finding.folds}{repeats}) with 95 % intervals over their images. Line: mean; band: its "
        "corrected 95 % interval; dashed: the plain t interval, too narrow because folds share training images. "
        "The axis does not begin at 0."
    )


def curves_caption(accuracy: CurveNumbers) -> str:
    """The scored folds are not in the figure."""
    bands = "Lines: means; bands: range over folds. " if accuracy.seeds > 1 else ""
    return f"{bands}The scored folds are not shown: each is scored once, after training. {TRAINING_VALUES}"
