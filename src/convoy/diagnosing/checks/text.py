"""Checks of a report or README. Subject: a `ReportText`."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator

from convoy.diagnosing.finding import Finding, Severity
from convoy.diagnosing.report_text import PERCENTAGE, ReportText
from convoy.text import gettext as _

NEAR = 1.0  # percentage points: a number this close to a known one is probably a misprint of it


def numbers_without_source(text: ReportText) -> Iterator[Finding]:
    """Finds percentages that do not occur in any run or finding, rounded to the digits of the text."""
    for count, line in enumerate(text.lines, 1):
        for match in PERCENTAGE.finditer(line):
            value, digits = float(match[1]), len(match[1].partition(".")[2])
            nearest = _nearest(text.known, value)
            tolerance = 0.5 * 10**-digits * 1.0001
            if nearest is not None and abs(nearest - value) <= tolerance:
                continue
            is_near = nearest is not None and abs(nearest - value) <= NEAR
            yield Finding(
                Severity.WARNING if is_near else Severity.HINT,
                _(
                    "Line {line}: {number} is in no run or finding of {subject}",
                    line=count,
                    number=match[1],
                    subject=text.subject,
                )
                if nearest is None
                else _(
                    "Line {line}: {number} is in no run or finding of {subject}; the nearest number is {nearest}",
                    line=count,
                    number=match[1],
                    subject=text.subject,
                    nearest=f"{nearest:.{digits}f}",
                ),
                _("Correct the number, or name the study that it is from with --study"),
                {"line": count, "number": value} | ({} if nearest is None else {"nearest": nearest}),
            )


def _nearest(known: tuple[float, ...], value: float) -> float | None:
    place = bisect_left(known, value)
    return min(known[max(0, place - 1) : place + 1], key=lambda each: abs(each - value), default=None)
