"""The function `doctor`."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from convoy.diagnosing.finding import Diagnosis, Finding, Severity, by_severity
from convoy.diagnosing.options import DoctorOptions
from convoy.options import ARGUMENTS, takes_options
from convoy.text import gettext as _

if TYPE_CHECKING:
    from convoy.diagnosing.images import Images
    from convoy.diagnosing.table import Topic
    from convoy.recipe import Recipe
    from convoy.runs import Run, Study, Workspace
    from convoy.training.run.plan import Plan

__all__ = ["doctor"]
ARGUMENTS.update(
    subject="A recipe, model or network (net.py:Net), a run or study, a data set, or a report (.md, .txt, .tex). "
    "Default: this machine."
)

TopicContent = tuple["Topic", object]
TEXTS = (".md", ".txt", ".tex")


@takes_options
def doctor(subject: Recipe | Run | Study | str | Path | None = None, **options: Unpack[DoctorOptions]) -> Diagnosis:
    """Find mistakes in networks, data, runs and reports, with measured evidence, and say how to fix them.

    The command exits with 1 if it finds an error. Only --measure trains networks and writes files.

    Example: `convoy doctor net.py:Net --data mnist`

    Returns
    -------
    Diagnosis
        The findings, errors first: problem, evidence, fix and, where it can be computed, effect on the accuracy.

    Examples
    --------
    >>> diagnosis = convoy.doctor("lenet", data="mnist", limit=500, quick=True)
    >>> errors = [finding.problem for finding in diagnosis.findings if finding.severity == "error"]
    """
    from convoy.api.arguments import parts_of
    from convoy.diagnosing.table import examine, selected

    started = time.perf_counter()
    checks = [check for check in selected(parts_of(options["only"] or ())) if check.quick or not options["quick"]]
    findings: list[Finding] = []
    names: list[str] = []
    for part in _subjects(subject, options):
        if isinstance(part, Finding):
            findings.append(part)
            continue
        topic, content = part
        chosen = [check for check in checks if check.topic == topic]
        findings += examine(content, chosen)
        names += [check.name for check in chosen]
    label = _("this machine") if subject is None else str(getattr(subject, "label", subject))
    return Diagnosis(label, by_severity(findings), tuple(names), time.perf_counter() - started)


def _subjects(subject: Any, options: Mapping[str, Any]) -> Iterator[TopicContent | Finding]:
    from convoy.diagnosing.machine import this_machine
    from convoy.diagnosing.table import Topic
    from convoy.runs import Run, Study, Workspace

    workspace = Workspace(options["out"])
    if subject is None and options["data"] is None:
        yield Topic.ENVIRONMENT, this_machine(workspace.path, [run for run in workspace.runs() if run.finished])
    elif isinstance(subject, Run | Study):
        yield from _of_runs(subject, options)
    elif subject is not None and Path(str(subject)).suffix in TEXTS and Path(str(subject)).is_file():
        yield Topic.TEXT, _text(Path(str(subject)), options)
    elif _is_recipe(subject):
        yield from _of_recipe(subject, options)
    elif (target := _run_or_study(str(subject), options["out"])) is not None:
        yield from _of_runs(target, options)
    else:
        _check_known(str(subject), workspace)
        yield from _of_data(str(subject), options)


def _check_known(name: str, workspace: Workspace) -> None:
    """Raises ValueError with close matches for a name that is neither a data set nor a path."""
    from convoy.data.catalogue import DATA_SETS
    from convoy.models import MODELS
    from convoy.recipe.files import builtin_names
    from convoy.registry import unknown

    if name not in DATA_SETS and not set(name) & set("/=:.") and not Path(name).exists():
        recipes = {full.rpartition("/")[2] for full in builtin_names()}
        records = {run.name for run in workspace.runs()} | {study.name for study in workspace.studies()}
        raise unknown(_("model, recipe, run or data set"), name, {*DATA_SETS, *MODELS, *recipes, *records})


def _run_or_study(name: str, out: Path) -> Run | Study | None:
    """Returns the run or study of this name; the newest if several match, or None if the name is also that of a data
    set.
    """
    from convoy.api.arguments import AmbiguousNameError, locate, newest
    from convoy.data.catalogue import DATA_SETS

    try:
        return locate(name, out)
    except AmbiguousNameError:
        return None if name in DATA_SETS or Path(name).exists() else newest(locate, name, out)
    except ValueError:
        return None


def _is_recipe(subject: Any) -> bool:
    """Whether the subject is a recipe, a model or a network, given by name or as a file; True for None."""
    from convoy.models import MODELS
    from convoy.recipe import Recipe
    from convoy.recipe.files import builtin_names
    from convoy.registry import is_external, is_user_class

    name = "" if subject is None else str(subject)
    short_names = {full.rpartition("/")[2] for full in builtin_names()}
    is_file = name.endswith((".py", ".toml"))
    is_named = name in MODELS or name in short_names or name in builtin_names()
    return (
        subject is None
        or isinstance(subject, Recipe)
        or is_file
        or is_named
        or is_user_class(name)
        or is_external(name)
    )


def _of_recipe(subject: Recipe | str | Path | None, options: Mapping[str, Any]) -> Iterator[TopicContent | Finding]:
    from convoy.diagnosing.table import Topic

    plan = _plan(subject, options)
    if isinstance(plan, Finding):
        yield plan
        return
    network = replace(plan.subject, may_skip=options["quick"])
    yield Topic.NETWORK, network
    yield Topic.FORWARD, network
    yield Topic.OUTPUTS, network
    yield Topic.TRAINABILITY, network
    yield Topic.PROTOCOL, plan.recipe
    if subject is None or options["data"] is not None or not options["quick"]:
        images = _images(plan.recipe)
        yield Topic.TRAINING, images
        yield Topic.PIXELS, images
        yield Topic.DATA, images
        yield Topic.SHORTCUTS, images
        yield Topic.LABELS, images
    if options["measure"]:
        from convoy.api.runs import train
        from convoy.diagnosing.records import without_faults
        from convoy.training.run.variants import trainings_of

        training = partial(train, out=options["out"], show="stderr")
        yield Topic.MEASURED, trainings_of(plan, lambda recipe, test: training(recipe, test=test))
        if plan.recipe.protocol.faults:
            training(without_faults(plan.recipe))
            yield from _of_runs(training(plan.recipe), options)


def _plan(subject: Recipe | str | Path | None, options: Mapping[str, Any]) -> Plan | Finding:
    """Returns the plan of a recipe, or a finding if the user's file or data cannot be used. Raises ValueError for
    unknown names.
    """
    from convoy.api.arguments import recipe_to_train
    from convoy.training.run.plan import plan_one

    try:
        return plan_one(recipe_to_train(subject, options))
    except ValueError as error:
        return _cannot_train(error, [str(name) for name in (subject, options["data"]) if name is not None])


def _cannot_train(error: ValueError, names: Sequence[str]) -> Finding:
    """Returns the error as a finding if one of the names is a user's file or folder; otherwise raises it."""
    paths = [name.partition("=")[2] or name for name in names]
    files = [f"{path.rpartition('.py:')[0]}.py" if ".py:" in path else path for path in paths]
    if not any(Path(file).exists() for file in files):
        raise error
    return Finding(
        Severity.ERROR,
        _("This cannot be trained: {error}", error=str(error)),
        _("Correct it and run the doctor again"),
        check="cannot_train",
    )


