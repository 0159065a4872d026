"""Trains recipes at several learning rates and computes surfaces around the weights."""

from __future__ import annotations

from dataclasses import replace
from functools import cache, partial
from pathlib import Path

from convoy.data.batches import steps_per_epoch
from convoy.events import Note, OpenTest
from convoy.runs import Study
from convoy.studies import findings
from convoy.studies.compare import ablation
from convoy.studies.landscape import arrays
from convoy.studies.landscape.design import Design, Named, Spec
from convoy.studies.landscape.finding import Landscape, conclude, gathered
from convoy.studies.landscape.surface import Scene, surface
from convoy.studies.session import Entry, Session
from convoy.studies.train_all import check_named, study_name, train_all, write_study
from convoy.text import gettext as _
from convoy.training.run import fault_checks
from convoy.training.run.plan import plan_all, plan_one
from convoy.training.step.probe import STEP_SIZES

OPENS_TEST: OpenTest = "only with fault"
STEP_PROBES = 100  # probes along the step, spread over a run; each costs five passes


def run(
    recipes: Named,
    session: Session,
    design: Design,
    *,
    surfaces: Spec | None = Spec(),  # noqa: B008 (it does not change)
    varied: ablation.Design | None = None,
) -> Study | None:
    """Trains each recipe at each learning rate and computes loss surfaces around the weights of one run.

    This run has the recipe's own rate, or the first rate if the recipe's own is not among the rates. The test set is
    opened only for a recipe with the fault selection_on_test. Returns None if interrupted; the same call resumes runs
    and surfaces. Raises ValueError for a recipe that cannot be trained, and for invalid rates, seeds or surfaces.
    """
    entries = planned(recipes, design, surfaces)
    labels = [label for label, _recipe in recipes]
    name = partial(study_name, "landscape", labels if varied is None else varied.short(labels))
    members = train_all(entries, replace(session, test=OPENS_TEST), name=name)
    if members is None:
        return None
    study = write_study("landscape", name, members, session)
    results = gathered({label: design.own_rate(recipe) for label, recipe in recipes}, members, design)
    for each in results:
        position = [member.run.path for member in members].index(each.probed_run.path)
        if surfaces is not None and not _add_surfaces(each, study.path / "surfaces", surfaces, session, position):
            return None
    arrays.write(study.path / arrays.NAME, [each.figures for each in results])
    images = surfaces.images if surfaces else 0
    findings.write(study, conclude(results, design, images=images, step_sizes=STEP_SIZES, varied=varied))
    return study


def planned(recipes: Named, design: Design, surfaces: Spec | None) -> list[Entry]:
    """Returns the runs in the order of recipe, rate, seed. Raises the same errors as `run`."""
    check_named(recipes, design.seeds, _("landscape"))
    design.check()
    if surfaces is not None:
        surfaces.check()
    plans = dict(
        zip((label for label, _recipe in recipes), plan_all(recipe for _label, recipe in recipes), strict=True)
    )
    entries = []
    for label, recipe, lr, repeat, seed in design.settings(recipes):
        fault_checks.check_test_closed(recipe, may_select=True)
        varied = recipe.override({"optim.lr": lr, "seed": seed})
        if lr == design.own_rate(recipe):
            train, images = plans[label].recipe.train, len(plans[label].prepared.train)
            steps = train.epochs * steps_per_epoch(images, train.batch_size)
            every = recipe.probe.every_steps or (max(1, steps // STEP_PROBES) if design.step_probes else 0)
            keep = recipe.probe.keep_weights or (surfaces is not None and repeat == 0)
            varied = varied.override({"probe.every_steps": every, "probe.keep_weights": keep})
        entries.append(Entry(label, varied))
    return entries


def _add_surfaces(landscape: Landscape, folder: Path, spec: Spec, session: Session, position: int) -> bool:
    """Adds the surfaces around the weights of the probed run. Returns False if interrupted."""
    run = landscape.probed_run

    def report(text: str) -> None:
        session.show(position, Note(text))

    @cache
    def scene() -> Scene:
        plan = plan_one(run.recipe)
        if plan.fingerprint != run.status.fingerprint:
            raise ValueError(
                _("{path}: recipe.toml, the data or the code changed after the run was trained", path=run.path)
            )
        images = min(spec.images, len(plan.prepared.train))
        report(_("computing the loss around the saved weights, {n:,} training images", n=images))
        return Scene(run, plan, spec.images)

    for kind in arrays.KINDS if not run.is_archived else ():
        computed = surface(kind, run, scene, folder, spec, session.interrupted, report)
        if computed is not None:
            landscape.figures.surfaces[kind] = computed
            if not computed.is_complete:
                return False
    return True
