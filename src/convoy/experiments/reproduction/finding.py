"""The finding of a reproduction: published against measured numbers, and the effect of each protocol fault.

Both sides of a fault are paired by seed and split (Student's paired t test; over folds with the correction of Nadeau
and Bengio). A fault that creates other folds leaves no pairs, and the test is Welch's. The p values of all faults and
measures are corrected together (Holm 1979).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from convoy.archive import bits
from convoy.experiments.experiment import FOLD, SIDES, Fault, Model, label_of
from convoy.experiments.measures import MEASURES, comparable
from convoy.prediction import (
    CLAIM_VERDICTS,
    Agreement,
    Reason,
    Verdict,
    compare_published,
    verdicts_withheld,
    withheld_from,
)
from convoy.runs import Member, Run
from convoy.stats import (
    Estimate,
    distinguishable,
    holm,
    nadeau_bengio,
    nadeau_bengio_test,
    paired_t,
    t_interval,
    welch,
    wilson,
)
from convoy.studies.compare_images import compare_images
from convoy.studies.crossval.finding import sizes

QUICK = "Quick try: few images, epochs and seeds. It shows that everything runs; its numbers are not evidence"
ALWAYS = ("test_accuracy", "train_seconds", "parameters")  # measured for every model
Row = dict[str, Any]


def measured(runs: Sequence[Run], measure: str) -> Row | float | None:
    """An estimate over the runs, or a number if it is exact.

    None if a run lacks it, or for seconds of several machines.
    """
    values = values_of(runs, measure)
    if values is None or not _may_compare(measure, runs):
        return None
    if MEASURES[measure].exact:
        return values[0]
    if len(values) == 1 and (over_images := _over_images(values[0], runs[0], measure)) is not None:
        return over_images.as_json()
    return t_interval(values, step=MEASURES[measure].grain(runs[0])).as_json()


def values_of(runs: Sequence[Run], measure: str) -> list[float] | None:
    """One value per run; None without runs, or if a run lacks the measure."""
    values = [float(value) for run in runs if (value := MEASURES[measure](run)) is not None]
    return values if values and len(values) == len(runs) else None


def _over_images(value: float, run: Run, measure: str) -> Estimate | None:
    """The interval of one run's share of correct images; None for other measures, such as a mean over epochs."""
    grain = MEASURES[measure].grain(run) if MEASURES[measure].kind == "fraction" else 0.0
    images = round(1 / grain) if grain else 0
    right = round(value * images)
    return wilson(right, images) if images and abs(value * images - right) < 1e-6 else None


def model_row(model: Model, runs: Mapping[str, Mapping[int, Run]]) -> Row:
    """`runs` by side, then by seed."""
    measures = list(dict.fromkeys([*(name for name in model.published if name in MEASURES), *ALWAYS]))
    row: Row = {"label": model.label, "published": dict(model.published)}
    for side in SIDES:
        found = list(runs.get(side, {}).values())
        values = {measure: measured(found, _measure_of(model, side, measure)) for measure in measures}
        row[side] = {measure: value for measure, value in values.items() if value is not None} or None
    row["difference"] = _differences(model, runs, measures)
    row["runs"] = {side: [run.name for run in runs.get(side, {}).values()] for side in SIDES}
    return row


def _measure_of(model: Model, side: str, measure: str) -> str:
    return model.told_as.get(measure, measure) if side == "as_published" else measure


def _differences(model: Model, runs: Mapping[str, Mapping[int, Run]], measures: Sequence[str]) -> Row | None:
    published, corrected = (runs.get(side, {}) for side in SIDES)
    seeds = sorted(published.keys() & corrected.keys())
    differences: Row = {}
    for measure in measures:
        a = values_of([published[seed] for seed in seeds], _measure_of(model, "as_published", measure))
        b = values_of([corrected[seed] for seed in seeds], measure)
        runs_of_both = [side[seed] for side in (published, corrected) for seed in seeds]
        if a and b and not MEASURES[measure].exact and _may_compare(measure, runs_of_both):
            differences[measure] = _paired(a, b, MEASURES[measure].grain(corrected[seeds[0]]))[0].as_json()
    return differences or None


