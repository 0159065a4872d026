"""Smoothed training loss of several models by step and by second, with bands over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from matplotlib.axes import Axes

from convoy.reporting import ticks
from convoy.reporting.figures_curves import Metrics, seeds_sentences
from convoy.reporting.palette import Look
from convoy.text import gettext as _

WINDOW = 10  # steps
POINTS = 300  # of a line
Axis = Literal["step", "seconds"]


class LossLine(NamedTuple):
    """Mean, minimum and maximum over seeds. All arrays are [N]."""

    label: str
    step: np.ndarray  # steps done
    seconds: np.ndarray | None  # of training, mean over seeds; None if not recorded
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


class LossNumbers(NamedTuple):
    lines: tuple[LossLine, ...]
    window: int  # steps that a point covers: more than WINDOW if an archived run keeps only some
    seeds: int  # maximum over models
    cut: bool  # runs of one model have different lengths: drawn up to the shortest


def loss_numbers(runs: Mapping[str, Sequence[tuple[Mapping[str, np.ndarray], Metrics]]]) -> LossNumbers | None:
    """`runs`: label -> steps and metrics of its runs. None if no label has enough steps."""
    lines, windows, seeds, cut = [], [], [], False
    for label, group in runs.items():
        smoothed = [(smooth, metrics) for steps, metrics in group if (smooth := _smoothed(steps)) is not None]
        if not smoothed:
            continue
        ends = [int(at[-1]) for (at, _, _), _ in smoothed]
        first, last = max(at[0] for (at, _, _), _ in smoothed), min(ends)
        step = np.unique(np.linspace(first, last, POINTS).round())
        table = np.array([np.interp(step, at, loss) for (at, loss, _), _ in smoothed])  # (seeds, N)
        clocks = [clock for _, metrics in smoothed if (clock := _seconds(step, metrics)) is not None]
        seconds = np.mean(clocks, axis=0) if len(clocks) == len(smoothed) else None
        lines.append(LossLine(label, step, seconds, table.mean(0), table.min(0), table.max(0)))
        windows += [window for (_, _, window), _ in smoothed]
        seeds.append(len(smoothed))
        cut = cut or min(ends) < max(ends)
    return LossNumbers(tuple(lines), max(windows), max(seeds), cut) if lines else None


def _smoothed(steps: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray, int] | None:
    """Steps done, mean of the last WINDOW stored losses (those that are not finite are skipped), steps per window."""
    loss = np.asarray(steps.get("loss", ()), dtype=np.float64)
    done = np.asarray(steps.get("step", np.arange(len(loss)))) + 1
    finite = np.isfinite(loss)
    if finite.sum() <= WINDOW:
        return None
    sums = np.cumsum(np.concatenate([[0.0], loss[finite]]))
    stride = max(1, round(float(done[-1]) / len(done)))
    return done[finite][WINDOW - 1 :], (sums[WINDOW:] - sums[:-WINDOW]) / WINDOW, WINDOW * stride


def _seconds(step: np.ndarray, metrics: Metrics) -> np.ndarray | None:
    """Assumes that all steps of an epoch take the same time."""
    if not metrics:
        return None
    return np.interp(step, [0, *(each.step for each in metrics)], [0.0, *(each.train_seconds for each in metrics)])


def draw_losses(axes: Axes, numbers: LossNumbers, axis: Axis, look: Look) -> None:
    lines = [(line, at) for line in numbers.lines if (at := getattr(line, axis)) is not None]
    for line, at in lines:
        colour = look.colour(line.label)
        if numbers.seeds > 1:
            axes.fill_between(at, line.low, line.high, color=colour, alpha=0.16, linewidth=0)
        axes.plot(at, line.mean, color=colour, linewidth=1.5)
        axes.plot(at[-1], line.mean[-1], look.mark(line.label), color=colour, markersize=6, clip_on=False)
    low, high = min(float(line.low.min()) for line, _ in lines), max(float(line.high.max()) for line, _ in lines)
    if low > 0 and high > 20 * low:
        ticks.logarithmic(axes, "y", 0.85 * low, 1.15 * high)
    axes.set_xlim(left=0)
    axes.set_xlabel(_("step") if axis == "step" else _("seconds of training"))
    axes.set_ylabel(_("training loss"))
    ticks.integers(axes.xaxis, 5)


def losses_caption(numbers: LossNumbers, axis: Axis) -> str:
    if numbers.window > WINDOW:
        means = _("Means over up to {window} steps, since archived runs keep only some.", window=numbers.window)
    else:
        means = _("Means over {window} steps.", window=WINDOW)
    sentences = [means, _("A mark ends each line.")]
    sentences += seeds_sentences(numbers.seeds, cut=numbers.cut)
    if axis == "seconds":
        sentences.append(_("Seconds of training passes only, on the machine of each run."))
    return " ".join(sentences)
