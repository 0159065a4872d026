"""The subject of the text check: lines of a text, and the numbers of the runs and findings that it reports."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from convoy.runs import Run, Study

_NUMBER = r"(?<![\d.,])(\d{1,3}[.,]\d+)"
_UNIT = r"(?:\s|&nbsp;|~|\\,)?(?:\\?%|percent|per cent|points)"
_PERCENTAGE = re.compile(rf"{_NUMBER}(?=(?:\s?(?:±|\+-|\+/-|\\pm)\s?[\d.,]+)?{_UNIT})")
_FRACTION = re.compile(r"(?<![\d.,])(0\.[5-9]\d{2,3})(?![\d.,%]|\s?%)")  # an accuracy; not a rate such as 0.001
_CELL = re.compile(rf"^\W*{_NUMBER}")


class Percentage(NamedTuple):
    line: int  # from 1
    text: str
    value: float  # in percent
    digits: int  # after the point, of `value`
    is_fraction: bool  # whether it is written as a number between 0 and 1


def percentages(lines: Sequence[str]) -> Iterator[Percentage]:
    """Yields numbers with a percent sign, numbers in columns with "%" in their header, and fractions from 0.5."""
    columns: list[bool] = []  # columns of the current table: whether the header has a percent sign
    for count, line in enumerate(lines, 1):
        for match in _PERCENTAGE.finditer(line):
            yield _percentage(count, match[1])
        for match in _FRACTION.finditer(line):
            digits = len(match[1]) - 4  # 0.988 is 98.8 %
            yield Percentage(count, match[1], 100 * float(match[1]), digits, is_fraction=True)
        cells = line.strip().strip("|").split("|") if line.lstrip().startswith("|") else []
        if not cells:
            columns = []
        elif not columns:
            columns = ["%" in cell or "percent" in cell for cell in cells]
        else:
            for cell, is_percent in zip(cells, columns, strict=False):
                cell_match = _CELL.match(cell) if is_percent and not _PERCENTAGE.search(cell) else None
                if cell_match is not None and not cell_match[1].startswith("0"):
                    yield _percentage(count, cell_match[1])


def _percentage(line: int, text: str) -> Percentage:
    number = text.replace(",", ".")
    return Percentage(line, text, float(number), len(number.partition(".")[2]), is_fraction=False)


@dataclass(frozen=True)
class ReportText:
    path: Path
    lines: tuple[str, ...]
    known: tuple[float, ...]  # numbers of the runs and findings, sorted; fractions also in percent
    subject: str  # the runs or study

    def nearest(self, number: Percentage) -> float | None:
        place = bisect_left(self.known, number.value)
        near = self.known[max(0, place - 1) : place + 1]
        return min(near, key=lambda each: abs(each - number.value), default=None)

    def is_known(self, number: Percentage) -> bool:
        """Whether a known number is rounded to this one."""
        nearest = self.nearest(number)
        return nearest is not None and abs(nearest - number.value) <= 0.5 * 10**-number.digits * 1.0001

    @property
    def has_unknown(self) -> bool:
        return not all(map(self.is_known, percentages(self.lines)))


def read_text(
    path: Path,
    runs: Sequence[Run],
    studies: Sequence[Study],
    subject: str,
    report_of: Callable[[Run | Study], str],
) -> ReportText:
    """`report_of` returns the text of a run's or study's report. It is only called if the stored numbers are not
    enough: reports also contain shares of a confusion matrix, calibration errors, and means over runs.
    """
    numbers: set[float] = set()
    for run in runs:
        with suppress(ValueError, OSError):  # a damaged run
            scores = [asdict(score) for score in run.stated_scores.values()]
            numbers.update(_numbers([scores, [epoch.as_line() for epoch in run.metrics], asdict(run.cost)]))
    for study in studies:
        if study.has_finding:
            numbers.update(_numbers(study.finding_json))
    numbers |= {abs(value) for value in numbers}  # "better by 1.3 points" is -1.3 in the other order
    fractions = {100 * value for value in numbers if -1 <= value <= 1}
    errors = {100 * (1 - value) for value in numbers if 0 <= value <= 1}
    numbers |= fractions | errors
    lines = tuple(path.read_text(encoding="utf-8", errors="replace").splitlines())
    text = ReportText(path, lines, tuple(sorted(numbers)), subject)
    targets: tuple[Run | Study, ...] = (*studies, *runs)
    for target in targets:
        if not text.has_unknown:
            break
        with suppress(ValueError, OSError):  # damaged, or not finished
            numbers |= {number.value for number in percentages(report_of(target).splitlines())}
            text = replace(text, known=tuple(sorted(numbers)))
    return text


def _numbers(value: Any) -> Iterator[float]:
    if isinstance(value, dict):
        for each in value.values():
            yield from _numbers(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _numbers(each)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield float(value)
