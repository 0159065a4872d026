"""The finding of a reproduction: published and measured numbers, and the effect of each protocol fault.

Runs with and without a fault are paired by seed and split (Student's paired t test; over folds with the correction of
Nadeau and Bengio). If a fault creates other folds, there are no pairs, and Welch's test is used. The p values of all
faults and measures are corrected together (Holm 1979).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, Field

from convoy.agreement import Reason
from convoy.archive import bits
from convoy.experiments.experiment import FOLD, SIDES, Fault, Model, Side, label_of
from convoy.experiments.measures import MEASURES, comparable, over_runs
from convoy.experiments.parts import StudyPart
from convoy.experiments.quick import Choice
from convoy.experiments.reproduction.curves import CurveTest
from convoy.experiments.verdicts import FalseVerdicts, JudgedClaim, Value
from convoy.notebook import html_of
from convoy.recipe.faults import fault_title
from convoy.run_contents import Machine
from convoy.runs import Member, Run
from convoy.stats import (
    Estimate,
    holm,
    is_significant,
    nadeau_bengio,
    nadeau_bengio_test,
    paired_difference,
    t_interval,
    welch,
)
from convoy.studies.compare.images import MissingTest, compare_images
from convoy.studies.crossval.finding import sizes

ALWAYS = ("test_accuracy", "train_seconds", "parameters")  # measured for every model


@dataclass(frozen=True)
class ModelMeasurements:
    """A model under one protocol."""

    runs: tuple[str, ...] = ()  # names of the runs
    values: dict[str, Value] = field(default_factory=dict)  # by measure; only measures that all runs have


@dataclass(frozen=True)
class ModelResult:
    label: str
    published: dict[str, float | list[float]]  # by measure; a list has one number per epoch
    as_published: ModelMeasurements
    corrected: ModelMeasurements
    difference: dict[str, Estimate]  # by measure: as published minus corrected, paired by seed

    def side(self, side: Side) -> ModelMeasurements:
        return self.as_published if side == "as_published" else self.corrected

    @property
    def runs(self) -> tuple[str, ...]:
        return (*self.as_published.runs, *self.corrected.runs)


class FaultVerdict(StrEnum):
    CHANGED = "changed"
    NO_CHANGE = "no_change"  # bit-identical runs, or the same count
    INCONCLUSIVE = "inconclusive"
    NO_INTERVAL = "no_interval"  # one pair of runs, or one run compared with the others
    NOT_MEASURED = "not_measured"
    WITHHELD = "withheld"  # see Options.withheld


class NotMeasured(StrEnum):
    """Why the effect of a fault was not measured."""

    MEASURE = "measure"  # a run has no value of the measure
    MACHINES = "machines"  # the runs were measured on several machines
    SEEDS = "seeds"  # the effect of the fault one_seed needs at least two seeds


@dataclass(frozen=True)
class Spread:
    """The spread of single runs of one recipe."""

    label: str
    lowest: float
    highest: float
    sd: float
    n: int


@dataclass(frozen=True)
class Ranking:
    """A comparison of two recipes: over seeds, and image by image."""

    first: str
    second: str
    difference: Estimate | None  # difference of the test accuracies, paired; None if a run has none
    pairs: int  # pairs of runs that were tested on the same images
    differing: int  # pairs that differ significantly (exact McNemar, Holm)
    untested: tuple[MissingTest, ...]  # the other pairs


@dataclass(frozen=True)
class FaultResult:
    """The effect of a fault on one measure: with it minus without it."""

    name: str
    description: str
    measure: str
    over: str  # the key that differs between pairs: "seed", "fold"
    paired: bool  # False: the fault creates other folds
    verdict: FaultVerdict
    without: Estimate | None = None
    with_: Estimate | None = None
    effect: Estimate | None = None
    p: float | None = None
    p_holm: float | None = None
    same_bits: bool | None = False  # None: not recorded in archived runs
    lacking: NotMeasured | None = None
    spreads: tuple[Spread, ...] = ()  # for the fault one_seed
    ranking: Ranking | None = None  # for the fault one_seed, if the report ranks two recipes

    @property
    def title(self) -> str:
        return fault_title(self.name)

    @property
    def size(self) -> float:
        """Absolute value of the effect; 0 if it was not measured."""
        return 0.0 if self.effect is None else abs(self.effect.mean)


@dataclass(frozen=True)
class StudyResult:
    """A study of the experiment."""

    kind: StudyPart
    side: Side | None
    study: str  # folder of the study, relative to that of the reproduction
    digest: str  # digest of its recipes and arguments
    labels: tuple[str, ...]  # labels of its recipes
    accuracy: Estimate | None  # accuracy over all folds, or of the winner of a search


@dataclass(frozen=True)
class Options:
    """The options of the command that affect results."""

    protocol: Literal["as-published", "corrected", "both"]
    seeds: int | None
    quick: bool
    limit: int | None  # images
    epochs: int | None
    full_size: bool
    changed: tuple[tuple[str, Any], ...]  # keys of every recipe
    withheld: Reason | None  # why published numbers, faults and claims have no verdict
    digest: str  # digest of everything that affects the results


@dataclass(frozen=True)
class Reproduction:
    experiment: str
    title: str
    about: str
    hardware: str
    class_names: dict[str, str]
    notes: tuple[str, ...]
    options: Annotated[Options, Field(validation_alias=AliasChoices("options", "asked"))]  # "asked": earlier findings
    choice: Choice | None  # what a quick try trains; None if it was not chosen by a timing
    no_data: str  # why the data are not available; "" if they are
    left: tuple[str, ...] = ()  # parts, and models, that were not run yet
    unfinished: tuple[str, ...] = ()  # parts that were started
    models: tuple[ModelResult, ...] = ()
    faults: tuple[FaultResult, ...] = ()
    claims: tuple[JudgedClaim, ...] = ()
    parts: tuple[StudyResult, ...] = ()
    false_verdicts: FalseVerdicts | None = None  # on claims; None: not judged, or by an earlier version
    curves: tuple[CurveTest, ...] = ()  # tests of curves that the report publishes epoch by epoch
    kind: Literal["reproduction"] = "reproduction"
    schema: int = 1
    _repr_html_ = html_of

    @property
    def withheld(self) -> Reason | None:
        return self.options.withheld

    @property
    def complete(self) -> bool:
        return not self.no_data and not self.left

    @property
    def largest_effect(self) -> FaultResult | None:
        """The largest change of an accuracy by a fault. Effects on other measures are not comparable."""
        changed = [
            fault
            for fault in self.faults
            if fault.verdict is FaultVerdict.CHANGED and MEASURES[fault.measure].kind == "fraction"
        ]
        return max(changed, key=lambda fault: fault.size, default=None)


def measured(runs: Sequence[Run], name: str, machine: Machine | None) -> Value | None:
    """Returns an estimate over the runs, or a number if the measure is exact.

    Returns None if a run has no value, and for times that were not all measured on `machine`.
    """
    values, measure = values_of(runs, name), MEASURES[name]
    if values is None or (measure.of_machine and any(run.environment.machine != machine for run in runs)):
        return None
    if measure.exact:
        return values[0]
    return over_runs(measure, values, runs[0])


def values_of(runs: Sequence[Run], measure: str) -> list[float] | None:
    """Returns one value per run; None without runs, or if a run has no value."""
    values = [value for run in runs if (value := MEASURES[measure](run)) is not None]
    return values if values and len(values) == len(runs) else None


def model_result(model: Model, runs: Mapping[Side, Mapping[int, Run]], machine: Machine | None) -> ModelResult:
    """`runs` by side, then by seed. `machine`: the one whose times are reported."""
    published, corrected = (runs.get(side, {}) for side in SIDES)
    measures = dict.fromkeys([*(name for name in model.published if name in MEASURES), *ALWAYS])
    seeds = sorted(published.keys() & corrected.keys())
    first, second = ([side[seed] for seed in seeds] for side in (published, corrected))
    sides: list[dict[str, Value]] = [{}, {}]
    differences = {}
    for name in measures:
        own = model.reported_as.get(name, name)
        for values, runs_of_side, measure in zip(sides, (published, corrected), (own, name), strict=True):
            if (value := measured([*runs_of_side.values()], measure, machine)) is not None:
                values[name] = value
        a, b = values_of(first, own), values_of(second, name)
        if a and b and not MEASURES[name].exact and _may_compare(name, [*first, *second]):
            differences[name] = paired_difference(a, b, step=MEASURES[name].resolution(second[0]))[0]
    as_published, as_corrected = (
        ModelMeasurements(tuple(run.name for run in runs_of_side.values()), values)
        for runs_of_side, values in zip((published, corrected), sides, strict=True)
    )
    return ModelResult(model.label, dict(model.published), as_published, as_corrected, differences)


def fault_result(fault: Fault, measure: str, without: Sequence[Run], with_: Sequence[Run]) -> FaultResult:
    """Computes the effect of a fault on a measure. `without[i]` and `with_[i]` are a pair. `judge` adds the verdict."""
    over, verdict = fault.over.rpartition(".")[2], FaultVerdict.NOT_MEASURED
    result = FaultResult(fault.name, fault.sentence, measure, over, fault.paired, verdict)
    if fault.of_one_seed:
        return _one_seed(result, fault, without, with_)
    a, b = values_of(with_, measure), values_of(without, measure)
    if a is None or b is None:
        return replace(result, lacking=NotMeasured.MEASURE)
    if not _may_compare(measure, [*without, *with_]):
        return replace(result, lacking=NotMeasured.MACHINES)
    resolution = MEASURES[measure].resolution(without[0])
    sides, (effect, p) = (
        [t_interval(each, step=resolution) for each in (b, a)],
        paired_difference(a, b, step=resolution),
    )
    if fault.over == FOLD and len(a) > 1:  # folds share training images: the t interval would be too narrow
        n_train, n_test = sizes(without)
        sides = [nadeau_bengio(each, n_train, n_test, step=resolution) for each in (b, a)]
        if fault.paired:
            effect, p = nadeau_bengio_test(a, b, n_train, n_test, step=resolution)
        else:
            effect, p = welch(a, b, overlap=n_test / n_train, step=resolution)
    per_pair = [same_bits(*pair) for pair in zip(with_, without, strict=True)] if effect.mean == 0 else [False]
    same = False if False in per_pair else None if None in per_pair else True
    tested = not MEASURES[measure].exact and not same  # otherwise nothing to test or to correct for
    return replace(
        result,
        verdict=FaultVerdict.INCONCLUSIVE,
        without=sides[0],
        with_=sides[1],
        effect=effect,
        p=p if tested else None,
        same_bits=same,
    )


def _one_seed(result: FaultResult, fault: Fault, base: Sequence[Run], against: Sequence[Run]) -> FaultResult:
    """Computes the effect of the fault one_seed: first run minus mean over seeds, and the range of single runs."""
    measure = result.measure
    values = values_of(base, measure)
    if values is None or len(values) < 2:
        return replace(result, lacking=NotMeasured.SEEDS)
    by_recipe, ranking = {fault.base: values}, None
    if (others := values_of(against, measure)) is not None and fault.against is not None:
        by_recipe[fault.against] = others
        ranking = _ranking(fault.base, fault.against, base, against)
    spreads = [
        Spread(label_of(recipe), min(each), max(each), t_interval(each).sd or 0.0, len(each))
        for recipe, each in by_recipe.items()
    ]
    over, first = t_interval(values, step=MEASURES[measure].resolution(base[0])), t_interval(values[:1])
    return replace(
        result,
        verdict=FaultVerdict.NO_INTERVAL,
        without=over,
        with_=first,
        effect=t_interval([first.mean - over.mean]),
        spreads=tuple(spreads),
        ranking=ranking,
    )


def _ranking(first: str, second: str, base: Sequence[Run], against: Sequence[Run]) -> Ranking:
    """Computes the paired t interval over seeds and McNemar's tests over images."""
    a, b = (values_of(runs, "test_accuracy") for runs in (base, against))
    difference = (
        None
        if a is None or b is None
        else paired_difference(a, b, step=MEASURES["test_accuracy"].resolution(base[0]))[0]
    )
    both = {label_of(first): base, label_of(second): against}
    groups = {label: [Member(label, run.recipe.seed, run) for run in runs] for label, runs in both.items()}
    tests, untested = compare_images(groups, "test")
    differing = sum(test.significant for test in tests)
    return Ranking(label_of(first), label_of(second), difference, len(tests), differing, untested)