def _of_data(name: str, options: Mapping[str, Any]) -> Iterator[TopicContent | Finding]:
    from convoy.api.arguments import recipe_to_train
    from convoy.diagnosing.table import Topic

    try:
        images = _images(recipe_to_train(None, {**options, "data": name}))
    except ValueError as error:
        yield _cannot_train(error, [name])
        return
    yield Topic.PIXELS, images
    yield Topic.DATA, images
    yield Topic.SHORTCUTS, images
    yield Topic.LABELS, images


def _images(recipe: Recipe) -> Images:
    from convoy.data import load, prepare
    from convoy.diagnosing.images import images_of, with_test
    from convoy.evaluation.load import with_normalisation

    dataset = load(recipe.data.name, size=recipe.data.size)
    prepared = with_normalisation(prepare(recipe.data, dataset), recipe)
    return with_test(images_of(recipe, prepared), dataset, prepared)


def _of_runs(target: Run | Study, options: Mapping[str, Any]) -> Iterator[TopicContent]:
    from convoy.diagnosing.records import Records
    from convoy.diagnosing.table import Topic
    from convoy.runs import Run, Workspace

    runs = [target] if isinstance(target, Run) else [member.run for member in target.members]
    workspace = Workspace(runs[0].path.parents[1] if runs[0].path.parent.name == "runs" else options["out"])
    names = {run.name for run in runs}
    others = [run for run in workspace.runs() if run.name not in names and _has_scores(run)]
    images, openings = None, 0
    with suppress(ValueError, OSError):  # the data are not on this machine
        openings = max(len(opened) for opened in workspace.openings().values()) if workspace.openings() else 0
        images = None if options["quick"] else _images(runs[0].recipe)
    with suppress(ValueError):  # recipe.toml has changed, which a check of the results reports
        yield Topic.PROTOCOL, runs[0].recipe
    yield Topic.RESULTS, Records(runs, others, openings, images)


def _has_scores(run: Run) -> bool:
    """Returns False for an unfinished run, and for one whose files have changed or contradict each other."""
    try:
        return run.finished and bool(run.scores)
    except ValueError:
        return False


def _text(path: Path, options: Mapping[str, Any]) -> object:
    from convoy.api.arguments import locate
    from convoy.diagnosing.report_text import read_text
    from convoy.reporting import report_text
    from convoy.runs import Run, Workspace
    from convoy.studies import kinds

    report_of = partial(report_text, page_of=kinds.page_of)
    name, out = options["study"], options["out"]
    if name is None:
        workspace = Workspace(out)
        return read_text(path, list(workspace.runs()), list(workspace.studies()), str(out), report_of)
    target = locate(name, out)
    if isinstance(target, Run):
        return read_text(path, [target], [], target.name, report_of)
    return read_text(path, [member.run for member in target.members], [target], target.name, report_of)
