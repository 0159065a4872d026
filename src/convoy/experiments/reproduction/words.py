"""The finding in words: its sentence, its caveats, the effect of each fault."""

from __future__ import annotations

from collections.abc import Sequence

from convoy.experiments.measure_words import mean_of, shown
from convoy.experiments.measures import MEASURES
from convoy.experiments.reason_words import REASONS
from convoy.experiments.reproduction.finding import (
    Asked,
    FaultResult,
    FaultVerdict,
    Lacking,
    ModelResult,
    PartResult,
    Ranking,
    Reproduction,
    Spread,
)
from convoy.prediction import CLAIM_VERDICTS, Agreement, Reason, Verdict, compare_published
from convoy.stats import Estimate
from convoy.studies.compare import words as compare_words

QUICK = "Quick try: few images, epochs and seeds. It shows that everything runs; its numbers are not evidence"
PROTOCOLS = {"as_published": "as published", "corrected": "corrected"}
VERDICTS = {
    FaultVerdict.CHANGED: "changed",
    FaultVerdict.NO_CHANGE: "no change",
    FaultVerdict.INCONCLUSIVE: "inconclusive",
    FaultVerdict.NO_INTERVAL: "no interval",
    FaultVerdict.NOT_MEASURED: "not measured",
    FaultVerdict.WITHHELD: "no verdict",
}
STUDIES = {"crossval": "Cross-validation", "search": "Search", "landscape": "Loss landscape"}


def sentence(finding: Reproduction) -> str:
    """The models against the published numbers, the largest effect of a fault, the verdicts on the claims."""
    clauses = [agreement] if (agreement := _published_clause(finding.models, finding.withheld)) else []
    if finding.withheld is None:
        worst = finding.largest_effect
        if worst is not None and worst.effect is not None:
            effect = _number(worst.effect.mean, worst.measure)
            clauses.append(f"the fault {worst.title} moved the {MEASURES[worst.measure].words} most ({effect})")
        elif finding.faults:
            clauses.append("no fault moved an accuracy significantly")
        if finding.claims:
            verdicts = [claim.verdict for claim in finding.claims]
            counts = [f"{verdicts.count(verdict)} {verdict}" for verdict in CLAIM_VERDICTS]
            clauses.append(f"verdicts on {len(verdicts)} claims: {', '.join(counts)}")
    clauses = clauses or [part_sentence(part) for part in finding.parts] or ["nothing was measured yet"]
    text = "; ".join([f"no evidence ({REASONS[finding.withheld]})", *clauses] if finding.withheld else clauses)
    return text[:1].upper() + text[1:]


def caveats(finding: Reproduction) -> list[str]:
    """First what is missing."""
    asked, scale = finding.asked, _scale(finding.asked)
    texts = missing(finding)
    texts += [QUICK] if asked.quick else []
    why = f": {REASONS[asked.withheld]}" if asked.withheld and not asked.quick else ""
    texts += [f"{scale} in every run{why}"] if scale else []
    texts += [f"Changed in every run: {path} = {value}" for path, value in asked.changed]
    if any(model.as_published.runs for model in finding.models):
        texts.append("Numbers as published include the report's faults: they measure the report, not the networks")
    return [*texts, *finding.notes]


def missing(finding: Reproduction) -> list[str]:
    if finding.no_data:
        return [f"Nothing was trained, because the data are not available: {finding.no_data}"]
    return [f"Not run yet: {', '.join(finding.left)}"] if finding.left else []


def changes(asked: Asked) -> str:
    """What the command changed in every run: "100 images and train.batch_size = 100"."""
    return " and ".join(filter(None, [_scale(asked), *(f"{path} = {value}" for path, value in asked.changed)]))


def _scale(asked: Asked) -> str:
    images = f"{asked.limit:,} images" if asked.limit else ""
    epochs = f"{asked.epochs} epoch{'s' if asked.epochs > 1 else ''}" if asked.epochs else ""
    return " and ".join(filter(None, (images, epochs)))


# ---- models ----


