"""The loss landscape: bands over learning rates, changes along the step, the loss about the weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm

from convoy.reporting import ticks
from convoy.reporting.palette import INK, MUTED, PAPER, Look
from convoy.reporting.quantities import compact, listed

MOST_POINTS = 500  # of a band; a step of a long training stands for its neighbours too
CAP = 100.0  # of a drawn loss: far above that of guessing, ln(classes)
LEAST = 1e-6
LEVELS = 14
BETWEEN = 12  # points of a drawn path from an epoch to the next
LIFT = 1.06  # of a path in space over its surface

Arrays = Mapping[str, np.ndarray]


class Band(NamedTuple):
    label: str
    at: np.ndarray
    low: np.ndarray
    high: np.ndarray
    capped: bool = False  # something of it was not finite, or above CAP


class SurfaceNumbers(NamedTuple):
    x: np.ndarray  # [M]
    y: np.ndarray  # [N]
    loss: np.ndarray  # [N, M], from LEAST to CAP
    capped: int  # points whose loss is not finite, or above CAP
    path: np.ndarray  # [epochs, 2], none for random directions
    epochs: np.ndarray
    explained: tuple[float, ...]
    resolution: int

    def heights(self, places: np.ndarray) -> np.ndarray:
        """Of the surface at places [N, 2], interpolated in the logarithm."""
        rows = np.stack([np.interp(places[:, 0], self.x, row) for row in np.log(self.loss)])
        heights = [np.interp(place, self.y, column) for place, column in zip(places[:, 1], rows.T, strict=True)]
        return np.exp(np.array(heights))

    @property
    def way(self) -> np.ndarray:
        """The path with points between the epochs, [N, 2]: a straight line would cut through the surface."""
        epochs = np.arange(len(self.path))
        at = np.linspace(0, epochs[-1], BETWEEN * epochs[-1] + 1)
        return np.stack([np.interp(at, epochs, column) for column in self.path.T], axis=1)


def band_numbers(arrays: Mapping[str, Arrays], *, smooth: bool) -> list[Band]:
    """`arrays` by label, as the study's landscape.npz has them. Bins keep the least and the greatest of their steps."""
    prefix = "smooth_" if smooth else ""
    return [_thinned(label, a["step"], a[f"{prefix}low"], a[f"{prefix}high"]) for label, a in arrays.items()]


def look_numbers(arrays: Mapping[str, Arrays]) -> dict[str, list[Band]]:
    """The loss, the change of the gradient and its greatest change per distance, along each step looked at."""
    found: dict[str, list[Band]] = {"loss": [], "gradient": [], "beta": []}
    for label, kept in arrays.items():
        if "probe_step" in kept:
            step, beta = kept["probe_step"], kept["probe_beta"]
            for name, values in (("loss", kept["probe_loss"]), ("gradient", kept["probe_gradient_change"])):
                found[name].append(_thinned(label, step, values.min(1), values.max(1)))
            found["beta"].append(_thinned(label, step, beta, beta))
    return found


def _thinned(label: str, at: np.ndarray, low: np.ndarray, high: np.ndarray) -> Band:
    """Infinite edges go to CAP; a step without any number is a gap."""
    capped = bool(np.isinf(high).any())
    low, high = (np.where(np.isinf(edge), CAP, edge.astype(np.float64)) for edge in (low, high))
    bins = np.array_split(np.arange(len(at)), min(len(at), MOST_POINTS))
    known = [bin_[~np.isnan(low[bin_])] for bin_ in bins]
    middle = np.array([at[bin_].mean() for bin_ in bins])
    lows = np.array([low[bin_].min() if len(bin_) else np.nan for bin_ in known])
    highs = np.array([high[bin_].max() if len(bin_) else np.nan for bin_ in known])
    return Band(label, middle, lows, highs, capped)


