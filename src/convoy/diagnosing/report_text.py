"""The subject of the text check: lines of a text, and the numbers of the runs and findings that it reports."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from convoy.runs import Run, Study

PERCENTAGE = re.compile(r"(?<![\d.,])(\d{1,3}\.\d+)(?=\s?(?:%|percent|points))")


@dataclass(frozen=True)
class ReportText:
    path: Path
    lines: tuple[str, ...]
    known: tuple[float, ...]  # numbers of the runs and findings, sorted; fractions also in percent
    subject: str  # the runs or study


def read_text(path: Path, runs: Sequence[Run], studies: Sequence[Study], subject: str) -> ReportText:
    numbers: set[float] = set()
    for run in runs:
        try:
            scores = [asdict(score) for score in run.stated_scores.values()]
            numbers.update(_numbers([scores, [epoch.as_line() for epoch in run.metrics], asdict(run.cost)]))
        except (ValueError, OSError):  # a damaged run
            continue
    for study in studies:
        if study.has_finding:
            numbers.update(_numbers(study.finding_json))
    fractions = {100 * value for value in numbers if -1 <= value <= 1}
    errors = {100 * (1 - value) for value in numbers if 0 <= value <= 1}
    known = tuple(sorted(numbers | fractions | errors))
    return ReportText(path, tuple(path.read_text(encoding="utf-8", errors="replace").splitlines()), known, subject)


def _numbers(value: Any) -> Iterator[float]:
    if isinstance(value, dict):
        for each in value.values():
            yield from _numbers(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _numbers(each)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield float(value)
