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

from convoy.experiments.claims import Check, Relation
from convoy.experiments.measures import Settings, comparable, find
from convoy.prediction import Reason, Verdict
from convoy.runs import Run
from convoy.stats import Estimate, paired_t, t_interval, wilson

Values = dict[int, float]  # by seed
Value = Estimate | float  # a counted number has no interval


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
    id: str
    sentence: str  # of the report
    measure: str
    settings: Settings  # of the measure, with the class names of the report
    relation: Relation
    quantity: Literal["difference", "ratio", "value"]  # of the two sides; of a single side its value
    limit: float  # the number that the quantity is compared with
    margin: float
    sides: tuple[Side, ...]
    result: Value | None  # the quantity
    verdict: Verdict
    why: Inconclusive | None
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
    ready: Check, runs: Sequence[Run], counts: Mapping[str, float], *, withheld: Reason | None = None
) -> JudgedClaim:
    """`runs` are in the order of `ready.trials`. `counts`: the counted measure of each side, see networks."""
    claim, exact = ready.claim, find(ready.claim.measure).exact
    values = (
        {side: {recipe.seed: counts[side]} for side, recipe in ready.sides.items()} if exact else _measured(ready, runs)
    )
    excluded = _on_different_machines(ready, runs)
    result = None if ready.full_size_only else _quantity(ready, values, runs, excluded)
    decided, why = _decide(ready, result)
    if withheld is not None and runs:
        decided = Verdict.INCONCLUSIVE
    sides = [
        Side(
            getattr(claim, side).label,
            _alone(ready, side, found, runs) if found else None,
            len(found) < ready.seeds and not exact,
        )
        for side, found in values.items()
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
        verdict=decided,
        why=why,
        excluded=len(excluded),
        runs=tuple(dict.fromkeys(run.name for run in runs)),
        reduced=ready.reduced,
        full_size_only=ready.full_size_only,
        withheld=withheld if runs else None,
    )


def _decide(ready: Check, result: Value | None) -> tuple[Verdict, Inconclusive | None]:
    if ready.full_size_only:
        return Verdict.INCONCLUSIVE, Inconclusive.FULL_SIZE_ONLY
    if result is None:
        return Verdict.INCONCLUSIVE, Inconclusive.NOT_MEASURED
    low, high = (result.low, result.high) if isinstance(result, Estimate) else (result, result)
    if low is None or high is None:
        return Verdict.INCONCLUSIVE, Inconclusive.ONE_SEED
    claim = ready.claim
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


def _measured(ready: Check, runs: Sequence[Run]) -> dict[str, Values]:
    """The measure of each side by seed, without seeds that lack it."""
    measure, settings = find(ready.claim.measure), ready.claim.settings
    tried: dict[str, dict[int, list[tuple[float, Run]]]] = {side: {} for side in ready.sides}
    for trial, run in zip(ready.trials, runs, strict=True):
        tried[trial.side].setdefault(trial.recipe.seed, []).append((trial.tried or 0.0, run))
    found: dict[str, Values] = {side: {} for side in ready.sides}
    for side, by_seed in tried.items():
        for seed, group in by_seed.items():
            value = measure(group if measure.several else group[0][1], settings)
            if value is not None and math.isfinite(value):
                found[side][seed] = float(value)
    return found


def _on_different_machines(ready: Check, runs: Sequence[Run]) -> set[int]:
    """The seeds whose runs are not comparable, for a measure that depends on the machine."""
    if not find(ready.claim.measure).of_machine:
        return set()
    by_seed: dict[int, list[Run]] = {}
    for trial, run in zip(ready.trials, runs, strict=True):
        by_seed.setdefault(trial.recipe.seed, []).append(run)
    return {seed for seed, group in by_seed.items() if not comparable(group)}


def _quantity(
    ready: Check, values: Mapping[str, Values], runs: Sequence[Run], excluded: Collection[int]
) -> Value | None:
    """The value compared with the limit: a, a - b or a / b. None if no seed has it on both sides.

    `excluded`: seeds to leave out.
    """
    claim, measure = ready.claim, find(ready.claim.measure)
    a, b = values["a"], values.get("b")
    by_ratio = claim.quantity == "ratio" or measure.kind == "rate"
    if measure.exact:
        (one,), (other,) = a.values(), (b or {0: 0.0}).values()
        return one if b is None else _ratio(one, other) if by_ratio else one - other
    seeds = sorted((a.keys() & (a if b is None else b).keys()) - set(excluded))
    if not seeds:
        return None
    first, second = [a[seed] for seed in seeds], [(b[seed] if b else 1.0 if by_ratio else 0.0) for seed in seeds]
    if by_ratio:
        if min(*first, *second) <= 0:
            return None
        first, second = [[math.log(value) for value in side] for side in (first, second)]
    if len(seeds) == 1:
        found = t_interval([first[0] - second[0]])
    else:
        step = _grain(ready, runs, by_ratio)
        # paired_t expects two values rounded to the grain; a constant is not rounded.
        found = paired_t(first, second, step=step if b else step / math.sqrt(2)).difference
    return found.exp() if by_ratio else found


def _grain(ready: Check, runs: Sequence[Run], by_ratio: bool) -> float:
    """The least step of the measure, in logarithms for ratios."""
    measure = find(ready.claim.measure)
    if measure.several:
        tried = sorted(math.log(value) for values in ready.claim.over.values() for value in values)
        return min(after - before for before, after in pairwise(tried))
    return 0.0 if by_ratio else measure.grain(runs[0])


def _ratio(one: float, other: float) -> float | None:
    return one / other if other else None


def _alone(ready: Check, side: str, values: Values, runs: Sequence[Run]) -> Value:
    """One side's estimate: over seeds, or over images for one seed."""
    measure, found = find(ready.claim.measure), list(values.values())
    if measure.exact:
        return found[0]
    if len(found) > 1:
        by_ratio = measure.kind == "rate"
        step = _grain(ready, runs, by_ratio)
        if by_ratio:
            return t_interval([math.log(value) for value in found], step=step).exp()
        return t_interval(found, step=step)
    part = ready.claim.measure.removesuffix("_accuracy")
    (seed,) = values
    for trial, run in zip(ready.trials, runs, strict=True):
        if (trial.side, trial.recipe.seed) == (side, seed) and part in run.scores:
            return wilson(run.scores[part].correct, run.scores[part].n)
    return t_interval(found)
