"""What a reproduction concludes from its runs: models published and measured, and the price of each fault.

Two sides are compared pair by pair, same seed and same split (Student's paired t test); the faults' p values are
corrected together (Holm 1979).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from convoy.runs import Run
from convoy.stats import (
    Estimate,
    distinguishable,
    holm,
    nadeau_bengio,
    nadeau_bengio_test,
    paired_t,
    t_interval,
    wilson,
)
from convoy.studies.experiment import Fault, Model
from convoy.studies.measures import MEASURES

ALWAYS = ("test_accuracy", "train_seconds", "parameters")  # shown of every model, whatever was published
SIDES = ("as_published", "corrected")
Row = dict[str, Any]


def measured(runs: Sequence[Run], measure: str) -> Row | float | None:
    """An estimate over the runs, a number where it is exact; None where a run does not have it."""
    values = values_of(runs, measure)
    if values is None:
        return None
    if MEASURES[measure].exact:
        return values[0]
    if len(values) == 1 and (over_images := _wilson(runs[0], measure)) is not None:
        return over_images.as_json()
    return t_interval(values).as_json()


def values_of(runs: Sequence[Run], measure: str) -> list[float] | None:
    """Of each run; None where there is none, or where one cannot tell it."""
    told = [MEASURES[measure](run) for run in runs]
    values = [float(value) for value in told if value is not None]
    return values if values and len(values) == len(told) else None


def _wilson(run: Run, measure: str) -> Estimate | None:
    part = measure.removesuffix("_accuracy")
    score = run.scores.get(part)
    return wilson(score["correct"], score["n"]) if score is not None else None


def model_row(model: Model, runs: Mapping[str, Mapping[int, Run]]) -> Row:
    """`runs` by side, then by seed."""
    measures = list(dict.fromkeys([*(name for name in model.published if name in MEASURES), *ALWAYS]))
    row: Row = {"label": model.label, "published": dict(model.published)}
    for side in SIDES:
        found = list(runs.get(side, {}).values())
        told = {measure: measured(found, _told(model, side, measure)) for measure in measures}
        row[side] = {measure: value for measure, value in told.items() if value is not None} or None
    row["difference"] = _differences(model, runs, measures)
    row["runs"] = {side: [run.name for run in runs.get(side, {}).values()] for side in SIDES}
    return row


def _told(model: Model, side: str, measure: str) -> str:
    return model.told_as.get(measure, measure) if side == "as_published" else measure


def _differences(model: Model, runs: Mapping[str, Mapping[int, Run]], measures: Sequence[str]) -> Row | None:
    published, corrected = (runs.get(side, {}) for side in SIDES)
    seeds = sorted(published.keys() & corrected.keys())
    differences: Row = {}
    for measure in measures:
        a = values_of([published[seed] for seed in seeds], _told(model, "as_published", measure))
        b = values_of([corrected[seed] for seed in seeds], measure)
        if a and b and not MEASURES[measure].exact:
            differences[measure] = _paired(a, b, MEASURES[measure].grain(corrected[seeds[0]]))[0].as_json()
    return differences or None


def fault_row(fault: Fault, measure: str, without: Sequence[Run], with_: Sequence[Run]) -> Row:
    """What one fault did to one measure; `without` and `with_` are pairs, in their order."""
    row: Row = {"name": fault.name, "sentence": fault.sentence, "measure": measure}
    a, b = values_of(with_, measure), values_of(without, measure)
    if fault.of_one_seed:
        return row | _one_seed(b, measure)
    empty = {"without": None, "with": None, "effect": None, "p": None, "p_holm": None, "moved": False, "same": False}
    if a is None or b is None:
        return row | empty | {"words": f"{_name(measure)} was not measured"}
    over_folds = fault.over == "data.split.fold" and len(a) > 1
    interval = _over_folds if over_folds else t_interval
    grain = MEASURES[measure].grain(without[0])
    effect, p = nadeau_bengio_test(a, b, len(a) - 1, 1) if over_folds else _paired(a, b, grain)
    same = effect.mean == 0 and all(same_bits(one, other) for one, other in zip(with_, without, strict=True))
    return row | {
        "without": interval(b).as_json(),
        "with": interval(a).as_json(),
        "effect": effect.as_json(),
        "p": None if MEASURES[measure].exact or same else p,  # what is identical needs no test, and weakens none
        "p_holm": None,
        "moved": MEASURES[measure].exact and effect.mean != 0,
        "same": same,
        "words": "",
    }


def _one_seed(values: Sequence[float] | None, measure: str) -> Row:
    """Its price is how far the first run alone lies from the mean over seeds, and how far one run may lie."""
    row: Row = {"p": None, "p_holm": None, "moved": False, "same": False}
    if values is None or len(values) < 2:
        words = "what one seed alone is worth takes two seeds or more"
        return row | {"without": None, "with": None, "effect": None, "words": words}
    over, first = t_interval(values), t_interval(values[:1])
    lowest, highest = (_plain(end, measure) for end in (min(values), max(values)))
    spread = f"standard deviation {_number(over.sd or 0, measure, signed=False)} over {len(values)} seeds"
    return row | {
        "without": over.as_json(),
        "with": first.as_json(),
        "effect": t_interval([first.mean - over.mean]).as_json(),
        "words": f"one run alone may say anything from {lowest} to {highest} {_name(measure)} ({spread})",
    }


def correct_together(rows: Sequence[Row]) -> None:
    """Holm's correction over all faults that have a p value, and what is then said of each."""
    tested = [row for row in rows if row["p"] is not None]
    for row, adjusted in zip(tested, holm([row["p"] for row in tested]), strict=True):
        row |= {"p_holm": adjusted, "moved": distinguishable(adjusted)}
    for row in rows:
        row["words"] = row["words"] or _words(row)
        del row["same"]


