"""The function `doctor`."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from convoy.diagnosing.finding import Diagnosis, Finding, Severity, by_severity
from convoy.diagnosing.options import DoctorOptions
from convoy.options import ARGUMENTS, takes_options
from convoy.text import gettext as _

if TYPE_CHECKING:
    from convoy.diagnosing.table import Topic
    from convoy.recipe import Recipe
    from convoy.training.run.plan import Plan

__all__ = ["doctor"]
ARGUMENTS.update(patient="A recipe, model or network (net.py:Net). Default: this machine and the folder of runs.")

Subject = tuple["Topic", object]


@takes_options
def doctor(patient: Recipe | str | Path | None = None, **options: Unpack[DoctorOptions]) -> Diagnosis:
    """Find mistakes in a network or on this machine, with measured evidence, and say how to mend them.

    Nothing is trained to the end, and nothing is written. With an error, the exit code is 1.

    Example: `convoy doctor net.py:Net --data mnist`

    Returns
    -------
    Diagnosis
        The findings, errors first: what, evidence, cost in accuracy where it can be computed, how to mend it.

    Examples
    --------
    >>> diagnosis = convoy.doctor("lenet", data="mnist", limit=500, quick=True)
    >>> errors = [finding.what for finding in diagnosis.findings if finding.severity == "error"]
    """
    from convoy.api.arguments import parts_of
    from convoy.diagnosing.table import examine, selected

    started = time.perf_counter()
    checks = [check for check in selected(parts_of(options["only"] or ())) if check.quick or not options["quick"]]
    findings: list[Finding] = []
    made: list[str] = []
    for part in _subjects(patient, options):
        if isinstance(part, Finding):
            findings.append(part)
            continue
        topic, subject = part
        chosen = [check for check in checks if check.topic == topic]
        findings += examine(subject, chosen)
        made += [check.name for check in chosen]
    name = _("this machine") if patient is None else str(getattr(patient, "label", patient))
    return Diagnosis(name, by_severity(findings), tuple(made), time.perf_counter() - started)


def _subjects(patient: Recipe | str | Path | None, options: Mapping[str, Any]) -> Iterator[Subject | Finding]:
    from convoy.diagnosing.machine import this_machine
    from convoy.diagnosing.table import Topic
    from convoy.runs import Workspace

    workspace = Workspace(options["out"])
    if patient is None and options["data"] is None:
        yield Topic.ENVIRONMENT, this_machine(workspace.path, [run for run in workspace.runs() if run.finished])
        return
    plan = _plan(patient, options)
    if isinstance(plan, Finding):
        yield plan
        return
    yield Topic.NETWORK, plan.subject
    yield Topic.TRAINABILITY, plan.subject


def _plan(patient: Recipe | str | Path | None, options: Mapping[str, Any]) -> Plan | Finding:
    """The plan of a recipe; a user's file or data that fail are a finding, an unknown name is an error."""
    from convoy.api.arguments import recipe_to_train
    from convoy.training.run.plan import plan_one

    try:
        return plan_one(recipe_to_train(patient, options))
    except ValueError as error:
        paths = [str(name).partition("=")[2] or str(name) for name in (patient, options["data"]) if name is not None]
        if not any(
            Path(path.partition(".py:")[0]).exists() or Path(f"{path.partition('.py:')[0]}.py").exists()
            for path in paths
        ):
            raise
        return Finding(
            Severity.ERROR,
            _("This cannot be trained: {error}", error=str(error)),
            _("Correct the named place, and run the doctor again"),
            check="cannot_train",
        )
