"""Text of the finding: sentence, caveats and the effect of each fault."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from convoy.agreement import CLAIM_VERDICTS, Agreement, Reason, Verdict, compare_published
from convoy.experiments.experiment import Side
from convoy.experiments.parts import STUDIES
from convoy.experiments.reproduction.finding import (
    FaultResult,
    FaultVerdict,
    ModelResult,
    NotMeasured,
    Options,
    Ranking,
    Reproduction,
    Spread,
    StudyResult,
)
from convoy.experiments.verdicts import JudgedClaim, Value
from convoy.experiments.words import MeasureText, measure_text, reason_text, verdict_name, words_of
from convoy.stats import Estimate, mean_of
from convoy.studies.compare import words as compare_words
from convoy.text import gettext as _
from convoy.text import ngettext, numbers, translated
from convoy.text.lists import joined, listed


def quick_caveat() -> str:
    return _("Quick try with few images, epochs and seeds: it shows that everything runs; its results are preliminary")


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
    """Compares with the published numbers; names the largest effect of a fault and the verdicts on claims."""
    clauses = [_published_clause(finding.models, finding.withheld)]
    if finding.withheld is None:
        worst = finding.largest_effect
        if worst is not None and worst.effect is not None:
            clauses.append(
                _(
                    "the fault “{fault}” changed the {measure} most ({effect})",
                    fault=worst.title,
                    measure=words_of(worst.measure),
                    effect=measure_text(worst.measure).difference(worst.effect.mean),
                )
            )
        elif finding.faults:
            clauses.append(_("no fault changed an accuracy significantly"))
        if finding.claims:
            n, counts = len({claim.id for claim in finding.claims}), verdict_counts(finding.claims)
            clauses.append(
                _("claims: {n}, verdicts: {total} ({counts})", n=n, total=len(finding.claims), counts=counts)
            )
    clauses = list(filter(None, clauses)) or [study_sentence(result) for result in finding.parts]
    first = [_("no evidence ({reason})", reason=reason_text(finding.withheld))] if finding.withheld else []
    text = "; ".join([*first, *(clauses or [_("nothing was measured yet")])])
    return text[:1].upper() + text[1:]


def verdict_counts(claims: Sequence[JudgedClaim]) -> str:
    """Returns text such as "holds: 4, inconclusive: 3"."""
    verdicts = [claim.verdict for claim in claims]
    return joined(f"{verdict_name(each)}: {verdicts.count(each)}" for each in CLAIM_VERDICTS if each in verdicts)


def caveats(finding: Reproduction) -> list[str]:
    """Returns the caveats; missing results come first."""
    options, scale = finding.options, listed(_scale(finding.options))
    texts = missing(finding)
    texts += [quick_caveat()] if options.quick else []
    texts += [_("{scale} in every run", scale=scale)] if scale else []
    texts += [_("Changed in every run: {key} = {value}", key=path, value=value) for path, value in options.changed]
    if any(model.as_published.runs for model in finding.models):
        texts.append(
            _(
                "The numbers as published include the effects of the report's protocol faults, so they do not measure "
                "the networks alone"
            )
        )
    return [*texts, *map(translated, finding.notes)]


def missing(finding: Reproduction) -> list[str]:
    if finding.no_data:
        return [_("Nothing was trained, because the data are not available: {reason}", reason=finding.no_data)]
    begun = [model.label for model in finding.models if model.runs and model.label in finding.left]
    left = [experiment_part_name(part) for part in finding.left if part not in begun]
    texts = [_("Not run yet: {parts}", parts=joined(left))] if left else []
    if begun:
        texts.append(_("Some seeds or protocols have not been run yet: {models}", models=joined(begun)))
    return texts


def changes(options: Options) -> str:
    """Returns what the command changed in all runs, such as "100 images and train.batch_size = 100"."""
    return listed([*_scale(options), *(f"{path} = {value}" for path, value in options.changed)])


def _scale(options: Options) -> list[str]:
    images = [ngettext("{n:,} image", "{n:,} images", options.limit)] if options.limit else []
    return images + ([ngettext("{n} epoch", "{n} epochs", options.epochs)] if options.epochs else [])


# ---- models ----


def _published_clause(models: Sequence[ModelResult], withheld: Reason | None) -> str:
    """Compares the published test accuracies with runs of the same protocol; "" if none was measured."""
    metric = measure_text("test_accuracy")
    agreements = {}
    for model in models if withheld is None else ():
        measured, published = model.as_published.values.get(metric.name), model.published.get(metric.name)
        if isinstance(measured, Estimate) and isinstance(published, float):
            agreements[model.label] = agreement = compare_published(published, measured)
            only = _(
                "as published, {label} reaches {accuracy} test accuracy; published {published}: {comparison}",
                label=model.label,
                accuracy=metric.text(measured),
                published=metric.text(published),
                comparison=published_text(metric, published, measured, agreement),
            )
    if agreements:
        return only if len(agreements) == 1 else _agreements(agreements)
    measured_values = [(model.corrected.values or model.as_published.values, model.label) for model in models]
    accuracies = [(mean_of(values[metric.name]), label) for values, label in measured_values if metric.name in values]
    if not accuracies:
        return ""
    best, label = max(accuracies)
    if len(accuracies) == 1:
        return _("test accuracy {accuracy} ({label})", accuracy=metric.text(best), label=label)
    return _("highest test accuracy {accuracy} ({label})", accuracy=metric.text(best), label=label)


def published_text(metric: MeasureText, published: float, measured: Value, agreement: Agreement) -> str:
    """Compares a published value with the estimate from runs under the published protocol."""
    distance, interval = published - mean_of(measured), agreement.interval
    if agreement.reason is not None or interval is None:
        reason = reason_text(agreement.reason or Reason.NO_INTERVAL)
        return _("{difference}; no verdict: {reason}", difference=metric.difference(distance), reason=reason)
    if interval.interval == "newcombe":
        if agreement.verdict is Verdict.INSIDE:
            return _("within the sampling error of the test images")
        return _(
            "{difference}, more than the sampling error of the test images; other seeds were not run",
            difference=metric.difference(distance),
        )
    ends = numbers.interval(*interval.span, metric.number)
    if agreement.beyond is None:
        return _("inside the prediction interval ({interval})", interval=ends)
    beyond = metric.difference(math.copysign(agreement.beyond, distance))
    return _("outside the prediction interval ({interval}) by {distance}", interval=ends, distance=beyond)


def _agreements(agreements: Mapping[str, Agreement]) -> str:
    """`agreements`: by the model's label."""
    labels: dict[Verdict, list[str]] = {}
    for label, agreement in agreements.items():
        labels.setdefault(agreement.verdict, []).append(label)
    inside = labels.get(Verdict.INSIDE, [])
    clause = ngettext(
        "{n} of {total} published test accuracies agrees with the runs",
        "{n} of {total} published test accuracies agree with the runs",
        len(inside),
        total=len(agreements),
    )
    clauses = [f"{clause} ({joined(inside)})" if inside else clause]
    others = {Verdict.ABOVE: _("above"), Verdict.BELOW: _("below"), Verdict.NOT_COMPARED: _("not compared")}
    clauses += [f"{name}: {joined(labels[verdict])}" for verdict, name in others.items() if verdict in labels]
    kinds = {agreement.interval.interval for agreement in agreements.values() if agreement.interval is not None}
    methods = [_("prediction intervals over seeds")] if "prediction" in kinds else []
    methods += [_("the sampling error of the test images")] if "newcombe" in kinds else []
    clauses += [_("judged by {methods}", methods=listed(methods))] if methods else []
    return "; ".join(clauses)