def surface_numbers(arrays: Arrays, kind: str) -> SurfaceNumbers | None:
    """Of kind "line", "plane" or "path"; None where the study computed none."""
    if f"{kind}_loss" not in arrays:
        return None
    loss = arrays[f"{kind}_loss"]
    return SurfaceNumbers(
        arrays[f"{kind}_x"],
        arrays[f"{kind}_y"],
        np.clip(loss, LEAST, CAP),
        int((loss > CAP).sum()),
        arrays.get(f"{kind}_at", np.empty((0, 2))),
        arrays.get(f"{kind}_epochs", np.empty(0)),
        tuple(float(share) for share in arrays.get(f"{kind}_explained", ())),
        len(arrays[f"{kind}_x"]),
    )


def draw_bands(
    axes: Axes, bands: Sequence[Band], look: Look, title: str, *, early: int | None = None, linear: bool = False
) -> None:
    """Logarithmic where the values need it, unless it is to be `linear`; then spikes run out of the picture."""
    for band in bands:
        axes.fill_between(band.at, band.low, band.high, color=look.colour(band.label), alpha=0.35, linewidth=0)
        for edge in (band.low, band.high):
            axes.plot(band.at, edge, color=look.colour(band.label), linewidth=0.9)
    low, high = _range([edge for band in bands for edge in (band.low, band.high)])
    if linear:
        axes.set_ylim(0.0, 1.1 * max(_without_spikes(band.high) for band in bands))
    elif low > 0 and high > 30 * low:
        ticks.logarithmic(axes, "y", max(low, high * 1e-6) * 0.8, high * 1.25)
    else:
        axes.set_ylim(min(0.0, low), high * 1.05)
    if early is not None:
        axes.axvline(early, color=MUTED, linewidth=1, linestyle=(0, (2, 2)))
    axes.set_xlim(left=0)
    axes.set_xlabel("step (one batch)")
    axes.set_ylabel(title)
    ticks.whole_numbers(axes.xaxis, 5)


def draw_lines(axes: Axes, lines: Mapping[str, SurfaceNumbers], look: Look) -> None:
    for label, numbers in lines.items():
        axes.plot(numbers.x, numbers.loss[0], color=look.colour(label), linewidth=1.8)
    low, high = _range([numbers.loss for numbers in lines.values()])
    ticks.logarithmic(axes, "y", low * 0.8, high * 1.25)
    axes.set_xlabel("way along a random direction")
    axes.set_ylabel("training loss")


def draw_surface(axes: Axes, numbers: SurfaceNumbers) -> None:
    levels = _levels(numbers.loss)
    scale: dict[str, Any] = {"norm": LogNorm(levels[0], levels[-1]), "cmap": colormaps["viridis"]}
    axes.grid(False)
    axes.contourf(numbers.x, numbers.y, numbers.loss, levels, alpha=0.55, **scale)
    drawn = axes.contour(numbers.x, numbers.y, numbers.loss, levels, linewidths=0.7, **scale)
    axes.clabel(drawn, levels[1:-1:2], fmt=lambda value: f"{value:.2g}", fontsize=8, colors=INK)
    if len(numbers.path):
        axes.plot(*numbers.path.T, "o-", color=INK, markersize=3, linewidth=1.2)
        for place, way in ((0, "before training"), (-1, f"epoch {int(numbers.epochs[-1])}")):
            at_right = numbers.path[place][0] > (numbers.x[0] + numbers.x[-1]) / 2
            axes.annotate(
                way, numbers.path[place], (-6 if at_right else 6, 6), textcoords="offset points", fontsize=8,
                ha="right" if at_right else "left",
                bbox={"facecolor": PAPER, "edgecolor": "none", "alpha": 0.7, "pad": 1},
            )  # fmt: skip
    axes.plot([0], [0], "P", color=INK, markersize=8, markeredgecolor=PAPER)
    names = axis_names(numbers)
    axes.set_xlabel(names[0])
    axes.set_ylabel(names[1])


