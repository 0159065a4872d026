"""Checks of a report or README. Subject: a `ReportText`."""

from __future__ import annotations

from collections.abc import Iterator

from convoy.diagnosing.finding import Finding, Severity
from convoy.diagnosing.report_text import ReportText, percentages
from convoy.text import gettext as _

MAX_MISPRINT = 1.0  # percentage points; a number this close to a known one is probably a typo


def numbers_without_source(text: ReportText) -> Iterator[Finding]:
    """Finds percentages that do not occur in any run or finding, rounded to the digits of the text."""
    for each in percentages(text.lines):
        if text.is_known(each):
            continue
        nearest = text.nearest(each)
        is_near = nearest is not None and abs(nearest - each.value) <= MAX_MISPRINT
        if each.is_fraction and not is_near:
            continue  # a number that may be a rate, a probability or a momentum
        yield Finding(
            Severity.WARNING if is_near else Severity.HINT,
            _(
                "Line {line}: {number} does not occur in any run or finding of {subject}",
                line=each.line,
                number=each.text,
                subject=text.subject,
            )
            if nearest is None
            else _(
                "Line {line}: {number} does not occur in any run or finding of {subject}; the nearest "
                "number is {nearest}",
                line=each.line,
                number=each.text,
                subject=text.subject,
                nearest=f"{nearest / 100:.{each.digits + 2}f}" if each.is_fraction else f"{nearest:.{each.digits}f}",
            ),
            _("Correct the number, or use --study to name the study that it comes from"),
            {"line": each.line, "number": each.value} | ({} if nearest is None else {"nearest": nearest}),
        )
