"""The text of findings."""

from __future__ import annotations

from collections import Counter

from convoy.diagnosing.evidence import name_of
from convoy.diagnosing.finding import Diagnosis, Finding, Severity, Value
from convoy.text import gettext as _
from convoy.text import ngettext
from convoy.text.lists import joined
from convoy.text.numbers import significant


def severity(value: Severity) -> str:
    return {Severity.ERROR: _("error"), Severity.WARNING: _("warning"), Severity.HINT: _("hint")}[value]


def summary(diagnosis: Diagnosis) -> str:
    """Counts the findings, such as "1 error, 2 warnings"; "" if there are none."""
    counts = Counter(finding.severity for finding in diagnosis.findings)
    texts = {
        Severity.ERROR: ngettext("{n} error", "{n} errors", counts[Severity.ERROR]),
        Severity.WARNING: ngettext("{n} warning", "{n} warnings", counts[Severity.WARNING]),
        Severity.HINT: ngettext("{n} hint", "{n} hints", counts[Severity.HINT]),
    }
    return joined(text for level, text in texts.items() if counts[level])


def sentence(diagnosis: Diagnosis) -> str:
    return ngettext(
        "{subject}: {summary}; {n} check in {seconds:.1f} s",
        "{subject}: {summary}; {n} checks in {seconds:.1f} s",
        len(diagnosis.checks),
        subject=diagnosis.subject,
        summary=summary(diagnosis) or _("no problems found"),
        seconds=diagnosis.seconds,
    )


def lines(finding: Finding) -> list[str]:
    """Returns the lines of a finding: problem, evidence, effect, how to fix it."""
    texts = [finding.problem]
    if finding.evidence:
        numbers = {key: value for key, value in finding.evidence.items() if key != "part"}  # the problem names the part
        values = "; ".join(
            _("{quantity} {value}", quantity=name_of(key), value=number(value)) for key, value in numbers.items()
        )
        texts.append(_("Evidence: {values}", values=values))
    if finding.cost is not None:
        texts.append(_("Effect on the accuracy: {points}", points=finding.cost.points()))
    texts.append(_("Fix: {fix}", fix=finding.fix))
    return texts


def number(value: Value) -> str:
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    if isinstance(value, float):
        return significant(value, 4)
    return f"{value:,}" if isinstance(value, int) else value