def fault_row(
    fault: Fault, measure: str, without: Sequence[Run], with_: Sequence[Run], *, withheld: Reason | None = None
) -> Row:
    """The effect of one fault on one measure; `without[i]` and `with_[i]` are a pair."""
    row: Row = {"name": fault.name, "sentence": fault.sentence, "measure": measure}
    row |= {"over": fault.unit, "paired": fault.paired, "p": None, "p_holm": None, "moved": False, "same": False}
    if fault.of_one_seed:
        return row | _one_seed(fault, measure, without, with_, withheld=withheld)
    a, b = values_of(with_, measure), values_of(without, measure)
    empty: Row = {"without": None, "with": None, "effect": None}
    if a is None or b is None:
        return row | empty | {"words": f"{_name(measure)} was not measured"}
    if not _may_compare(measure, [*without, *with_]):
        return row | empty | {"words": f"{_name(measure)}: the runs were measured on several machines"}
    over_folds = fault.over == FOLD and len(a) > 1
    grain = MEASURES[measure].grain(without[0])
    effect, p = _over_folds(fault, a, b, without, grain) if over_folds else _paired(a, b, grain)
    sides = [
        nadeau_bengio(each, *sizes(without), step=grain) if over_folds else t_interval(each, step=grain)
        for each in (b, a)
    ]
    same_per_pair = [same_bits(*pair) for pair in zip(with_, without, strict=True)] if effect.mean == 0 else [False]
    same = False if False in same_per_pair else None if None in same_per_pair else True
    return row | {
        "without": sides[0].as_json(),
        "with": sides[1].as_json(),
        "effect": effect.as_json(),
        "p": None if MEASURES[measure].exact or same else p,  # no difference to test or to correct for
        "moved": MEASURES[measure].exact and effect.mean != 0,
        "same": same,
        "words": "",
    }


def _one_seed(
    fault: Fault, measure: str, base: Sequence[Run], against: Sequence[Run], *, withheld: Reason | None
) -> Row:
    """The effect of training once: the first run minus the mean over seeds, and the range of single runs."""
    values = values_of(base, measure)
    if values is None or len(values) < 2:
        words = f"the effect of training with one {fault.unit} needs two {fault.unit}s or more"
        return {"without": None, "with": None, "effect": None, "words": words}
    over, first = t_interval(values, step=MEASURES[measure].grain(base[0])), t_interval(values[:1])
    words = f"single runs{f' of {label_of(fault.base)}' if against else ''} {_range(values, measure, fault)}"
    if (others := values_of(against, measure)) is not None and fault.against is not None:
        words += f"; single runs of {label_of(fault.against)} {_range(others, measure, fault)}"
        words += "" if withheld else f"; {_ranking(fault, base, against)}"
    return {
        "without": over.as_json(),
        "with": first.as_json(),
        "effect": t_interval([first.mean - over.mean]).as_json(),
        "words": words,
    }


def _range(values: Sequence[float], measure: str, fault: Fault) -> str:
    lowest, highest = (_plain(end, measure) for end in (min(values), max(values)))
    spread = _number(t_interval(values).sd or 0, measure, signed=False)
    basis = f"standard deviation {spread} over {len(values)} {fault.unit}s"
    return f"range from {lowest} to {highest} {_name(measure)} ({basis})"


def _ranking(fault: Fault, base: Sequence[Run], against: Sequence[Run]) -> str:
    """Base against the other recipe: the paired t interval over seeds, McNemar's test over images."""
    first, second = label_of(fault.base), label_of(fault.against or "")
    accuracies = [values_of(runs, "test_accuracy") for runs in (base, against)]
    clauses = []
    if accuracies[0] is not None and accuracies[1] is not None:
        test, _ = _paired(accuracies[0], accuracies[1], MEASURES["test_accuracy"].grain(base[0]))
        clauses.append(f"{first} minus {second}, {fault.unit} by {fault.unit}: {test.points()} (n = {test.n})")
    both = ((first, base), (second, against))
    groups = {label: [Member(label, run.recipe.seed, run) for run in runs] for label, runs in both}
    tests, caveats = compare_images(groups, "test")
    differing = sum(test["distinguishable"] for test in tests)
    if tests:
        pairs = f"{differing} of {len(tests)} pairs of runs"
        clauses.append(f"on the same test images {pairs} differ significantly (exact McNemar, Holm)")
    return "; ".join([*clauses, *caveats])


def _may_compare(measure: str, runs: Sequence[Run]) -> bool:
    return not MEASURES[measure].of_machine or comparable(runs)


def _over_folds(
    fault: Fault, a: Sequence[float], b: Sequence[float], runs: Sequence[Run], grain: float
) -> tuple[Estimate, float]:
    """Training parts of folds share images, so that the plain t interval would be too narrow."""
    n_train, n_test = sizes(runs)
    if fault.paired:
        return nadeau_bengio_test(a, b, n_train, n_test, step=grain)
    return welch(a, b, overlap=n_test / n_train, step=grain)


