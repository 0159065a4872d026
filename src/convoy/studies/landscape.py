"""The loss landscape: how much the loss depends on the learning rate, on the step, and on where the weights stand."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from itertools import islice, product
from pathlib import Path
from typing import Any

import numpy as np

from convoy.data.batches import steps_per_epoch
from convoy.files import write_arrays, write_json
from convoy.recipe import Recipe
from convoy.runs import Member, Run, Study, Workspace
from convoy.studies import loss_band
from convoy.studies.landscape_finding import Landscape, conclude
from convoy.studies.surface import Kind, Scene, Spec, surface
from convoy.studies.train_all import Anew, Entry, check_named, train_all
from convoy.training.plan import Plan, plan, plan_all
from convoy.training.run_one import Event

LOOKS = 100  # along the step, spread over a training: each costs five passes, so that a long one hardly notices
KINDS: tuple[Kind, ...] = ("line", "plane", "path")

Show = Callable[[int, Event], None]


def landscape(
    recipes: Sequence[tuple[str, Recipe]],
    out: str | Path,
    *,
    lrs: Sequence[float],
    seeds: int = 1,
    surfaces: Spec | None = Spec(),  # noqa: B008 (it does not change)
    command: str,
    fresh: bool | Anew = False,
    interrupted: Callable[[], bool] = lambda: False,
    show: Show = lambda position, event: None,
) -> Study | None:
    """Trains each recipe at each learning rate, test set shut, and looks about the weights of one of them.

    That one is the run at the recipe's own rate, or at the first given where that is not among them. None where it was
    interrupted: called again it trains nothing that is trained and computes no point of a surface twice. Raises
    ValueError for a recipe that cannot be trained, and for rates, seeds or a surface that cannot be.
    """
    entries = planned(recipes, lrs, seeds, surfaces)
    members = train_all(entries, out, fresh=fresh, test=False, interrupted=interrupted, show=show)
    if members is None:
        return None
    study = Workspace(out).write_study(_name(recipes, members), {"kind": "landscape", "command": command}, members)
    found = _gathered(recipes, members, lrs)
    for each in found if surfaces is not None else ():
        assert surfaces is not None
        position = next(place for place, member in enumerate(members) if member.run.path == each.looked_at.path)
        about = _surfaces(
            each.looked_at, study.path / "surfaces", surfaces, interrupted, partial(_tell, show, position, each.label)
        )
        if about is None:
            return None
        each.surfaces.update(about)
    write_arrays(study.path / "landscape.npz", _arrays(found))
    write_json(study.path / "finding.json", conclude(found, lrs, surfaces.images if surfaces else 0))
    return study


def own_rate(recipe: Recipe, lrs: Sequence[float]) -> float:
    return recipe.optim.lr if recipe.optim.lr in lrs else lrs[0]


def planned(
    recipes: Sequence[tuple[str, Recipe]], lrs: Sequence[float], seeds: int, surfaces: Spec | None
) -> list[Entry]:
    """Recipe by recipe, rate by rate, seed by seed. Raises ValueError as `landscape` does."""
    _check(recipes, lrs, seeds)
    if surfaces is not None:
        surfaces.check()
    entries = []
    for (label, recipe), ready in zip(recipes, plan_all(recipe for _, recipe in recipes), strict=True):
        for lr, seed in _settings(recipe, lrs, seeds):
            overrides: dict[str, Any] = {"optim.lr": lr, "seed": seed}
            if lr == own_rate(recipe, lrs):
                overrides |= _looks(ready, keep_weights=surfaces is not None and seed == recipe.seed)
            entries.append(Entry(label, recipe.override(overrides)))
    return entries


def names(recipes: Sequence[tuple[str, Recipe]], lrs: Sequence[float], seeds: int) -> list[str]:
    """Of what is planned, one by one and in its order."""
    return [f"{label} at {lr:g}, seed {s}" for label, recipe in recipes for lr, s in _settings(recipe, lrs, seeds)]


def _settings(recipe: Recipe, lrs: Sequence[float], seeds: int) -> Iterator[tuple[float, int]]:
    return product(lrs, range(recipe.seed, recipe.seed + seeds))


def _looks(ready: Plan, *, keep_weights: bool) -> dict[str, Any]:
    recipe = ready.recipe
    steps = recipe.train.epochs * steps_per_epoch(len(ready.prepared.train), recipe.train.batch_size)
    return {
        "probe.every_steps": recipe.probe.every_steps or max(1, steps // LOOKS),
        "probe.keep_weights": recipe.probe.keep_weights or keep_weights,
    }


def _check(recipes: Sequence[tuple[str, Recipe]], lrs: Sequence[float], seeds: int) -> None:
    check_named(recipes, seeds, "landscape")
    for lr in lrs:
        if not 0 < lr < math.inf:
            raise ValueError(f"learning rate {lr:g}: must be finite and greater than 0")
    if len(lrs) < 2 or len(set(lrs)) < len(lrs):
        given = ", ".join(f"{lr:g}" for lr in lrs) or "none"
        raise ValueError(f"learning rates {given}: a band needs two or more, each once")


def _gathered(
    recipes: Sequence[tuple[str, Recipe]], members: Sequence[Member], lrs: Sequence[float]
) -> list[Landscape]:
    """The runs of each recipe, by seed; their losses all cut to the shortest."""
    runs: dict[str, dict[int, list[Run]]] = {label: {} for label, _ in recipes}
    for member in members:
        runs[member.label].setdefault(member.seed, []).append(member.run)
    cut = iter(loss_band.aligned([group for by_seed in runs.values() for group in by_seed.values()]))
    found = []
    for label, recipe in recipes:
        groups, rate = list(runs[label].values()), own_rate(recipe, lrs)
        probed = [next(run for run in group if run.recipe.optim.lr == rate) for group in groups]
        found.append(Landscape(label, groups, probed, list(islice(cut, len(groups))), {}))
    return found


def _surfaces(
    run: Run, folder: Path, spec: Spec, interrupted: Callable[[], bool], tell: Callable[[str], None]
) -> dict[str, dict[str, np.ndarray]] | None:
    """The surfaces about a run's weights by kind, without one that cannot be; None where interrupted."""
    if run.slim:
        return {}

    @cache
    def scene() -> Scene:
        ready = plan(run.recipe)
        tell(f"the loss about the kept weights, on {min(spec.images, len(ready.prepared.train)):,} training images")
        return Scene(run, ready, spec.images)

    found: dict[str, dict[str, np.ndarray]] = {}
    for kind in KINDS:
        arrays = surface(kind, run, scene, folder, spec, interrupted=interrupted, tell=tell)
        if arrays is None:
            return None
        if arrays:
            found[kind] = arrays
    return found


