"""Verdicts on claims.

A verdict is based on the 95 % interval of the difference (or ratio), paired by seed. A claim holds if the entire
interval is on its side of the limit and does not hold if the entire interval is on the other side. Otherwise, if the
90 % interval is within the margin, the verdict is "no effect larger than the margin" (see convoy.power); if not, the
claim is inconclusive. One seed has no such interval, because an interval over images does not include the
variation between training runs. Times are compared only if both runs of a seed were trained on the same machine.
Counts, such as parameters, need neither training nor interval.

Each test has a level of 5 %, without correction for the number of claims: see FalseVerdicts.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Literal

from convoy import power
from convoy.agreement import Reason, Verdict
from convoy.experiments.claims import Check, Claim, Protocol, Relation
from convoy.experiments.measures import Measure, Settings, comparable, find, over_runs
from convoy.runs import Member, Run
from convoy.stats import LEVEL, Estimate, paired_difference, spread_interval, t_interval
from convoy.studies.compare.images import compare_images

Values = dict[int, float]  # by seed
Group = list[tuple[float, Run]]  # the runs of one side and seed, with their value of the claim's `over`
Value = Estimate | int | float  # a counted number has no interval; older findings have it as a float


class Inconclusive(StrEnum):
    """Why a claim has no verdict."""

    INTERVAL = "interval"  # the interval contains the limit
    ONE_SEED = "one_seed"  # with one seed, there is no interval over seeds
    NOT_MEASURED = "not_measured"  # no seed was measured on both sides
    FULL_SIZE_ONLY = "full_size_only"  # cannot be judged at the reduced scale


@dataclass(frozen=True)
class Side:
    label: str
    value: Value | None  # over seeds, or over images for one seed
    lacking: bool  # at least one seed was not measured


@dataclass(frozen=True)
class JudgedClaim:
    id: str  # id of the claim
    sentence: str  # the claim, as a sentence of the report
    measure: str  # name of the measure
    settings: Settings  # settings of the measure, with the class names of the report
    relation: Relation
    # difference or ratio of the two sides; with one side, its value or its spread over seeds
    quantity: Literal["difference", "ratio", "value", "spread"]
    limit: float  # the number with which the quantity is compared
    margin: float  # distance from the limit: allowed for "about", otherwise negligible
    sides: tuple[Side, ...]  # labels and values of the sides
    result: Value | None  # the quantity
    verdict: Verdict  # one of CLAIM_VERDICTS
    why: Inconclusive | None  # reason of an inconclusive verdict
    excluded: int  # number of seeds left out because their runs were measured on different machines
    runs: tuple[str, ...]  # names of the runs
    reduced: str  # the reduced scale, as in claims.toml; "" at the published scale
    full_size_only: str  # the reason in claims.toml
    withheld: Reason | None = None  # why the numbers are shown without a verdict
    protocol: Protocol | None = None  # protocol of the recipes; None: a claim without an experiment
    # The smallest difference from the limit (for a ratio: factor) that the test detects with a probability of 80 %.
    # With one seed, the test is over images. None: not tested.
    detectable: float | None = None
    negligible: bool = False  # the effect is smaller than the margin, regardless of the verdict

    @property
    def n(self) -> int:
        """Number of seeds used for the verdict; 0 if the quantity was counted or not measured."""
        return 0 if not isinstance(self.result, Estimate) else self.result.n


@dataclass(frozen=True)
class FalseVerdicts:
    """Expected number of false verdicts on claims, if every test errs with its maximum probability.

    Each test errs with a probability of at most 5 %: 2.5 % for "holds" or "does not hold" if the quantity is on the
    other side of the limit, 5 % for "no effect" if the effect is as large as the margin (which includes the first two).
    Expected numbers can be added even if tests share runs.
    """

    tests: int  # verdicts based on an interval, under each protocol; counted ones cannot be false
    expected: float  # upper bound
    corrected: bool = False  # whether the tests are corrected for their number


def false_verdicts(claims: Sequence[JudgedClaim]) -> FalseVerdicts:
    tests = sum(claim.n > 1 and claim.withheld is None for claim in claims)
    return FalseVerdicts(tests, round(tests * (1 - LEVEL), 10))


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
    resolution = _resolution(claim, measure, runs)
    result = None if check.full_size_only else _quantity(claim, measure, values, resolution, excluded)
    decided, why = _decide(check, result)
    negligible = _is_negligible(claim, result)
    if negligible and why is Inconclusive.INTERVAL:
        decided, why = Verdict.NO_EFFECT, None
    withheld = withheld if runs else None
    sides = [
        Side(
            getattr(claim, side).label,
            _one_side(claim, by_seed_values, groups[side], resolution) if by_seed_values else None,
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
        quantity="value" if claim.b is None and claim.quantity != "spread" else claim.quantity,
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
        protocol=check.protocol,
        detectable=_detectable(claim, result, runs),
        negligible=negligible,
    )


def _is_negligible(claim: Claim, result: Value | None) -> bool:
    if claim.relation == "about" or not isinstance(result, Estimate):
        return False
    return power.is_equivalent(result, claim.limit, claim.margin)


def _detectable(claim: Claim, result: Value | None, runs: Sequence[Run]) -> float | None:
    """With one seed, uses McNemar's test of both runs, or a test of one run's proportion of correct images."""
    measure = find(claim.measure)
    if not isinstance(result, Estimate):
        return None
    if result.n > 1 or measure.kind != "fraction" or not measure.images or claim.quantity != "difference":
        return power.smallest_detectable(result)
    scores = [run.scores.get(measure.images) for run in runs]  # none for "selection"
    if [score and score.accuracy for score in scores] != [measure(run) for run in runs]:
        return None  # not the score of the kept weights
    if len(runs) == 1 and scores[0] is not None:
        return power.detectable_share(scores[0].accuracy, scores[0].n)
    groups = {str(place): [Member(str(place), 0, run)] for place, run in enumerate(runs)}
    tests, _ = compare_images(groups, measure.images)
    if len(tests) != 1:  # the images differ, or predictions are missing
        return None
    return power.detectable_by_mcnemar(tests[0].only_a + tests[0].only_b, tests[0].difference.n)


def _decide(check: Check, result: Value | None) -> tuple[Verdict, Inconclusive | None]:
    if check.full_size_only:
        return Verdict.INCONCLUSIVE, Inconclusive.FULL_SIZE_ONLY
    if result is None:
        return Verdict.INCONCLUSIVE, Inconclusive.NOT_MEASURED
    low, high = (result.low, result.high) if isinstance(result, Estimate) else (result, result)
    if low is None or high is None:
        return Verdict.INCONCLUSIVE, Inconclusive.ONE_SEED
    claim = check.claim
    decided = verdict(claim.relation, low, high, claim.limit, claim.margin if claim.relation == "about" else 0.0)
    return decided, Inconclusive.INTERVAL if decided is Verdict.INCONCLUSIVE else None


def verdict(relation: Relation, low: float, high: float, limit: float, margin: float = 0.0) -> Verdict:
    """Judges whether the interval is above the limit, below it, or within limit ± margin ("about")."""
    if relation == "about":
        if limit - margin <= low and high <= limit + margin:
            return Verdict.HOLDS
        return Verdict.DOES_NOT_HOLD if high < limit - margin or low > limit + margin else Verdict.INCONCLUSIVE
    if relation == "below":
        return verdict("above", -high, -low, -limit)
    if low > limit:
        return Verdict.HOLDS
    return Verdict.DOES_NOT_HOLD if high <= limit else Verdict.INCONCLUSIVE


def _values(measure: Measure, settings: Settings, by_seed: Mapping[int, Group]) -> Values:
    """Returns the measure of one side, without seeds that have no value."""
    values = {seed: measure(group if measure.several else group[0][1], settings) for seed, group in by_seed.items()}
    return {seed: float(value) for seed, value in values.items() if value is not None and math.isfinite(value)}


def _resolution(claim: Claim, measure: Measure, runs: Sequence[Run]) -> float:
    """Returns the smallest possible change of the measure; for tried values, the smallest change of their logarithm."""
    if measure.kind == "rate":
        tried = sorted(math.log(value) for values in claim.over.values() for value in values)
        return min(after - before for before, after in pairwise(tried))
    return measure.resolution(runs[0]) if runs else 0.0


def _quantity(
    claim: Claim, measure: Measure, values: Sequence[Values], resolution: float, excluded: Collection[int]
) -> Value | None:
    """Returns the value compared with the limit: a, a - b or a / b; None if no seed has values on both sides.

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
    if claim.quantity == "spread":
        return spread_interval(sides[0], step=resolution) if len(seeds) > 1 else None
    if single:
        sides.append([1.0 if by_ratio else 0.0] * len(seeds))
    if by_ratio:
        if min(map(min, sides)) <= 0:
            return None
        sides = [[math.log(value) for value in side] for side in sides]
    first, second = sides
    step = 0.0 if by_ratio and not measure.several else resolution
    # The test expects two values rounded to the resolution; a constant is not rounded.
    difference, _p = paired_difference(first, second, step=step / math.sqrt(2) if single else step)
    return difference.exp() if by_ratio else difference


def _one_side(claim: Claim, values: Values, by_seed: Mapping[int, Group], resolution: float) -> Value:
    """Estimates one side over seeds, or over images for one seed."""
    measure, numbers = find(claim.measure), list(values.values())
    if measure.exact:
        return numbers[0]
    if measure.several and len(numbers) > 1:
        return t_interval([math.log(value) for value in numbers], step=resolution).exp()
    return over_runs(measure, numbers, by_seed[next(iter(values))][0][1])
