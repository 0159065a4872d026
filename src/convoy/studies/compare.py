"""The comparison of several recipes over several seeds: which is better, and by how much?"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from convoy.files import write_json
from convoy.recipe import Recipe
from convoy.runs import Member, Study, Workspace
from convoy.studies import ablation
from convoy.studies.compare_finding import conclude
from convoy.studies.session import Session
from convoy.studies.train_all import Entry, check_named, train_all


def with_seeds(recipes: Sequence[tuple[str, Recipe]], seeds: int) -> list[Entry]:
    """Each recipe with seed, seed + 1, ...; the split's seed is constant, so that all have the same images.

    Raises ValueError without a recipe or seed, and for repeated labels.
    """
    check_named(recipes, seeds, "comparison")
    return [
        Entry(label, recipe.override({"seed": recipe.seed + offset}))
        for label, recipe in recipes
        for offset in range(seeds)
    ]


def compare(entries: Sequence[Entry], session: Session, *, design: ablation.Design | None = None) -> Study | None:
    """Trains the missing runs and writes the finding; None if interrupted, the same call resumes it.

    `design`: the varied keys of an ablation. All recipes are checked before training: raises ValueError for one that
    cannot be trained.
    """
    members = train_all(entries, session)
    if members is None:
        return None
    name = _name(members, design)
    table = {"kind": "comparison", "command": session.command}
    study = Workspace(session.out).write_study(name, table, members)
    write_json(study.path / "finding.json", _finding(members, design))
    return study


def _finding(members: Sequence[Member], design: ablation.Design | None) -> dict[str, Any]:
    finding = conclude(members)
    if design is None:
        return finding
    effects = ablation.conclude(design, members, finding["part"])
    caveats = [*finding["caveats"], *effects.pop("caveats")]
    return {**finding, "sentence": effects.pop("sentence"), "caveats": caveats, "ablation": effects}


def _name(members: Sequence[Member], design: ablation.Design | None) -> str:
    labels = list(dict.fromkeys(member.label for member in members))
    if design is not None:
        labels = [*dict.fromkeys(label.partition(",")[0] for label in labels), *design.keys]
    shown = "-".join(labels[:4]) + (f"-and-{len(labels) - 4}-more" if len(labels) > 4 else "")
    digest = hashlib.sha256("".join(member.run.status.fingerprint for member in members).encode()).hexdigest()
    return f"compare-{shown}-{digest[:8]}"
