"""The finding of a comparison: estimates per model, and tests between models.

Two models are paired by their common seeds, which have the same split and order of batches (Student's paired t test),
and corrected for the number of pairs (Holm 1979). Tests over images are added; with one seed per model, verdicts are
based on them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations
from statistics import fmean
from typing import Any, Literal

from convoy import run_contents
from convoy.chance import AtChance, at_chance
from convoy.notebook import html_of
from convoy.run_contents import Machine, usual_machine
from convoy.runs import Member, Run, Study
from convoy.stats import Estimate, paired_t, t_interval, wilson
from convoy.studies.compare import ablation
from convoy.studies.compare.ablation import Ablation, Design
from convoy.studies.compare.images import ImagePair, MissingTest, compare_images
from convoy.studies.compare.pair import Pair, between, corrected
from convoy.text import gettext as _

Part = Literal["test", "validation"]
Groups = Mapping[str, Sequence[Member]]


@dataclass(frozen=True)
class Cost:
    """Cost of a model, averaged over its runs (times only over runs on one machine); None if no run recorded it."""

    train_seconds: Estimate | None
    images_per_second: Estimate | None
    ms_per_image: Estimate | None
    ms_per_image_quartiles: tuple[float, float] | None  # over passes, mean over the seeds
    parameters: int | None
    flops_per_image: int | None
    peak_memory_bytes: int | None


@dataclass(frozen=True)
class ModelSummary:
    label: str
    seeds: tuple[int, ...]
    runs: tuple[str, ...]
    accuracy: Estimate  # mean over seeds; with one seed, the interval is over images
    cost: Cost
    diverged: tuple[int, ...] = ()  # seeds of the runs that diverged


@dataclass(frozen=True)
class Flag:
    """A flag of runs. `labels` is empty if all runs have it."""

    text: str
    labels: tuple[str, ...]


@dataclass(frozen=True)
class SkippedRun:
    """A run that is left out, because it has no score on the compared part."""

    label: str
    seed: int
    state: str
    reason: str


@dataclass(frozen=True)
class NotLearned:
    label: str
    seed: int
    result: AtChance


class UnintendedDifference(StrEnum):
    """An unintended difference between the runs."""

    DATA = "data"
    SPLITS = "splits"


@dataclass(frozen=True)
class CompareFinding:
    part: Part  # the part on which the accuracies are computed
    rows: tuple[ModelSummary, ...]  # one per model, in the order of the labels
    pairs: tuple[Pair, ...]  # tests over common seeds, of which there are at least two
    mcnemar: tuple[ImagePair, ...]  # tests over images, for each common seed
    untested: tuple[MissingTest, ...]  # pairs without a test over images, and why
    ablation: Ablation | None  # effects of the varied keys
    reduced: bool  # the runs were trained or scored on fewer images, so there are no verdicts
    flags: tuple[Flag, ...]  # sentences on faults and limits, with the models
    not_learned: tuple[NotLearned, ...]  # models at chance level
    left_out: tuple[SkippedRun, ...]  # runs without a score
    mixed: UnintendedDifference | None  # a difference between the runs that is not in their recipes
    openings: int  # openings of the test set in this workspace, when the last run was scored
    kind: Literal["compare"] = "compare"
    schema: int = 1
    _repr_html_ = html_of

    @property
    def ranked(self) -> list[ModelSummary]:
        """The rows, highest mean first."""
        return sorted(self.rows, key=lambda row: -row.accuracy.mean)

    @property
    def single_seeds(self) -> bool:
        return all(len(row.seeds) == 1 for row in self.rows)

    @property
    def tests(self) -> Sequence[Pair]:
        """The tests on which verdicts are based: over seeds, or over images if each model has one seed."""
        return self.mcnemar if self.single_seeds else self.pairs

    @property
    def best(self) -> str | None:
        """The model that is significantly better than every other, or None."""
        first, *others = self.ranked
        against = [between(self.tests, first.label, other.label) for other in others]
        clear = bool(others) and all(pair is not None and pair.significant for pair in against)
        return first.label if clear and not self.reduced else None


def conclude(members: Sequence[Member], design: Design | None = None) -> CompareFinding:
    """Computes the finding from run folders. `design`: the varied keys of an ablation.

    Raises ValueError if no run has a test or validation score.
    """
    part = _part(members)
    scored = [member for member in members if part in member.run.scores]
    groups: defaultdict[str, list[Member]] = defaultdict(list)
    for member in scored:
        groups[member.label].append(member)
    tests, untested = compare_images(groups, part)
    results = [(member, at_chance(member.run.scores[part])) for member in scored]
    machine = usual_machine(member.run.environment for member in scored)
    return CompareFinding(
        part=part,
        rows=tuple(_row(label, group, part, machine) for label, group in groups.items()),
        pairs=_pairs(groups, part),
        mcnemar=tests,
        untested=untested,
        ablation=None if design is None else ablation.conclude(design, members, part),
        reduced=any(member.run.data.limit for member in members),
        flags=_flags(members),
        not_learned=tuple(NotLearned(member.label, member.seed, result) for member, result in results if result),
        left_out=tuple(
            SkippedRun(member.label, member.seed, member.run.status.state, member.run.status.ending)
            for member in members
            if member not in scored
        ),
        mixed=_mixed(scored),
        openings=max((member.run.data.test_openings for member in scored), default=0),
    )


def recompute(stated: CompareFinding, study: Study) -> CompareFinding:
    members, varied = study.members, stated.ablation
    if varied is None:
        return conclude(members)
    labels = dict.fromkeys(member.label for member in members)
    return conclude(members, Design.of(varied.keys, varied.effects, [*labels]))


def _part(members: Sequence[Member]) -> Part:
    """Returns the part on which most runs have a score; the test set if both are equal."""
    parts: tuple[Part, Part] = ("test", "validation")
    counts = Counter(part for member in members for part in parts if part in member.run.scores)
    if not counts:
        raise ValueError(
            _(
                "none of the {n} runs has a test or validation score: set data.split.validation above 0 "
                "or leave the test set open",
                n=len(members),
            )
        )
    return max(parts, key=lambda part: counts[part])


def _row(label: str, group: Sequence[Member], part: Part, machine: Machine | None) -> ModelSummary:
    return ModelSummary(
        label=label,
        seeds=tuple(member.seed for member in group),
        runs=tuple(member.run.name for member in group),
        accuracy=accuracy_of([member.run.scores[part] for member in group]),
        cost=cost_of([member.run for member in group], machine),
        diverged=tuple(member.seed for member in group if member.run.status.diverged),
    )


def accuracy_of(scores: Sequence[run_contents.Score]) -> Estimate:
    """Estimates the accuracy over the seeds of several runs, or over the images of a single run."""
    if len(scores) == 1:
        return wilson(scores[0].correct, scores[0].n)
    return t_interval([score.accuracy for score in scores], step=1 / scores[0].n)


def cost_of(runs: Sequence[Run], machine: Machine | None) -> Cost:
    """Averages times over the runs on `machine`."""
    costs = [run.cost for run in runs]
    timed = [run.cost for run in runs if run.environment.machine == machine]

    def mean(name: str) -> Estimate | None:
        values = recorded(timed, name)
        return t_interval(values) if values else None

    quartiles = recorded(timed, "ms_per_image_quartiles")
    lower, upper = map(fmean, zip(*quartiles, strict=True)) if quartiles else (0.0, 0.0)
    return Cost(
        train_seconds=mean("train_seconds"),
        images_per_second=mean("images_per_second"),
        ms_per_image=mean("ms_per_image"),
        ms_per_image_quartiles=(lower, upper) if quartiles and len(quartiles) == len(timed) else None,
        parameters=costs[0].parameters,
        flops_per_image=costs[0].flops_per_image,
        peak_memory_bytes=max(recorded(costs, "peak_memory_bytes"), default=None),
    )


def recorded(costs: Sequence[run_contents.Cost], name: str) -> list[Any]:
    return [value for cost in costs if (value := getattr(cost, name)) is not None]


def _pairs(groups: Groups, part: Part) -> tuple[Pair, ...]:
    """Tests all pairs of labels with at least two common seeds."""
    scores = {label: {member.seed: member.run.scores[part] for member in group} for label, group in groups.items()}
    pairs = []
    for a, b in combinations(groups, 2):
        seeds = sorted(scores[a].keys() & scores[b].keys())
        if len(seeds) < 2:
            continue
        sides = [[scores[label][seed].accuracy for seed in seeds] for label in (a, b)]
        test = paired_t(*sides, step=1 / scores[a][seeds[0]].n)
        pairs.append(Pair(a, b, test.difference, test.p))
    return corrected(pairs)


def _flags(members: Sequence[Member]) -> tuple[Flag, ...]:
    flagged: defaultdict[str, list[str]] = defaultdict(list)
    for member in members:
        for flag in member.run.flags:
            flagged[flag].append(member.label)
    return tuple(
        Flag(text, () if len(labels) == len(members) else tuple(dict.fromkeys(labels)))
        for text, labels in flagged.items()
    )


def _mixed(scored: Sequence[Member]) -> UnintendedDifference | None:
    for mixed, key in ((UnintendedDifference.DATA, "data_hash"), (UnintendedDifference.SPLITS, "split_hash")):
        if len({getattr(member.run.data, key) for member in scored}) > 1:
            return mixed
    return None
