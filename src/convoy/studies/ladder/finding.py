"""The finding of a ladder: the effect of each difference between two recipes on the accuracy, measured in two ways.

On the ladder, the changes are applied one after the other. A step is the difference from the previous recipe, so the
steps add up to the complete difference. A step depends on the changes before it. The leave-one-out effect of a change
is the accuracy of the second recipe minus the accuracy of the second recipe without this change. If changes do not
interact, both effects are equal.

Differences are paired by seed (Student's paired t test). All p values are corrected together (Holm 1979).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal

from pydantic import AliasChoices, Field

from convoy.notebook import html_of
from convoy.runs import Member, Study
from convoy.stats import Estimate, holm, is_significant, paired_difference, t_interval


@dataclass(frozen=True)
class Effect:
    difference: Estimate  # difference of accuracies: with the change minus without it
    p: float | None  # two-sided p value; None for one seed
    p_holm: float | None = None  # p value corrected for all effects of the study

    @property
    def significant(self) -> bool:
        return self.p_holm is not None and is_significant(self.p_holm)


@dataclass(frozen=True)
class Setting:
    """A key of the recipe with both values as text; for a protocol fault, "off" and "on"."""

    key: str
    before: str
    after: str

    @property
    def is_fault(self) -> bool:
        return {self.before, self.after} == {"off", "on"}


@dataclass(frozen=True)
class Rung:
    changes: tuple[Setting, ...]  # several if they are only valid together
    accuracy: Estimate  # with this change and those of the rungs below it
    step: Effect  # compared with the rung below
    without: Estimate | None  # the second recipe with only this change removed; None if that recipe is not valid
    # The second recipe compared with `without`; "taken_away" in earlier findings.
    leave_one_out: Annotated[Effect | None, Field(validation_alias=AliasChoices("leave_one_out", "taken_away"))]

    @property
    def name(self) -> str:
        return ", ".join(change.key for change in self.changes)


@dataclass(frozen=True)
class LadderFinding:
    """Accuracies are fractions."""

    first: str  # labels of the recipes
    second: str
    data: str  # name of the data set
    part: Literal["test", "validation"]  # the part on which the accuracies are computed
    images: int  # number of images of that part
    seeds: tuple[int, ...]
    start: Estimate  # accuracy of the first recipe
    end: Estimate  # accuracy of the second recipe
    total: Estimate  # end minus start, paired by seed
    rungs: tuple[Rung, ...]
    limit: int | None  # number of images to which the data were limited
    kind: Literal["ladder"] = "ladder"
    schema: int = 1
    _repr_html_ = html_of

    @property
    def leave_one_out_total(self) -> float | None:
        """Sum of the leave-one-out effects; None if one is missing."""
        effects = [rung.leave_one_out for rung in self.rungs if rung.leave_one_out is not None]
        return sum(effect.difference.mean for effect in effects) if len(effects) == len(self.rungs) else None

    @property
    def largest(self) -> Rung:
        return max(self.rungs, key=lambda rung: abs(rung.step.difference.mean))


Accuracies = Mapping[int, float]  # by seed


@dataclass(frozen=True)
class RungAccuracies:
    """The accuracies of one rung; `without`: None if the second recipe without the change is not valid."""

    changes: tuple[Setting, ...]
    accuracies: Accuracies
    without: Accuracies | None


def conclude(
    start: Accuracies,
    rungs: Sequence[RungAccuracies],
    *,
    labels: tuple[str, str],
    data: str,
    part: Literal["test", "validation"],
    images: int,
    limit: int | None = None,
) -> LadderFinding:
    """`rungs`: from the first change to the last, which gives the second recipe. All have the same seeds."""
    resolution, seeds = 1 / images, tuple(start)
    below = [start, *(rung.accuracies for rung in rungs)]
    end = below[-1]

    def effect(with_: Accuracies, without: Accuracies) -> Effect:
        return Effect(
            *paired_difference(*([values[seed] for seed in seeds] for values in (with_, without)), step=resolution)
        )

    def mean(accuracies: Accuracies) -> Estimate:
        return t_interval([accuracies[seed] for seed in seeds], step=resolution)

    steps = [effect(rung.accuracies, before) for rung, before in zip(rungs, below, strict=False)]
    alone = [None if rung.without is None else effect(end, rung.without) for rung in rungs[:-1]]
    tested = iter(corrected([*steps, *(each for each in alone if each is not None)]))
    steps = [next(tested) for _ in steps]
    # The second recipe without its last change is the rung below, so that both effects are the same test.
    alone = [*(None if each is None else next(tested) for each in alone), steps[-1]]
    rung_results = tuple(
        Rung(rung.changes, mean(rung.accuracies), step, None if rung.without is None else mean(rung.without), taken)
        for rung, step, taken in zip(rungs, steps, alone, strict=True)
    )
    total = effect(end, start).difference
    return LadderFinding(*labels, data, part, images, seeds, mean(start), mean(end), total, rung_results, limit)


@dataclass(frozen=True)
class PlannedRung:
    """The changes of a rung, and whether the second recipe was trained without them."""

    changes: tuple[Setting, ...]
    has_without: bool


def find(labels: tuple[str, str], steps: Sequence[PlannedRung], seeds: int, members: Sequence[Member]) -> LadderFinding:
    """Computes the finding from finished runs with a test or validation score.

    `members`: `seeds` runs of each recipe: the first recipe, then for each rung the recipe with its changes and, if it
    was trained, the second recipe without them.
    """
    scores = [member.run.scores for member in members]
    part: Literal["test", "validation"] = "test" if all("test" in score for score in scores) else "validation"
    groups = iter([members[at : at + seeds] for at in range(0, len(members), seeds)])

    def accuracies() -> dict[int, float]:
        return {member.seed: member.run.scores[part].accuracy for member in next(groups)}

    return conclude(
        accuracies(),
        [RungAccuracies(step.changes, accuracies(), accuracies() if step.has_without else None) for step in steps],
        labels=labels,
        data=members[0].run.data.name,
        part=part,
        images=max(score[part].n for score in scores),
        limit=members[0].run.recipe.data.limit,
    )


def recompute(stated: LadderFinding, study: Study) -> LadderFinding:
    steps = [PlannedRung(rung.changes, rung.without is not None) for rung in stated.rungs]
    return find((stated.first, stated.second), steps, len(stated.seeds), study.members)


def corrected(effects: Sequence[Effect]) -> list[Effect]:
    """Applies Holm's correction. Returns the effects unchanged if they have no p values (one seed)."""
    ps = [effect.p for effect in effects if effect.p is not None]
    if len(ps) < len(effects):
        return [*effects]
    return [replace(effect, p_holm=p) for effect, p in zip(effects, holm(ps), strict=True)]
