"""Loss landscape: bands over learning rates, changes along a step, the loss around the weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm

from convoy.reporting import ticks
from convoy.reporting.content import Path3D, Points3D, Scene3D, Surface3D
from convoy.reporting.palette import INK, MUTED, PAPER, Look
from convoy.studies.landscape.arrays import Probes, Surface
from convoy.studies.landscape.words import CAP
from convoy.text import gettext as _

MAX_POINTS = 500  # points of a band; in a long run, a point covers several steps
MIN_LOSS = 1e-6  # minimum of a drawn loss
LEVELS = 14
POINTS_PER_EPOCH = 12  # points per epoch of a path that is drawn in 3D
LIFT = 1.06  # a 3D path is drawn at the loss times this factor, so that the surface does not hide it


class Band(NamedTuple):
    label: str
    at: np.ndarray
    low: np.ndarray
    high: np.ndarray


def band(label: str, at: np.ndarray, low: np.ndarray, high: np.ndarray) -> Band:
    """Bins the steps, keeping minimum and maximum. Infinite values become CAP; a NaN is a gap."""
    low, high = (np.where(np.isinf(edge), CAP, edge.astype(np.float64)) for edge in (low, high))
    bins = np.array_split(np.arange(len(at)), min(len(at), MAX_POINTS))
    with_numbers = [bin_[~np.isnan(low[bin_])] for bin_ in bins]
    middle = np.array([at[bin_].mean() for bin_ in bins])
    lows = np.array([low[bin_].min() if len(bin_) else np.nan for bin_ in with_numbers])
    highs = np.array([high[bin_].max() if len(bin_) else np.nan for bin_ in with_numbers])
    return Band(label, middle, lows, highs)


def probe_bands(probes: Mapping[str, Probes], values: Callable[[Probes], np.ndarray]) -> list[Band]:
    """Returns bands from the lowest to the highest of the `values` [probes, points] along each step."""
    return [band(label, each.step, values(each).min(1), values(each).max(1)) for label, each in probes.items()]


def draw_bands(
    axes: Axes, bands: Sequence[Band], look: Look, title: str, *, early: int | None = None, linear: bool = False
) -> None:
    """The axis is logarithmic if the values span a large range. `linear` forces a linear one, which cuts off spikes."""
    for each in bands:
        colour = look.colour(each.label)
        axes.fill_between(each.at, each.low, each.high, color=colour, alpha=0.35, linewidth=0)
        for edge in (each.low, each.high):
            axes.plot(each.at, edge, color=colour, linewidth=0.9)
    values = np.concatenate([edge[np.isfinite(edge)] for each in bands for edge in (each.low, each.high)])
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.1, 1.0)
    if linear:
        axes.set_ylim(0.0, 1.1 * max(_without_spikes(each.high) for each in bands))
    elif low > 0 and high > 30 * low:
        ticks.logarithmic(axes, "y", max(low, high * 1e-6) * 0.8, high * 1.25)
    else:
        axes.set_ylim(min(0.0, low), high * 1.05)
    if early is not None:
        axes.axvline(early, color=MUTED, linewidth=1, linestyle=(0, (2, 2)))
    axes.set_xlim(left=0)
    axes.set_xlabel(_("step"))
    axes.set_ylabel(title)
    ticks.integers(axes.xaxis, 5)


def _without_spikes(values: np.ndarray) -> float:
    finite = values[np.isfinite(values)]
    return float(np.quantile(finite, 0.99)) if len(finite) else 1.0


def drawn_loss(surface: Surface) -> np.ndarray:
    return np.clip(surface.loss, MIN_LOSS, CAP)


def draw_lines(axes: Axes, lines: Mapping[str, Surface], look: Look) -> None:
    losses = {label: drawn_loss(surface)[0] for label, surface in lines.items()}
    for label, loss in losses.items():
        axes.plot(lines[label].x, loss, color=look.colour(label), linewidth=1.8)
    low, high = min(loss.min() for loss in losses.values()), max(loss.max() for loss in losses.values())
    ticks.logarithmic(axes, "y", low * 0.8, high * 1.25)
    axes.set_xlabel(_("distance along a random direction"))
    axes.set_ylabel(_("training loss"))


def draw_surface(axes: Axes, surface: Surface) -> None:
    x, y, loss = surface.x, surface.y, drawn_loss(surface)
    levels = np.geomspace(loss.min() * 0.999, max(loss.max() * 1.001, loss.min() * 1.1), LEVELS)
    scale = LogNorm(levels[0], levels[-1])
    axes.grid(False)
    axes.contourf(x, y, loss, levels, alpha=0.55, norm=scale, cmap="viridis")
    contours = axes.contour(x, y, loss, levels, linewidths=0.7, norm=scale, cmap="viridis")
    axes.clabel(contours, levels[1:-1:2], fmt=lambda value: f"{value:.2g}", fontsize=8, colors=INK)
    if surface.at is not None and surface.epochs is not None:
        axes.plot(*surface.at.T, "o-", color=INK, markersize=3, linewidth=1.2)
        for index, name in ((0, _("before training")), (-1, epoch_name(surface.epochs[-1]))):
            at_right = surface.at[index][0] > (x[0] + x[-1]) / 2
            axes.annotate(
                name, surface.at[index], (-6 if at_right else 6, 6), textcoords="offset points", fontsize=8,
                ha="right" if at_right else "left",
                bbox={"facecolor": PAPER, "edgecolor": "none", "alpha": 0.8, "pad": 1}, zorder=5,
            )  # fmt: skip
    axes.plot([0], [0], "P", color=INK, markersize=8, markeredgecolor=PAPER)
    first, second = axis_names(surface)
    axes.set_xlabel(first)
    axes.set_ylabel(second)


def scene(name: str, title: str, surface: Surface, note: str) -> Scene3D:
    traces: list[Surface3D | Path3D | Points3D] = [Surface3D(surface.x, surface.y, drawn_loss(surface))]
    if surface.at is not None and surface.epochs is not None:
        line, path, epochs = dense(surface.at), surface.at, tuple(map(epoch_name, surface.epochs.tolist()))
        traces += [
            Path3D(line[:, 0], line[:, 1], LIFT * heights(surface, line)),
            Points3D(path[:, 0], path[:, 1], LIFT * heights(surface, path), epochs, _("epochs, raised in the figure")),
        ]
    axes = (*axis_names(surface), _("training loss"))
    return Scene3D(name, title, " ".join([_("The same in 3D."), note]), tuple(traces), axes, (False, False, True))


def epoch_name(epoch: int) -> str:
    return _("epoch {n}", n=epoch)


def axis_names(surface: Surface) -> tuple[str, str]:
    if surface.explained is None:
        return _("first random direction"), _("second random direction")
    first, second = surface.explained
    return _("first direction ({share:.0%})", share=first), _("second direction ({share:.0%})", share=second)


def heights(surface: Surface, points: np.ndarray) -> np.ndarray:
    """Returns the loss at points [N, 2], interpolated in the logarithm."""
    rows = np.stack([np.interp(points[:, 0], surface.x, row) for row in np.log(drawn_loss(surface))])
    return np.exp([np.interp(y, surface.y, column) for y, column in zip(points[:, 1], rows.T, strict=True)])


def dense(path: np.ndarray) -> np.ndarray:
    """Adds points between the epochs of a path [epochs, 2], because straight lines would cut through the surface."""
    epochs = np.arange(len(path))
    at = np.linspace(0, epochs[-1], POINTS_PER_EPOCH * epochs[-1] + 1)
    return np.stack([np.interp(at, epochs, column) for column in path.T], axis=1)
