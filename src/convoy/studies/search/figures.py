"""The trials of a search: accuracy over the varied keys, optimization history, importance."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from convoy.reporting import ticks
from convoy.reporting.content import Points3D, Scene3D, short
from convoy.reporting.palette import HEAT, INK, MODELS, MUTED, PAPER, RULE
from convoy.reporting.quantities import listed
from convoy.reporting.rows import Row, Rows, Value
from convoy.studies.search.finding import Importance, SearchFinding, State, Trial
from convoy.studies.search.words import basis_of

WORDS = {"train.batch_size": "batch size", "optim.lr": "learning rate"}
DECADE = 10.0  # an axis over a factor of 10 is logarithmic; so is one whose values double, such as 64, 128, 256
FEW_TRIALS = 30  # for an importance
MAX_CELLS = 400  # of a heat map
MAX_LABELLED_COLUMNS = 12  # of a heat map whose cells have numbers
BLUE = MODELS[0][0]


def word(path: str) -> str:
    return WORDS.get(path, path.removeprefix("model.options."))


def value_text(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def is_numeric(values: Sequence[Any]) -> bool:
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def is_log(values: Sequence[Any]) -> bool:
    """Whether the values are more evenly spaced in their logarithm."""
    distinct = sorted(set(values)) if is_numeric(values) else []
    if len(distinct) < 3 or distinct[0] <= 0:
        return False
    return distinct[-1] >= DECADE * distinct[0] or distinct[2] / distinct[1] >= 2


def scene(finding: SearchFinding) -> Scene3D | None:
    """Accuracy over two numeric keys; None for other searches."""
    if len(finding.paths) != 2 or not all(is_numeric(finding.column(path)) for path in finding.paths):
        return None
    others = [trial for trial in finding.trials if trial is not finding.best]
    traces = _points(others, finding.paths, ""), _points([finding.best], finding.paths, "winner")
    axes = (*map(word, finding.paths), f"{finding.method.scored_on} accuracy (%)")
    log = (is_log(finding.column(finding.paths[0])), is_log(finding.column(finding.paths[1])), False)
    caption = f"{_marks(finding)} Drag to rotate (needs JavaScript)."
    x, y, z = axes
    return Scene3D("search_3d", f"Accuracy by {x} and {y}", caption, traces, (x, y, z), log)


def _points(trials: Sequence[Trial], paths: Sequence[str], label: str) -> Points3D:
    x, y = (np.array([trial.params[path] for trial in trials], float) for path in paths)
    text = tuple(f"{_at(trial.params)}: {100 * trial.accuracy:.2f} %, {_epochs(trial.epochs)}" for trial in trials)
    return Points3D(x, y, 100 * np.array([trial.accuracy for trial in trials]), text, label)


def _marks(finding: SearchFinding, *, hollow: bool = False) -> str:
    """Caption: what a mark is, and how many trials were stopped early."""
    early = len(finding.trials) - finding.count(State.FINISHED)
    stopped = (
        f" {'Hollow: s' if hollow else 'S'}topped early ({early}), at the accuracy reached until then." if early else ""
    )
    return f"Marks: trials (n = {len(finding.trials)}, one seed each) at their best epoch.{stopped}"


class HeatNumbers(NamedTuple):
    x: str  # paths
    y: str
    columns: tuple[Any, ...]  # values of x
    rows: tuple[Any, ...]  # values of y, lowest first
    percent: np.ndarray  # [rows, columns]; NaN without a trial
    complete: np.ndarray  # bool [rows, columns]
    winner: tuple[int, int]  # row, column
    scored_on: str


def heat_numbers(finding: SearchFinding) -> HeatNumbers | None:
    """None unless the search varies two keys with few values."""
    if len(finding.paths) != 2:
        return None
    x, y = finding.paths
    columns, rows = (_in_order(finding.column(path)) for path in (x, y))
    if len(columns) * len(rows) > min(MAX_CELLS, 4 * len(finding.trials)):
        return None  # sampled from ranges: nearly all cells are empty
    percent, complete = np.full((len(rows), len(columns)), np.nan), np.zeros((len(rows), len(columns)), bool)
    for trial in finding.trials:
        cell = rows.index(trial.params[y]), columns.index(trial.params[x])
        percent[cell], complete[cell] = 100 * trial.accuracy, trial.state is State.FINISHED
    winner = rows.index(finding.best.params[y]), columns.index(finding.best.params[x])
    return HeatNumbers(x, y, columns, rows, percent, complete, winner, finding.method.scored_on)


def draw_heat(axes: Axes, numbers: HeatNumbers) -> None:
    depth = _depth(numbers.percent)
    rows, columns = numbers.percent.shape
    size = 9 if columns <= 6 else 7.5 if columns <= 9 else 6
    for row in range(rows):
        for column in range(columns):
            value = numbers.percent[row, column]
            if math.isnan(value):
                continue
            complete, is_winner = bool(numbers.complete[row, column]), (row, column) == numbers.winner
            corner = column - 0.47, row - 0.47
            alpha = 0.06 + (0.94 if complete else 0.4) * float(depth[row, column])
            axes.add_patch(Rectangle(corner, 0.94, 0.94, linewidth=0, color=HEAT if complete else MUTED, alpha=alpha))
            if is_winner:
                axes.add_patch(Rectangle(corner, 0.94, 0.94, fill=False, edgecolor=INK, linewidth=1.6))
            if columns <= MAX_LABELLED_COLUMNS:
                ink = PAPER if complete and depth[row, column] > 0.62 else INK
                weight = "bold" if is_winner else "normal"
                axes.text(
                    column, row, f"{value:.1f}", ha="center", va="center", fontsize=size, color=ink, fontweight=weight
                )
    axes.set_xlim(-0.5, columns - 0.5)
    axes.set_ylim(-0.5, rows - 0.5)
    axes.set_xticks(range(columns), [value_text(value) for value in numbers.columns], rotation=90 if columns > 7 else 0)
    axes.set_yticks(range(rows), [value_text(value) for value in numbers.rows])
    axes.tick_params(length=0)
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_xlabel(word(numbers.x))
    axes.set_ylabel(word(numbers.y))


def heat_caption(numbers: HeatNumbers) -> str:
    has_trial = ~np.isnan(numbers.percent)
    early = int((has_trial & ~numbers.complete).sum())
    grey = f" Grey: stopped early ({early}), at the accuracy reached until then." if early else ""
    return (
        f"{numbers.scored_on.capitalize()} accuracy (%) of {int(has_trial.sum())} trials, one seed each. Framed: "
        f"winner. Colour: log of the error, stronger is better.{grey}"
    )


def _depth(percent: np.ndarray) -> np.ndarray:
    """From 0 (worst) to 1 (best), linear in the logarithm of the error, so that good trials differ visibly."""
    error = np.log(np.maximum(100 - percent, 0.01))
    worst, best = np.nanmax(error), np.nanmin(error)
    return np.asarray((worst - error) / max(worst - best, 1e-9))


def draw_one_key(axes: Axes, finding: SearchFinding) -> None:
    """Accuracy over the only varied key."""
    path = finding.paths[0]
    values = finding.column(path)
    positions = values if is_numeric(values) else [_in_order(values).index(value) for value in values]
    if is_log(values):
        ticks.logarithmic(axes, "x", min(values) / 1.15, max(values) * 1.15)
    elif not is_numeric(values):
        names = _in_order(values)
        axes.set_xticks(range(len(names)), [short(value_text(value), 12) for value in names])
    _draw_trials(axes, positions, finding)
    axes.set_xlabel(word(path))


def best_so_far(finding: SearchFinding) -> list[float]:
    """In percent, of the fully trained trials up to each one; NaN before the first."""
    values = [100 * trial.accuracy if trial.state is State.FINISHED else math.nan for trial in finding.trials]
    return [float(best) for best in np.fmax.accumulate(values)]


def draw_history(axes: Axes, finding: SearchFinding) -> None:
    positions = list(range(1, len(finding.trials) + 1))
    axes.step(positions, best_so_far(finding), where="post", color=MUTED, linewidth=1.2)
    _draw_trials(axes, positions, finding)
    ticks.integers(axes.xaxis, 6)
    axes.set_xlabel("trial")


def history_caption(finding: SearchFinding) -> str:
    return f"{trials_caption(finding)} Line: best fully trained trial so far."


def trials_caption(finding: SearchFinding) -> str:
    return f"{_marks(finding, hollow=True)} Circled: winner."


def _draw_trials(axes: Axes, positions: Sequence[float], finding: SearchFinding) -> None:
    pairs = list(zip(positions, finding.trials, strict=True))
    for complete, face in ((True, BLUE), (False, "none")):
        shown = [(x, 100 * trial.accuracy) for x, trial in pairs if (trial.state is State.FINISHED) is complete]
        x, y = [x for x, _ in shown], [y for _, y in shown]
        axes.plot(x, y, "o", color=BLUE, markerfacecolor=face, markersize=4.5, markeredgewidth=1)
    best = next(x for x, trial in pairs if trial is finding.best), 100 * finding.best.accuracy
    axes.plot(*[[value] for value in best], "o", color=INK, markersize=10, markerfacecolor="none", markeredgewidth=1.4)
    axes.set_ylabel(f"{finding.method.scored_on} accuracy (%)")


def importance_rows(importance: Importance) -> Rows:
    shares = {word(path): 100 * share for path, share in importance.shares.items()}
    rows = (Row(name, (Value(share, colour=BLUE),), f"{share:.0f} %") for name, share in shares.items())
    return Rows(tuple(rows), "share of the accuracy's variance", "%", bars=True)


def importance_caption(importance: Importance) -> str:
    few = " With so few trials this is a rough estimate." if importance.trials < FEW_TRIALS else ""
    return (
        f"fANOVA (Hutter, Hoos and Leyton-Brown 2014) over {basis_of(importance)}, in the searched range. "
        f"Interactions between keys are not included.{few}"
    )


def draw_parallel(axes: Axes, finding: SearchFinding) -> None:
    """One line per trial through its values; the winner is black, better trials are stronger."""
    scales = [_scaled(finding.column(path)) for path in finding.paths]
    depth = _depth(100 * np.array([[trial.accuracy for trial in finding.trials]]))[0]
    places = range(len(finding.paths))
    winner = finding.trials.index(finding.best)
    for place in np.argsort(depth):
        line = [scale[place] for scale in scales]
        if place == winner:
            continue
        colour = HEAT if finding.trials[place].state is State.FINISHED else MUTED
        axes.plot(places, line, color=colour, alpha=0.08 + 0.7 * float(depth[place]) ** 2, linewidth=1)
    axes.plot(places, [scale[winner] for scale in scales], color=INK, linewidth=2, marker="o", markersize=5)
    for place, path in enumerate(finding.paths):
        values = finding.column(path)
        axes.axvline(place, color=RULE, linewidth=0.8)
        ends = _in_order(values)
        ends = ends if len(ends) <= 4 else (ends[0], ends[-1])
        at = _scaled([*values, *ends])[-len(ends) :]
        for value, height in zip(ends, at, strict=True):
            side = -1 if place == len(finding.paths) - 1 else 1
            axes.annotate(
                short(value_text(value), 10), (place, height), (4 * side, 3), textcoords="offset points", fontsize=8,
                color=MUTED, ha="left" if side > 0 else "right",
            )  # fmt: skip
    axes.set_xticks(places, [short(path.rpartition(".")[2], 14) for path in finding.paths])
    axes.set_yticks([])
    axes.set_ylim(-0.06, 1.1)
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set_visible(False)


def parallel_caption(finding: SearchFinding) -> str:
    return (
        f"Lines: trials (n = {len(finding.trials)}) through their values of "
        f"{listed(finding.paths)}. Black: winner; stronger colour: higher accuracy; grey: "
        "stopped early."
    )


def _scaled(values: Sequence[Any]) -> list[float]:
    """Scaled to 0..1, in the logarithm if that is more even; names by order."""
    if not is_numeric(values):
        names = _in_order(values)
        return [names.index(value) / max(len(names) - 1, 1) for value in values]
    heights = np.log(values) if is_log(values) else np.array(values, float)
    return [float(height) for height in (heights - heights.min()) / max(np.ptp(heights), 1e-12)]


def _in_order(values: Sequence[Any]) -> tuple[Any, ...]:
    distinct = [value for place, value in enumerate(values) if value not in values[:place]]
    return tuple(sorted(distinct) if is_numeric(distinct) else distinct)


def _at(params: Mapping[str, Any]) -> str:
    return listed([f"{word(path)} {value_text(value)}" for path, value in params.items()])


def _epochs(count: int) -> str:
    return "1 epoch" if count == 1 else f"{count} epochs"
