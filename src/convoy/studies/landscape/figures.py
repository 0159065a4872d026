"""Loss landscape: bands over learning rates, changes along a step, the loss around the weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm

from convoy.reporting import ticks
from convoy.reporting.palette import INK, MUTED, PAPER, Look
from convoy.reporting.quantities import listed

MAX_POINTS = 500  # of a band; a point of a long training covers several steps
CAP = 100.0  # of a drawn loss: far above the loss of guessing, ln(classes)
LEAST = 1e-6
LEVELS = 14
POINTS_PER_EPOCH = 12  # of a path that is drawn in 3D
LIFT = 1.06  # factor by which a 3D path is above its surface

Arrays = Mapping[str, np.ndarray]


class Band(NamedTuple):
    label: str
    at: np.ndarray
    low: np.ndarray
    high: np.ndarray
    capped: bool = False  # some values are not finite or above CAP


class SurfaceNumbers(NamedTuple):
    x: np.ndarray  # [M]
    y: np.ndarray  # [N]
    loss: np.ndarray  # [N, M], from LEAST to CAP
    capped: int  # number of points whose loss is not finite or above CAP
    path: np.ndarray  # [epochs, 2]; empty for random directions
    epochs: np.ndarray
    explained: tuple[float, ...]
    resolution: int

    def heights(self, points: np.ndarray) -> np.ndarray:
        """The loss at points [N, 2], interpolated in the logarithm."""
        rows = np.stack([np.interp(points[:, 0], self.x, row) for row in np.log(self.loss)])
        heights = [np.interp(y, self.y, column) for y, column in zip(points[:, 1], rows.T, strict=True)]
        return np.exp(np.array(heights))

    @property
    def dense_path(self) -> np.ndarray:
        """The path with points between epochs, [N, 2]: straight lines would cut through the surface."""
        epochs = np.arange(len(self.path))
        at = np.linspace(0, epochs[-1], POINTS_PER_EPOCH * epochs[-1] + 1)
        return np.stack([np.interp(at, epochs, column) for column in self.path.T], axis=1)


def band_numbers(arrays: Mapping[str, Arrays], *, smooth: bool) -> list[Band]:
    """`arrays` by label, as in landscape.npz of the study. Bins keep minimum and maximum of their steps."""
    prefix = "smooth_" if smooth else ""
    return [_thinned(label, a["step"], a[f"{prefix}low"], a[f"{prefix}high"]) for label, a in arrays.items()]


def probe_numbers(arrays: Mapping[str, Arrays]) -> dict[str, list[Band]]:
    """Along each probed step: the loss, the gradient distance, and the maximum gradient distance per step length."""
    bands: dict[str, list[Band]] = {"loss": [], "gradient": [], "beta": []}
    for label, held in arrays.items():
        if "probe_step" in held:
            step, beta = held["probe_step"], held["probe_beta"]
            for name, values in (("loss", held["probe_loss"]), ("gradient", held["probe_gradient_change"])):
                bands[name].append(_thinned(label, step, values.min(1), values.max(1)))
            bands["beta"].append(_thinned(label, step, beta, beta))
    return bands


def _thinned(label: str, at: np.ndarray, low: np.ndarray, high: np.ndarray) -> Band:
    """Infinite values become CAP; a step without a number is a gap."""
    capped = bool(np.isinf(high).any())
    low, high = (np.where(np.isinf(edge), CAP, edge.astype(np.float64)) for edge in (low, high))
    bins = np.array_split(np.arange(len(at)), min(len(at), MAX_POINTS))
    with_numbers = [bin_[~np.isnan(low[bin_])] for bin_ in bins]
    middle = np.array([at[bin_].mean() for bin_ in bins])
    lows = np.array([low[bin_].min() if len(bin_) else np.nan for bin_ in with_numbers])
    highs = np.array([high[bin_].max() if len(bin_) else np.nan for bin_ in with_numbers])
    return Band(label, middle, lows, highs, capped)


def surface_numbers(arrays: Arrays, kind: str) -> SurfaceNumbers | None:
    """`kind`: "line", "plane" or "path"; None if the study did not compute it."""
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
    """Logarithmic if the values span a large range. `linear` forces a linear axis that cuts off spikes."""
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
    axes.set_xlabel("step")
    axes.set_ylabel(title)
    ticks.integers(axes.xaxis, 5)


def draw_lines(axes: Axes, lines: Mapping[str, SurfaceNumbers], look: Look) -> None:
    for label, numbers in lines.items():
        axes.plot(numbers.x, numbers.loss[0], color=look.colour(label), linewidth=1.8)
    low, high = _range([numbers.loss for numbers in lines.values()])
    ticks.logarithmic(axes, "y", low * 0.8, high * 1.25)
    axes.set_xlabel("distance along a random direction")
    axes.set_ylabel("training loss")


def draw_surface(axes: Axes, numbers: SurfaceNumbers) -> None:
    levels = _levels(numbers.loss)
    scale: dict[str, Any] = {"norm": LogNorm(levels[0], levels[-1]), "cmap": colormaps["viridis"]}
    axes.grid(False)
    axes.contourf(numbers.x, numbers.y, numbers.loss, levels, alpha=0.55, **scale)
    contours = axes.contour(numbers.x, numbers.y, numbers.loss, levels, linewidths=0.7, **scale)
    axes.clabel(contours, levels[1:-1:2], fmt=lambda value: f"{value:.2g}", fontsize=8, colors=INK)
    if len(numbers.path):
        axes.plot(*numbers.path.T, "o-", color=INK, markersize=3, linewidth=1.2)
        for index, name in ((0, "before training"), (-1, f"epoch {int(numbers.epochs[-1])}")):
            at_right = numbers.path[index][0] > (numbers.x[0] + numbers.x[-1]) / 2
            axes.annotate(
                name, numbers.path[index], (-6 if at_right else 6, 6), textcoords="offset points", fontsize=8,
                ha="right" if at_right else "left",
                bbox={"facecolor": PAPER, "edgecolor": "none", "alpha": 0.7, "pad": 1},
            )  # fmt: skip
    axes.plot([0], [0], "P", color=INK, markersize=8, markeredgecolor=PAPER)
    names = axis_names(numbers)
    axes.set_xlabel(names[0])
    axes.set_ylabel(names[1])


def axis_names(numbers: SurfaceNumbers, *, short: bool = False) -> tuple[str, str]:
    """`short`: for 3D axes."""
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
    finite = values[np.isfinite(values)]
    return float(np.quantile(finite, 0.99)) if len(finite) else 1.0


def _range(edges: Sequence[np.ndarray]) -> tuple[float, float]:
    values = np.concatenate([edge[np.isfinite(edge)] for edge in edges] or [np.empty(0)])
    return (float(values.min()), float(values.max())) if len(values) else (0.1, 1.0)


def band_caption(bands: Sequence[Band], lrs: Sequence[float], seed: str, early: int | None, window: int) -> str:
    rates = listed([f"{lr:g}" for lr in sorted(lrs)])
    caption = f"Minimum and maximum of the loss at each step over the learning rates {rates}; {seed}."
    caption += f" Right: after smoothing each run over {window} steps."
    caption += f" Dashed: the first {early:,} steps." if early else ""
    points = max(len(band.at) for band in bands)
    return caption + (f" Each of the {points} points spans several steps." if points == MAX_POINTS else "")


def probe_caption(probes: Mapping[str, Sequence[Band]], rates: Mapping[str, float], sizes: Sequence[float]) -> str:
    at = listed([f"{label} at {rate:g}" for label, rate in rates.items()])
    caption = (
        f"The weights after a step ({at}) are moved against the gradient of its batch, by {sizes[0]:g} to "
        f"{sizes[-1]:g} times the gradient. Loss: minimum and maximum along the move. Gradient predictiveness: "
        "distance of the gradients from the first one. Effective beta-smoothness: maximum of that distance divided by "
        "the distance moved. Lower and narrower is smoother (Santurkar et al. 2018, figure 4)."
    )
    capped = any(band.capped for bands in probes.values() for band in bands)
    return caption + (f" Values that are not finite are drawn at {CAP:g}." if capped else "")


def surface_caption(surfaces: Mapping[str, SurfaceNumbers], images: int) -> str:
    some = next(iter(surfaces.values()))
    where = f"Training loss on {images:,} images, evaluation mode, {some.resolution} × {some.resolution} points"
    if some.explained:
        shares = [f"{100 * sum(n.explained):.1f} % ({label})" for label, n in surfaces.items()]
        caption = (
            f"{where}, in the plane of the first two principal directions of the weights of all epochs. They explain "
            f"{listed(shares)} of the variance of the path; the path itself is off the plane. Cross: saved weights. "
            "Norm layers keep their statistics everywhere, which do not fit weights far from the cross."
        )
    else:
        caption = (
            f"{where}, along two random directions with the filter norms of the network (Li et al. 2018). "
            "Cross: saved weights."
        )
    return caption + capped(surfaces)


def line_caption(lines: Mapping[str, SurfaceNumbers], images: int) -> str:
    return (
        f"Training loss on {images:,} images, evaluation mode, along one random direction with the filter norms of the "
        f"network (Li et al. 2018). 0: saved weights.{capped(lines)}"
    )


def capped(surfaces: Mapping[str, SurfaceNumbers]) -> str:
    counts = [f"{n.capped:,} of {n.loss.size:,} ({label})" for label, n in surfaces.items() if n.capped]
    scale = " Logarithmic scale of the loss"
    return f"{scale}; points above {CAP:g} are drawn at {CAP:g}: {listed(counts)}." if counts else f"{scale}."
