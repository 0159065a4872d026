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


class Curves(NamedTuple):
    """Of one quantity, under all protocols."""

    quantity: Literal["loss", "accuracy"]
    lines: tuple[Line, ...]
    published: Mapping[str, tuple[float, ...]]  # part -> accuracy in percent, over epochs 1, 2, ...


def curves(
    metrics: Mapping[Side, Mapping[str, Sequence[Metrics]]],
    quantity: Literal["loss", "accuracy"],
    published: Mapping[str, object],
) -> Curves:
    """`metrics`: protocol -> label -> epochs of its runs. `published`: such as "test_accuracy_by_epoch" -> a list."""
    lines: list[Line] = []
    scale = 100 if quantity == "accuracy" else 1
    for protocol, runs in metrics.items():
        found = curve_numbers(runs, quantity).curves
        for curve in found:
            role = "training" if curve.part == "train" else "held out"
            lines.append(Line(protocol, curve, role, tuple(range(1, len(curve.mean) + 1))))
        # The test set, opened at some epochs in addition to the validation set; the epochs differ between seeds.
        for label in [curve.label for curve in found if curve.part == "validation"]:
            by_epoch = values_by_epoch(runs[label][0], "test", quantity)
            values = tuple(scale * value for value in by_epoch.values())
            if values:
                lines.append(Line(protocol, Curve(label, "test", values, values, values), "test", tuple(by_epoch)))
    by_part = {part: published.get(f"{part}_{quantity}_by_epoch") for part in PARTS if quantity == "accuracy"}
    points = {part: tuple(100 * v for v in values) for part, values in by_part.items() if isinstance(values, list)}
    return Curves(quantity, tuple(lines), points)


def draw(axes: Axes, curves: Curves, look: Look, roles: Sequence[str]) -> None:
    """The lines of these roles. If they are several, training lines are thin and openings of the test set crosses.

    The limits are those of all lines, so that the panels of a chart are comparable.
    """
    group = [line for line in curves.lines if line.role in roles]
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
    for part, accuracy in curves.published.items():
        axes.plot(
            range(1, len(accuracy) + 1), accuracy, "D", color=INK, markerfacecolor=PAPER,
            markersize=4 if part == "train" and together else 6, linestyle="none",
        )  # fmt: skip
    longest = max(*map(len, curves.published.values()), *(line.epochs[-1] for line in curves.lines), 0, 0)
    values = [value for line in curves.lines for value in (*line.curve.mean, *line.curve.low, *line.curve.high)]
    values += [value for accuracy in curves.published.values() for value in accuracy]
    values = [value for value in values if math.isfinite(value)] or [0.0]  # a loss that is not finite is a gap
    low, high = min(values), max(values)
    if curves.quantity == "loss" and low > 0 and high > 20 * low:
        ticks.logarithmic(axes, "y", 0.85 * low, 1.15 * high)
    else:
        room = 0.05 * (high - low) or 0.05 if curves.quantity == "loss" else max(0.2, 0.04 * (high - low))
        axes.set_ylim(low - room, high + room)
    label_by_epoch(axes, longest, curves.quantity)


def caption(accuracy: Curves) -> str:
    sentences = []
    if accuracy.published:
        parts = listed([part_name(part) for part in accuracy.published])
        sentences.append(_("Hollow diamonds: published ({parts}).", parts=parts))
    if any(line.role == "test" for line in accuracy.lines):
        sentences.append(_("Test scores: first seed (protocol fault: the test set was scored during training)."))
    if any(line.curve.low != line.curve.high for line in accuracy.lines):
        sentences.append(_("Lines: means; bands: range over seeds."))
    return " ".join([*sentences, training_values()])
