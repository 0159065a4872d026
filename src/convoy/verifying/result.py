"""The result of `convoy verify`. Does not import torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from convoy.run_files import Contradiction
from convoy.text import gettext as _

SCHEMA = 1


class State(StrEnum):
    AGREES = "agrees"
    DIFFERS = "differs"
    UNKNOWN = "cannot be checked"


class Check(StrEnum):
    """The checks, in the order of the table. The first four compare files of the run (convoy.record)."""

    FILES = "files"  # SHA-256 of each file
    STATUS = "status"  # status.json against recipe, curves and the folder's name
    SCORES = "scores"  # scores against the predictions
    CURVES = "curves"  # curves against the scores of the best epoch, and against the steps
    DATA = "data"  # hashes of the data set and its split
    RECIPE = "recipe"  # fingerprint of recipe, data and code
    PREDICTIONS = "predictions"  # predictions and scores, recomputed from the weights
    COST = "cost"  # parameters and multiply-adds
    TRAINING = "training"  # the first epochs, retrained
    FINDING = "finding"  # the finding of a study, recomputed from its runs


@dataclass(frozen=True)
class Gap:
    """The largest difference from stored values, relative to the largest value, and the largest that is allowed."""

    largest: float  # 0: bit-identical
    tolerance: float  # 0 on the machine that trained the run


@dataclass(frozen=True)
class CheckResult:
    """The result of one check of one run."""

    run: str  # name of the run, or of the study
    check: Check
    state: State
    compared: str = ""  # what was compared, in words
    reason: str = ""  # why it cannot be checked, in words
    contradictions: tuple[Contradiction, ...] = ()
    gap: Gap | None = None  # None: a comparison of files, without arithmetic


@dataclass(frozen=True)
class Verification:
    """The checks of a run, or of a study and each of its runs."""

    subject: str
    checks: tuple[CheckResult, ...]
    seconds: float
    schema: int = SCHEMA

    @property
    def differs(self) -> bool:
        return any(each.state is State.DIFFERS for each in self.checks)

    def of(self, check: str) -> tuple[CheckResult, ...]:
        """Returns the results of one check, of all runs."""
        return tuple(each for each in self.checks if each.check == check)

    @property
    def sentence(self) -> str:
        counts = {state: sum(each.state is state for each in self.checks) for state in State}
        return _(
            "{subject}: {agree} checks agree, {differ} differ, {unknown} cannot be checked",
            subject=self.subject,
            agree=counts[State.AGREES],
            differ=counts[State.DIFFERS],
            unknown=counts[State.UNKNOWN],
        )


def state_name(state: State) -> str:
    return {
        State.AGREES: _("agrees"),
        State.DIFFERS: _("differs"),
        State.UNKNOWN: _("cannot be checked"),
    }[state]


def check_name(check: Check) -> str:
    return {
        Check.FILES: _("files"),
        Check.STATUS: _("status"),
        Check.SCORES: _("scores"),
        Check.CURVES: _("curves"),
        Check.DATA: _("data"),
        Check.RECIPE: _("recipe"),
        Check.PREDICTIONS: _("predictions"),
        Check.COST: _("cost"),
        Check.TRAINING: _("training again"),
        Check.FINDING: _("finding"),
    }[check]


def detail(checked: CheckResult) -> str:
    """Returns what was compared, what differs, or why it cannot be checked."""
    match checked.state:
        case State.DIFFERS:
            return "; ".join(map(str, checked.contradictions))
        case State.UNKNOWN:
            return checked.reason
    gap = checked.gap
    if gap is None:
        return checked.compared
    if gap.tolerance == 0:
        return _("{compared}: bit-identical", compared=checked.compared)
    return _(
        "{compared}: the largest difference is {largest:.1e} of the largest value; {tolerance:g} is allowed, because "
        "the run was trained on another kind of machine",
        compared=checked.compared,
        largest=gap.largest,
        tolerance=gap.tolerance,
    )


def comparison(
    run: str, check: Check, what: str, contradictions: Sequence[Contradiction], gap: Gap | None = None
) -> CheckResult:
    state = State.DIFFERS if contradictions else State.AGREES
    return CheckResult(run, check, state, what, contradictions=tuple(contradictions), gap=gap)


def not_checkable(run: str, check: Check, reason: str) -> CheckResult:
    return CheckResult(run, check, State.UNKNOWN, reason=reason)
