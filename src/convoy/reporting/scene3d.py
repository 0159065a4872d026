"""3D figures: interactive on a page (plotly, offline), static as PNG and SVG (matplotlib).

Matplotlib has no logarithmic 3D axes. Logarithms are plotted instead, with the values as tick labels.
"""

from __future__ import annotations

import base64
import gzip
import json
from functools import cache
from html import escape
from io import BytesIO
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from mpl_toolkits.mplot3d import Axes3D

from convoy.reporting import canvas, ticks
from convoy.reporting.content import Path3D, Points3D, Scene3D, Surface3D, readable
from convoy.reporting.palette import INK, MODELS, PAPER, RULE

INCHES = (6.2, 4.9)
SCALE = "viridis"  # perceptually uniform, and readable without colour vision
VIEW = (22, -58)  # elevation and azimuth of the static image, degrees
STATIC_DPI = 130  # resolution of the image that is shown only in print
FEW = 5  # a logarithmic axis with at most this many values has a tick at each of them, even if they are close
MAX_VALUES = 8  # an axis of points with at most this many values has a tick at each of them
MAX_STATIC_TICKS = 4  # per axis of the static image; with more, labels overlap
MIN_TICK_DISTANCE = 1 / 14  # fraction of the axis of the static image
MAX_FACETS = 60  # facets of a static surface along each axis


@cache
def library() -> str:
    """Returns plotly.js as gzip in base64, 2.0 instead of 4.8 MB. A page with 3D figures contains it once."""
    from plotly.offline import get_plotlyjs

    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), mtime=0)).decode()


def save_scene(block: Scene3D, folder: Path) -> None:
    """Writes figures/<name>.png and .svg."""
    with canvas.style():
        canvas.save(_static_figure(block), folder / f"{block.name}.svg", folder / f"{block.name}.png")


def static_uri(block: Scene3D) -> str:
    file = BytesIO()
    with canvas.style():
        figure = _static_figure(block)
        canvas.make_readable(figure)
        FigureCanvasAgg(figure).print_png(file, metadata={"Software": None})
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def plotly_json(block: Scene3D) -> str:
    """Returns traces and axes for plotly. The page sets the colours of text and grid."""
    axes = {f"{name}axis": _plotly_axis(block, index) for index, name in enumerate("xyz")}
    traces = [_plotly_trace(block, index) for index in range(len(block.traces))]
    stems = [_plotly_stems(trace, _ground(block)) for trace in block.traces if isinstance(trace, Points3D)]
    # "</script>" inside a name must not close the element.
    return json.dumps({"traces": [*traces, *stems], "axes": axes}, allow_nan=False).replace("<", "\\u003c")


def _plotly_axis(block: Scene3D, index: int) -> dict[str, object]:
    kind = "log" if block.log[index] else "linear"
    axis: dict[str, object] = {"title": {"text": _text(block.axes[index])}, "type": kind}
    tick_values = _ticks(block, index)
    if tick_values is None:
        return axis
    # Plain digits, because plotly would write 0.0001 as 100μ.
    return axis | {"tickmode": "array", "tickvals": tick_values, "ticktext": [f"{value:g}" for value in tick_values]}


def _plotly_trace(block: Scene3D, index: int) -> dict[str, object]:
    trace = block.traces[index]
    data: dict[str, object] = {name: _finite(getattr(trace, name)) for name in "xyz"}
    if isinstance(trace, Surface3D):
        heights = _finite(np.log10(trace.z) if block.log[2] else trace.z)
        scale = {"colorscale": SCALE.capitalize(), "showscale": False}
        return {"type": "surface", **data, "surfacecolor": heights, **scale}
    data |= {"type": "scatter3d", "name": _text(trace.label), "showlegend": bool(trace.label)}
    if isinstance(trace, Path3D):
        colour = {"color": _colour(block, index)}
        return data | {"mode": "lines+markers", "line": colour | {"width": 4}, "marker": colour | {"size": 3}}
    if trace.text:
        data |= {"text": [_text(text) for text in trace.text], "hoverinfo": "text"}
    heights = {"color": data["z"], "colorscale": SCALE.capitalize(), "size": 5}
    return data | {
        "mode": "markers",
        "marker": {"color": _colour(block, index), "size": 7} if _is_marked(trace) else heights,
    }


def _plotly_stems(trace: Points3D, ground: float) -> dict[str, object]:
    """Draws a vertical line from each point to the ground, to show its position."""
    count = len(trace.z)
    z = np.column_stack([np.full(count, ground), trace.z, np.full(count, np.nan)]).ravel()
    ends = {"x": _finite(np.repeat(trace.x, 3)), "y": _finite(np.repeat(trace.y, 3)), "z": _finite(z)}
    line = {"mode": "lines", "line": {"color": RULE, "width": 2}, "showlegend": False, "hoverinfo": "skip"}
    return {"type": "scatter3d", **ends, **line}


