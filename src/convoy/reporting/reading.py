"""Reads the runs of a report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from convoy import chance, record
from convoy.recipe import Recipe
from convoy.reporting.content import no_name
from convoy.run_contents import Cost, Environment, EpochMetrics, RunData, Score, Status
from convoy.run_files import Contradiction
from convoy.runs import Run, Study
from convoy.text import gettext as _

PARTS = ("test", "fold", "validation")


@dataclass(frozen=True)
class RunView:
    """A run of a report. Each of its files is read once, on first use."""

    label: str
    seed: int
    run: Run
    class_names: Mapping[str, str] = field(default_factory=dict)  # name in the data -> displayed name

    @cached_property
    def recipe(self) -> Recipe:
        return self.run.recipe

    @cached_property
    def status(self) -> Status:
        return self.run.status

    @cached_property
    def scores(self) -> dict[str, Score]:
        """Scores by part, with display names of classes. Recomputed if they contradict the run's predictions."""
        return {part: self._with_display_names(score) for part, score in record.scores_of(self.run).items()}

    def _with_display_names(self, score: Score) -> Score:
        return replace(score, per_class=[replace(row, name=self._display_name(row.name)) for row in score.per_class])

    def _display_name(self, name: str) -> str:
        return self.class_names.get(name, name) or no_name()

    @cached_property
    def contradictions(self) -> tuple[Contradiction, ...]:
        return record.contradictions(self.run)

    @cached_property
    def cost(self) -> Cost:
        return self.run.cost

    @cached_property
    def data(self) -> RunData:
        return self.run.data

    @cached_property
    def environment(self) -> Environment:
        return self.run.environment

    @cached_property
    def metrics(self) -> list[EpochMetrics]:
        return self.run.metrics

    @cached_property
    def gallery(self) -> dict[str, np.ndarray]:
        return self.run.gallery

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(map(self._display_name, self.data.classes))


Groups = Mapping[str, list[RunView]]


def read_run(run: Run) -> RunView:
    return RunView(run.label, run.recipe.seed, run)


def read_study(study: Study) -> dict[str, list[RunView]]:
    """Returns the runs by label, in the order of the study. Raises ValueError for a study without runs."""
    groups: dict[str, list[RunView]] = {}
    for member in study.members:
        groups.setdefault(member.label, []).append(RunView(member.label, member.seed, member.run))
    if not groups:
        raise ValueError(_("{path} has no runs, so there is nothing to report", path=study.path / "study.toml"))
    return groups


def all_views(groups: Groups) -> list[RunView]:
    return [view for group in groups.values() for view in group]


def chance_levels(views: Iterable[RunView], part: str) -> list[str]:
    """Returns a sentence for each model at chance level, computed from scores, because older runs have no such flag."""
    scores = [(view.label, view.seed, view.scores[part]) for view in views if part in view.scores]
    return chance.sentences(scores, part)


def with_score(groups: Groups, part: str) -> dict[str, list[RunView]]:
    """Returns the runs with a score on this part. Labels without such a run are left out."""
    scored_groups = {label: [view for view in group if part in view.scores] for label, group in groups.items()}
    return {label: group for label, group in scored_groups.items() if group}


def distinct(values: Iterable[object]) -> list[str]:
    """Returns distinct values as text, in order of first appearance."""
    return list(dict.fromkeys(str(value) for value in values))
