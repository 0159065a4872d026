"""The finding in words: its sentence, its caveats, the effect of each fault."""

from __future__ import annotations

from collections.abc import Sequence

from convoy.experiments.claim_words import verdict_name
from convoy.experiments.experiment import Side
from convoy.experiments.measure_words import mean_of, shown, words_of
from convoy.experiments.measures import MEASURES
from convoy.experiments.reason_words import reason_text
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
from convoy.reporting.quantities import listed
from convoy.stats import Estimate
from convoy.studies.compare import words as compare_words
from convoy.text import gettext as _
from convoy.text import ngettext


def quick_caveat() -> str:
    return _("Quick try: few images, epochs and seeds. It shows that everything runs; its numbers are not evidence")


def protocol_name(side: Side) -> str:
    return _("as published") if side == "as_published" else _("corrected")


def fault_verdict(verdict: FaultVerdict) -> str:
    names = {
        FaultVerdict.CHANGED: _("changed"),
        FaultVerdict.NO_CHANGE: _("no change"),
        FaultVerdict.INCONCLUSIVE: _("inconclusive"),
        FaultVerdict.NO_INTERVAL: _("no interval"),
        FaultVerdict.NOT_MEASURED: _("not measured"),
        FaultVerdict.WITHHELD: _("no verdict"),
    }
    return names[verdict]


def sentence(finding: Reproduction) -> str:
    """The models against the published numbers, the largest effect of a fault, the verdicts on the claims."""
    clauses = [agreement] if (agreement := _published_clause(finding.models, finding.withheld)) else []
    if finding.withheld is None:
        worst = finding.largest_effect
        if worst is not None and worst.effect is not None:
            clauses.append(
                _(
                    "the fault {fault} moved the {measure} most ({effect})",
                    fault=worst.title,
                    measure=words_of(worst.measure),
                    effect=_number(worst.effect.mean, worst.measure),
                )
            )
        elif finding.faults:
            clauses.append(_("no fault moved an accuracy significantly"))
        if finding.claims:
            verdicts = [claim.verdict for claim in finding.claims]
            counts = ", ".join(f"{verdicts.count(verdict)} {verdict_name(verdict)}" for verdict in CLAIM_VERDICTS)
            clauses.append(_("verdicts on {n} claims: {counts}", n=len(verdicts), counts=counts))
    clauses = clauses or [part_sentence(part) for part in finding.parts] or [_("nothing was measured yet")]
    first = [_("no evidence ({reason})", reason=reason_text(finding.withheld))] if finding.withheld else []
    text = "; ".join([*first, *clauses])
    return text[:1].upper() + text[1:]


def caveats(finding: Reproduction) -> list[str]:
    """First what is missing."""
    asked, scale = finding.asked, _scale(finding.asked)
    texts = missing(finding)
    texts += [quick_caveat()] if asked.quick else []
    if scale and asked.withheld and not asked.quick:
        texts.append(_("{scale} in every run: {reason}", scale=scale, reason=reason_text(asked.withheld)))
    elif scale:
        texts.append(_("{scale} in every run", scale=scale))
    texts += [_("Changed in every run: {key} = {value}", key=path, value=value) for path, value in asked.changed]
    if any(model.as_published.runs for model in finding.models):
        texts.append(_("Numbers as published include the report's faults: they measure the report, not the networks"))
    return [*texts, *finding.notes]


def missing(finding: Reproduction) -> list[str]:
    if finding.no_data:
        return [_("Nothing was trained, because the data are not available: {reason}", reason=finding.no_data)]
    return [_("Not run yet: {parts}", parts=", ".join(finding.left))] if finding.left else []


def changes(asked: Asked) -> str:
    """What the command changed in every run: "100 images and train.batch_size = 100"."""
    return _joined([_scale(asked), *(f"{path} = {value}" for path, value in asked.changed)])


def _scale(asked: Asked) -> str:
    images = ngettext("{n:,} image", "{n:,} images", asked.limit) if asked.limit else ""
    epochs = ngettext("{n} epoch", "{n} epochs", asked.epochs) if asked.epochs else ""
    return _joined([images, epochs])


