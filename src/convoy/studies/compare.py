"""The comparison: several recipes, each with several seeds, one question: which is better, and by how much?"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from convoy.evaluation import cost
from convoy.recipe import Recipe
from convoy.runs import Member, Run, Study, Workspace, write_json
from convoy.studies.compare_finding import conclude
from convoy.studies.execute import choose, execute
from convoy.training.plan import Plan, plan_all
from convoy.training.run_one import Event


class Entry(NamedTuple):
    """A recipe under the name by which the study knows it, with one of the study's seeds."""

    label: str
    recipe: Recipe


def with_seeds(recipes: Sequence[tuple[str, Recipe]], seeds: int) -> list[Entry]:
    """Each recipe with seed, seed + 1, ...; the split's seed stays, so that all see the same images.

    Raises ValueError: no recipe, no seed, two recipes of one name.
    """
    if not recipes or seeds < 1:
        raise ValueError("a comparison needs at least one recipe and one seed")
    labels = [label for label, _ in recipes]
    for label in labels:
        if labels.count(label) > 1:
            raise ValueError(f"{label!r} is named twice in the comparison")
    return [
        Entry(label, recipe.override({"seed": recipe.seed + offset}))
        for label, recipe in recipes
        for offset in range(seeds)
    ]


def compare(
    entries: Sequence[Entry],
    out: str | Path,
    *,
    command: str,
    fresh: bool = False,
    test: bool = True,
    interrupted: Callable[[], bool] = lambda: False,
    show: Callable[[int, Event], None] = lambda position, event: None,
) -> Study | None:
    """Trains what is not trained yet and concludes; None where it was interrupted, to go on when called again.

    Every recipe is checked before the first is trained. Raises ValueError for one that cannot be trained.
    """
    plans = list(plan_all(entry.recipe for entry in entries))
    _check_distinct(entries, plans)
    order = _longest_first(plans)
    images = sum(_images(ready) for ready in plans)
    runs: dict[int, Run] = {}
    recipes = [plans[position].recipe for position in order]
    where = choose(recipes, images)
    for place, event in execute(recipes, out, where=where, fresh=fresh, test=test, interrupted=interrupted):
        show(order[place], event)
        if event.kind == "end" and event.values["state"] == "finished":
            runs[order[place]] = Run(Path(event.values["run"]))
    if len(runs) < len(entries):
        return None
    members = [Member(entry.label, entry.recipe.seed, runs[position]) for position, entry in enumerate(entries)]
    study = Workspace(out).write_study(_name(entries, plans), {"kind": "comparison", "command": command}, members)
    write_json(study.path / "finding.json", conclude(members))
    return study


def _check_distinct(entries: Sequence[Entry], plans: Sequence[Plan]) -> None:
    labels: dict[str, str] = {}
    for entry, ready in zip(entries, plans, strict=True):
        other = labels.setdefault(ready.fingerprint, entry.label)
        if other != entry.label:
            raise ValueError(f"{other!r} and {entry.label!r} are the same recipe: there is nothing to compare")


def _images(ready: Plan) -> int:
    return len(ready.prepared.train) * ready.recipe.train.epochs


def _longest_first(plans: Sequence[Plan]) -> list[int]:
    """Long runs first, so that no worker is left with one at the end; what is long, FLOPs tell well enough."""
    flops: dict[str, int] = {}
    for ready in plans:
        model = ready.recipe.model.model_dump_json()
        if model not in flops:
            shape = (ready.prepared.in_chans, ready.prepared.image_size, ready.prepared.image_size)
            flops[model] = cost.flops_per_image(ready.network(), shape)
    work = [flops[ready.recipe.model.model_dump_json()] * _images(ready) for ready in plans]
    return sorted(range(len(plans)), key=lambda position: -work[position])


def _name(entries: Sequence[Entry], plans: Sequence[Plan]) -> str:
    labels = list(dict.fromkeys(entry.label for entry in entries))
    shown = "-".join(labels[:4]) + (f"-and-{len(labels) - 4}-more" if len(labels) > 4 else "")
    digest = hashlib.sha256("".join(ready.fingerprint for ready in plans).encode()).hexdigest()
    return f"compare-{shown}-{digest[:8]}"
