"""The finding of a search: the winner, its accuracy with fresh seeds, and its (optimistic) accuracy in the search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, TypedDict

from convoy.agreement import difference_of_two_runs
from convoy.notebook import html_of
from convoy.runs import Run, Study
from convoy.stats import Estimate
from convoy.studies.compare.finding import accuracy_of
from convoy.studies.search.space import Range, Values, is_number

Part = Literal["validation", "test"]


class Sampler(StrEnum):
    TPE = "tpe"
    RANDOM = "random"
    GP = "gp"


class Pruner(StrEnum):
    HALVING = "halving"
    HYPERBAND = "hyperband"
    MEDIAN = "median"
    NONE = "none"


class State(StrEnum):
    FINISHED = "finished"
    PRUNED = "pruned"  # ended before its last epoch
    DIVERGED = "diverged"  # the loss is not finite; the trial cannot win
    INTERRUPTED = "interrupted"  # to be resumed; not in a finding


@dataclass(frozen=True)
class Method:
    """How the trials were sampled, pruned and scored."""

    requested: int  # number of requested trials
    grid: bool  # all points of a grid
    sampler: Sampler | None  # None for all points of a grid
    pruner: Pruner
    seed: int
    epochs: int  # epochs of a fully trained trial, unless the search varies them
    scored_on: Part  # "test" only with the fault selection_on_test
    parallel: bool


@dataclass(frozen=True)
class Trial:
    number: int  # number of the trial, from 1, in chronological order
    params: dict[str, Any]  # values of recipe keys
    accuracy: float  # accuracy of its best epoch, on the part on which trials are scored; 0 if it diverged
    epochs: int
    state: State
    run: str | None  # path relative to the study; None if it was trained in another workspace


@dataclass(frozen=True)
class Importance:
    """Fraction of the accuracy's variance explained by each key (fANOVA, Hutter et al. 2014)."""

    shares: dict[str, float]
    trials: int
    only_finished: bool  # uses fully trained trials; False: all trials that did not diverge, at their last epoch


@dataclass(frozen=True)
class SearchFinding:
    """Accuracies are fractions."""

    label: str  # label of the recipe
    data: str  # name of the data set
    method: Method  # sampler, pruner, number of trials
    space: tuple[Values | Range, ...]  # the keys and their values or bounds
    trials: tuple[Trial, ...]  # values and score of each trial
    winner: int  # number of the winning trial
    seeds: tuple[int, ...]  # fresh seeds with which the winner was retrained
    part: Part  # the part on which `accuracy` is computed
    accuracy: Estimate  # accuracy of the retrained winner
    scored_accuracy: Estimate  # accuracy of the same runs on the part on which the trials were scored
    importance: Importance | None  # importance of the keys; None for one key, and if too few trials differ
    test_openings: int  # number of times that the trials opened the test set
    flags: tuple[str, ...]  # flags of the retrained runs
    kind: Literal["search"] = "search"
    schema: int = 1
    _repr_html_ = html_of

    @property
    def best(self) -> Trial:
        return next(trial for trial in self.trials if trial.number == self.winner)

    @property
    def paths(self) -> list[str]:
        return [axis.path for axis in self.space]

    def column(self, path: str) -> list[Any]:
        return [trial.params[path] for trial in self.trials]

    def count(self, state: State) -> int:
        return sum(trial.state is state for trial in self.trials)

    @property
    def epochs_trained(self) -> int:
        return sum(trial.epochs for trial in self.trials)

    @property
    def epochs_requested(self) -> int:
        """Epochs of all trials if none were pruned."""
        return sum(trial.params.get("train.epochs", self.method.epochs) for trial in self.trials)

    @property
    def margin(self) -> float | None:
        """In 95 % of cases, two single runs with equal settings differ by less than this; None with one fresh seed."""
        return None if self.scored_accuracy.sd is None else difference_of_two_runs(self.scored_accuracy)

    @property
    def near(self) -> tuple[Trial, ...]:
        """Trials that may be as good as the winner, because their difference from it is within `margin`."""
        least = self.best.accuracy - (self.margin or 0)
        return tuple(trial for trial in self.trials if trial.number != self.winner and trial.accuracy >= least)

    @property
    def at_the_edge(self) -> list[str]:
        """Keys whose winning value is the lowest or the highest number in the search."""
        numeric = [axis for axis in self.space if len(axis.extremes) > 1 and all(map(is_number, axis.extremes))]
        return [
            axis.path for axis in numeric if self.best.params[axis.path] in (min(axis.extremes), max(axis.extremes))
        ]


class WinnerResults(TypedDict):
    """The results of the winner's runs that a finding contains."""

    data: str
    part: Part
    accuracy: Estimate
    scored_accuracy: Estimate
    flags: tuple[str, ...]


def retrained(runs: Sequence[Run], scored_on: Part) -> WinnerResults:
    """`runs`: of the winner, with fresh seeds."""
    part: Part = "test" if all("test" in run.scores for run in runs) else "validation"
    return WinnerResults(
        data=runs[0].data.name,
        part=part,
        accuracy=accuracy_of([run.scores[part] for run in runs]),
        scored_accuracy=accuracy_of([run.scores[scored_on] for run in runs]),
        flags=tuple(dict.fromkeys(flag for run in runs for flag in run.status.flags)),
    )


def recompute(stated: SearchFinding, study: Study) -> SearchFinding:
    """Recomputes the results of the winner's runs, and accuracy and epochs of the trials whose runs are finished."""
    part = stated.method.scored_on
    trials = tuple(_recompute(trial, study.path, part) for trial in stated.trials)
    return replace(stated, trials=trials, **retrained([member.run for member in study.members], part))


def _recompute(trial: Trial, folder: Path, part: Part) -> Trial:
    if trial.run is None or not (run := Run(folder / trial.run)).finished or trial.state is not State.FINISHED:
        return trial
    accuracies = [score.accuracy for each in run.metrics if (score := each.of(part)) is not None]
    return replace(trial, accuracy=max(accuracies, default=0.0), epochs=len(accuracies))
