"""What a search looked at: accuracy over the keys that it varied, the way it took, and which key counts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from convoy.reporting import ticks
from convoy.reporting.content import Points3D, Turnable, clean, short
from convoy.reporting.palette import HEAT, INK, MODELS, MUTED, PAPER, RULE
from convoy.reporting.quantities import listed

WORDS = {"train.batch_size": "batch size", "optim.lr": "learning rate"}
DECADE = 10.0  # an axis of values that reach so far is logarithmic; so is one whose values double, such as 64, 128, 256
MOST_CELLS = 400  # of a heat map
WRITTEN = 12  # columns of a heat map whose cells still hold a number
BLUE = MODELS[0][0]
Params = Mapping[str, Any]


class Tried(NamedTuple):
    params: dict[str, Any]
    percent: float  # its best accuracy on the part that scores
    epochs: int
    to_the_end: bool


class Trials(NamedTuple):
    paths: tuple[str, ...]
    tried: tuple[Tried, ...]  # in the order in which they were tried
    winner: int  # place among the tried
    scored_on: str = "validation"

    def column(self, path: str) -> list[Any]:
        return [one.params[path] for one in self.tried]

    @property
    def best(self) -> Tried:
        return self.tried[self.winner]


def trial_numbers(finding: Mapping[str, Any]) -> Trials:
    trials = sorted(finding["trials"], key=lambda trial: trial["number"])
    tried = tuple(
        Tried(trial["params"], 100 * trial["accuracy"], trial["epochs"], trial["state"] == "trained to the end")
        for trial in trials
    )
    winner = next(place for place, trial in enumerate(trials) if trial["number"] == finding["winner"]["number"])
    paths = tuple(axis["path"] for axis in finding["space"])
    return Trials(paths, tried, winner, finding.get("scored_on", "validation"))


def word(path: str) -> str:
    return WORDS.get(path, clean(path).removeprefix("model.options."))


def value_text(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else clean(value)


def is_numeric(values: Sequence[Any]) -> bool:
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def is_log(values: Sequence[Any]) -> bool:
    """Whether the values lie more evenly in their logarithm."""
    distinct = sorted(set(values)) if is_numeric(values) else []
    if len(distinct) < 3 or distinct[0] <= 0:
        return False
    return distinct[-1] >= DECADE * distinct[0] or distinct[2] / distinct[1] >= 2


def in_space(numbers: Trials) -> Turnable | None:
    """Two keys with numbers and the accuracy over them; None for other searches."""
    if len(numbers.paths) != 2 or not all(is_numeric(numbers.column(path)) for path in numbers.paths):
        return None
    others = [one for one in numbers.tried if one is not numbers.best]
    traces = _points(others, numbers, ""), _points([numbers.best], numbers, "winner")
    axes = (*map(word, numbers.paths), f"{numbers.scored_on} accuracy (%)")
    log = (is_log(numbers.column(numbers.paths[0])), is_log(numbers.column(numbers.paths[1])), False)
    early = sum(not one.to_the_end for one in numbers.tried)
    caption = (
        f"{len(numbers.tried)} trials, each with one seed, at the best of its epochs; the winner has "
        f"{_at(numbers.best.params)} ({numbers.best.percent:.2f} %)."
        + (f" {early} were stopped early: they stand at what they had reached by then." if early else "")
        + " On a page that runs scripts it turns when it is dragged."
    )
    x, y, z = axes
    return Turnable("search_3d", f"Accuracy by {x} and {y}", caption, traces, (x, y, z), log)


def _points(group: Sequence[Tried], numbers: Trials, label: str) -> Points3D:
    x, y = (np.array([one.params[path] for one in group], float) for path in numbers.paths)
    text = tuple(f"{_at(one.params)}: {one.percent:.2f} %, {_epochs(one.epochs)}" for one in group)
    return Points3D(x, y, np.array([one.percent for one in group]), text, label)


class HeatNumbers(NamedTuple):
    x: str  # paths
    y: str
    columns: tuple[Any, ...]  # values of x
    rows: tuple[Any, ...]  # values of y, the lowest first
    percent: np.ndarray  # [rows, columns]; not a number where nothing was tried
    to_the_end: np.ndarray  # bool, the same shape
    winner: tuple[int, int]  # row, column
    scored_on: str = "validation"


def heat_numbers(numbers: Trials) -> HeatNumbers | None:
    """None where the search did not vary two keys over few values."""
    if len(numbers.paths) != 2:
        return None
    x, y = numbers.paths
    columns, rows = (_in_order(numbers.column(path)) for path in (x, y))
    if len(columns) * len(rows) > min(MOST_CELLS, 4 * len(numbers.tried)):  # drawn from ranges: nearly all is gap
        return None
    percent, to_the_end = np.full((len(rows), len(columns)), np.nan), np.zeros((len(rows), len(columns)), bool)
    for one in numbers.tried:
        place = rows.index(one.params[y]), columns.index(one.params[x])
        percent[place], to_the_end[place] = one.percent, one.to_the_end
    winner = rows.index(numbers.best.params[y]), columns.index(numbers.best.params[x])
    return HeatNumbers(x, y, columns, rows, percent, to_the_end, winner, numbers.scored_on)


def draw_heat(axes: Axes, numbers: HeatNumbers) -> None:
    depth = _depth(numbers.percent)
    rows, columns = numbers.percent.shape
    size = 9 if columns <= 6 else 7.5 if columns <= 9 else 6
    for row in range(rows):
        for column in range(columns):
            value = numbers.percent[row, column]
            if math.isnan(value):
                continue
            ended, won = bool(numbers.to_the_end[row, column]), (row, column) == numbers.winner
            corner = column - 0.47, row - 0.47
            alpha = 0.06 + (0.94 if ended else 0.4) * float(depth[row, column])
            axes.add_patch(Rectangle(corner, 0.94, 0.94, linewidth=0, color=HEAT if ended else MUTED, alpha=alpha))
            if won:
                axes.add_patch(Rectangle(corner, 0.94, 0.94, fill=False, edgecolor=INK, linewidth=1.6))
            if columns <= WRITTEN:
                ink = PAPER if ended and depth[row, column] > 0.62 else INK
                weight = "bold" if won else "normal"
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
    tried = ~np.isnan(numbers.percent)
    early = int((tried & ~numbers.to_the_end).sum())
    grey = f" Grey: stopped early ({early} of {int(tried.sum())}), at what it had reached." if early else ""
    told = f"{numbers.scored_on.capitalize()} accuracy (%), each of one seed; framed: the winner."
    return f"{told} The stronger the colour, the better, in the logarithm of the error.{grey}"


def _depth(percent: np.ndarray) -> np.ndarray:
    """0 for the worst to 1 for the best, even in the logarithm of the error: so the good ones are told apart."""
    error = np.log(np.maximum(100 - percent, 0.01))
    worst, best = np.nanmax(error), np.nanmin(error)
    return np.asarray((worst - error) / max(worst - best, 1e-9))


def draw_one_key(axes: Axes, numbers: Trials) -> None:
    """Accuracy over the only key that was varied."""
    path = numbers.paths[0]
    values = numbers.column(path)
    places = values if is_numeric(values) else [_in_order(values).index(value) for value in values]
    if is_log(values):
        ticks.logarithmic(axes, "x", min(values) / 1.15, max(values) * 1.15)
    elif not is_numeric(values):
        names = _in_order(values)
        axes.set_xticks(range(len(names)), [short(value_text(value), 12) for value in names])
    _draw_trials(axes, places, numbers)
    axes.set_xlabel(word(path))


class HistoryNumbers(NamedTuple):
    trials: Trials
    best: tuple[float, ...]  # so far


def history_numbers(numbers: Trials) -> HistoryNumbers:
    best = np.maximum.accumulate([one.percent if one.to_the_end else 0.0 for one in numbers.tried])
    return HistoryNumbers(numbers, tuple(map(float, best)))


def draw_history(axes: Axes, numbers: HistoryNumbers) -> None:
    trials = numbers.trials
    places = list(range(1, len(trials.tried) + 1))
    shown = [best or math.nan for best in numbers.best]
    axes.step(places, shown, where="post", color=MUTED, linewidth=1.2)
    _draw_trials(axes, places, trials)
    ticks.whole_numbers(axes.xaxis, 6)
    axes.set_xlabel("trial")


def history_caption(numbers: HistoryNumbers) -> str:
    trials = numbers.trials
    early = sum(not one.to_the_end for one in trials.tried)
    hollow = f"; hollow: stopped early ({early}), at what it had reached" if early else ""
    return (
        f"The winner was trial {trials.winner + 1} of {len(trials.tried)}. A mark is a trial, at the best of its epochs"
        f"{hollow}; line: the best so far of those trained to the end."
    )


def _draw_trials(axes: Axes, places: Sequence[float], numbers: Trials) -> None:
    for ended, face in ((True, BLUE), (False, "none")):
        chosen = [place for place, one in enumerate(numbers.tried) if one.to_the_end is ended]
        x, y = [places[place] for place in chosen], [numbers.tried[place].percent for place in chosen]
        axes.plot(x, y, "o", color=BLUE, markerfacecolor=face, markersize=4.5, markeredgewidth=1)
    best = places[numbers.winner], numbers.best.percent
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
    first = max(shares, key=lambda path: shares[path])
    count = int(of_what.split()[0])
    few = " So few trials give a rough idea at best." if count < 30 else ""
    return (
        f"Most hangs on {word(first)}, in the range that was searched. By fANOVA (Hutter, Hoos and "
        f"Leyton-Brown 2014) over {of_what}; what two keys do together is in neither's share.{few}"
    )


def draw_parallel(axes: Axes, numbers: Trials) -> None:
    """A line a trial through its values; the winner's is black, and of the others the better ones are stronger."""
    scales = [_scaled(numbers.column(path)) for path in numbers.paths]
    depth = _depth(np.array([[one.percent for one in numbers.tried]]))[0]
    places = range(len(numbers.paths))
    for place in np.argsort(depth):
        line = [scale[place] for scale in scales]
        if place == numbers.winner:
            continue
        colour = HEAT if numbers.tried[place].to_the_end else MUTED
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
        "A line is a trial, from left to right through its values of "
        f"{listed([clean(path) for path in numbers.paths])}. Black: the winner, {_at(numbers.best.params)}. Of the "
        "others the better ones are stronger; grey ones were stopped early."
    )


def _scaled(values: Sequence[Any]) -> list[float]:
    """From 0 to 1, in the logarithm where that is more even; names in their order."""
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