def _joined(texts: Sequence[str]) -> str:
    """Those that are not empty, joined by "and"."""
    return listed([text for text in texts if text] or [""])


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
        reached = _(
            "as published, {label} reaches {accuracy} test accuracy", label=label, accuracy=_accuracy(measured.mean)
        )
        return f"{reached}; {_agreement(_accuracy(published), agreement)}"
    if compared and withheld is not None:
        (low, lowest), *_others, (high, highest) = sorted(
            (measured.mean, label) for label, _p, measured, _a in compared
        )
        return _(
            "as published, the models reach {low} ({lowest}) to {high} ({highest}) test accuracy; the published ones "
            "are not compared ({reason})",
            low=_accuracy(low),
            lowest=lowest,
            high=_accuracy(high),
            highest=highest,
            reason=reason_text(withheld),
        )
    if compared:
        return _agreements([(label, agreement) for label, _p, _m, agreement in compared])
    known = [(model.corrected.values or model.as_published.values, model.label) for model in models]
    accuracies = [(mean_of(values["test_accuracy"]), label) for values, label in known if "test_accuracy" in values]
    if not accuracies:
        return ""
    best, label = max(accuracies)
    if len(accuracies) == 1:
        return _("test accuracy {accuracy} ({label})", accuracy=_accuracy(best), label=label)
    return _("highest test accuracy {accuracy} ({label})", accuracy=_accuracy(best), label=label)


def _agreement(published: str, agreement: Agreement) -> str:
    """How one published test accuracy compares with the runs."""
    if agreement.reason is not None:
        return _(
            "the published {accuracy} is not compared ({reason})",
            accuracy=published,
            reason=reason_text(agreement.reason),
        )
    assert agreement.interval is not None
    assert agreement.difference is not None
    above = agreement.verdict is Verdict.ABOVE
    if agreement.interval.interval == "newcombe":
        if agreement.verdict is Verdict.INSIDE:
            return _("the published {accuracy} agrees with it within the image noise of two runs", accuracy=published)
        distance = _number(abs(agreement.difference), "test_accuracy", signed=False)
        if above:
            text = _("the published {accuracy} is {distance} above it", accuracy=published, distance=distance)
        else:
            text = _("the published {accuracy} is {distance} below it", accuracy=published, distance=distance)
        return _("{text}, more than the image noise of two runs; other seeds were not run", text=text)
    interval = _(
        "the prediction interval for one more run ({low} to {high}, n = {n} seeds)",
        low=_accuracy(agreement.interval.low or 0.0),
        high=_accuracy(agreement.interval.high or 0.0),
        n=agreement.interval.n,
    )
    if agreement.beyond is None:
        return _("the published {accuracy} is inside {interval}", accuracy=published, interval=interval)
    distance = _number(agreement.beyond, "test_accuracy", signed=False)
    if above:
        return _(
            "the published {accuracy} is {distance} above {interval}",
            accuracy=published,
            distance=distance,
            interval=interval,
        )
    return _(
        "the published {accuracy} is {distance} below {interval}",
        accuracy=published,
        distance=distance,
        interval=interval,
    )


def _agreements(compared: Sequence[tuple[str, Agreement]]) -> str:
    by_verdict = {verdict: [label for label, a in compared if a.verdict is verdict] for verdict in Verdict}
    counts = [_count(verdict, labels) for verdict, labels in by_verdict.items() if labels]
    kinds = {agreement.interval.interval for _label, agreement in compared if agreement.interval is not None}
    bases = [_("prediction intervals over seeds")] if "prediction" in kinds else []
    bases += [_("the image noise of two runs")] if "newcombe" in kinds else []
    text = _("of {n} published test accuracies, {counts}", n=len(compared), counts=listed(counts))
    return _("{text}, by {bases}", text=text, bases=listed(bases)) if bases else text