def axis_names(numbers: SurfaceNumbers, *, short: bool = False) -> tuple[str, str]:
    """`short` for axes in space, which run at a slant."""
    if not numbers.explained:
        return "first random direction", "second random direction"
    first, second = (f"{100 * share:.0f} %" for share in numbers.explained)
    if short:
        return f"first ({first})", f"second ({second})"
    return f"first principal direction ({first} of the path)", f"second ({second} of the path)"


def _levels(loss: np.ndarray) -> np.ndarray:
    low, high = float(loss.min()), float(loss.max())
    return np.geomspace(low * 0.999, max(high * 1.001, low * 1.1), LEVELS)


def _without_spikes(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(np.quantile(known, 0.99)) if len(known) else 1.0


def _range(edges: Sequence[np.ndarray]) -> tuple[float, float]:
    values = np.concatenate([edge[np.isfinite(edge)] for edge in edges] or [np.empty(0)])
    return (float(values.min()), float(values.max())) if len(values) else (0.1, 1.0)


def band_caption(bands: Sequence[Band], lrs: Sequence[float], seed: str, early: int | None, window: int) -> str:
    rates = listed([f"{lr:g}" for lr in sorted(lrs)])
    told = f"At each step the least and the greatest loss over the learning rates {rates}; {seed}"
    told += f". Right: of each run's mean over {window} steps, for a single batch's loss is noisy."
    told += f" Dashed: the first {early:,} steps." if early else ""
    bins = max(len(band.at) for band in bands)
    return told + (f" A point of the {bins} drawn spans its steps' extremes." if bins == MOST_POINTS else "")


def look_caption(found: Mapping[str, Sequence[Band]], rates: Mapping[str, float], sizes: Sequence[float]) -> str:
    at = listed([f"{label} at {rate:g}" for label, rate in rates.items()])
    told = (
        f"From the weights after an update ({at}), against the gradient of its batch by {sizes[0]:g} to "
        f"{sizes[-1]:g} of that gradient: the least and the greatest loss on the way; the distance of the "
        "gradients there from the first "
        "(its predictiveness); the greatest such distance for the way gone (effective beta-smoothness). Lower and "
        "narrower is smoother (Santurkar et al. 2018, figure 4)."
    )
    capped = any(band.capped for bands in found.values() for band in bands)
    return told + (f" What was not finite is drawn at {CAP:g}." if capped else "")


def surface_caption(surfaces: Mapping[str, SurfaceNumbers], images: int) -> str:
    some = next(iter(surfaces.values()))
    where = f"Training loss on {images:,} images, evaluation mode, {some.resolution} × {some.resolution} points"
    if some.explained:
        told = f"{where}, in the plane of the first two principal directions of the weights of all epochs. They hold "
        shares = [f"{100 * sum(n.explained):.1f} % of the path's variance ({label})" for label, n in surfaces.items()]
        told += (
            f"{listed(shares)}; the path itself is off the plane by the rest. Norms keep the statistics of the kept "
        )
        told += "weights (cross), so that heights far from them are those of a network whose norms do not fit."
    else:
        told = f"{where}, along two random directions whose filters are as long as the network's (Li et al. 2018); "
        told += "cross: the kept weights."
    return told + capped(surfaces)


def line_caption(lines: Mapping[str, SurfaceNumbers], images: int) -> str:
    ends = [f"{compact(float(max(n.loss[0][0], n.loss[0][-1])))} ({label})" for label, n in lines.items()]
    return (
        f"Training loss on {images:,} images, evaluation mode, along one random direction whose filters are as long as "
        f"the network's (Li et al. 2018). At 0 stand the kept weights; the higher end is at {listed(ends)}."
        f"{capped(lines)}"
    )


def capped(surfaces: Mapping[str, SurfaceNumbers]) -> str:
    counts = [f"{n.capped:,} of {n.loss.size:,} ({label})" for label, n in surfaces.items() if n.capped]
    scale = " The scale of the loss is logarithmic"
    return f"{scale}; points above {CAP:g}, drawn there: {listed(counts)}." if counts else f"{scale}."
