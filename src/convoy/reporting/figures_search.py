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

WORDS = {"train.batch_size": "batch size", "optim.lr": "learning rate"}
DECADE = 10.0  # an axis over a factor of 10 is logarithmic; so is one whose values double, such as 64, 128, 256
MAX_CELLS = 400  # of a heat map
MAX_LABELLED_COLUMNS = 12  # of a heat map whose cells have numbers
BLUE = MODELS[0][0]
Params = Mapping[str, Any]


class Trial(NamedTuple):
    params: dict[str, Any]
    percent: float  # best accuracy of all epochs on the scoring part
    epochs: int
    complete: bool  # not stopped early


class Trials(NamedTuple):
    paths: tuple[str, ...]
    trials: tuple[Trial, ...]  # in chronological order
    winner: int  # index in `trials`
    scored_on: str = "validation"

    def column(self, path: str) -> list[Any]:
        return [trial.params[path] for trial in self.trials]

    @property
    def best(self) -> Trial:
        return self.trials[self.winner]


def trial_numbers(finding: Mapping[str, Any]) -> Trials:
    records = sorted(finding["trials"], key=lambda trial: trial["number"])
    trials = tuple(
        Trial(trial["params"], 100 * trial["accuracy"], trial["epochs"], trial["state"] == "trained to the end")
        for trial in records
    )
    winner = next(index for index, trial in enumerate(records) if trial["number"] == finding["winner"]["number"])
    paths = tuple(axis["path"] for axis in finding["space"])
    return Trials(paths, trials, winner, finding.get("scored_on", "validation"))


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


def scene(numbers: Trials) -> Scene3D | None:
    """Accuracy over two numeric keys; None for other searches."""
    if len(numbers.paths) != 2 or not all(is_numeric(numbers.column(path)) for path in numbers.paths):
        return None
    others = [trial for trial in numbers.trials if trial is not numbers.best]
    traces = _points(others, numbers, ""), _points([numbers.best], numbers, "winner")
    axes = (*map(word, numbers.paths), f"{numbers.scored_on} accuracy (%)")
    log = (is_log(numbers.column(numbers.paths[0])), is_log(numbers.column(numbers.paths[1])), False)
    caption = f"{_marks(numbers)} Drag to rotate (needs JavaScript)."
    x, y, z = axes
    return Scene3D("search_3d", f"Accuracy by {x} and {y}", caption, traces, (x, y, z), log)


def _points(trials: Sequence[Trial], numbers: Trials, label: str) -> Points3D:
    x, y = (np.array([trial.params[path] for trial in trials], float) for path in numbers.paths)
    text = tuple(f"{_at(trial.params)}: {trial.percent:.2f} %, {_epochs(trial.epochs)}" for trial in trials)
    return Points3D(x, y, np.array([trial.percent for trial in trials]), text, label)


def _marks(numbers: Trials, *, hollow: bool = False) -> str:
    """Caption: what a mark is, and how many trials were stopped early."""
    early = sum(not trial.complete for trial in numbers.trials)
    stopped = (
        f" {'Hollow: s' if hollow else 'S'}topped early ({early}), at the accuracy reached until then." if early else ""
    )
    return f"Marks: trials (n = {len(numbers.trials)}, one seed each) at their best epoch.{stopped}"


class HeatNumbers(NamedTuple):
    x: str  # paths
    y: str
    columns: tuple[Any, ...]  # values of x
    rows: tuple[Any, ...]  # values of y, lowest first
    percent: np.ndarray  # [rows, columns]; NaN without a trial
    complete: np.ndarray  # bool [rows, columns]
    winner: tuple[int, int]  # row, column
    scored_on: str = "validation"


def heat_numbers(numbers: Trials) -> HeatNumbers | None:
    """None unless the search varies two keys with few values."""
    if len(numbers.paths) != 2:
        return None
    x, y = numbers.paths
    columns, rows = (_in_order(numbers.column(path)) for path in (x, y))
    if len(columns) * len(rows) > min(
        MAX_CELLS, 4 * len(numbers.trials)
    ):  # sampled from ranges: nearly all cells are empty
        return None
    percent, complete = np.full((len(rows), len(columns)), np.nan), np.zeros((len(rows), len(columns)), bool)
    for trial in numbers.trials:
        cell = rows.index(trial.params[y]), columns.index(trial.params[x])
        percent[cell], complete[cell] = trial.percent, trial.complete
    winner = rows.index(numbers.best.params[y]), columns.index(numbers.best.params[x])
    return HeatNumbers(x, y, columns, rows, percent, complete, winner, numbers.scored_on)


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


def draw_one_key(axes: Axes, numbers: Trials) -> None:
    """Accuracy over the only varied key."""
    path = numbers.paths[0]
    values = numbers.column(path)
    positions = values if is_numeric(values) else [_in_order(values).index(value) for value in values]
    if is_log(values):
        ticks.logarithmic(axes, "x", min(values) / 1.15, max(values) * 1.15)
    elif not is_numeric(values):
        names = _in_order(values)
        axes.set_xticks(range(len(names)), [short(value_text(value), 12) for value in names])
    _draw_trials(axes, positions, numbers)
    axes.set_xlabel(word(path))


