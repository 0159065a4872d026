"""Text of the finding of several reproductions."""

from __future__ import annotations

from collections.abc import Sequence

from convoy.agreement import Reason, Verdict
from convoy.experiments.reproduction import words
from convoy.experiments.reproduction.finding import FaultVerdict, Reproduction
from convoy.experiments.reproductions.finding import Reproductions
from convoy.experiments.words import measure_text, reason_text, words_of
from convoy.text import gettext as _
from convoy.text.lists import listed


def sentence(finding: Reproductions) -> str:
    """Verdicts are counted over the experiments that have them; the others are named by reason."""
    reproductions = finding.findings
    complete, total = sum(each.complete for each in reproductions), len(finding.experiments)
    clauses = [_("{complete} of {total} experiments reproduced completely", complete=complete, total=total)]
    if judged := [each for each in reproductions if each.withheld is None]:
        clauses.append(_verdicts(judged))
    for reason in Reason:
        if names := [each.experiment for each in reproductions if each.withheld is reason]:
            text = _("no verdict on faults or claims of {experiments}", experiments=listed(names))
            clauses.append(f"{text} ({reason_text(reason)})")
    return "; ".join(clauses)


def _verdicts(findings: Sequence[Reproduction]) -> str:
    faults = [fault.verdict for each in findings for fault in each.faults]
    claims = [claim.verdict for each in findings for claim in each.claims]
    return _(
        "{changed} of {faults} tests of faults show an effect, claims hold in {hold} of {claims} tests",
        changed=faults.count(FaultVerdict.CHANGED),
        faults=len(faults),
        hold=claims.count(Verdict.HOLDS),
        claims=len(claims),
    )


def caveats(finding: Reproductions) -> list[str]:
    quick = [words.quick_caveat()] if any(each.options.quick for each in finding.findings) else []
    return [
        *quick,
        *(
            _("{labels}: {text}", labels=each.experiment, text=text)
            for each in finding.findings
            for text in words.missing(each)
        ),
    ]


def largest_effect(finding: Reproduction) -> str:
    if finding.withheld is not None:
        return _("no verdict ({reason})", reason=reason_text(finding.withheld))
    worst = finding.largest_effect
    if worst is None:
        return _("no effect on an accuracy shown") if finding.faults else _("none measured")
    effect = " ".join(filter(None, measure_text(worst.measure).parts(worst.effect, signed=True)))
    return _("{fault}: {effect} points of {measure}", fault=worst.title, effect=effect, measure=words_of(worst.measure))