def _published_clause(models: Sequence[ModelResult], withheld: Reason | None) -> str:
    """The published test accuracies against runs of the same protocol; "" if none was measured."""
    compared: list[tuple[str, float, Estimate, Agreement]] = []
    for model in models:
        measured, published = model.as_published.values.get("test_accuracy"), model.published.get("test_accuracy")
        if isinstance(measured, Estimate) and isinstance(published, float):
            compared.append((model.label, published, measured, compare_published(published, measured, withheld)))
    if len(compared) == 1:
        ((label, published, measured, agreement),) = compared
        reached = f"as published, {label} reaches {_plain(measured.mean, 'test_accuracy')} test accuracy"
        return f"{reached}; the published {_plain(published, 'test_accuracy')} {_agreement(agreement)}"
    if compared and withheld is not None:
        (low, lowest), *_, (high, highest) = sorted((measured.mean, label) for label, _, measured, _ in compared)
        return (
            f"as published, the models reach {_plain(low, 'test_accuracy')} ({lowest}) to "
            f"{_plain(high, 'test_accuracy')} ({highest}) test accuracy; the published ones are not compared "
            f"({REASONS[withheld]})"
        )
    if compared:
        return _agreements([(label, agreement) for label, _, _, agreement in compared])
    known = [(model.corrected.values or model.as_published.values, model.label) for model in models]
    accuracies = [(mean_of(values["test_accuracy"]), label) for values, label in known if "test_accuracy" in values]
    if not accuracies:
        return ""
    best, label = max(accuracies)
    return f"{'highest ' if len(accuracies) > 1 else ''}test accuracy {_plain(best, 'test_accuracy')} ({label})"


def _agreement(agreement: Agreement) -> str:
    """The predicate to "the published test accuracy"."""
    if agreement.reason is not None:
        return f"is not compared ({REASONS[agreement.reason]})"
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


# ---- faults ----


def fault_words(fault: FaultResult) -> str:
    """The verdict, without the numbers of the effect."""
    match fault.lacking:
        case Lacking.MEASURE:
            return "a run lacks the measure"
        case Lacking.MACHINES:
            return "the runs were measured on several machines"
        case Lacking.SEEDS:
            return f"the effect of training with one {fault.over} needs two {fault.over}s or more"
    if fault.spreads:
        several = len(fault.spreads) > 1
        texts = [_spread(spread, fault, several) for spread in fault.spreads]
        if fault.ranking is not None and fault.verdict is not FaultVerdict.WITHHELD:
            texts.append(_ranking(fault.ranking, fault.over))
        return "; ".join(texts)
    texts = [] if fault.same_bits and fault.verdict is FaultVerdict.WITHHELD else [VERDICTS[fault.verdict]]
    texts += ["bit-identical runs"] if fault.same_bits else []
    texts += ["these archived runs do not record whether any bit changed"] if fault.same_bits is None else []
    texts += [] if fault.paired else ["not paired, because the fault creates other folds"]
    return "; ".join(texts)


def _spread(spread: Spread, fault: FaultResult, several: bool) -> str:
    lowest, highest = (_plain(end, fault.measure) for end in (spread.lowest, spread.highest))
    sd = _number(spread.sd, fault.measure, signed=False)
    return (
        f"single runs{f' of {spread.label}' if several else ''} range from {lowest} to {highest} "
        f"{MEASURES[fault.measure].words} (standard deviation {sd} over {spread.n} {fault.over}s)"
    )


def _ranking(ranking: Ranking, unit: str) -> str:
    clauses = []
    if (difference := ranking.difference) is not None:
        pair = f"{ranking.first} minus {ranking.second}, {unit} by {unit}"
        clauses.append(f"{pair}: {difference.points()} (n = {difference.n})")
    if ranking.pairs:
        pairs = f"{ranking.differing} of {ranking.pairs} pairs of runs"
        clauses.append(f"on the same test images {pairs} differ significantly (exact McNemar, Holm)")
    return "; ".join([*clauses, *map(compare_words.untested, ranking.untested)])


# ---- studies within the experiment ----


def part_title(part: PartResult) -> str:
    return f"{STUDIES[part.kind]}, {PROTOCOLS[part.side]}" if part.side else STUDIES[part.kind]


def part_sentence(part: PartResult) -> str:
    side = f" {PROTOCOLS[part.side]}" if part.side else ""
    text = f"{STUDIES[part.kind].lower()} of {', '.join(part.labels)}{side}"
    return text if part.accuracy is None else f"{text}: accuracy {part.accuracy.text()}"


# ---- numbers ----


def _number(value: float, measure: str, *, signed: bool = True) -> str:
    """A difference in its unit: "+0.43 points"."""
    sign = "+" if signed else ""
    if shown(measure).is_accuracy:
        return f"{100 * value:{sign}.2f} points"
    return f"{value:{sign},.0f}" if MEASURES[measure].exact else f"{value:{sign}.3g}"


def _plain(value: float, measure: str) -> str:
    return f"{100 * value:.2f} %" if shown(measure).is_accuracy else f"{value:.3g}"