class HistoryNumbers(NamedTuple):
    trials: Trials
    best: tuple[float, ...]  # best accuracy up to each trial, percent


def history_numbers(numbers: Trials) -> HistoryNumbers:
    best = np.maximum.accumulate([trial.percent if trial.complete else 0.0 for trial in numbers.trials])
    return HistoryNumbers(numbers, tuple(map(float, best)))


def draw_history(axes: Axes, numbers: HistoryNumbers) -> None:
    trials = numbers.trials
    positions = list(range(1, len(trials.trials) + 1))
    axes.step(positions, [best or math.nan for best in numbers.best], where="post", color=MUTED, linewidth=1.2)
    _draw_trials(axes, positions, trials)
    ticks.integers(axes.xaxis, 6)
    axes.set_xlabel("trial")


def history_caption(numbers: HistoryNumbers) -> str:
    return f"{trials_caption(numbers.trials)} Line: best fully trained trial so far."


def trials_caption(numbers: Trials) -> str:
    return f"{_marks(numbers, hollow=True)} Circled: winner."


def _draw_trials(axes: Axes, positions: Sequence[float], numbers: Trials) -> None:
    for complete, face in ((True, BLUE), (False, "none")):
        indices = [index for index, trial in enumerate(numbers.trials) if trial.complete is complete]
        x, y = [positions[index] for index in indices], [numbers.trials[index].percent for index in indices]
        axes.plot(x, y, "o", color=BLUE, markerfacecolor=face, markersize=4.5, markeredgewidth=1)
    best = positions[numbers.winner], numbers.best.percent
    axes.plot(*[[value] for value in best], "o", color=INK, markersize=10, markerfacecolor="none", markeredgewidth=1.4)
    axes.set_ylabel(f"{numbers.scored_on} accuracy (%)")


def draw_importance(axes: Axes, shares: Mapping[str, float]) -> None:
    axes.set_xlim(0, 100)
    axes.set_ylim(len(shares) - 0.35, -0.75)
    across = axes.get_yaxis_transform()
    for place, (path, share) in enumerate(shares.items()):
        axes.barh(place, 100 * share, height=0.3, color=BLUE)
        axes.text(0, place - 0.22, word(path), transform=across, va="bottom")
        axes.text(1, place - 0.22, f"{100 * share:.0f} %", transform=across, va="bottom", ha="right", color=MUTED)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("share of the accuracy's variance (%)")


def importance_caption(shares: Mapping[str, float], of_what: str) -> str:
    count = int(of_what.split()[0])
    few = " With so few trials this is a rough estimate." if count < 30 else ""
    return (
        f"fANOVA (Hutter, Hoos and Leyton-Brown 2014) over {of_what}, in the searched range. Interactions between keys "
        f"are not included.{few}"
    )


def draw_parallel(axes: Axes, numbers: Trials) -> None:
    """One line per trial through its values; the winner is black, better trials are stronger."""
    scales = [_scaled(numbers.column(path)) for path in numbers.paths]
    depth = _depth(np.array([[trial.percent for trial in numbers.trials]]))[0]
    places = range(len(numbers.paths))
    for place in np.argsort(depth):
        line = [scale[place] for scale in scales]
        if place == numbers.winner:
            continue
        colour = HEAT if numbers.trials[place].complete else MUTED
        axes.plot(places, line, color=colour, alpha=0.08 + 0.7 * float(depth[place]) ** 2, linewidth=1)
    axes.plot(places, [scale[numbers.winner] for scale in scales], color=INK, linewidth=2, marker="o", markersize=5)
    for place, path in enumerate(numbers.paths):
        values = numbers.column(path)
        axes.axvline(place, color=RULE, linewidth=0.8)
        ends = _in_order(values)
        ends = ends if len(ends) <= 4 else (ends[0], ends[-1])
        at = _scaled([*values, *ends])[-len(ends) :]
        for value, height in zip(ends, at, strict=True):
            side = -1 if place == len(numbers.paths) - 1 else 1
            axes.annotate(
                short(value_text(value), 10), (place, height), (4 * side, 3), textcoords="offset points", fontsize=8,
                color=MUTED, ha="left" if side > 0 else "right",
            )  # fmt: skip
    axes.set_xticks(places, [short(path.rpartition(".")[2], 14) for path in numbers.paths])
    axes.set_yticks([])
    axes.set_ylim(-0.06, 1.1)
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set_visible(False)


def parallel_caption(numbers: Trials) -> str:
    return (
        f"Lines: trials (n = {len(numbers.trials)}) through their values of "
        f"{listed(numbers.paths)}. Black: winner; stronger colour: higher accuracy; grey: "
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


def _at(params: Params) -> str:
    return listed([f"{word(path)} {value_text(value)}" for path, value in params.items()])


def _epochs(count: int) -> str:
    return "1 epoch" if count == 1 else f"{count} epochs"
