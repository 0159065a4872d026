"""The verdict on a claim.

It comes from the 95 % interval of the difference (or ratio), paired by seed. A claim holds if the entire interval is
on its side of the limit, does not hold if the entire interval is on the other side, and is inconclusive otherwise. One
seed has no such interval: an interval over images does not cover another training. Seconds are compared only if both
runs of a seed were trained on one machine. Counts, such as parameters, need neither training nor interval.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Literal

from convoy.experiments.claims import Check, Claim, Relation
from convoy.experiments.measures import Measure, Settings, comparable, find, over_runs
from convoy.prediction import Reason, Verdict
from convoy.runs import Run
from convoy.stats import Estimate, paired_difference, t_interval

Values = dict[int, float]  # by seed
Group = list[tuple[float, Run]]  # the runs of one side and seed, with their value of the claim's `over`
Value = Estimate | int | float  # a counted number has no interval; older findings have it as a float


class Inconclusive(StrEnum):
    """Why a claim has no verdict."""

    INTERVAL = "interval"  # it contains the limit
    ONE_SEED = "one_seed"  # it has no interval
    NOT_MEASURED = "not_measured"  # on both sides by any seed
    FULL_SIZE_ONLY = "full_size_only"  # the reduced scale cannot decide it


@dataclass(frozen=True)
class Side:
    label: str
    value: Value | None  # over seeds, or over images for one seed
    lacking: bool  # at least one seed was not measured


@dataclass(frozen=True)
class JudgedClaim:
    id: str  # of the claim
    sentence: str  # of the report
    measure: str  # its name
    settings: Settings  # of the measure, with the class names of the report
    relation: Relation
    quantity: Literal["difference", "ratio", "value"]  # of the two sides; of a single side its value
    limit: float  # the number that the quantity is compared with
    margin: float  # required distance from the limit
    sides: tuple[Side, ...]  # their labels and values
    result: Value | None  # the quantity
    verdict: Verdict  # holds, does not hold, inconclusive
    why: Inconclusive | None  # reason of an inconclusive verdict
    excluded: int  # seeds left out because their runs were measured on different machines
    runs: tuple[str, ...]  # their names
    reduced: str  # the reduced scale, as in claims.toml; "" at the published one
    full_size_only: str  # the reason in claims.toml
    withheld: Reason | None = None  # why its numbers are shown without a verdict

    @property
    def n(self) -> int:
        """Seeds behind the verdict; 0 if the quantity was counted or not measured."""
        return 0 if not isinstance(self.result, Estimate) else self.result.n


def judge(
    check: Check, runs: Sequence[Run], counts: Mapping[str, float], *, withheld: Reason | None = None
) -> JudgedClaim:
    """`runs` are in the order of `check.trials`. `counts`: the counted measure of each side, see networks."""
    claim, measure = check.claim, find(check.claim.measure)
    groups: dict[str, dict[int, Group]] = {side: {} for side in check.sides}
    for trial, run in zip(check.trials, runs, strict=True):
        groups[trial.side].setdefault(trial.recipe.seed, []).append((trial.tried or 0.0, run))
    values = [_values(measure, claim.settings, group) for group in groups.values()]
    excluded: list[int] = []
    if measure.exact:
        values = [{recipe.seed: counts[side]} for side, recipe in check.sides.items()]
    elif measure.of_machine:
        by_seed = zip(*(group.items() for group in groups.values()), strict=True)
        excluded = [pair[0][0] for pair in by_seed if not comparable(run for _, group in pair for _, run in group)]
    grain = _grain(claim, measure, runs)
    result = None if check.full_size_only else _quantity(claim, measure, values, grain, excluded)
    decided, why = _decide(check, result)
    withheld = withheld if runs else None
    sides = [
        Side(
            getattr(claim, side).label,
            _one_side(claim, by_seed_values, groups[side], grain) if by_seed_values else None,
            len(by_seed_values) < check.seeds and not measure.exact,
        )
        for side, by_seed_values in zip(groups, values, strict=True)
    ]
    return JudgedClaim(
        id=claim.id,
        sentence=claim.sentence,
        measure=claim.measure,
        settings=claim.shown_settings,
        relation=claim.relation,
        quantity="value" if claim.b is None else claim.quantity,
        limit=claim.limit,
        margin=claim.margin,
        sides=tuple(sides),
        result=result,
        verdict=decided if withheld is None else Verdict.INCONCLUSIVE,
        why=why,
        excluded=len(excluded),
        runs=tuple(dict.fromkeys(run.name for run in runs)),
        reduced=check.reduced,
        full_size_only=check.full_size_only,
        withheld=withheld,
    )


def _decide(check: Check, result: Value | None) -> tuple[Verdict, Inconclusive | None]:
    if check.full_size_only:
        return Verdict.INCONCLUSIVE, Inconclusive.FULL_SIZE_ONLY
    if result is None:
        return Verdict.INCONCLUSIVE, Inconclusive.NOT_MEASURED
    low, high = (result.low, result.high) if isinstance(result, Estimate) else (result, result)
    if low is None or high is None:
        return Verdict.INCONCLUSIVE, Inconclusive.ONE_SEED
    claim = check.claim
    decided = verdict(claim.relation, low, high, claim.limit, claim.margin)
    return decided, Inconclusive.INTERVAL if decided is Verdict.INCONCLUSIVE else None


def verdict(relation: Relation, low: float, high: float, limit: float, margin: float = 0.0) -> Verdict:
    """Whether the interval is above limit + margin, below limit - margin, or within the margin ("about")."""
    if relation == "about":
        if limit - margin <= low and high <= limit + margin:
            return Verdict.HOLDS
        return Verdict.DOES_NOT_HOLD if high < limit - margin or low > limit + margin else Verdict.INCONCLUSIVE
    if relation == "below":
        return verdict("above", -high, -low, -limit, margin)
    if low > limit + margin:
        return Verdict.HOLDS
    return Verdict.DOES_NOT_HOLD if high <= limit + margin else Verdict.INCONCLUSIVE


def _values(measure: Measure, settings: Settings, by_seed: Mapping[int, Group]) -> Values:
    """The measure of one side, without seeds that lack it."""
    values = {seed: measure(group if measure.several else group[0][1], settings) for seed, group in by_seed.items()}
    return {seed: float(value) for seed, value in values.items() if value is not None and math.isfinite(value)}


def _grain(claim: Claim, measure: Measure, runs: Sequence[Run]) -> float:
    """The least step of the measure; of tried values in logarithms."""
    if measure.several:
        tried = sorted(math.log(value) for values in claim.over.values() for value in values)
        return min(after - before for before, after in pairwise(tried))
    return measure.grain(runs[0]) if runs else 0.0


def _quantity(
    claim: Claim, measure: Measure, values: Sequence[Values], grain: float, excluded: Collection[int]
) -> Value | None:
    """The value compared with the limit: a, a - b or a / b. None if no seed has it on both sides.

    `excluded`: seeds to leave out.
    """
    by_ratio, single = claim.quantity == "ratio" or measure.several, len(values) == 1
    if measure.exact:
        numbers = [number for side in values for number in side.values()]
        if single:
            return numbers[0]
        one, other = numbers
        return one - other if not by_ratio else one / other if other else None
    seeds = sorted(set.intersection(*(set(side) for side in values)) - set(excluded))
    if not seeds:
        return None
    sides = [[side[seed] for seed in seeds] for side in values]
    if single:
        sides.append([1.0 if by_ratio else 0.0] * len(seeds))
    if by_ratio:
        if min(map(min, sides)) <= 0:
            return None
        sides = [[math.log(value) for value in side] for side in sides]
    first, second = sides
    step = 0.0 if by_ratio and not measure.several else grain
    # The test expects two values rounded to the grain; a constant is not rounded.
    difference, _p = paired_difference(first, second, step=step / math.sqrt(2) if single else step)
    return difference.exp() if by_ratio else difference


def _one_side(claim: Claim, values: Values, by_seed: Mapping[int, Group], grain: float) -> Value:
    """One side's estimate: over seeds, or over images for one seed."""
    measure, numbers = find(claim.measure), list(values.values())
    if measure.exact:
        return numbers[0]
    if measure.several and len(numbers) > 1:
        return t_interval([math.log(value) for value in numbers], step=grain).exp()
    return over_runs(measure, numbers, by_seed[next(iter(values))][0][1])