def _tell(show: Show, position: int, label: str, text: str) -> None:
    show(position, Event("note", f"{label}: {text}", {}))


def _name(recipes: Sequence[tuple[str, Recipe]], members: Sequence[Member]) -> str:
    labels = [label for label, _ in recipes]
    shown = "-".join(labels[:4]) + (f"-and-{len(labels) - 4}-more" if len(labels) > 4 else "")
    digest = hashlib.sha256("".join(member.run.status["fingerprint"] for member in members).encode()).hexdigest()
    return f"landscape-{shown}-{digest[:8]}"


def _arrays(found: Sequence[Landscape]) -> dict[str, np.ndarray]:
    """What the figures draw, under `<number of the recipe>_<name>`: the first seed's band, its looks, its surfaces."""
    arrays: dict[str, np.ndarray] = {}
    for number, each in enumerate(found):
        curves = each.curves[0]
        low, high = loss_band.edges(curves.loss)
        smooth_low, smooth_high = loss_band.edges(loss_band.smoothed(curves.loss, curves.spacing))
        kept = {"step": curves.step, "low": low, "high": high, "smooth_low": smooth_low, "smooth_high": smooth_high}
        kept |= {name: values for name, values in each.probed[0].arrays.items() if name.startswith("probe_")}
        for kind, about in each.surfaces.items():
            kept |= {f"{kind}_{name}": values for name, values in about.items()}
        arrays |= {f"{number}_{name}": values for name, values in kept.items()}
    return arrays