def judge(results: Sequence[FaultResult], withheld: Reason | None) -> list[FaultResult]:
    """Applies Holm's correction over all results with a p value and adds verdicts.

    `withheld`: why only counted numbers get a verdict.
    """
    corrected = iter(holm([result.p for result in results if result.p is not None]))
    adjusted = [replace(each, p_holm=None if each.p is None else next(corrected)) for each in results]
    return [replace(each, verdict=_verdict(each, withheld)) for each in adjusted]


def _verdict(result: FaultResult, withheld: Reason | None) -> FaultVerdict:
    if result.effect is None:
        return FaultVerdict.NOT_MEASURED
    if MEASURES[result.measure].exact:
        return FaultVerdict.NO_CHANGE if result.effect.mean == 0 else FaultVerdict.CHANGED
    if withheld is not None:
        return FaultVerdict.WITHHELD
    if result.same_bits:
        return FaultVerdict.NO_CHANGE
    if result.effect.low is None:
        return FaultVerdict.NO_INTERVAL
    changed = result.p_holm is not None and is_significant(result.p_holm)
    return FaultVerdict.CHANGED if changed else FaultVerdict.INCONCLUSIVE


def _may_compare(measure: str, runs: Sequence[Run]) -> bool:
    return not MEASURES[measure].of_machine or comparable(runs)


def same_bits(a: Run, b: Run) -> bool | None:
    """Whether two runs have the same steps and predictions; None if an archived run does not record it."""
    one, other = bits(a), bits(b)
    if not one or not other:
        return None
    return all(one[part] == other[part] for part in one.keys() & other.keys())