# ---- faults ----


def unit_name(over: str) -> str:
    """Returns the unit over which a fault's runs are paired, in the plural."""
    return {"seed": _("seeds"), "fold": _("folds")}.get(over, over)


def fault_words(fault: FaultResult) -> str:
    """Returns the verdict without the numbers of the effect."""
    match fault.lacking:
        case NotMeasured.MEASURE:
            return _("a run has no value of the measure")
        case NotMeasured.MACHINES:
            return _("the runs were measured on several machines")
        case NotMeasured.SEEDS:
            return _(
                "the effect of training only once can only be measured with two {units} or more",
                units=unit_name(fault.over),
            )
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
    metric = measure_text(fault.measure)
    return _(
        "single runs of the recipe “{label}” range from {lowest} to {highest} {measure} (standard deviation "
        "{sd} over {n} {units})",
        label=spread.label,
        lowest=metric.text(spread.lowest),
        highest=metric.text(spread.highest),
        measure=metric.words,
        sd=metric.difference(spread.sd, signed=False),
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


def experiment_part_name(part: str) -> str:
    """The name of a part of an experiment, within a sentence; other names, such as those of models, are unchanged."""
    names = {"models": _("models"), "faults": _("faults"), "claims": _("claims")}
    names |= {study: info.title() for study, info in STUDIES.items()}
    return names.get(part, part)


def study_title(result: StudyResult) -> str:
    name = experiment_part_name(result.kind).capitalize()
    return f"{name}, {protocol_name(result.side)}" if result.side else name


def study_sentence(result: StudyResult) -> str:
    text = _("{study} of {labels}", study=experiment_part_name(result.kind), labels=joined(result.labels))
    text = f"{text} ({protocol_name(result.side)})" if result.side else text
    accuracy = "" if result.accuracy is None else _("accuracy {accuracy}", accuracy=result.accuracy.text())
    return f"{text}: {accuracy}" if accuracy else text