def correct_together(rows: Sequence[Row], *, withheld: Reason | None = None) -> None:
    """Adds Holm's correction over all rows with a p value, then the sentence of each row.

    `withheld`: why no row may say that a fault moved a number.
    """
    tested = [row for row in rows if row["p"] is not None]
    for row, adjusted in zip(tested, holm([row["p"] for row in tested]), strict=True):
        row |= {"p_holm": adjusted, "moved": distinguishable(adjusted) and withheld is None}
    for row in rows:
        row["words"] = row["words"] or _words(row, withheld)
        del row["same"]


def _words(row: Row, withheld: Reason | None) -> str:
    effect, measure = Estimate.from_json(row["effect"]), row["measure"]
    if row["same"]:
        return f"{'' if withheld else 'moved nothing: '}bit-identical runs in {_pairs(effect.n, row)}"
    if MEASURES[measure].exact:
        if effect.mean == 0:
            return f"does not change the {_name(measure)}"
        return f"changes the {_name(measure)} by {_number(effect.mean, measure)}"
    change = _number(effect.mean, measure)
    if effect.half_width is None:
        why = f"no verdict ({withheld})" if withheld else "without an interval: inconclusive"
        return f"{change} {_name(measure)} in one pair of runs, {why}"
    half = _number(effect.half_width, measure, signed=False)
    basis = f"{change.removesuffix(' points')} ± {half}, n = {_pairs(effect.n, row)}, p = {_p(row['p_holm'])}"
    unknown = "; these archived runs do not record whether any bit changed" if row["same"] is None else ""
    if withheld:
        return f"{_name(measure)}: {basis}; no verdict ({withheld})"
    return f"{'moved' if row['moved'] else 'inconclusive effect on'} the {_name(measure)}: {basis}{unknown}"


def same_bits(a: Run, b: Run) -> bool | None:
    """Whether two runs made the same steps and predictions; None if an archived run does not record it."""
    one, other = bits(a), bits(b)
    if not one or not other:
        return None
    return all(one[part] == other[part] for part in one.keys() & other.keys())


def sentence(finding: Row) -> str:
    """The models against the published numbers, the largest effect of a fault, the verdicts on the claims."""
    faults, claims = ([], []) if verdicts_withheld(finding) else (finding["faults"], finding["claims"])
    clauses = [agreement] if (agreement := _published_clause(finding["models"], withheld_from(finding))) else []
    moved = [row for row in faults if row["moved"] and row["effect"] is not None and "accuracy" in row["measure"]]
    if moved:
        worst = max(moved, key=lambda row: abs(row["effect"]["mean"]))
        effect = _number(worst["effect"]["mean"], worst["measure"])
        name = worst["name"].replace("_", " ")
        clauses.append(f"the fault {name} moved the {_name(worst['measure'])} most ({effect})")
    elif faults:
        clauses.append("no fault moved an accuracy significantly")
    if claims:
        counts = [f"{sum(claim['verdict'] == verdict for claim in claims)} {verdict}" for verdict in CLAIM_VERDICTS]
        clauses.append(f"verdicts on {len(claims)} claims: {', '.join(counts)}")
    clauses = clauses or [part["sentence"] for part in finding["parts"]] or ["nothing was measured yet"]
    withheld = verdicts_withheld(finding)
    text = "; ".join([f"no evidence ({withheld})", *clauses] if withheld else clauses)
    return text[:1].upper() + text[1:]


def caveats(
    finding: Mapping[str, Any], reductions: Sequence[str], changed: Sequence[tuple[str, Any]], notes: Sequence[str]
) -> list[str]:
    found = [QUICK] if finding["quick"] else []
    found += [f"Reduced: {' and '.join(reductions)} in every run"] if reductions else []
    found += [f"Changed in every run: {path} = {value}" for path, value in changed]
    if any(row["runs"]["as_published"] for row in finding["models"]):
        found.append("Numbers as published include the report's faults: they measure the report, not the networks")
    return [*found, *notes]


