"""Measures: named numbers that are computed from a run folder, or from several.

A measure is None if the part was not scored or a loss is not finite. A network that diverged still has an accuracy.
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
from convoy.run_contents import Score
from convoy.runs import Run
from convoy.stats import Estimate, t_interval, wilson
from convoy.studies.landscape import band
from convoy.studies.landscape.arrays import Probes
from convoy.text import gettext as _
from convoy.text.lists import joined

Kind = Literal["fraction", "points", "count", "seconds", "epochs", "number", "rate"]  # points: percentage points
Settings = Mapping[str, int | float | list[str]]
NONE: Settings = {}
RunsByValue = Sequence[tuple[float, Run]]  # runs that differ in one value
HELD_OUT = ("test", "fold", "validation")  # accuracy on new images is measured on the first of these that was scored
ABOVE_CHANCE = 0.1  # minimum of (accuracy - chance) / (1 - chance) for a network that learned


@dataclass(frozen=True)
class Measure:
    """A number of one run, `MEASURES["test_accuracy"](run)`, or of several that differ in one value."""

    kind: Kind
    of: Callable[..., float | None]  # takes the run or runs, and the value of the setting, if any
    setting: tuple[str, type] | None = None  # name and type of a setting that claims must give
    images: str = ""  # the part whose images it counts; "selection": the part that selected the epoch
    exact: bool = False  # counted from the network, without training
    of_machine: bool = False  # depends on the machine, see `comparable`
    several: bool = False  # takes several runs that differ in one value; example: the highest rate that trains

    def __call__(self, runs: Run | RunsByValue, settings: Settings = NONE) -> float | None:
        return self.of(runs) if self.setting is None else self.of(runs, settings[self.setting[0]])

    def resolution(self, run: Run) -> float:
        """Returns the distance between two possible values; 0 for a continuous measure."""
        if self.images:
            part = run.data.selection or "" if self.images == "selection" else self.images
            score = run.stated_scores.get(part)  # `of` compares it with the predictions
            return 1 / score.n if score is not None and score.n else 0.0
        return 1.0 if self.kind == "epochs" else 0.0


def find(name: str) -> Measure:
    if name not in MEASURES:
        raise unknown(_("measure"), name, MEASURES)
    return MEASURES[name]


def over_runs(measure: Measure, values: Sequence[float], run: Run) -> Estimate:
    """Estimates the mean over seeds or, for one value, the proportion of correct images of `run`."""
    resolution = measure.resolution(run)
    if len(values) == 1 and measure.kind == "fraction" and resolution:
        images = round(1 / resolution)
        correct = round(values[0] * images)
        if abs(values[0] * images - correct) < 1e-6:  # not a mean over epochs
            return wilson(correct, images)
    return t_interval(values, step=resolution)


def comparable(runs: Iterable[Run]) -> bool:
    """Whether all runs were timed on the same machine."""
    return len({run.environment.machine for run in runs}) < 2


def check_settings(name: str, settings: Settings) -> None:
    """Raises ValueError for a setting that is missing, unknown or of the wrong type."""
    setting = find(name).setting
    allowed = [setting[0]] if setting else []
    for key in settings:
        if key not in allowed:
            raise unknown(_("setting"), key, allowed, _("measure {name}", name=name))
    if setting is None:
        return
    key, kind = setting
    value = settings.get(key)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not (is_number if kind is float else isinstance(value, list) and value):
        expected = _("a number") if kind is float else _("a list of names")
        raise ValueError(
            _(
                "{key} = {value!r}: measure {name} expects {expected}",
                key=key,
                value=value,
                name=name,
                expected=expected,
            )
        )


def _score(part: str, key: str) -> Callable[[Run], float | None]:
    return lambda run: _scored(run, part, key)


def _best_test_accuracy(run: Run) -> float | None:
    """The accuracy that a report gives if it scored the test set in every epoch."""
    return max((each.test.accuracy for each in run.metrics if each.test is not None), default=None)


def _scored(run: Run, part: str, key: str) -> Any:
    """Returns None if the part was not scored or the score is missing."""
    return getattr(run.scores.get(part), key, None)


def _cost(key: str) -> Callable[[Run], float | None]:
    return lambda run: getattr(run.cost, key)


def _accuracies(run: Run) -> list[float]:
    """Accuracy of each epoch, on the part that selected the epoch (usually validation)."""
    if (part := run.data.selection) is None:
        return []
    return [score.accuracy for each in run.metrics if (score := each.of(part)) is not None]


def _mean_accuracy(run: Run) -> float | None:
    accuracies = _accuracies(run)
    return fmean(accuracies) if accuracies else None


def _largest_validation_drop(run: Run) -> float | None:
    """0 if the accuracy never fell."""
    drops = [before - after for before, after in pairwise(_accuracies(run))]
    return max(0.0, *drops) if drops else None


def _final_train_loss(run: Run) -> float | None:
    """Mean over the batches of the last epoch."""
    return run.metrics[-1].train.loss if run.metrics else None


def _largest_drop(run: Run) -> float | None:
    """0 if the accuracy never fell; None unless the test set was scored in every epoch."""
    accuracies = [each.test.accuracy for each in run.metrics if each.test is not None]
    if len(accuracies) < len(run.metrics):
        return None
    drops = [before - after for before, after in pairwise(accuracies)]
    return max(0.0, *drops) if drops else None


def _fluctuation(run: Run) -> float | None:
    """Mean distance of an epoch from the midpoint of its neighbours; 0 for a steady rise."""
    accuracies = _accuracies(run)
    bends = [
        abs(now - (before + after) / 2)
        for before, now, after in zip(accuracies, accuracies[1:], accuracies[2:], strict=False)
    ]
    return fmean(bends) if bends else None


def _epochs_to(run: Run, accuracy: float) -> float | None:
    """Returns trained epochs + 1 if the accuracy was never reached: a lower bound, so no difference is exaggerated."""
    accuracies = _accuracies(run)
    reached = [epoch for epoch, value in enumerate(accuracies, start=1) if value >= accuracy]
    return float(reached[0] if reached else len(accuracies) + 1) if accuracies else None


def _generalisation_gap(run: Run) -> float | None:
    """Both losses are computed with the saved weights in evaluation mode, without augmentation."""
    part = next((part for part in HELD_OUT if part in run.scores), "")
    held_out, trained = _scored(run, part, "loss"), run.train_score and run.train_score.loss
    return None if held_out is None or trained is None else held_out - trained


def _gradient_change(run: Run) -> float | None:
    """Median over the probes of the largest distance to the gradient of the step, as in convoy.studies.landscape."""
    probes = Probes.of(run.arrays)
    if probes is None:
        return None
    change = probes.gradient_change.max(1)
    median = float(np.median(np.where(np.isfinite(change), change, np.inf)))
    return median if math.isfinite(median) else None


def _recall_lead(run: Run, classes: Sequence[str]) -> float | None:
    """The lowest recall of the named classes minus the mean recall of the others, on the test set."""
    score = run.scores.get("test")
    if score is None or not score.per_class:
        return None
    recalls = {row.name: row.recall for row in score.per_class}
    named = [recalls[name] for name in _checked_classes(classes, recalls)]
    others = [recall for name, recall in recalls.items() if name not in classes]
    return min(named) - fmean(others) if named and others else None


def _confusion_lead(run: Run, classes: Sequence[str]) -> float | None:
    """Fraction of images confused within the pair of classes, minus that of the worst other pair."""
    confusion = _scored(run, "test", "confusion")
    if not confusion:
        return None
    names = run.data.classes
    pair = frozenset(_checked_classes(classes, names))
    if len(pair) != 2:
        raise ValueError(_("measure confusion_lead expects two classes, got {classes}", classes=joined(classes)))
    mistakes = {
        frozenset((names[i], names[j])): confusion[i][j] + confusion[j][i]
        for i, j in combinations(range(len(names)), 2)
    }
    own = mistakes.pop(pair)
    return (own - max(mistakes.values(), default=0)) / sum(map(sum, confusion))


def _checked_classes(classes: Sequence[str], names: Sequence[str] | Mapping[str, Any]) -> Sequence[str]:
    for name in classes:
        if name not in names:
            raise unknown(_("class"), name, names, _("the claim"))
    return classes


def _gain_while_rising(run: Run) -> float | None:
    """Decrease of the training loss per step while the learning rate rises, minus the decrease while it falls.

    The loss falls faster early in training, which would favour the half that comes first. The result is therefore the
    mean of two differences over full periods: from trough to trough (the rising half is first) and from peak to peak
    (the falling half is first). Steps at a trough or a peak belong to neither half. An archived run has only some
    steps, and therefore stores the result.
    """
    steps = run.steps
    if "step" in steps:
        return run.status.measured.get("gain_while_rising")
    if not steps:
        return None
    loss, lr = (steps[name].astype(np.float64) for name in ("loss", "lr"))
    at = np.flatnonzero(np.isfinite(loss))
    loss, lr = loss[at], lr[at]
    troughs = _troughs(lr)
    if len(troughs) < 2:
        return None
    peaks = [peak for peak in _troughs(-lr) if peak > troughs[0]]
    spans = [(ends[0], ends[-1]) for ends in (troughs, peaks) if len(ends) > 1]
    gains = [_gain(loss, lr, at, slice(*span)) for span in spans]
    return fmean(gains) if all(math.isfinite(gain) for gain in gains) else None


def _troughs(lr: np.ndarray) -> list[int]:
    """Returns positions where the rate is lower than at the next step and not higher than at the previous one."""
    falls_before = np.concatenate([[True], np.diff(lr) <= 0])
    rises_after = np.concatenate([np.diff(lr) > 0, [len(lr) > 1 and lr[-1] < lr[-2]]])
    return [int(place) for place in np.flatnonzero(falls_before & rises_after)]


def _gain(loss: np.ndarray, lr: np.ndarray, at: np.ndarray, span: slice) -> float:
    """Decrease of the loss per step in rising halves minus that in falling halves; not finite unless both occur."""
    slope = np.concatenate([[0.0], lr[2:] - lr[:-2], [0.0]])[span]
    fall, steps = (np.append(np.diff(values), 0)[span] for values in (-loss, at))
    with np.errstate(invalid="ignore"):
        rising, falling = (fall[phase].sum() / np.float64(steps[phase].sum()) for phase in (slope > 0, slope < 0))
    return float(rising - falling)


def _band_width(tried: RunsByValue, steps: float) -> float | None:
    """Mean difference between the highest and the lowest loss in the first `steps` steps, up to the shortest run.

    Steps whose loss is not finite in every run are left out. An archived run has only some steps.
    """
    if not all(run.steps for _, run in tried):
        return None
    (curves,) = band.aligned([[run for _, run in tried]])
    width = band.width(curves, band.Measure.LOSS)[curves.step <= steps]
    width = width[np.isfinite(width)]
    return float(width.mean()) if len(width) else None


def _highest_that_trains(tried: RunsByValue, within: float) -> float | None:
    """The highest value whose accuracy is at most `within` below the best, on the part that selects the epoch.

    None if no network is clearly above chance.
    """
    scores = [run.scores.get(run.data.selection or "") for _, run in tried]
    scored = [score for score in scores if score is not None]
    if len(scored) < len(tried):
        return None
    lowest = max(score.accuracy for score in scored) - within
    trained = [
        value
        for (value, run), score in zip(tried, scored, strict=True)
        if score.accuracy >= lowest and _above_chance(run, score)
    ]
    return max(trained, default=None)


def _above_chance(run: Run, score: Score) -> bool:
    """Uses the 95 % interval over the images. Chance level is the proportion of the most frequent class."""
    counts = run.data.per_class[run.data.selection or ""]
    chance = max(counts) / sum(counts)
    return wilson(score.correct, score.n).span[0] > chance + ABOVE_CHANCE * (1 - chance)


MEASURES: dict[str, Measure] = {
    "test_accuracy": Measure("fraction", _score("test", "accuracy"), images="test"),
    "validation_accuracy": Measure("fraction", _score("validation", "accuracy"), images="validation"),
    "fold_accuracy": Measure("fraction", _score("fold", "accuracy"), images="fold"),
    "best_test_accuracy": Measure("fraction", _best_test_accuracy, images="test"),
    "test_loss": Measure("number", _score("test", "loss")),
    "epochs": Measure("epochs", lambda run: float(len(run.metrics)) or None),
    "parameters": Measure("count", _cost("parameters"), exact=True),
    "flops_per_image": Measure("count", _cost("flops_per_image"), exact=True),
    "macs_per_image": Measure("count", _cost("macs_per_image"), exact=True),
    "train_seconds": Measure("seconds", _cost("train_seconds"), of_machine=True),
    "total_seconds": Measure("seconds", _cost("total_seconds"), of_machine=True),
    "images_per_second": Measure("number", _cost("images_per_second"), of_machine=True),
    "mean_accuracy": Measure("fraction", _mean_accuracy, images="selection"),
    "largest_drop": Measure("points", _largest_drop, images="test"),
    "largest_validation_drop": Measure("points", _largest_validation_drop, images="selection"),
    "fluctuation": Measure("points", _fluctuation, images="selection"),
    "final_train_loss": Measure("number", _final_train_loss),
    "epochs_to": Measure("epochs", _epochs_to, ("accuracy", float)),
    "generalisation_gap": Measure("number", _generalisation_gap),
    "recall_lead": Measure("points", _recall_lead, ("classes", list), images="test"),
    "confusion_lead": Measure("points", _confusion_lead, ("classes", list), images="test"),
    "gain_while_rising": Measure("number", _gain_while_rising),
    "gradient_change": Measure("number", _gradient_change),
    "band_width": Measure("number", _band_width, ("steps", float), several=True),
    "highest_that_trains": Measure("rate", _highest_that_trains, ("within", float), several=True),
}