def _count(verdict: Verdict, labels: Sequence[str]) -> str:
    n, names = len(labels), ", ".join(labels)
    match verdict:
        case Verdict.INSIDE:
            return ngettext(
                "{n} is in agreement with the runs ({names})",
                "{n} are in agreement with the runs ({names})",
                n,
                names=names,
            )
        case Verdict.ABOVE:
            return ngettext("{n} is above ({names})", "{n} are above ({names})", n, names=names)
        case Verdict.BELOW:
            return ngettext("{n} is below ({names})", "{n} are below ({names})", n, names=names)
    return ngettext("{n} is not compared ({names})", "{n} are not compared ({names})", n, names=names)


# ---- faults ----


def unit_name(over: str) -> str:
    """Of what the runs of a fault differ in, in the plural."""
    return {"seed": _("seeds"), "fold": _("folds")}.get(over, over)


def fault_words(fault: FaultResult) -> str:
    """The verdict, without the numbers of the effect."""
    match fault.lacking:
        case Lacking.MEASURE:
            return _("a run lacks the measure")
        case Lacking.MACHINES:
            return _("the runs were measured on several machines")
        case Lacking.SEEDS:
            return _("the effect of training once needs at least two {units}", units=unit_name(fault.over))
    if fault.spreads:
        texts = [_spread(spread, fault) for spread in fault.spreads]
        if fault.ranking is not None and fault.verdict is not FaultVerdict.WITHHELD:
            texts += _ranking(fault.ranking)
        return "; ".join(texts)
    texts = [] if fault.same_bits and fault.verdict is FaultVerdict.WITHHELD else [fault_verdict(fault.verdict)]
    texts += [_("bit-identical runs")] if fault.same_bits else []
    texts += [_("these archived runs do not record whether any bit changed")] if fault.same_bits is None else []
    texts += [] if fault.paired else [_("not paired, because the fault creates other folds")]
    return "; ".join(texts)


def _spread(spread: Spread, fault: FaultResult) -> str:
    return _(
        "single runs of {label} range from {lowest} to {highest} {measure} (standard deviation {sd} over {n} {units})",
        label=spread.label,
        lowest=_plain(spread.lowest, fault.measure),
        highest=_plain(spread.highest, fault.measure),
        measure=words_of(fault.measure),
        sd=_number(spread.sd, fault.measure, signed=False),
        n=spread.n,
        units=unit_name(fault.over),
    )


def _ranking(ranking: Ranking) -> list[str]:
    clauses = []
    if (difference := ranking.difference) is not None:
        clauses.append(
            _(
                "{first} minus {second}, paired: {difference} (n = {n})",
                first=ranking.first,
                second=ranking.second,
                difference=difference.points(),
                n=difference.n,
            )
        )
    if ranking.pairs:
        clauses.append(
            _(
                "on the same test images {differing} of {pairs} pairs of runs differ significantly (exact McNemar, "
                "Holm)",
                differing=ranking.differing,
                pairs=ranking.pairs,
            )
        )
    return [*clauses, *map(compare_words.untested, ranking.untested)]


# ---- studies within the experiment ----


def _study_name(part: PartResult) -> str:
    names = {"crossval": _("Cross-validation"), "search": _("Search"), "landscape": _("Loss landscape")}
    return names[part.kind]


def part_title(part: PartResult) -> str:
    return f"{_study_name(part)}, {protocol_name(part.side)}" if part.side else _study_name(part)


def part_sentence(part: PartResult) -> str:
    text = _("{study} of {labels}", study=_study_name(part).lower(), labels=", ".join(part.labels))
    text = f"{text} {protocol_name(part.side)}" if part.side else text
    return text if part.accuracy is None else _("{text}: accuracy {accuracy}", text=text, accuracy=part.accuracy.text())


# ---- numbers ----


def _number(value: float, measure: str, *, signed: bool = True) -> str:
    """A difference in its unit: "+0.43 points"."""
    sign = "+" if signed else ""
    if shown(measure).is_accuracy:
        return f"{100 * value:{sign}.2f} {shown(measure).unit.of_difference}"
    return f"{value:{sign},.0f}" if MEASURES[measure].exact else f"{value:{sign}.3g}"


def _accuracy(value: float) -> str:
    return _plain(value, "test_accuracy")


def _plain(value: float, measure: str) -> str:
    return f"{100 * value:.2f} %" if shown(measure).is_accuracy else f"{value:.3g}"
