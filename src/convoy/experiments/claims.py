"""A claim of a report as a small study: two recipes, or one recipe and a number, a measure, and a verdict.

The verdict comes from the 95 % interval of the difference (or ratio), paired by seed. A claim holds if the entire
interval is on its side of the limit, does not hold if the entire interval is on the other side, and is inconclusive
otherwise. One seed has no such interval: an interval over images does not cover another training. Seconds are compared
only if both runs of a seed were trained on one machine. Counts, such as parameters, need neither training nor interval.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import Field, ValidationError, model_validator

from convoy.evaluation import cost
from convoy.experiments import claim_words
from convoy.experiments.measures import MEASURES, SWEEPS, Measure, check_settings, comparable, find, words_of
from convoy.prediction import Verdict
from convoy.recipe import Override, Recipe, resolve
from convoy.recipe.problems import first_problem
from convoy.recipe.sections import NonNegative, Section
from convoy.runs import Member, Run
from convoy.stats import Estimate, paired_t, t_interval, wilson
from convoy.studies.train_all import Entry
from convoy.training.plan import plan

__all__ = ["MEASURES", "SWEEPS", "Check", "Claim", "check", "judge", "read", "verdict"]

Seeds = Annotated[int, Field(ge=1, le=1000)]
Words = Annotated[str, Field(min_length=1)]
Relation = Literal["above", "below", "about"]
Values = dict[int, float]  # by seed


class Side(Section):
    """One side of a comparison."""

    label: Words
    recipe: Words
    set: dict[str, Any] = Field(default_factory=dict)


class Reduction(Section):
    """Overrides that make a claim cheap enough for a small machine; `about` describes them."""

    about: Words
    limit: Annotated[int, Field(ge=1)] | None = None
    epochs: Annotated[int, Field(ge=1)] | None = None
    seeds: Seeds | None = None
    set: dict[str, Any] = Field(default_factory=dict)

    def overrides(self) -> list[Override]:
        flags = {"data.limit": self.limit, "train.epochs": self.epochs}
        return [*((path, value) for path, value in flags.items() if value is not None), *self.set.items()]


class Claim(Section):
    id: Words
    sentence: Words  # of the report
    measure: Words
    settings: dict[str, Any] = Field(default_factory=dict)  # the measure's
    class_names: dict[str, str] = Field(default_factory=dict)  # class name in the data -> in the report
    a: Side
    b: Side | None = None  # None: `a` is compared with `value`
    quantity: Literal["difference", "ratio"] = "difference"  # of a and b
    relation: Relation
    value: float | None = None  # the limit of the quantity, or of `a`; None: 0 for a difference, 1 for a ratio
    margin: NonNegative = 0.0
    over: dict[str, list[float]] = Field(
        default_factory=dict
    )  # one key -> the values to train on each side, for a measure of several runs
    seeds: Seeds = 3
    set: dict[str, Any] = Field(default_factory=dict)  # overrides of both sides, at every scale
    reduced: Reduction | None = None
    full_size_only: str = ""  # why a reduced scale cannot decide the claim

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        check_settings(self.measure, self.settings)
        if self.b is None and (self.value is None or self.quantity == "ratio"):
            raise ValueError(f"claim {self.id!r}: expected a side `b`, or a `value` to compare side `a` with")
        if (self.measure in SWEEPS) != (len(self.over) == 1) or any(len(v) < 2 for v in self.over.values()):
            raise ValueError(
                f"claim {self.id!r}: `over` is one key with 2 values or more, only for {', '.join(SWEEPS)}"
            )
        if self.measure in SWEEPS and self.b is not None and self.quantity != "ratio":
            raise ValueError(f"claim {self.id!r}: {self.measure} needs quantity = 'ratio'")
        if any(value <= 0 for values in self.over.values() for value in values):
            raise ValueError(f"claim {self.id!r}: the values of `over` must be greater than 0")
        if self.reduced is not None and self.full_size_only:
            raise ValueError(f"claim {self.id!r} has both `full_size_only` and `reduced`: remove one")
        return self

    @property
    def shown_settings(self) -> dict[str, Any]:
        names = [self.class_names.get(name, name) for name in self.settings.get("classes", ())]
        return {**self.settings, "classes": names} if names else self.settings

    @property
    def limit(self) -> float:
        """The number that the quantity is compared with."""
        return self.value if self.value is not None else 1.0 if self.quantity == "ratio" else 0.0


class Trial(NamedTuple):
    side: str  # "a" or "b"
    tried: float | None  # the value of `over`'s key
    entry: Entry


@dataclass(frozen=True)
class Check:
    """A claim with its recipes: train `entries`, then pass the members to `judge` in the same order."""

    claim: Claim
    sides: dict[str, Recipe]
    seeds: int
    reduced: str | None
    withheld: str  # why it is not tried at this scale; "" if it is

    @property
    def entries(self) -> list[Entry]:
        return [trial.entry for trial in self.trials]

    @cached_property
    def trials(self) -> list[Trial]:
        """Empty for a measure that is counted."""
        if find(self.claim.measure).exact or self.withheld:
            return []
        ((path, values),) = self.claim.over.items() or [("", [None])]
        trials = []
        for side, recipe in self.sides.items():
            label = f"{self.claim.id}: {getattr(self.claim, side).label}"
            for value in values:
                tried = [] if value is None else [(path, value)]
                name = label if value is None else f"{label}, {path.rpartition('.')[2]} = {value:g}"
                for offset in range(self.seeds):
                    one = recipe.override([*tried, ("seed", recipe.seed + offset)])
                    trials.append(Trial(side, value, Entry(name, one)))
        return trials


def read(table: Claim | Mapping[str, Any]) -> Claim:
    """Raises ValueError with a one-line message if the table is not a valid claim."""
    if isinstance(table, Claim):
        return table
    try:
        return Claim.model_validate(dict(table))
    except ValidationError as error:
        raise first_problem(Claim, error, dict(table), "the claim", []) from None


def check(
    claim: Claim,
    *,
    full_size: bool = False,
    overrides: Iterable[Override] = (),
    seeds: int | None = None,
    folder: Path | None = None,
) -> Check:
    """The claim's recipes at the published scale (`full_size`) or at the reduced one, then with `overrides`.

    Paths of recipe files are relative to `folder`. Raises ValueError for an unknown recipe or key.
    """
    reduction = None if full_size else claim.reduced
    own = [*claim.set.items(), *(reduction.overrides() if reduction else ()), *overrides]

    def recipe(side: Side) -> Recipe:
        name = str(folder / side.recipe) if folder and side.recipe.endswith(".toml") else side.recipe
        # A recipe resolved from a model's name has no data, so that data.name must be among its first overrides.
        return resolve(name, overrides=[*own, *side.set.items()])

    sides = {name: recipe(side) for name, side in (("a", claim.a), ("b", claim.b)) if side is not None}
    count = seeds or (reduction.seeds if reduction and reduction.seeds else claim.seeds)
    exact = find(claim.measure).exact
    withheld = "" if full_size or exact else claim.full_size_only
    return Check(claim, sides, count, reduction.about if reduction and not exact else None, withheld)


def judge(ready: Check, members: Sequence[Member]) -> dict[str, Any]:
    """The verdict as JSON, with a sentence that gives the numbers behind it."""
    claim, exact = ready.claim, find(ready.claim.measure).exact
    runs = [member.run for member in members]
    values = _counted(ready) if exact else _measured(ready, runs)
    shown = {side: _alone(ready, side, found, runs) for side, found in values.items() if found}
    excluded = _on_different_machines(ready, runs)
    quantity = None if ready.withheld else _quantity(ready, values, runs, excluded)
    low, high = (None, None) if quantity is None else _bounds(quantity)
    decided = (
        Verdict.INCONCLUSIVE
        if low is None or high is None
        else verdict(claim.relation, low, high, claim.limit, claim.margin)
    )
    facts = claim_words.Facts(
        relation=claim.relation,
        quantity="value" if claim.b is None else claim.quantity,
        limit=claim.limit,
        margin=claim.margin,
        measure=words_of(claim.measure, claim.shown_settings),
        kind=find(claim.measure).kind,
        sides=tuple((getattr(claim, side).label, shown.get(side)) for side in ready.sides),
        result=quantity,
        withheld=ready.withheld,
        lacking=tuple(
            getattr(claim, side).label for side, found in values.items() if len(found) < ready.seeds and not exact
        ),
        why_none=find(claim.measure).why_none,
        excluded=len(excluded),
    )
    return {
        "id": claim.id,
        "sentence": claim.sentence,
        "measure": claim.measure,
        "verdict": decided.value,
        "words": claim_words.words(facts, decided),
        "a": _as_json(shown.get("a")),
        "b": _as_json(shown.get("b")),
        claim.quantity: None if claim.b is None else _as_json(quantity),
        "relation": claim.relation,
        "limit": claim.limit,
        "margin": claim.margin,
        "runs": list(dict.fromkeys(run.name for run in runs)),
        "reduced": ready.reduced,
    }


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


def _counted(ready: Check) -> dict[str, Values]:
    """An exact measure of each side's untrained network."""
    found: dict[str, Values] = {}
    for side, recipe in ready.sides.items():
        made = plan(recipe)
        shape = (made.prepared.in_chans, made.prepared.image_size, made.prepared.image_size)
        flops = cost.flops_per_image(made.network, shape)
        counts = {
            "parameters": cost.parameters(made.network),
            "flops_per_image": flops,
            "macs_per_image": flops // 2,
        }
        found[side] = {recipe.seed: float(counts[ready.claim.measure])}
    return found


