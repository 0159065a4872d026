"""Draws the charts of the layers and the map of the images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes

from convoy.explaining.result import Arrays, Explanation, LayerStatistics
from convoy.reporting.content import short
from convoy.reporting.palette import HEAT, INK, MODELS, MUTED, PAPER, Look
from convoy.reporting.ticks import integers, logarithmic
from convoy.text import gettext as _

COLOURED = 10  # classes with their own colour on the map
MAX_RINGS = 0.05  # maximum fraction of images with rings; more would hide the points


class LayerNumbers(NamedTuple):
    """One number per layer, in the order of the forward pass."""

    zeros: np.ndarray  # percent of the outputs
    dead: np.ndarray  # percent of the units
    gradient_places: np.ndarray  # numbers of the layers with parameters
    gradients: np.ndarray  # norm of the gradient / norm of the weights


class MapNumbers(NamedTuple):
    classes: tuple[str, ...]  # with a colour
    points: np.ndarray  # [N, 2]
    class_of: np.ndarray  # int64 [N]: index in `classes`; -1: no colour
    wrong: np.ndarray  # bool [N]

    @property
    def has_rings(self) -> bool:
        return bool(self.wrong.mean() <= MAX_RINGS)


def layer_numbers(layers: Sequence[LayerStatistics]) -> LayerNumbers:
    ratios = [(number, _ratio(layer)) for number, layer in enumerate(layers, start=1)]
    nonzero = [(number, ratio) for number, ratio in ratios if ratio]
    return LayerNumbers(
        zeros=np.array([100 * layer.zeros for layer in layers]),
        dead=np.array([100 * layer.dead_units / layer.units for layer in layers]),
        gradient_places=np.array([number for number, _ in nonzero]),
        gradients=np.array([ratio for _, ratio in nonzero]),
    )


def _ratio(layer: LayerStatistics) -> float:
    """Returns gradient norm / weight norm; 0 without a gradient."""
    return layer.gradient_norm / layer.weight_norm if layer.gradient_norm and layer.weight_norm else 0.0


def draw_zeros(axes: Axes, numbers: LayerNumbers) -> None:
    places = np.arange(1, len(numbers.zeros) + 1)
    axes.bar(places, numbers.zeros, width=0.72, color=MUTED, alpha=0.3, linewidth=0)
    axes.plot(places, numbers.dead, "x", color=HEAT, markersize=6, markeredgewidth=1.6)
    axes.set_ylim(-3, 103)
    axes.set_ylabel(_("share (%)"))
    _number_layers(axes, len(places))


def draw_gradients(axes: Axes, numbers: LayerNumbers) -> None:
    axes.plot(numbers.gradient_places, numbers.gradients, "o-", color=MODELS[0][0], markersize=4, linewidth=1)
    logarithmic(axes, "y", float(numbers.gradients.min()) / 1.3, float(numbers.gradients.max()) * 1.3)
    axes.set_ylabel(_("gradient norm / weight norm"))
    _number_layers(axes, len(numbers.zeros))


def _number_layers(axes: Axes, count: int) -> None:
    axes.set_xlim(0.3, count + 0.7)
    integers(axes.xaxis, 10)
    axes.set_xlabel(_("number of the layer"))


def map_numbers(explanation: Explanation, arrays: Arrays, points: np.ndarray) -> MapNumbers:
    """`points`: [N, 2]. If there are many classes, only those with the most mistakes have a colour."""
    wrong, count = arrays.predicted != arrays.labels, len(explanation.classes)
    mistakes = np.bincount(arrays.labels[wrong], minlength=count)
    coloured = np.sort(np.argsort(-mistakes, kind="stable")[:COLOURED])
    class_of = np.full(count, -1)
    class_of[coloured] = np.arange(len(coloured))
    names = tuple(explanation.classes[place] for place in coloured)
    return MapNumbers(names, points, class_of[arrays.labels], wrong)


def draw_map(axes: Axes, numbers: MapNumbers, look: Look, labels: tuple[str, str] | None) -> None:
    """Draws points in the colour and with the marker of their class. Mistakes have a ring; if many, a hollow marker.

    Without axis labels, the classes are labelled if there are few mistakes.
    """
    x, y = numbers.points.T
    others = numbers.class_of < 0
    axes.plot(x[others], y[others], "o", color=MUTED, alpha=0.35, markersize=2, linestyle="none", markeredgewidth=0)
    for place, name in enumerate(numbers.classes):
        own, mark, colour = numbers.class_of == place, look.mark(name), look.colour(name)
        full = own if numbers.has_rings else own & ~numbers.wrong
        axes.plot(x[full], y[full], mark, color=colour, alpha=0.75, markersize=2.8, markeredgewidth=0, linestyle="none")
        if not numbers.has_rings:
            _draw_hollow(axes, numbers.points[own & numbers.wrong], mark, colour, size=3.2, width=0.6)
    if numbers.has_rings:
        _draw_hollow(axes, numbers.points[numbers.wrong], "o", INK, size=6, width=1)
    if labels:
        axes.set_xlabel(labels[0])
        axes.set_ylabel(labels[1])
    elif numbers.has_rings:
        box = {"facecolor": PAPER, "alpha": 0.75, "linewidth": 0, "pad": 1.5}
        for place, name in enumerate(numbers.classes):
            if (own := numbers.class_of == place).any():
                left, up = np.median(numbers.points[own], axis=0)
                axes.text(left, up, short(name, 12), ha="center", va="center", fontweight="bold", fontsize=9, bbox=box)
    axes.set_xticks([])
    axes.set_yticks([])


def _draw_hollow(axes: Axes, points: np.ndarray, mark: str, colour: str, *, size: float, width: float) -> None:
    """Draws hollow markers at points [N, 2]."""
    x, y = points.T
    axes.plot(
        x, y, mark, linestyle="none", markerfacecolor="none", markeredgecolor=colour, markeredgewidth=width,
        markersize=size,
    )  # fmt: skip
