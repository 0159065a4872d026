"""The training loss of several models in the same axes, by batch and by second, smoothed, with a band over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from matplotlib.axes import Axes

from convoy.reporting import ticks
from convoy.reporting.figures_curves import Metrics
from convoy.reporting.palette import Look
from convoy.reporting.quantities import plain

WINDOW = 10  # batches
POINTS = 300  # of a line
Axis = Literal["step", "seconds"]


class LossLine(NamedTuple):
    """All arrays [N]: the mean over seeds, and the least and the greatest of them."""

    label: str
    step: np.ndarray  # batches done
    seconds: np.ndarray | None  # of training, a mean over seeds; None where no epoch tells them
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


class LossNumbers(NamedTuple):
    lines: tuple[LossLine, ...]
    window: int  # batches that a point stands for: more than WINDOW where an archived run has kept only some
    seeds: int  # of the model with most of them
    cut: bool  # runs of one model had different lengths: drawn as far as all of them go


def loss_numbers(runs: Mapping[str, Sequence[tuple[Mapping[str, np.ndarray], Metrics]]]) -> LossNumbers | None:
    """`runs` holds, for each label, the steps and the metrics of its runs; None where no label has enough steps."""
    lines, windows, seeds, cut = [], [], [], False
    for label, group in runs.items():
        known = [(smooth, metrics) for steps, metrics in group if (smooth := _smoothed(steps)) is not None]
        if not known:
            continue
        ends = [int(at[-1]) for (at, _, _), _ in known]
        first, last = max(at[0] for (at, _, _), _ in known), min(ends)
        step = np.unique(np.linspace(first, last, POINTS).round())
        table = np.array([np.interp(step, at, loss) for (at, loss, _), _ in known])  # (seeds, N)
        clocks = [clock for _, metrics in known if (clock := _seconds(step, metrics)) is not None]
        seconds = np.mean(clocks, axis=0) if len(clocks) == len(known) else None
        lines.append(LossLine(label, step, seconds, table.mean(0), table.min(0), table.max(0)))
        windows += [window for (_, _, window), _ in known]
        seeds.append(len(known))
        cut = cut or min(ends) < max(ends)
    return LossNumbers(tuple(lines), max(windows), max(seeds), cut) if lines else None


def _smoothed(steps: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray, int] | None:
    """Batches done and the mean of the last WINDOW losses that were kept; a loss that is not finite is left out."""
    loss = np.asarray(steps.get("loss", ()), dtype=np.float64)
    done = np.asarray(steps.get("step", np.arange(len(loss)))) + 1
    finite = np.isfinite(loss)
    if finite.sum() <= WINDOW:
        return None
    sums = np.cumsum(np.concatenate([[0.0], loss[finite]]))
    apart = max(1, round(float(done[-1]) / len(done)))
    return done[finite][WINDOW - 1 :], (sums[WINDOW:] - sums[:-WINDOW]) / WINDOW, WINDOW * apart


def _seconds(step: np.ndarray, metrics: Metrics) -> np.ndarray | None:
    """An epoch's batches take equally long."""
    epochs = [line for line in metrics if "step" in line and "train_seconds" in line]
    if not epochs:
        return None
    return np.interp(step, [0, *(line["step"] for line in epochs)], [0.0, *(line["train_seconds"] for line in epochs)])


def draw_losses(axes: Axes, numbers: LossNumbers, axis: Axis, look: Look) -> None:
    drawn = [(line, at) for line in numbers.lines if (at := _along(line, axis)) is not None]
    for line, at in drawn:
        colour = look.colour(line.label)
        if numbers.seeds > 1:
            axes.fill_between(at, line.low, line.high, color=colour, alpha=0.16, linewidth=0)
        axes.plot(at, line.mean, color=colour, linewidth=1.5)
        axes.plot(at[-1], line.mean[-1], look.mark(line.label), color=colour, markersize=6, clip_on=False)
    low, high = min(float(line.low.min()) for line, _ in drawn), max(float(line.high.max()) for line, _ in drawn)
    if low > 0 and high > 20 * low:
        ticks.logarithmic(axes, "y", 0.85 * low, 1.15 * high)
    axes.set_xlim(left=0)
    axes.set_xlabel("batch" if axis == "step" else "seconds of training")
    axes.set_ylabel("training loss")
    ticks.whole_numbers(axes.xaxis, 5)


def losses_caption(numbers: LossNumbers, axis: Axis) -> str:
    """Who is down first: where each model reaches what all of them reach."""
    lines = [line for line in numbers.lines if line.seconds is not None or axis == "step"]
    level = max(float(line.mean.min()) for line in lines)
    reached = {line.label: float(_along(line, axis)[np.argmax(line.mean <= level)]) for line in lines}
    first, last = (choose(reached, key=lambda label: reached[label]) for choose in (min, max))
    told = [f"{first} comes down to {level:.3g} by {_told(reached[first], axis)}."]
    if len(lines) > 1:
        told = [
            f"All come down to a loss of {level:.3g}: {first} first, by {_told(reached[first], axis)}, "
            f"{last} last, by {_told(reached[last], axis)}."
        ]
    told.append(f"Means over {WINDOW} batches{_kept(numbers)}; a mark ends each line.")
    told += ["Bands span the seeds."] if numbers.seeds > 1 else []
    told += ["Seconds count the training passes alone, on the machine of each run."] if axis == "seconds" else []
    told += ["Runs of one model that differ in length are drawn as far as all of them go."] if numbers.cut else []
    return " ".join(told)


def _along(line: LossLine, axis: Axis) -> Any:
    return line.step if axis == "step" else line.seconds


def _told(value: float, axis: Axis) -> str:
    return f"batch {value:,.0f}" if axis == "step" else f"{plain(value)} s"


def _kept(numbers: LossNumbers) -> str:
    if numbers.window == WINDOW:
        return ""
    return (
        f" (of an archived run, which kept some batches only, over {WINDOW} of these: up to {numbers.window} batches)"
    )