def _ground(block: Scene3D) -> float:
    return min(float(np.nanmin(trace.z)) for trace in block.traces if isinstance(trace, Points3D))


def _static_figure(block: Scene3D) -> Figure:
    figure = Figure(figsize=INCHES, facecolor=PAPER, dpi=STATIC_DPI)
    axes: Axes3D = figure.add_axes((-0.04, 0.0, 1.0, 1.0), projection="3d")
    for index in range(len(block.traces)):
        _draw(axes, block, index)
    for index, (name, title) in enumerate(zip("xyz", block.axes, strict=True)):
        axis = getattr(axes, f"{name}axis")
        axis.set_label_text(title)
        tick_values = _ticks(block, index)
        if tick_values is not None:
            tick_values = tick_values[:: -(-len(tick_values) // MAX_STATIC_TICKS)]
            names = [f"{value:g}" for value in tick_values]
            axis.set_ticks(np.log10(tick_values) if block.log[index] else tick_values, names)
            axis.set_tick_params(labelsize=8)
            axis.labelpad = 4 + (2.3 if name == "y" else 1.5) * max(map(len, names))
        else:
            axis.labelpad = 8
            axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
        axis.set_pane_color((0, 0, 0, 0))
        axis._axinfo["grid"].update(color=RULE, linewidth=0.6)  # matplotlib has no public API for this
    axes.view_init(*VIEW)
    axes.set_box_aspect((1, 1, 0.8), zoom=0.98)
    if any(not isinstance(trace, Surface3D) and trace.label for trace in block.traces):
        axes.legend(loc="upper left", bbox_to_anchor=(0.05, 0.99), frameon=False)
    return figure


def _draw(axes: Axes3D, block: Scene3D, index: int) -> None:
    trace = block.traces[index]
    x, y, z = (
        np.log10(values) if log else np.asarray(values, float)
        for values, log in zip((trace.x, trace.y, trace.z), block.log, strict=True)
    )
    if isinstance(trace, Surface3D):
        facets = {"rcount": min(MAX_FACETS, len(y)), "ccount": min(MAX_FACETS, len(x))}
        axes.plot_surface(*np.meshgrid(x, y), np.ma.masked_invalid(z), cmap=SCALE, linewidth=0, alpha=0.92, **facets)
    elif isinstance(trace, Path3D):
        colour = _colour(block, index)
        axes.plot(x, y, z, "o-", color=colour, markersize=3, linewidth=1.6, label=trace.label or None, zorder=10)
    else:
        foot = np.log10(_ground(block)) if block.log[2] else _ground(block)
        for across, along, height in zip(x, y, z, strict=True):
            axes.plot((across, across), (along, along), (foot, height), color=RULE, linewidth=0.7)
        marked = {"color": _colour(block, index), "s": 60, "edgecolors": INK} if _is_marked(trace) else {}
        axes.scatter(
            x, y, z, depthshade=False, **(marked or {"c": z, "cmap": SCALE, "s": 26}), label=trace.label or None
        )


def _colour(block: Scene3D, index: int) -> str:
    """Returns the colour of a trace that is not coloured by height. The first contrasts with the colour scale."""
    single_coloured = [i for i, trace in enumerate(block.traces) if isinstance(trace, Path3D) or _is_marked(trace)]
    return MODELS[(1 + single_coloured.index(index)) % len(MODELS)][0]


def _is_marked(trace: Points3D | Surface3D | Path3D) -> bool:
    return isinstance(trace, Points3D) and bool(trace.label)


def _ticks(block: Scene3D, index: int) -> list[float] | None:
    """Returns the values if there are few, or round numbers on a logarithmic axis; None for the default ticks."""
    values = np.unique(np.concatenate([np.ravel(getattr(trace, "xyz"[index])) for trace in block.traces]))
    values = values[np.isfinite(values)]
    positions = np.log10(values) if block.log[index] else values
    has_space = len(values) > 1 and np.diff(positions).min() >= MIN_TICK_DISTANCE * np.ptp(positions)
    has_points_only = index < 2 and all(isinstance(trace, Points3D) for trace in block.traces)
    are_round = all(float(f"{value:.2g}") == value for value in values)
    if are_round and (
        (has_points_only and has_space and len(values) <= MAX_VALUES) or (block.log[index] and len(values) <= FEW)
    ):
        return list(values.tolist())
    return ticks.round_numbers(values[0], values[-1]) if block.log[index] else None


def _text(text: str) -> str:
    """Escapes HTML tags, some of which plotly interprets."""
    return escape(readable(text))


def _finite(values: np.ndarray) -> object:
    """Returns nested lists for JSON, with None for values that are not finite."""
    values = np.asarray(values, float)
    with_none = values.astype(object)
    with_none[~np.isfinite(values)] = None
    return with_none.tolist()