def _words(row: Row) -> str:
    effect, measure = Estimate.from_json(row["effect"]), row["measure"]
    if row["same"]:
        return f"moved nothing: the same bits, run for run, over {_pairs(effect.n)}"
    if MEASURES[measure].exact:
        if effect.mean == 0:
            return f"does not change the {_name(measure)}"
        return f"changes the {_name(measure)} by {_number(effect.mean, measure)}"
    told = _number(effect.mean, measure)
    if effect.half_width is None:
        return f"{told} {_name(measure)} in one pair of runs, which has no interval: cannot be told from chance"
    half = _number(effect.half_width, measure, signed=False)
    basis = f"{told.removesuffix(' points')} ± {half}, n = {_pairs(effect.n)}, p = {_p(row['p_holm'])}"
    return f"{'moved' if row['moved'] else 'cannot be told from no effect on'} the {_name(measure)}: {basis}"


def same_bits(a: Run, b: Run) -> bool:
    """Whether two runs made the same updates and name the same classes: their losses and predictions agree exactly."""
    steps, others = a.steps, b.steps
    if steps.keys() != others.keys() or not all(
        np.array_equal(steps[name], others[name], equal_nan=True) for name in steps
    ):
        return False
    parts = a.scores.keys() & b.scores.keys() & {"test"} or a.scores.keys() & b.scores.keys()
    return all(np.array_equal(a.predicted(part)[1], b.predicted(part)[1]) for part in parts)


def sentence(finding: Row) -> str:
    """How near the models came to what was published, what the gravest fault did, how the claims fared."""
    faults, claims = finding["faults"], finding["claims"]
    told = [nearness] if (nearness := _nearness(finding["models"])) else []
    moved = [row for row in faults if row["moved"] and row["effect"] is not None and "accuracy" in row["measure"]]
    if moved:
        worst = max(moved, key=lambda row: abs(row["effect"]["mean"]))
        effect = _number(worst["effect"]["mean"], worst["measure"])
        told.append(f"of the faults, {worst['name'].replace('_', ' ')} moved it most ({effect})")
    elif faults:
        told.append("no fault moved an accuracy distinguishably")
    if claims:
        counts = {verdict: sum(claim["verdict"] == verdict for claim in claims) for verdict in VERDICTS}
        told.append(
            f"of {len(claims)} claims {counts['holds']} hold, {counts['does not hold']} do not, "
            f"{counts['cannot be told']} cannot be told"
        )
    told = told or [part["sentence"] for part in finding["parts"]] or ["nothing was measured yet"]
    whole = "; ".join(["quick try, no evidence", *told] if finding["quick"] else told)
    return whole[:1].upper() + whole[1:]


VERDICTS = ("holds", "does not hold", "cannot be told")


def _nearness(models: Sequence[Row]) -> str:
    """The widest distance between a published test accuracy and the one of the same protocol here; "" for none."""
    gaps = []
    for row in models:
        found = (row["as_published"] or {}).get("test_accuracy")
        if found is not None and "test_accuracy" in row["published"]:
            gaps.append((found["mean"] - row["published"]["test_accuracy"], row["label"]))
    if gaps:
        widest, label = max(gaps, key=lambda gap: abs(gap[0]))
        side = "above" if widest > 0 else "below"
        told = f"{_number(abs(widest), 'test_accuracy', signed=False)} {side} the report's test accuracy"
        if len(gaps) == 1:
            return f"run as published, {label} comes out {told}"
        return f"run as published, the models come out at most {told} ({label})"
    known = [(row["corrected"] or row["as_published"] or {}, row["label"]) for row in models]
    accuracies = [(found["test_accuracy"]["mean"], label) for found, label in known if "test_accuracy" in found]
    if not accuracies:
        return ""
    best, label = max(accuracies)
    return f"{label} reaches {_plain(best, 'test_accuracy')} test accuracy"


def _over_folds(values: Sequence[float]) -> Estimate:
    """The folds' training parts share images: the plain t interval would be too narrow."""
    return nadeau_bengio(values, len(values) - 1, 1)


def _paired(a: Sequence[float], b: Sequence[float], step: float) -> tuple[Estimate, float | None]:
    if len(a) < 2:
        return t_interval([a[0] - b[0]]), None
    test = paired_t(a, b, step=step)
    return test.difference, test.p


def _name(measure: str) -> str:
    return MEASURES[measure].words


def _pairs(count: int) -> str:
    return f"{count} pair{'s' if count != 1 else ''}"


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