def _published_clause(models: Sequence[Row], withheld: Reason | None) -> str:
    """The published test accuracies against runs of the same protocol; "" if none was measured."""
    compared: list[tuple[str, float, Estimate, Agreement]] = []
    for row in models:
        table = (row["as_published"] or {}).get("test_accuracy")
        if table is not None and "test_accuracy" in row["published"]:
            published, measured = row["published"]["test_accuracy"], Estimate.from_json(table)
            compared.append((row["label"], published, measured, compare_published(published, measured, withheld)))
    if len(compared) == 1:
        ((label, published, measured, agreement),) = compared
        reached = f"as published, {label} reaches {_plain(measured.mean, 'test_accuracy')} test accuracy"
        return f"{reached}; the published {_plain(published, 'test_accuracy')} {_agreement(agreement)}"
    if compared and withheld is not None:
        (low, lowest), *_, (high, highest) = sorted((measured.mean, label) for label, _, measured, _ in compared)
        return (
            f"as published, the models reach {_plain(low, 'test_accuracy')} ({lowest}) to "
            f"{_plain(high, 'test_accuracy')} ({highest}) test accuracy; the published ones are not compared "
            f"({withheld.value})"
        )
    if compared:
        return _agreements([(label, agreement) for label, _, _, agreement in compared])
    known = [(row["corrected"] or row["as_published"] or {}, row["label"]) for row in models]
    accuracies = [(found["test_accuracy"]["mean"], label) for found, label in known if "test_accuracy" in found]
    if not accuracies:
        return ""
    best, label = max(accuracies)
    return f"{'highest ' if len(accuracies) > 1 else ''}test accuracy {_plain(best, 'test_accuracy')} ({label})"


def _agreement(agreement: Agreement) -> str:
    """The predicate to "the published test accuracy"."""
    if agreement.reason is not None:
        return f"is not compared ({agreement.reason.value})"
    assert agreement.interval is not None
    assert agreement.difference is not None
    side = agreement.verdict.value
    if agreement.interval.interval == "newcombe":
        if agreement.verdict is Verdict.INSIDE:
            return "agrees with it within the image noise of two runs"
        distance = _number(abs(agreement.difference), "test_accuracy", signed=False)
        return f"is {distance} {side} it, more than the image noise of two runs; other seeds were not run"
    low, high = (_plain(end or 0.0, "test_accuracy") for end in (agreement.interval.low, agreement.interval.high))
    interval = f"the prediction interval for one more run ({low} to {high}, n = {agreement.interval.n} seeds)"
    if agreement.beyond is None:
        return f"is inside {interval}"
    return f"is {_number(agreement.beyond, 'test_accuracy', signed=False)} {side} {interval}"


def _agreements(compared: Sequence[tuple[str, Agreement]]) -> str:
    counts = []
    for verdict, words in (
        (Verdict.INSIDE, "in agreement with the runs"),
        (Verdict.ABOVE, "above"),
        (Verdict.BELOW, "below"),
        (Verdict.NOT_COMPARED, "not compared"),
    ):
        labels = [label for label, agreement in compared if agreement.verdict is verdict]
        if labels:
            counts.append(f"{len(labels)} {'is' if len(labels) == 1 else 'are'} {words} ({', '.join(labels)})")
    kinds = {agreement.interval.interval for _, agreement in compared if agreement.interval is not None}
    basis = {"prediction": "prediction intervals over seeds", "newcombe": "the image noise of two runs"}
    by = f", by {' and '.join(words for kind, words in basis.items() if kind in kinds)}" if kinds else ""
    return f"of {len(compared)} published test accuracies, {' and '.join(counts)}{by}"


def _paired(a: Sequence[float], b: Sequence[float], step: float) -> tuple[Estimate, float | None]:
    if len(a) < 2:
        return t_interval([a[0] - b[0]]), None
    test = paired_t(a, b, step=step)
    return test.difference, test.p


def _name(measure: str) -> str:
    return MEASURES[measure].words


def _pairs(count: int, row: Row) -> str:
    if not row["paired"]:
        return f"{count} {row['over']}s per side, not paired because the fault creates other folds"
    unit = "" if row["over"] == "seed" else f" of {row['over']}s"
    return f"{count} pair{'s' if count != 1 else ''}{unit}"


def _number(value: float, measure: str, *, signed: bool = True) -> str:
    """A difference in its unit: "+0.43 points"."""
    sign = "+" if signed else ""
    if MEASURES[measure].kind == "fraction":
        return f"{100 * value:{sign}.2f} points"
    return f"{value:{sign},.0f}" if MEASURES[measure].exact else f"{value:{sign}.3g}"


def _plain(value: float, measure: str) -> str:
    return f"{100 * value:.2f} %" if MEASURES[measure].kind == "fraction" else f"{value:.3g}"


def _p(p: float) -> str:
    return f"{p:.2g}" if p >= 0.0001 else "below 0.0001"
