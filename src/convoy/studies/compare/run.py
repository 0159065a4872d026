"""Trains several recipes over several seeds."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from convoy.recipe import Recipe
from convoy.runs import Study
from convoy.studies import findings
from convoy.studies.compare.ablation import Design
from convoy.studies.compare.finding import conclude
from convoy.studies.session import Entry, Session
from convoy.studies.train_all import check_named, study_name, train_all, write_study
from convoy.text import gettext as _


def with_seeds(recipes: Sequence[tuple[str, Recipe]], seeds: int) -> list[Entry]:
    """Returns each recipe with seed, seed + 1, ... The split's seed is constant, so that all use the same images.

    Raises ValueError for repeated labels and without a recipe or seed.
    """
    check_named(recipes, seeds, _("comparison"))
    return [
        Entry(label, recipe.override({"seed": recipe.seed + offset}))
        for label, recipe in recipes
        for offset in range(seeds)
    ]


def run(entries: Sequence[Entry], session: Session, *, design: Design | None = None) -> Study | None:
    """Trains the missing runs and writes the finding. Returns None if interrupted; the same call resumes.

    `design`: the varied keys of an ablation. All recipes are checked before training: raises ValueError for one that
    cannot be trained.
    """
    name = partial(_name, entries, design)
    members = train_all(entries, session, name=name)
    if members is None:
        return None
    study = write_study("compare", name, members, session)
    findings.write(study, conclude(members, design))
    return study


def _name(entries: Sequence[Entry], design: Design | None, digest: str) -> str:
    labels = list(dict.fromkeys(entry.label for entry in entries))
    if design is not None:
        labels = design.short(labels)
    return study_name("compare", labels, digest)
