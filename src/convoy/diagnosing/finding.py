"""The types of the doctor's findings. Does not import torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from convoy.notebook import html_of
from convoy.text import gettext as _

if TYPE_CHECKING:
    from convoy.stats import Estimate

SCHEMA = 1
Value = float | int | str


class Severity(StrEnum):
    """Findings are listed in this order."""

    ERROR = "error"  # the results are wrong, or there are none
    WARNING = "warning"  # probably changes results
    HINT = "hint"  # often intended


@dataclass(frozen=True)
class Finding:
    """A mistake. `problem` and `fix` are sentences without a full stop at the end."""

    severity: Severity
    problem: str
    fix: str
    evidence: Mapping[str, Value] = field(default_factory=dict)  # measured numbers, by name
    cost: Estimate | None = None  # change of accuracy due to the mistake, a fraction
    check: str = ""  # name of the check, set by `table.examine`

    @property
    def sentence(self) -> str:
        return _("{problem}. {fix}", problem=self.problem, fix=self.fix)


@dataclass(frozen=True)
class Diagnosis:
    """The findings of `convoy doctor`, errors first."""

    subject: str
    findings: tuple[Finding, ...]
    checks: tuple[str, ...]  # names of the checks that ran
    seconds: float
    schema: int = SCHEMA
    _repr_html_ = html_of

    @property
    def has_errors(self) -> bool:
        return any(finding.severity is Severity.ERROR for finding in self.findings)

    def of(self, check: str) -> tuple[Finding, ...]:
        """The findings of a check."""
        return tuple(finding for finding in self.findings if finding.check == check)


class TooSlowError(Exception):
    """Raised instead of running a quick check that would take more than a second."""

    def __init__(self, flops_per_image: int) -> None:
        super().__init__(flops_per_image)
        self.flops_per_image = flops_per_image


def by_severity(findings: list[Finding]) -> tuple[Finding, ...]:
    return tuple(sorted(findings, key=lambda finding: list(Severity).index(finding.severity)))