def _measured(ready: Check, runs: Sequence[Run]) -> dict[str, Values]:
    """The measure of each side by seed, without seeds that lack it."""
    measure, settings = find(ready.claim.measure), ready.claim.settings
    tried: dict[str, dict[int, list[tuple[float | None, Run]]]] = {side: {} for side in ready.sides}
    for trial, run in zip(ready.trials, runs, strict=True):
        tried[trial.side].setdefault(trial.entry.recipe.seed, []).append((trial.tried, run))
    found: dict[str, Values] = {side: {} for side in ready.sides}
    for side, by_seed in tried.items():
        for seed, group in by_seed.items():
            if isinstance(measure, Measure):
                value = measure(group[0][1], settings)
            else:
                value = measure([(float(each or 0), run) for each, run in group], settings)
            if value is not None and math.isfinite(value):
                found[side][seed] = float(value)
    return found


def _on_different_machines(ready: Check, runs: Sequence[Run]) -> set[int]:
    """The seeds whose runs are not comparable, for a measure that depends on the machine."""
    if not find(ready.claim.measure).of_machine:
        return set()
    by_seed: dict[int, list[Run]] = {}
    for trial, run in zip(ready.trials, runs, strict=True):
        by_seed.setdefault(trial.entry.recipe.seed, []).append(run)
    return {seed for seed, group in by_seed.items() if not comparable(group)}


