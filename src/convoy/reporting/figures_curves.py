"""How training went: loss and accuracy by epoch, loss and learning rate by step."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from convoy.reporting import ticks
from convoy.reporting.palette import MUTED, Look

CUT = " Runs of one model that differ in length are drawn as far as all of them go."
SLIGHT_GAP = 0.5  # points between training and validation accuracy that are not worth a warning
Metrics = Sequence[Mapping[str, Any]]


class Curve(NamedTuple):
    """Over epochs 1, 2, ...: the mean over seeds, and the least and the greatest of them."""

    label: str
    part: str  # train, validation, or test under the fault that selects on it
    mean: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


class CurveNumbers(NamedTuple):
    quantity: Literal["loss", "accuracy"]  # accuracy in percent
    curves: tuple[Curve, ...]
    seeds: int  # of the model with most of them
    cut: bool  # runs of one model had different lengths: drawn as far as all of them go


class StepNumbers(NamedTuple):
    loss: np.ndarray  # every so many steps, smoothed over `window` steps
    raw: np.ndarray  # the same steps, as they were
    lr: np.ndarray
    at: np.ndarray  # the steps
    window: int


def curve_numbers(runs: Mapping[str, Sequence[Metrics]], quantity: Literal["loss", "accuracy"]) -> CurveNumbers:
    """`runs` holds, for each label, the metrics of its runs."""
    scale = 100 if quantity == "accuracy" else 1
    curves, cut = [], False
    for label, group in runs.items():
        for part in ("train", "validation", "test"):
            key = f"{part}_{quantity}"
            known = [lines for lines in group if lines and all(key in line for line in lines)]
            # null: a loss that was not finite, which leaves a gap
            series = [[math.nan if line[key] is None else scale * line[key] for line in lines] for lines in known]
            if not series:
                continue
            length = min(map(len, series))
            cut = cut or any(len(values) > length for values in series)
            table = np.array([values[:length] for values in series])  # (seeds, epochs)
            curves.append(Curve(label, part, *(tuple(v.tolist()) for v in (table.mean(0), table.min(0), table.max(0)))))
    validated = {curve.label for curve in curves if curve.part == "validation"}
    # A test part that was looked at beside, by a fault, chose nothing.
    chosen = tuple(curve for curve in curves if curve.part != "test" or curve.label not in validated)
    return CurveNumbers(quantity, chosen, max((len(group) for group in runs.values()), default=0), cut)


def selected_accuracy(runs: Mapping[str, Sequence[Metrics]]) -> CurveNumbers | None:
    """The accuracy on the part that chose the epoch alone; None where there was no such part."""
    numbers = curve_numbers(runs, "accuracy")
    parts = {curve.part for curve in numbers.curves} & {"validation", "test"}
    part = "validation" if "validation" in parts else "test"
    kept = tuple(curve for curve in numbers.curves if curve.part == part)
    return numbers._replace(curves=kept) if kept else None


def selected_caption(numbers: CurveNumbers) -> str:
    """Who leads after the first epoch, and who at the end."""
    early, late = (max(numbers.curves, key=lambda curve: curve.mean[place]) for place in (0, -1))
    end = "where the lines end" if numbers.cut else "at the end"
    told = f"After the first epoch {early.label} is highest ({early.mean[0]:.2f} %), {end} "
    told += f"{'still ' if early is late else ''}{late.label} ({late.mean[-1]:.2f} %)."
    if len(numbers.curves) == 1:
        told = f"From {early.mean[0]:.2f} % after the first epoch to {late.mean[-1]:.2f} % {end}."
    band = " Bands span the seeds." if numbers.seeds > 1 else ""
    return f"{told}{band}{CUT if numbers.cut else ''} The axis does not begin at 0."


def label_by_epoch(axes: Axes, longest: int, quantity: Literal["loss", "accuracy"]) -> None:
    room = min(0.9, 0.04 * longest) if longest > 1 else 0.5  # less than 1: there is no epoch 0
    axes.set_xlim(1 - room, longest + room)
    if longest > 1:
        ticks.whole_numbers(axes.xaxis, 8)
    else:
        axes.set_xticks([1])
    axes.set_xlabel("epoch")
    axes.set_ylabel("loss" if quantity == "loss" else "accuracy (%)")


def draw_curves(axes: Axes, numbers: CurveNumbers, look: Look) -> None:
    longest = max((len(curve.mean) for curve in numbers.curves), default=1)
    for curve in numbers.curves:
        epochs = np.arange(1, len(curve.mean) + 1)
        colour = look.colour(curve.label)
        if curve.part == "train":
            axes.plot(epochs, curve.mean, color=colour, linestyle=(0, (4, 2.2)), linewidth=1.4)
            continue
        axes.fill_between(epochs, curve.low, curve.high, color=colour, alpha=0.18, linewidth=0)
        mark = look.mark(curve.label) if longest <= 12 else ""
        axes.plot(epochs, curve.mean, color=colour, linewidth=2, marker=mark, markersize=5, markeredgewidth=0)
    drawn = [value for curve in numbers.curves for value in (*curve.mean, *curve.low, *curve.high)]
    values = [value for value in drawn if math.isfinite(value)]
    if numbers.quantity == "loss" and values and min(values) > 0 and max(values) > 20 * min(values):
        ticks.logarithmic(axes, "y", 0.85 * min(values), 1.15 * max(values))
    label_by_epoch(axes, longest, numbers.quantity)
    if longest == 1:
        for curve in numbers.curves:  # a dashed line of one point cannot be seen
            if curve.part == "train":
                axes.plot([1], curve.mean, "_", color=look.colour(curve.label), markersize=14, markeredgewidth=1.6)


def curves_caption(accuracy: CurveNumbers) -> str:
    """Who ends highest, who overfits most, and since when nothing was gained."""
    selected = {curve.label: curve for curve in accuracy.curves if curve.part != "train"}
    trained = {curve.label: curve for curve in accuracy.curves if curve.part == "train"}
    band = " Bands span the seeds." if accuracy.seeds > 1 else ""
    cut = CUT if accuracy.cut else ""
    if not selected:
        ends = "; ".join(f"{label} {curve.mean[-1]:.2f} %" for label, curve in trained.items())
        return (
            f"Training accuracy ends at {ends}. There was no validation part, so overfitting would not show here.{cut}"
        )
    part = next(iter(selected.values())).part
    best = max(selected.values(), key=lambda curve: curve.mean[-1])
    where = f" of {best.label}" if len(selected) > 1 else ""
    told = [f"{part.capitalize()} accuracy{where} ends {'highest, ' if where else ''}at {best.mean[-1]:.2f} %"]
    told[0] += f" (after the first epoch: {best.mean[0]:.2f} %)." if len(best.mean) > 1 else "."
    gaps = {label: trained[label].mean[-1] - curve.mean[-1] for label, curve in selected.items() if label in trained}
    if gaps:
        widest = max(gaps, key=lambda label: gaps[label])
        named = f" ({widest})" if len(gaps) > 1 else ""
        ends = f"{gaps[widest]:.2f} points above it{named}"
        if gaps[widest] > SLIGHT_GAP:
            told.append(f"Training accuracy ends up to {ends}: the overfitting to see.")
        elif gaps[widest] > 0:
            told.append(f"Training accuracy ends at most {ends}: hardly any overfitting.")
        else:
            told.append(f"Training accuracy does not end above {part} accuracy: no overfitting shows.")
    if part == "test":
        told.append("The test part chose the epoch here: a named fault.")
    return f"{' '.join(told)}{band}{cut} Training values are taken during the epoch, augmentation and dropout on."


def step_numbers(steps: Mapping[str, np.ndarray]) -> StepNumbers | None:
    """At most about 600 points; a loss that is not finite (a skipped update) is left out."""
    if not steps or len(steps["loss"]) < 2:
        return None
    loss = steps["loss"].astype(np.float64)
    finite = np.isfinite(loss)
    if not finite.any():
        return None
    filled = np.interp(np.arange(len(loss)), np.flatnonzero(finite), loss[finite])
    window = max(1, len(loss) // 50)
    sums = np.cumsum(np.concatenate([[0.0], filled]))
    ends = np.arange(1, len(loss) + 1)
    starts = np.maximum(0, ends - window)
    smooth = (sums[ends] - sums[starts]) / (ends - starts)
    at = np.unique(np.linspace(0, len(loss) - 1, min(len(loss), 600)).astype(int))
    step = steps.get("step", np.arange(len(loss)))  # which updates an archived run has kept
    each = max(1, round((int(step[-1]) + 1) / len(loss)))
    return StepNumbers(smooth[at], filled[at], steps["lr"].astype(np.float64)[at], step[at] + 1, window * each)


def draw_step_loss(axes: Axes, numbers: StepNumbers, colour: str) -> None:
    axes.plot(numbers.at, numbers.raw, color=colour, alpha=0.3, linewidth=0.7)
    axes.plot(numbers.at, numbers.loss, color=colour, linewidth=1.8)
    if numbers.raw.min() > 0 and numbers.loss.max() > 20 * numbers.loss.min():
        ticks.logarithmic(axes, "y", 0.85 * float(numbers.raw.min()), 1.15 * float(numbers.raw.max()))
    axes.set_xlabel("step (one batch)")
    axes.set_ylabel("training loss")
    ticks.whole_numbers(axes.xaxis, 5)


def draw_step_lr(axes: Axes, numbers: StepNumbers) -> None:
    axes.plot(numbers.at, numbers.lr, color=MUTED, linewidth=1.8)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("step (one batch)")
    axes.set_ylabel("learning rate")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ticks.whole_numbers(axes.xaxis, 5)


def steps_caption(numbers: StepNumbers) -> str:
    half = numbers.loss[0] + (numbers.loss[-1] - numbers.loss[0]) * 0.9
    falls = numbers.loss[-1] < numbers.loss[0]
    reached = int(numbers.at[np.argmax(numbers.loss <= half)]) if falls else 0
    told = (
        f"Nine tenths of the fall of the loss, from {numbers.loss[0]:.3g} to {numbers.loss[-1]:.3g}, are done by step "
        f"{reached:,} of {int(numbers.at[-1]):,}."
        if falls
        else f"The loss did not fall: {numbers.loss[0]:.3g} at first, {numbers.loss[-1]:.3g} at last."
    )
    drawn = f"Thin: single batches; thick: mean over {numbers.window} steps."
    return f"{told} {drawn} The learning rate is at most {numbers.lr.max():.3g}."
