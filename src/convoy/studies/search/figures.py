"""The trials of a search: accuracy over the varied keys, optimization history, importance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from convoy.reporting import ticks
from convoy.reporting.content import Points3D, Scene3D, shortened
from convoy.reporting.palette import HEAT, INK, MODELS, MUTED, PAPER, RULE
from convoy.reporting.rows import ChartRow, RowChart, Value
from convoy.reporting.words import accuracy_name
from convoy.studies.search import words
from convoy.studies.search.finding import Importance, SearchFinding, State, Trial
from convoy.studies.search.space import DECADE, is_number
from convoy.text import gettext as _

MAX_CELLS = 400  # cells of a heat map
MAX_LABELLED_COLUMNS = 12  # columns of a heat map with numbers in its cells
MAX_VALUE_LENGTH = 16  # characters of a value on an axis
MAX_UPRIGHT, MAX_UPRIGHT_NAMES = 7, 3  # if there are more numbers or names than this along an axis, they are rotated
BLUE = MODELS[0][0]


def is_numeric(values: Sequence[Any]) -> bool:
    return all(map(is_number, values))


def is_log(values: Sequence[Any]) -> bool:
    """Whether the values span a decade or increase geometrically, as in 64, 128, 256."""
    distinct = sorted(set(values)) if is_numeric(values) else []
    if len(distinct) < 3 or distinct[0] <= 0:
        return False
    return distinct[-1] >= DECADE * distinct[0] or distinct[2] / distinct[1] >= 2


def in_order(values: Sequence[Any]) -> tuple[Any, ...]:
    """Returns the distinct values: numbers by size, names by first appearance."""
    distinct = [value for place, value in enumerate(values) if value not in values[:place]]
    return tuple(sorted(distinct) if is_numeric(distinct) else distinct)


def tick_names(values: Sequence[Any]) -> list[str]:
    return shortened([words.value_text(value) for value in values], MAX_VALUE_LENGTH)


def is_rotated(values: Sequence[Any]) -> bool:
    """Whether the distinct values along an axis are too many for upright names."""
    return len(values) > (MAX_UPRIGHT if is_numeric(values) else MAX_UPRIGHT_NAMES)


def accuracy_axis(finding: SearchFinding) -> str:
    return f"{accuracy_name(finding.method.scored_on)} (%)"


def scene(finding: SearchFinding) -> Scene3D | None:
    """Plots the accuracy over two numeric keys. Returns None for other searches."""
    if len(finding.paths) != 2 or not all(is_numeric(finding.column(path)) for path in finding.paths):
        return None
    x, y = finding.paths
    scored = [trial for trial in finding.trials if trial.state is not State.DIVERGED]
    groups = {
        "": [trial for trial in scored if trial is not finding.best],
        _("winner"): [finding.best],
        _("diverged"): [trial for trial in finding.trials if trial.state is State.DIVERGED],
    }
    lowest = min(trial.accuracy for trial in scored)

    def points(trials: Sequence[Trial], label: str) -> Points3D:
        xs, ys = (np.array([trial.params[path] for trial in trials], float) for path in (x, y))
        zs = 100 * np.array([max(trial.accuracy, lowest) for trial in trials])
        return Points3D(xs, ys, zs, tuple(map(words.trial_text, trials)), label)

    names = words.key_name(x), words.key_name(y)
    title = _("Accuracy by {x} and {y}", x=names[0], y=names[1])
    traces = tuple(points(trials, label) for label, trials in groups.items() if trials)
    log = is_log(finding.column(x)), is_log(finding.column(y)), False
    axes = (*names, accuracy_axis(finding))
    return Scene3D("search_3d", title, words.trials_caption(finding, "search_3d"), traces, axes, log)


class HeatNumbers(NamedTuple):
    x: str  # paths
    y: str
    columns: tuple[Any, ...]  # values of x
    rows: tuple[Any, ...]  # values of y, lowest first
    percent: np.ndarray  # [rows, columns]; NaN without a trial, or if it diverged
    states: np.ndarray  # State of each cell, [rows, columns]; None without a trial
    winner: tuple[int, int]  # row, column


def heat_numbers(finding: SearchFinding) -> HeatNumbers | None:
    """Returns None unless the search varies two keys with few values."""
    if len(finding.paths) != 2:
        return None
    x, y = finding.paths
    columns, rows = (in_order(finding.column(path)) for path in (x, y))
    if len(columns) * len(rows) > min(MAX_CELLS, 4 * len(finding.trials)):
        return None  # sampled from ranges: nearly all cells are empty
    percent, states = np.full((len(rows), len(columns)), np.nan), np.full((len(rows), len(columns)), None)
    for trial in finding.trials:
        cell = rows.index(trial.params[y]), columns.index(trial.params[x])
        states[cell] = trial.state
        percent[cell] = math.nan if trial.state is State.DIVERGED else 100 * trial.accuracy
    winner = rows.index(finding.best.params[y]), columns.index(finding.best.params[x])
    return HeatNumbers(x, y, columns, rows, percent, states, winner)


def draw_heat(axes: Axes, numbers: HeatNumbers) -> None:
    depth = _colour_depth(numbers.percent)
    rows, columns = numbers.percent.shape
    size = 9 if columns <= 6 else 7.5 if columns <= 9 else 6
    for (row, column), state in np.ndenumerate(numbers.states):
        if state is State.DIVERGED:
            axes.text(column, row, "×", ha="center", va="center", fontsize=size + 2, color=MUTED)
        if state in (None, State.DIVERGED):
            continue
        complete, is_winner = state is State.FINISHED, (row, column) == numbers.winner
        corner = column - 0.47, row - 0.47
        alpha = 0.06 + (0.94 if complete else 0.4) * float(depth[row, column])
        axes.add_patch(Rectangle(corner, 0.94, 0.94, linewidth=0, color=HEAT if complete else MUTED, alpha=alpha))
        if is_winner:
            axes.add_patch(Rectangle(corner, 0.94, 0.94, fill=False, edgecolor=INK, linewidth=1.6))
        if columns <= MAX_LABELLED_COLUMNS:
            ink = PAPER if complete and depth[row, column] > 0.62 else INK
            axes.text(
                column, row, f"{numbers.percent[row, column]:.1f}", ha="center", va="center", fontsize=size, color=ink,
                fontweight="bold" if is_winner else "normal",
            )  # fmt: skip
    axes.set_xlim(-0.5, columns - 0.5)
    axes.set_ylim(-0.5, rows - 0.5)
    axes.set_xticks(range(columns), tick_names(numbers.columns), rotation=90 * is_rotated(numbers.columns))
    axes.set_yticks(range(rows), tick_names(numbers.rows))
    axes.tick_params(length=0)
    axes.grid(False)
    axes.spines[:].set_visible(False)
    axes.set_xlabel(words.key_name(numbers.x))
    axes.set_ylabel(words.key_name(numbers.y))


def draw_key(axes: Axes, finding: SearchFinding, path: str) -> None:
    """Draws the accuracy over one of the varied keys."""
    values, names = finding.column(path), in_order(finding.column(path))
    if is_log(values):
        ticks.logarithmic(axes, "x", min(values) / 1.15, max(values) * 1.15)
    elif not is_numeric(values):
        axes.set_xticks(range(len(names)), tick_names(names), rotation=90 * is_rotated(names))
        axes.set_xlim(-0.5, len(names) - 0.5)
    _draw_trials(axes, values if is_numeric(values) else [names.index(value) for value in values], finding)
    axes.set_xlabel(words.key_name(path))


def _colour_depth(percent: np.ndarray) -> np.ndarray:
    """Maps accuracies to the range 0 (worst) to 1 (best), linear in the log of the error, so that good trials differ
    visibly.
    """
    error = np.log(np.maximum(100 - percent, 0.01))
    return np.asarray((np.nanmax(error) - error) / max(np.nanmax(error) - np.nanmin(error), 1e-9))


def draw_parallel(axes: Axes, finding: SearchFinding) -> None:
    """Draws one line per trial through its values (parallel coordinates), without diverged trials."""
    trials = [trial for trial in finding.trials if trial.state is not State.DIVERGED]
    depth = _colour_depth(np.array([100 * trial.accuracy for trial in trials]))
    columns = [_Scale(finding.column(path)) for path in finding.paths]
    places = range(len(columns))
    for number in np.argsort(depth):
        trial = trials[number]
        heights = [scale(trial.params[path]) for scale, path in zip(columns, finding.paths, strict=True)]
        if trial is finding.best:
            axes.plot(places, heights, color=INK, linewidth=2, marker="o", markersize=5, zorder=3)
            continue
        colour = HEAT if trial.state is State.FINISHED else MUTED
        axes.plot(places, heights, color=colour, alpha=0.08 + 0.7 * float(depth[number]) ** 2, linewidth=1)
    for place, scale in enumerate(columns):
        axes.axvline(place, color=RULE, linewidth=0.8)
        values = scale.values if len(scale.values) <= 4 else (scale.values[0], scale.values[-1])
        is_last = place == len(columns) - 1
        for value, name in zip(values, tick_names(values), strict=True):
            axes.annotate(
                name, (place, scale(value)), (-4 if is_last else 4, 6), textcoords="offset points", fontsize=8,
                color=MUTED, ha="right" if is_last else "left",
            )  # fmt: skip
    axes.set_xticks(places, shortened([words.key_name(path) for path in finding.paths], MAX_VALUE_LENGTH))
    axes.set_yticks([])
    axes.set_ylim(-0.06, 1.1)
    axes.grid(False)
    axes.spines[:].set_visible(False)


class _Scale:
    """Maps values of a key to 0..1: logarithmically if that spaces them more evenly, names by their order."""

    def __init__(self, column: Sequence[Any]) -> None:
        self.values = in_order(column)
        self._log, self._numeric = is_log(column), is_numeric(column)
        low, high = self._position(self.values[0]), self._position(self.values[-1])
        self._low, self._range = low, max(high - low, 1e-12)

    def __call__(self, value: Any) -> float:
        return (self._position(value) - self._low) / self._range

    def _position(self, value: Any) -> float:
        return math.log(value) if self._log else float(value) if self._numeric else self.values.index(value)


def best_so_far(finding: SearchFinding) -> list[float]:
    """Returns the best accuracy, in percent, of the fully trained trials up to each trial; NaN before the first."""
    values = [100 * trial.accuracy if trial.state is State.FINISHED else math.nan for trial in finding.trials]
    return [float(best) for best in np.fmax.accumulate(values)]


def draw_history(axes: Axes, finding: SearchFinding) -> None:
    positions = list(range(1, len(finding.trials) + 1))
    axes.step(positions, best_so_far(finding), where="post", color=MUTED, linewidth=1.2)
    _draw_trials(axes, positions, finding)
    ticks.integers(axes.xaxis, 6)
    axes.set_xlabel(_("trial"))


def _draw_trials(axes: Axes, positions: Sequence[float], finding: SearchFinding) -> None:
    """Diverged trials have no accuracy: their marks are at the lower edge."""
    pairs = list(zip(positions, finding.trials, strict=True))
    for state, face in ((State.FINISHED, BLUE), (State.PRUNED, "none")):
        xy = [(x, 100 * trial.accuracy) for x, trial in pairs if trial.state is state]
        axes.plot([x for x, _y in xy], [y for _x, y in xy], "o", color=BLUE, markerfacecolor=face, markersize=4.5)
    diverged = [x for x, trial in pairs if trial.state is State.DIVERGED]
    axes.margins(y=0.12 if diverged else 0.05)
    axes.plot(diverged, [0.03] * len(diverged), "x", color=MUTED, markersize=5, transform=axes.get_xaxis_transform())
    best = next(x for x, trial in pairs if trial is finding.best)
    axes.plot(best, 100 * finding.best.accuracy, "o", color=INK, markersize=10, markerfacecolor="none")
    axes.set_ylabel(accuracy_axis(finding))


def importance_rows(importance: Importance) -> RowChart:
    shares = {words.key_name(path): 100 * share for path, share in importance.shares.items()}
    rows = (ChartRow(name, (Value(share, colour=BLUE),), f"{share:.0f} %") for name, share in shares.items())
    return RowChart(tuple(rows), _("share of the accuracy's variance"), "%", bars=True)