def _quantity(
    ready: Check, values: Mapping[str, Values], runs: Sequence[Run], excluded: Collection[int]
) -> Estimate | float | None:
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
    return _exponential(found) if by_ratio else found


def _grain(ready: Check, runs: Sequence[Run], by_ratio: bool) -> float:
    """The least step of the measure, in logarithms for ratios."""
    measure = find(ready.claim.measure)
    if not isinstance(measure, Measure):
        tried = sorted(math.log(value) for values in ready.claim.over.values() for value in values)
        return min(after - before for before, after in pairwise(tried))
    return 0.0 if by_ratio else measure.grain(runs[0])


def _ratio(one: float, other: float) -> float | None:
    return one / other if other else None


def _exponential(found: Estimate) -> Estimate:
    low, high = (None if end is None else math.exp(end) for end in (found.low, found.high))
    return Estimate(math.exp(found.mean), None, found.n, low, high, "t")


def _alone(ready: Check, side: str, values: Values, runs: Sequence[Run]) -> Estimate | float:
    """One side's estimate: over seeds, or over images for one seed."""
    measure, found = find(ready.claim.measure), list(values.values())
    if measure.exact:
        return found[0]
    if len(found) > 1:
        by_ratio = measure.kind == "rate"
        step = _grain(ready, runs, by_ratio)
        if by_ratio:
            return _exponential(t_interval([math.log(value) for value in found], step=step))
        return t_interval(found, step=step)
    part = ready.claim.measure.removesuffix("_accuracy")
    (seed,) = values
    for trial, run in zip(ready.trials, runs, strict=True):
        if (trial.side, trial.entry.recipe.seed) == (side, seed) and part in run.scores:
            return wilson(run.scores[part].correct, run.scores[part].n)
    return t_interval(found)


def _bounds(quantity: Estimate | float) -> tuple[float | None, float | None]:
    return (quantity.low, quantity.high) if isinstance(quantity, Estimate) else (quantity, quantity)


def _as_json(found: Estimate | float | None) -> dict[str, Any] | float | None:
    return found.as_json() if isinstance(found, Estimate) else found
