"""Trains recipes at several learning rates and computes surfaces around the weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from convoy.data.batches import steps_per_epoch
from convoy.events import Note
from convoy.files import write_arrays
from convoy.recipe.faults import Fault
from convoy.runs import Member, Run, Study, Workspace
from convoy.studies import findings
from convoy.studies.landscape import band
from convoy.studies.landscape.design import Design, Kind, Named, Spec
from convoy.studies.landscape.finding import Landscape, conclude
from convoy.studies.landscape.surface import Scene, surface
from convoy.studies.session import Session, Show
from convoy.studies.train_all import Entry, check_named, study_name, train_all
from convoy.training.run import faults
from convoy.training.run.plan import Plan, plan, plan_all
from convoy.training.step.probe import STEP_SIZES

LOOKS = 100  # probes along the step, spread over a run; each costs five passes, which is little in a long run
KINDS: tuple[Kind, ...] = ("line", "plane", "path")


def run(
    recipes: Named,
    session: Session,
    design: Design,
    *,
    surfaces: Spec | None = Spec(),  # noqa: B008 (it does not change)
) -> Study | None:
    """Trains each recipe at each learning rate and computes loss surfaces around the weights of one run.

    That run has the recipe's own rate, or the first if that is not among the rates. The test set stays closed, except
    for a recipe with the fault selection_on_test. None if interrupted; the same call resumes the runs and the surfaces.
    Raises ValueError for a recipe that cannot be trained, and for invalid rates, seeds or surfaces.
    """
    entries = planned(recipes, design, surfaces)
    members = train_all(entries, replace(session, test="by fault"))
    if members is None:
        return None
    name = study_name("landscape", [label for label, _ in recipes], members)
    table = {"kind": "landscape", "command": session.command}
    study = Workspace(session.out).write_study(name, table, members)
    found = _gathered(recipes, members, design)
    for each in found if surfaces is not None else ():
        assert surfaces is not None
        position = next(place for place, member in enumerate(members) if member.run.path == each.probed_run.path)
        about = _surfaces(
            each.probed_run,
            study.path / "surfaces",
            surfaces,
            session.interrupted,
            partial(_tell, session.show, position, each.label),
        )
        if about is None:
            return None
        each.surfaces.update(about)
    write_arrays(study.path / "landscape.npz", _arrays(found))
    images = surfaces.images if surfaces else 0
    findings.write(study, conclude(found, design, images=images, step_sizes=STEP_SIZES))
    return study


def planned(recipes: Named, design: Design, surfaces: Spec | None) -> list[Entry]:
    """In the order of recipe, rate, seed. Raises ValueError as `run` does."""
    check_named(recipes, design.seeds, "landscape")
    design.check()
    if surfaces is not None:
        surfaces.check()
    plans = dict(zip((label for label, _ in recipes), plan_all(recipe for _, recipe in recipes), strict=True))
    entries = []
    for label, recipe, lr, repeat, seed in design.settings(recipes):
        faults.check_test_closed(recipe, allowed=(Fault.SELECTION_ON_TEST,))
        overrides: dict[str, Any] = {"optim.lr": lr, "seed": seed}
        if lr == design.own_rate(recipe):
            overrides |= _looks(plans[label], design, keep_weights=surfaces is not None and repeat == 0)
        entries.append(Entry(label, recipe.override(overrides)))
    return entries


def _looks(ready: Plan, design: Design, *, keep_weights: bool) -> dict[str, Any]:
    recipe = ready.recipe
    steps = recipe.train.epochs * steps_per_epoch(len(ready.prepared.train), recipe.train.batch_size)
    every = recipe.probe.every_steps or (max(1, steps // LOOKS) if design.looks else 0)
    return {"probe.every_steps": every, "probe.keep_weights": recipe.probe.keep_weights or keep_weights}


def _gathered(recipes: Named, members: Sequence[Member], design: Design) -> list[Landscape]:
    """The runs of each recipe, by repeat, with curves that end as `Design.cut` says."""
    runs: dict[str, list[list[Run]]] = {label: [[] for _ in range(design.seeds)] for label, _ in recipes}
    for setting, member in zip(design.settings(recipes), members, strict=True):
        runs[setting.label][setting.repeat].append(member.run)
    cut = iter(band.aligned([group for groups in runs.values() for group in groups]))
    found = []
    for label, recipe in recipes:
        groups, rate = runs[label], design.own_rate(recipe)
        probed = [next(run for run in group if run.recipe.optim.lr == rate) for group in groups]
        curves = list(islice(cut, len(groups)))
        drawn = band.aligned(groups) if design.cut == "each" else curves
        found.append(Landscape(label, groups, probed, curves, drawn, {}))
    return found


def _surfaces(
    run: Run, folder: Path, spec: Spec, interrupted: Callable[[], bool], tell: Callable[[str], None]
) -> dict[Kind, dict[str, np.ndarray]] | None:
    """The surfaces around a run's weights, by kind, if they can be computed; None if interrupted."""
    if run.is_archived:
        return {}

    @cache
    def scene() -> Scene:
        ready = plan(run.recipe)
        if ready.fingerprint != run.status.fingerprint:
            raise ValueError(f"{run.path}: recipe.toml, the data or the code changed after the run was trained")
        tell(f"the loss around the kept weights, on {min(spec.images, len(ready.prepared.train)):,} training images")
        return Scene(run, ready, spec.images)

    found: dict[Kind, dict[str, np.ndarray]] = {}
    for kind in KINDS:
        arrays = surface(kind, run, scene, folder, spec, interrupted=interrupted, tell=tell)
        if arrays is None:
            return None
        if arrays:
            found[kind] = arrays
    return found


def _tell(show: Show, position: int, label: str, text: str) -> None:
    show(position, Note(f"{label}: {text}"))


def _arrays(found: Sequence[Landscape]) -> dict[str, np.ndarray]:
    """Arrays of the figures by `<number of the recipe>_<name>`: band, probes and surfaces of the first seed."""
    arrays: dict[str, np.ndarray] = {}
    for number, each in enumerate(found):
        curves = each.drawn[0]
        low, high = band.edges(curves.loss)
        smooth_low, smooth_high = band.edges(band.smoothed(curves.loss, curves.spacing))
        kept = {"step": curves.step, "low": low, "high": high, "smooth_low": smooth_low, "smooth_high": smooth_high}
        kept |= {name: values for name, values in each.probed[0].arrays.items() if name.startswith("probe_")}
        for kind, about in each.surfaces.items():
            kept |= {f"{kind}_{name}": values for name, values in about.items()}
        arrays |= {f"{number}_{name}": values for name, values in kept.items()}
    return arrays
