"""Measures: named numbers read from a run folder, and some that need several runs.

A measure is None if the run lacks it, because the part was not scored or a loss is not finite. A network that diverged
still has an accuracy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from statistics import fmean
from typing import Any, Literal

import numpy as np

from convoy.registry import unknown
from convoy.runs import Run
from convoy.stats import wilson

Kind = Literal["fraction", "points", "count", "seconds", "epochs", "number", "rate"]  # points: percentage points
Settings = Mapping[str, Any]
Tried = Sequence[tuple[float, Run]]  # runs that differ in one value
NONE: Settings = {}
MACHINE = ("cpu", "device", "threads", "torch")  # keys of environment.json that seconds depend on
HELD_OUT = ("test", "fold", "validation")  # the first scored part measures the accuracy on new images
ABOVE_CHANCE = 0.1  # share of the way from chance to 100 % that a trained network exceeds


def _no_grain(run: Run) -> float:
    return 0.0


@dataclass(frozen=True)
class Measure:
    """A number of one run: `MEASURES["test_accuracy"](run)`."""

    kind: Kind
    of: Callable[[Run, Settings], float | None]
    setting: tuple[str, type] | None = None  # the setting that a claim must give, and its type
    grain: Callable[[Run], float] = _no_grain  # the step between two possible values
    exact: bool = False  # counted from the network, without training
    of_machine: bool = False  # compared only between runs of one machine, see `comparable`

    def __call__(self, run: Run, settings: Settings = NONE) -> float | None:
        return self.of(run, settings)


@dataclass(frozen=True)
class Sweep:
    """One of the values that several runs differ in, such as the highest rate that trains."""

    of: Callable[[Tried, Settings], float | None]
    setting: tuple[str, type] | None = None
    kind: Kind = "rate"
    exact: bool = False
    of_machine: bool = False

    def __call__(self, tried: Tried, settings: Settings = NONE) -> float | None:
        return self.of(tried, settings)


def find(name: str) -> Measure | Sweep:
    if name in SWEEPS:
        return SWEEPS[name]
    if name not in MEASURES:
        raise unknown("measure", name, [*MEASURES, *SWEEPS])
    return MEASURES[name]


def comparable(runs: Iterable[Run]) -> bool:
    """Whether all runs have the same processor, device, thread count and torch."""
    return len({tuple(getattr(run.environment, key) for key in MACHINE) for run in runs}) < 2


def check_settings(name: str, settings: Settings) -> None:
    """Raises ValueError for a setting that is missing, unknown or of the wrong type."""
    wanted = find(name).setting
    known = [wanted[0]] if wanted else []
    for key in settings:
        if key not in known:
            raise unknown("setting", key, known, f"measure {name}")
    if wanted is None:
        return
    key, kind = wanted
    value = settings.get(key)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not (is_number if kind is float else isinstance(value, list) and value):
        expected = "a number" if kind is float else "a list of names"
        raise ValueError(f"{key} = {value!r}: measure {name} expects {expected}")


def _score(part: str, key: str) -> Callable[[Run, Settings], float | None]:
    return lambda run, settings: _scored(run, part, key)


def _best_test_accuracy(run: Run, settings: Settings) -> float | None:
    """The number of a report that scored the test set in every epoch."""
    return max((each.test.accuracy for each in run.metrics if each.test is not None), default=None)


def _epochs(run: Run, settings: Settings) -> float | None:
    return float(len(run.metrics)) or None


def _scored(run: Run, part: str, key: str) -> Any:
    """None if the part was not scored or lacks this score."""
    return getattr(run.scores.get(part), key, None)


def _one_image(part: str) -> Callable[[Run], float]:
    def grain(run: Run) -> float:
        images = _scored(run, part, "n")
        return 1 / images if images else 0.0

    return grain


def _cost(key: str) -> Callable[[Run, Settings], float | None]:
    return lambda run, settings: getattr(run.cost, key)


def _accuracies(run: Run) -> list[float]:
    """Of each epoch, on the part that selected the kept epoch, usually validation."""
    if (part := run.data.selection) is None:
        return []
    return [score.accuracy for each in run.metrics if (score := each.of(part)) is not None]


def _mean_accuracy(run: Run, settings: Settings) -> float | None:
    accuracies = _accuracies(run)
    return fmean(accuracies) if accuracies else None


def _largest_drop(run: Run, settings: Settings) -> float | None:
    """0 if it never fell; None unless the test part was scored in every epoch."""
    accuracies = [each.test.accuracy for each in run.metrics if each.test is not None]
    if len(accuracies) < len(run.metrics):
        return None
    drops = [before - after for before, after in pairwise(accuracies)]
    return max(0.0, *drops) if drops else None


def _fluctuation(run: Run, settings: Settings) -> float | None:
    """Mean distance of an epoch from the midpoint of its neighbours; 0 for a steady rise."""
    accuracies = _accuracies(run)
    bends = [
        abs(now - (before + after) / 2)
        for before, now, after in zip(accuracies, accuracies[1:], accuracies[2:], strict=False)
    ]
    return fmean(bends) if bends else None


def _epochs_to(run: Run, settings: Settings) -> float | None:
    """Trained epochs + 1 if never reached: a lower bound, so that a difference is not exaggerated."""
    accuracies = _accuracies(run)
    reached = [epoch for epoch, accuracy in enumerate(accuracies, start=1) if accuracy >= settings["accuracy"]]
    return float(reached[0] if reached else len(accuracies) + 1) if accuracies else None


def _generalisation_gap(run: Run, settings: Settings) -> float | None:
    """Both losses use the kept weights, in evaluation mode, without augmentation."""
    part = next((part for part in HELD_OUT if part in run.scores), "")
    held_out, trained = _scored(run, part, "loss"), run.train_score and run.train_score.loss
    return None if held_out is None or trained is None else held_out - trained


def _recall_lead(run: Run, settings: Settings) -> float | None:
    """The lowest recall of the named classes minus the mean recall of the others, on the test part."""
    score = run.scores.get("test")
    if score is None or not score.per_class:
        return None
    recalls = {row.name: row.recall for row in score.per_class}
    named = [recalls[name] for name in _known(settings["classes"], recalls)]
    others = [recall for name, recall in recalls.items() if name not in settings["classes"]]
    return min(named) - fmean(others) if named and others else None


def _confusion_lead(run: Run, settings: Settings) -> float | None:
    """Share of images confused within the pair of classes, minus that of the worst other pair."""
    confusion = _scored(run, "test", "confusion")
    if not confusion:
        return None
    names = run.data.classes
    pair = frozenset(_known(settings["classes"], names))
    if len(pair) != 2:
        raise ValueError(f"measure confusion_lead expects two classes, got {', '.join(settings['classes'])}")
    mistakes = {
        frozenset((names[i], names[j])): confusion[i][j] + confusion[j][i]
        for i, j in combinations(range(len(names)), 2)
    }
    own = mistakes.pop(pair)
    return (own - max(mistakes.values(), default=0)) / sum(map(sum, confusion))


def _known(classes: Sequence[str], names: Sequence[str] | Mapping[str, Any]) -> Sequence[str]:
    for name in classes:
        if name not in names:
            raise unknown("class", name, names, "the claim")
    return classes


def _gain_while_rising(run: Run, settings: Settings) -> float | None:
    """How much more a step lowers the training loss while the rate rises than while it falls.

    The loss falls faster early in training. The result is therefore the mean of two differences over full periods: from
    trough to trough, where the rising half comes first, and from peak to peak, where the falling half does. Steps at a
    trough or a peak belong to neither half. An archived run has thinned curves and stores the result.
    """
    steps = run.steps
    if "step" in steps:
        return run.status.measured.get("gain_while_rising")
    if not steps:
        return None
    loss, lr = (steps[name].astype(np.float64) for name in ("loss", "lr"))
    finite = np.isfinite(loss)
    at = np.flatnonzero(finite)
    loss, lr = loss[finite], lr[finite]
    troughs = _troughs(lr)
    if len(troughs) < 2:
        return None
    peaks = [peak for peak in _troughs(-lr) if peak > troughs[0]]
    spans = [(ends[0], ends[-1]) for ends in (troughs, peaks) if len(ends) > 1]
    gains = [_gain(loss, lr, at, slice(*span)) for span in spans]
    return fmean(gains) if all(math.isfinite(gain) for gain in gains) else None


def _troughs(lr: np.ndarray) -> list[int]:
    """Positions where the rate is lower than at the next step and not higher than before; may include the ends."""
    falls_before = np.concatenate([[True], np.diff(lr) <= 0])
    rises_after = np.concatenate([np.diff(lr) > 0, [len(lr) > 1 and lr[-1] < lr[-2]]])
    return [int(place) for place in np.flatnonzero(falls_before & rises_after)]


def _gain(loss: np.ndarray, lr: np.ndarray, at: np.ndarray, span: slice) -> float:
    """Fall of the loss per step in the rising halves minus the falling ones; not finite unless both occur."""
    slope = np.concatenate([[0.0], lr[2:] - lr[:-2], [0.0]])[span]
    fall, steps = (np.append(np.diff(values), 0)[span] for values in (-loss, at))
    with np.errstate(invalid="ignore"):
        rising, falling = (fall[phase].sum() / np.float64(steps[phase].sum()) for phase in (slope > 0, slope < 0))
    return float(rising - falling)


def _highest_that_trains(tried: Tried, settings: Settings) -> float | None:
    """The highest value whose validation accuracy is at most `within` below the best.

    None if no network is clearly above chance.
    """
    scores = {value: run.scores.get("validation") for value, run in tried}
    known = {value: score for value, score in scores.items() if score is not None}
    if len(known) < len(tried):
        return None
    lowest = max(score.accuracy for score in known.values()) - settings["within"]
    trained = {value for value, run in tried if _above_chance(run)}
    return max((value for value in trained if known[value].accuracy >= lowest), default=None)


def _above_chance(run: Run) -> bool:
    """By the 95 % interval over the validation images. Chance is the share of the most frequent class."""
    score, counts = run.scores["validation"], run.data.per_class["validation"]
    chance = max(counts) / sum(counts)
    low = wilson(score.correct, score.n).low
    return low is not None and low > chance + ABOVE_CHANCE * (1 - chance)


def _one_epoch(run: Run) -> float:
    return 1.0


MEASURES: dict[str, Measure] = {
    "test_accuracy": Measure("fraction", _score("test", "accuracy"), grain=_one_image("test")),
    "validation_accuracy": Measure("fraction", _score("validation", "accuracy"), grain=_one_image("validation")),
    "fold_accuracy": Measure("fraction", _score("fold", "accuracy"), grain=_one_image("fold")),
    "best_test_accuracy": Measure("fraction", _best_test_accuracy, grain=_one_image("test")),
    "test_loss": Measure("number", _score("test", "loss")),
    "epochs": Measure("epochs", _epochs, grain=_one_epoch),
    "parameters": Measure("count", _cost("parameters"), exact=True),
    "flops_per_image": Measure("count", _cost("flops_per_image"), exact=True),
    "macs_per_image": Measure("count", _cost("macs_per_image"), exact=True),
    "train_seconds": Measure("seconds", _cost("train_seconds"), of_machine=True),
    "total_seconds": Measure("seconds", _cost("total_seconds"), of_machine=True),
    "images_per_second": Measure("number", _cost("images_per_second"), of_machine=True),
    "mean_accuracy": Measure("fraction", _mean_accuracy, grain=_one_image("validation")),
    "largest_drop": Measure("points", _largest_drop, grain=_one_image("test")),
    "fluctuation": Measure("points", _fluctuation, grain=_one_image("validation")),
    "epochs_to": Measure("epochs", _epochs_to, ("accuracy", float), grain=_one_epoch),
    "generalisation_gap": Measure("number", _generalisation_gap),
    "recall_lead": Measure("points", _recall_lead, ("classes", list), grain=_one_image("test")),
    "confusion_lead": Measure("points", _confusion_lead, ("classes", list), grain=_one_image("test")),
    "gain_while_rising": Measure("number", _gain_while_rising),
}
SWEEPS: dict[str, Sweep] = {"highest_that_trains": Sweep(_highest_that_trains, ("within", float))}
