"""Several reproductions in words."""

from __future__ import annotations

from collections.abc import Sequence

from convoy.experiments.measure_words import shown
from convoy.experiments.reason_words import REASONS
from convoy.experiments.reproduction import words
from convoy.experiments.reproduction.finding import FaultVerdict, Reproduction
from convoy.experiments.reproductions.finding import Reproductions
from convoy.prediction import Reason, Verdict
from convoy.reporting.quantities import listed


def sentence(finding: Reproductions) -> str:
    """Verdicts are counted over the experiments that have them; the others are named by reason."""
    found = finding.findings
    complete = f"{sum(each.complete for each in found)} of {len(finding.experiments)} experiments reproduced completely"
    judged = [each for each in found if each.withheld is None]
    clauses = [_verdicts(judged)] if judged else []
    names: dict[Reason, list[str]] = {}
    for each in found:
        if each.withheld is not None:
            names.setdefault(each.withheld, []).append(each.experiment)
    if len(names) == 1 and not judged:
        clauses.append(f"no verdict on faults or claims ({REASONS[next(iter(names))]})")
    elif names:
        groups = [f"{listed(group)} ({REASONS[reason]})" for reason, group in names.items()]
        clauses.append(f"no verdict on faults or claims of {'; '.join(groups)}")
    return "; ".join([complete, *clauses])


def _verdicts(findings: Sequence[Reproduction]) -> str:
    faults = [fault.verdict for each in findings for fault in each.faults]
    claims = [claim.verdict for each in findings for claim in each.claims]
    return (
        f"{faults.count(FaultVerdict.CHANGED)} of {len(faults)} tests of faults show an effect, "
        f"{claims.count(Verdict.HOLDS)} of {len(claims)} claims hold"
    )


def caveats(finding: Reproductions) -> list[str]:
    quick = [words.QUICK] if any(each.asked.quick for each in finding.findings) else []
    return [*quick, *(f"{each.experiment}: {text}" for each in finding.findings for text in words.missing(each))]


def largest_effect(finding: Reproduction) -> str:
    if finding.withheld is not None:
        return f"no verdict ({REASONS[finding.withheld]})"
    worst = finding.largest_effect
    if worst is None:
        return "no effect on an accuracy shown" if finding.faults else "none measured"
    number, interval = shown(worst.measure).parts(worst.effect, signed=True)
    measure = "" if worst.measure == "test_accuracy" else f" of {shown(worst.measure).words}"
    return f"{worst.title}: {number} {interval}".rstrip() + f" points{measure}"
