"""Training curves: loss and accuracy by epoch, loss and learning rate by step."""

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
from convoy.text import ngettext

Metrics = Sequence[EpochMetrics]


class Curve(NamedTuple):
    """Over epochs 1, 2, ...: mean, minimum and maximum over seeds."""

    label: str
    part: str  # train, validation, or test under the fault that selects on it
    mean: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


class CurveNumbers(NamedTuple):
    quantity: Literal["loss", "accuracy"]  # accuracy in percent
    curves: tuple[Curve, ...]
    seeds: int  # maximum over models
    cut: bool  # runs of one model have different lengths: drawn up to the shortest


class StepNumbers(NamedTuple):
    loss: np.ndarray  # of some steps, smoothed over `window` steps
    raw: np.ndarray  # of the same steps, not smoothed
    lr: np.ndarray
    at: np.ndarray  # step numbers
    window: int


def curve_numbers(runs: Mapping[str, Sequence[Metrics]], quantity: Literal["loss", "accuracy"]) -> CurveNumbers:
    """`runs`: label -> metrics of its runs."""
    scale = 100 if quantity == "accuracy" else 1
    curves, cut = [], False
    for label, group in runs.items():
        for part in ("train", "validation", "test"):
            complete = [metrics for metrics in group if metrics and all(each.of(part) for each in metrics)]
            by_run = [values_by_epoch(metrics, part, quantity) for metrics in complete]
            series = [[scale * value for value in values.values()] for values in by_run]
            if not series:
                continue
            length = min(map(len, series))
            cut = cut or any(len(values) > length for values in series)
            table = np.array([values[:length] for values in series])  # (seeds, epochs)
            curves.append(Curve(label, part, *(tuple(v.tolist()) for v in (table.mean(0), table.min(0), table.max(0)))))
    validated = {curve.label for curve in curves if curve.part == "validation"}
    # A test set that a fault opened in addition to the validation set selects nothing.
    shown = tuple(curve for curve in curves if curve.part != "test" or curve.label not in validated)
    return CurveNumbers(quantity, shown, max((len(group) for group in runs.values()), default=0), cut)


def values_by_epoch(metrics: Metrics, part: str, quantity: Literal["loss", "accuracy"]) -> dict[int, float]:
    """Of the epochs with a score of this part; NaN for a loss that was not finite, which leaves a gap."""
    scores = {each.epoch: score for each in metrics if (score := each.of(part)) is not None}
    losses = {epoch: math.nan if score.loss is None else score.loss for epoch, score in scores.items()}
    return losses if quantity == "loss" else {epoch: score.accuracy for epoch, score in scores.items()}


def selected_accuracy(runs: Mapping[str, Sequence[Metrics]]) -> CurveNumbers | None:
    """Accuracy on the part that selected the epoch; None without such a part."""
    numbers = curve_numbers(runs, "accuracy")
    parts = {curve.part for curve in numbers.curves} & {"validation", "test"}
    part = "validation" if "validation" in parts else "test"
    curves = tuple(curve for curve in numbers.curves if curve.part == part)
    return numbers._replace(curves=curves) if curves else None


def selected_caption(numbers: CurveNumbers) -> str:
    return " ".join([*seeds_sentences(numbers.seeds, cut=numbers.cut), _("The axis does not begin at 0.")])


def seeds_sentences(seeds: int, *, cut: bool) -> list[str]:
    """For a caption: what lines and bands are; `cut`: runs of one model have different lengths."""
    several = _("Lines: means; bands: range over up to {seeds} seeds.", seeds=seeds)
    sentences = [several if seeds > 1 else _("Lines: one seed.")]
    if cut:
        sentences.append(_("Runs of one model with different lengths are drawn up to the shortest."))
    return sentences


def training_values() -> str:
    return _("Training values are recorded during the epoch, with augmentation and dropout.")


def label_by_epoch(axes: Axes, longest: int, quantity: Literal["loss", "accuracy"]) -> None:
    room = min(0.9, 0.04 * longest) if longest > 1 else 0.5  # below 1: there is no epoch 0
    axes.set_xlim(1 - room, longest + room)
    if longest > 1:
        ticks.integers(axes.xaxis, 8)
    else:
        axes.set_xticks([1])
    axes.set_xlabel(_("epoch"))
    axes.set_ylabel(_("loss") if quantity == "loss" else _("accuracy (%)"))


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
    if numbers.quantity == "loss" and values and min(values) > 0 and max(values) > 20 * min(values):
        ticks.logarithmic(axes, "y", 0.85 * min(values), 1.15 * max(values))
    label_by_epoch(axes, longest, numbers.quantity)
    if longest == 1:
        for curve in numbers.curves:  # a dashed line of one point is invisible
            if curve.part == "train":
                axes.plot([1], curve.mean, "_", color=look.colour(curve.label), markersize=14, markeredgewidth=1.6)


def curves_caption(accuracy: CurveNumbers) -> str:
    selected = {curve.part for curve in accuracy.curves} - {"train"}
    sentences = [*seeds_sentences(accuracy.seeds, cut=accuracy.cut), training_values()]
    if not selected:
        sentences.append(_("There is no validation set, so overfitting is not visible."))
    if "test" in selected:
        sentences.append(_("The test set selected the epoch: a named fault."))
    return " ".join(sentences)


def step_numbers(steps: Mapping[str, np.ndarray]) -> StepNumbers | None:
    """At most 600 points; a loss that is not finite (a skipped step) is interpolated."""
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
    step = steps.get("step", np.arange(len(loss)))  # an archived run keeps only some steps
    each = max(1, round((int(step[-1]) + 1) / len(loss)))
    return StepNumbers(smooth[at], filled[at], steps["lr"].astype(np.float64)[at], step[at] + 1, window * each)


def draw_step_loss(axes: Axes, numbers: StepNumbers, colour: str) -> None:
    axes.plot(numbers.at, numbers.raw, color=colour, alpha=0.3, linewidth=0.7)
    axes.plot(numbers.at, numbers.loss, color=colour, linewidth=1.8)
    if numbers.raw.min() > 0 and numbers.loss.max() > 20 * numbers.loss.min():
        ticks.logarithmic(axes, "y", 0.85 * float(numbers.raw.min()), 1.15 * float(numbers.raw.max()))
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
    return ngettext(
        "Thin: single batches; thick: mean over {n} step.",
        "Thin: single batches; thick: mean over {n} steps.",
        numbers.window,
    )
