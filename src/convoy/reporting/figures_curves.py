"""Training curves: loss and accuracy by epoch, loss and learning rate by step, losses of several models."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from convoy.reporting import ticks
from convoy.reporting.palette import MUTED, Look
from convoy.run_contents import EpochMetrics
from convoy.text import gettext as _

Metrics = Sequence[EpochMetrics]
Axis = Literal["step", "seconds"]
WINDOW = 10  # steps over which the losses of several models are smoothed
POINTS = 300  # points of a line of smoothed losses


class Curve(NamedTuple):
    """Mean, minimum and maximum over seeds at epochs 1, 2, ..."""

    label: str
    part: str  # train or validation; test if a fault selects the epoch by it
    mean: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


class CurveNumbers(NamedTuple):
    quantity: Literal["loss", "accuracy"]  # accuracy in percent
    curves: tuple[Curve, ...]
    seeds: tuple[int, int]  # minimum and maximum over models
    truncated: bool  # whether runs of one model have different lengths and are drawn up to the shortest


class StepNumbers(NamedTuple):
    loss: np.ndarray  # smoothed over `window` steps
    raw: np.ndarray  # not smoothed
    lr: np.ndarray
    at: np.ndarray  # step numbers
    window: int


def curve_numbers(runs: Mapping[str, Sequence[Metrics]], quantity: Literal["loss", "accuracy"]) -> CurveNumbers:
    """`runs` maps labels to the metrics of their runs."""
    scale = 100 if quantity == "accuracy" else 1
    curves, truncated = [], False
    for label, group in runs.items():
        for part in ("train", "validation", "test"):
            complete = [metrics for metrics in group if metrics and all(epoch.of(part) for epoch in metrics)]
            by_run = [values_by_epoch(metrics, part, quantity) for metrics in complete]
            series = [[scale * value for value in values.values()] for values in by_run]
            if not series:
                continue
            length = min(map(len, series))
            truncated = truncated or any(len(values) > length for values in series)
            table = np.array([values[:length] for values in series])  # (seeds, epochs)
            curves.append(Curve(label, part, *(tuple(v.tolist()) for v in (table.mean(0), table.min(0), table.max(0)))))
    validated = {curve.label for curve in curves if curve.part == "validation"}
    # If a fault opens the test set in addition to the validation set, the test set does not select the epoch.
    selected = tuple(curve for curve in curves if curve.part != "test" or curve.label not in validated)
    counts = [len(group) for group in runs.values()] or [0]
    return CurveNumbers(quantity, selected, (min(counts), max(counts)), truncated)


def values_by_epoch(metrics: Metrics, part: str, quantity: Literal["loss", "accuracy"]) -> dict[int, float]:
    """Returns the values of the epochs with a score of this part; NaN for a loss that was not finite."""
    scores = {epoch.epoch: score for epoch in metrics if (score := epoch.of(part)) is not None}
    losses = {epoch: math.nan if score.loss is None else score.loss for epoch, score in scores.items()}
    return losses if quantity == "loss" else {epoch: score.accuracy for epoch, score in scores.items()}


def selected_accuracy(runs: Mapping[str, Sequence[Metrics]]) -> CurveNumbers | None:
    """Returns the accuracy on the part that selected the best epoch; None without such a part."""
    numbers = curve_numbers(runs, "accuracy")
    parts = {curve.part for curve in numbers.curves} & {"validation", "test"}
    part = "validation" if "validation" in parts else "test"
    curves = tuple(curve for curve in numbers.curves if curve.part == part)
    return numbers._replace(curves=curves) if curves else None


def selected_caption(numbers: CurveNumbers) -> str:
    return " ".join([*seeds_sentences(numbers.seeds, truncated=numbers.truncated), _("The axis may start above 0.")])


def seeds_sentences(seeds: tuple[int, int], *, truncated: bool) -> list[str]:
    """Returns caption sentences that explain lines and bands. `truncated`: see `CurveNumbers`."""
    fewest, most = seeds
    number = str(most) if fewest == most else _("up to {n}", n=most)
    several = _("Lines: mean; bands: minimum to maximum over {seeds} seeds.", seeds=number)
    sentences = [several if most > 1 else _("Lines: one seed.")]
    if truncated:
        sentences.append(_("Runs of one model that differ in length are drawn up to the end of the shortest."))
    return sentences


def training_values() -> str:
    return _("Training values are averaged during the epoch, with any augmentation and dropout.")


def label_by_epoch(axes: Axes, longest: int, quantity: Literal["loss", "accuracy"]) -> None:
    margin = min(0.9, 0.04 * longest) if longest > 1 else 0.5  # below 1, because epochs begin at 1
    axes.set_xlim(1 - margin, longest + margin)
    if longest > 1:
        ticks.integers(axes.xaxis, 8)
    else:
        axes.set_xticks([1])
    axes.set_xlabel(_("epoch"))
    axes.set_ylabel(_("loss") if quantity == "loss" else _("accuracy (%)"))


def _logarithmic_if_wide(axes: Axes, low: float, high: float) -> None:
    if low > 0 and high > 20 * low:
        ticks.logarithmic(axes, "y", 0.85 * low, 1.15 * high)


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
    all_values = [value for curve in numbers.curves for value in (*curve.mean, *curve.low, *curve.high)]
    values = [value for value in all_values if math.isfinite(value)]
    if numbers.quantity == "loss" and values:
        _logarithmic_if_wide(axes, min(values), max(values))
    label_by_epoch(axes, longest, numbers.quantity)
    if longest == 1:
        for curve in numbers.curves:  # as markers, because a dashed line with one point is invisible
            if curve.part == "train":
                axes.plot([1], curve.mean, "_", color=look.colour(curve.label), markersize=14, markeredgewidth=1.6)


def curves_caption(accuracy: CurveNumbers) -> str:
    selected = {curve.part for curve in accuracy.curves} - {"train"}
    sentences = [*seeds_sentences(accuracy.seeds, truncated=accuracy.truncated), training_values()]
    if not selected:
        sentences.append(_("With no validation set, overfitting is not visible."))
    if "test" in selected:
        sentences.append(_("Protocol fault: the test set selected the best epoch."))
    return " ".join(sentences)


def step_numbers(steps: Mapping[str, np.ndarray]) -> StepNumbers | None:
    """Returns at most 600 points. The loss of a skipped step, which is not finite, is interpolated."""
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
    step = steps.get("step", np.arange(len(loss)))  # an archived run has only some steps
    stride = max(1, round((int(step[-1]) + 1) / len(loss)))
    return StepNumbers(smooth[at], filled[at], steps["lr"].astype(np.float64)[at], step[at] + 1, window * stride)


def draw_step_loss(axes: Axes, numbers: StepNumbers, colour: str) -> None:
    axes.plot(numbers.at, numbers.raw, color=colour, alpha=0.3, linewidth=0.7)
    axes.plot(numbers.at, numbers.loss, color=colour, linewidth=1.8)
    _logarithmic_if_wide(axes, float(numbers.raw.min()), float(numbers.raw.max()))
    axes.set_xlabel(_("step"))
    axes.set_ylabel(_("training loss"))
    ticks.integers(axes.xaxis, 5)


def draw_step_lr(axes: Axes, numbers: StepNumbers) -> None:
    axes.plot(numbers.at, numbers.lr, color=MUTED, linewidth=1.8)
    axes.set_ylim(bottom=0)
    axes.set_xlabel(_("step"))
    axes.set_ylabel(_("learning rate"))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ticks.integers(axes.xaxis, 5)


def steps_caption(numbers: StepNumbers) -> str:
    if numbers.window == 1:
        return _("Loss of individual steps.")
    return _("Thin: loss of individual steps; thick: mean over {n} steps.", n=numbers.window)


# ---- loss by step and by second, of several models ----


class LossLine(NamedTuple):
    """Mean, minimum and maximum over seeds. All arrays are [N]."""

    label: str
    step: np.ndarray  # number of completed steps
    seconds: np.ndarray | None  # training time, mean over seeds; None if not recorded
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


class LossNumbers(NamedTuple):
    lines: tuple[LossLine, ...]
    window: int  # steps per point; more than WINDOW if an archived run has only some steps
    seeds: tuple[int, int]  # minimum and maximum over models
    truncated: bool  # whether runs of one model have different lengths and are drawn up to the shortest


def loss_numbers(
    runs: Mapping[str, Sequence[tuple[Mapping[str, np.ndarray], Metrics]]], timed: Mapping[str, bool]
) -> LossNumbers | None:
    """`runs` maps labels to the steps and metrics of their runs. Returns None if no label has enough steps.

    `timed`: the labels whose times are comparable with those of other labels.
    """
    lines, windows, seeds, truncated = [], [], [], False
    for label, group in runs.items():
        smoothed = [(smooth, metrics) for steps, metrics in group if (smooth := _smoothed(steps)) is not None]
        if not smoothed:
            continue
        ends = [int(at[-1]) for (at, _, _), _ in smoothed]
        first, last = max(at[0] for (at, _, _), _ in smoothed), min(ends)
        step = np.unique(np.linspace(first, last, POINTS).round())
        table = np.array([np.interp(step, at, loss) for (at, loss, _), _ in smoothed])  # (seeds, N)
        clocks = [clock for _, metrics in smoothed if (clock := _seconds(step, metrics)) is not None]
        seconds = np.mean(clocks, axis=0) if timed.get(label) and len(clocks) == len(smoothed) else None
        lines.append(LossLine(label, step, seconds, table.mean(0), table.min(0), table.max(0)))
        windows += [window for (_, _, window), _ in smoothed]
        seeds.append(len(smoothed))
        truncated = truncated or min(ends) < max(ends)
    return LossNumbers(tuple(lines), max(windows), (min(seeds), max(seeds)), truncated) if lines else None


def _smoothed(steps: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray, int] | None:
    """Returns completed steps, means of the last WINDOW finite losses, and steps per window."""
    loss = np.asarray(steps.get("loss", ()), dtype=np.float64)
    done = np.asarray(steps.get("step", np.arange(len(loss)))) + 1
    finite = np.isfinite(loss)
    if finite.sum() <= WINDOW:
        return None
    sums = np.cumsum(np.concatenate([[0.0], loss[finite]]))
    stride = max(1, round(float(done[-1]) / len(done)))
    return done[finite][WINDOW - 1 :], (sums[WINDOW:] - sums[:-WINDOW]) / WINDOW, WINDOW * stride


def _seconds(step: np.ndarray, metrics: Metrics) -> np.ndarray | None:
    """Returns the training seconds at each step, assuming that all steps of an epoch take the same time."""
    if not metrics:
        return None
    return np.interp(step, [0, *(m.step for m in metrics)], [0.0, *(m.train_seconds for m in metrics)])


def draw_losses(axes: Axes, numbers: LossNumbers, axis: Axis, look: Look) -> None:
    lines = [(line, at) for line in numbers.lines if (at := getattr(line, axis)) is not None]
    for line, at in lines:
        colour = look.colour(line.label)
        if max(numbers.seeds) > 1:
            axes.fill_between(at, line.low, line.high, color=colour, alpha=0.16, linewidth=0)
        axes.plot(at, line.mean, color=colour, linewidth=1.5)
        axes.plot(at[-1], line.mean[-1], look.mark(line.label), color=colour, markersize=6, clip_on=False)
    low, high = min(float(line.low.min()) for line, _ in lines), max(float(line.high.max()) for line, _ in lines)
    _logarithmic_if_wide(axes, low, high)
    axes.set_xlim(left=0)
    axes.set_xlabel(_("step") if axis == "step" else _("seconds of training"))
    axes.set_ylabel(_("training loss"))
    ticks.integers(axes.xaxis, 5)


def losses_caption(numbers: LossNumbers, axis: Axis) -> str:
    if numbers.window > WINDOW:
        means = _(
            "Each point is the mean over up to {window} steps, because archived runs keep only some steps.",
            window=numbers.window,
        )
    else:
        means = _("Each point is the mean over {window} steps.", window=WINDOW)
    sentences = [means, _("A mark shows the end of each line.")]
    sentences += seeds_sentences(numbers.seeds, truncated=numbers.truncated)
    if axis == "seconds":
        sentences.append(_("Seconds: training without evaluation, on the machine of each run."))
    return " ".join(sentences)
