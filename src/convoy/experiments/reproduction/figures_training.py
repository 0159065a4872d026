"""Training under two protocols in the same axes: colour is the model, line style is the protocol."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from matplotlib.axes import Axes

from convoy.experiments.experiment import Side
from convoy.reporting import ticks
from convoy.reporting.figures_curves import (
    Curve,
    Metrics,
    curve_numbers,
    label_by_epoch,
    training_values,
    values_by_epoch,
)
from convoy.reporting.palette import INK, PAPER, Look
from convoy.reporting.quantities import listed
from convoy.reporting.words import part_name
from convoy.text import gettext as _

STYLES = {"as_published": (0, (4, 2.2)), "corrected": "-"}
PARTS = ("train", "validation", "test")
ROLES = ("training", "held out", "test")


class Line(NamedTuple):
    protocol: str
    curve: Curve
    role: str  # one of ROLES; a test set that selects the epoch (a fault) is "held out"
    epochs: tuple[int, ...]  # of the curve's values


class PublishedCurve(NamedTuple):
    part: str
    accuracy: tuple[float, ...]  # percent, over epochs 1, 2, ...


def lines(
    metrics: Mapping[Side, Mapping[str, Sequence[Metrics]]], quantity: Literal["loss", "accuracy"]
) -> tuple[Line, ...]:
    """`metrics`: protocol -> label -> epochs of its runs."""
    all_lines: list[Line] = []
    for protocol, runs in metrics.items():
        curves = curve_numbers(runs, quantity).curves
        validated = {curve.label for curve in curves if curve.part == "validation"}
        for curve in curves:
            role = "training" if curve.part == "train" else "held out"
            all_lines.append(Line(protocol, curve, role, tuple(range(1, len(curve.mean) + 1))))
        openings = [test_openings(protocol, label, runs[label][0], quantity) for label in runs if label in validated]
        all_lines += [line for line in openings if line is not None]
    return tuple(all_lines)


def test_openings(protocol: str, label: str, metrics: Metrics, quantity: Literal["loss", "accuracy"]) -> Line | None:
    """The test set, opened at some epochs in addition to the validation set; the epochs differ between seeds."""
    scale = 100 if quantity == "accuracy" else 1
    by_epoch = values_by_epoch(metrics, "test", quantity)
    values = tuple(scale * value for value in by_epoch.values())
    return Line(protocol, Curve(label, "test", values, values, values), "test", tuple(by_epoch)) if by_epoch else None


def published_curves(published: Mapping[str, object]) -> tuple[PublishedCurve, ...]:
    """Published accuracies by epoch, such as "test_accuracy_by_epoch"."""
    by_part = [(part, published.get(f"{part}_accuracy_by_epoch")) for part in PARTS]
    return tuple(
        PublishedCurve(part, tuple(100 * value for value in values))
        for part, values in by_part
        if isinstance(values, list)
    )


def draw_lines(axes: Axes, group: Sequence[Line], look: Look, published: Sequence[PublishedCurve] = ()) -> None:
    """If several roles share the axes, training lines are thin and extra openings of the test set have crosses."""
    together = len({line.role for line in group}) > 1
    for line in group:
        curve, colour, style, epochs = line.curve, look.colour(line.curve.label), STYLES[line.protocol], line.epochs
        thin = line.role == "training" and together
        if not thin:
            axes.fill_between(epochs, curve.low, curve.high, color=colour, alpha=0.13, linewidth=0)
        few = len(curve.mean) <= 12
        mark = "x" if line.role == "test" and together else look.mark(curve.label) if few and not thin else ""
        axes.plot(
            epochs, curve.mean, color=colour, linestyle=style, linewidth=1.0 if thin else 2.0, marker=mark,
            markersize=5, markeredgewidth=1.2 if mark == "x" else 0,
        )  # fmt: skip
        if thin and len(epochs) == 1:  # a line of one point is invisible
            axes.plot(epochs, curve.mean, "_", color=colour, markersize=12)
    for points in published:
        axes.plot(
            range(1, len(points.accuracy) + 1), points.accuracy, "D", color=INK, markerfacecolor=PAPER,
            markersize=4 if points.part == "train" and together else 6, linestyle="none",
        )  # fmt: skip


def frame(
    axes: Axes,
    all_lines: Sequence[Line],
    quantity: Literal["loss", "accuracy"],
    published: Sequence[PublishedCurve] = (),
) -> None:
    """Limits from all lines of a chart, so that its panels are comparable."""
    longest = max(*(len(curve.accuracy) for curve in published), *(line.epochs[-1] for line in all_lines), 0)
    values = [value for line in all_lines for value in (*line.curve.mean, *line.curve.low, *line.curve.high)]
    values += [value for curve in published for value in curve.accuracy]
    values = [value for value in values if math.isfinite(value)] or [0.0]  # a loss that is not finite is a gap
    if quantity == "loss" and min(values) > 0 and max(values) > 20 * min(values):
        ticks.logarithmic(axes, "y", 0.85 * min(values), 1.15 * max(values))
    elif quantity == "loss":
        room = 0.05 * (max(values) - min(values)) or 0.05
        axes.set_ylim(min(values) - room, max(values) + room)
    else:
        room = max(0.2, 0.04 * (max(values) - min(values)))
        axes.set_ylim(min(values) - room, max(values) + room)
    label_by_epoch(axes, longest, quantity)


def lines_caption(accuracy: Sequence[Line], published: Sequence[PublishedCurve]) -> str:
    sentences = []
    if published:
        parts = listed([part_name(curve.part) for curve in published])
        sentences.append(_("Hollow diamonds: published ({parts}).", parts=parts))
    if any(line.role == "test" for line in accuracy):
        sentences.append(_("The test set was opened at some epochs, against the rule; shown: those of the first seed."))
    if any(line.curve.low != line.curve.high for line in accuracy):
        sentences.append(_("Lines: means; bands: range over seeds."))
    return " ".join([*sentences, training_values()])
