"""Trains a recipe with different seeds, one source of randomness at a time."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from convoy.recipe import Recipe
from convoy.runs import Study
from convoy.studies import findings
from convoy.studies.seeds.finding import Source, find
from convoy.studies.session import Entry, Session
from convoy.studies.train_all import study_name, train_all, write_study
from convoy.text import gettext as _
from convoy.text.labels import label_text
from convoy.training.run.plan import plan_one


def entries_of(recipe: Recipe, seeds: int) -> list[Entry]:
    """Returns `seeds` recipes per source, including the recipe itself: 4 * (seeds - 1) + 1 runs to train.

    Raises ValueError for fewer than two seeds, and for a recipe that sets a seed or fold varied by the study.
    """
    if seeds < 2:
        raise ValueError(_("seeds = {seeds}: a spread needs at least 2", seeds=seeds))
    if recipe.model.seed is not None:
        raise ValueError(_("model.seed is set by this study: leave it out"))
    if recipe.data.split.folds:
        raise ValueError(_("data.split.folds cannot be set in this study: it varies a single split"))
    first, split = recipe.seed, recipe.data.split.seed

    def changes(source: Source, offset: int) -> dict[str, int]:
        match source:
            case Source.ALL:
                return {"seed": first + offset, "data.split.seed": split + offset}
            case Source.INITIALISATION:
                return {"model.seed": first + offset}
            case Source.ORDER:
                return {"seed": first + offset, "model.seed": first}
            case Source.SPLIT:
                return {"data.split.seed": split + offset}

    return [
        Entry(source.label, recipe.override(changes(source, offset)) if offset else recipe)
        for source in Source
        for offset in range(seeds)
    ]


def titles_of(recipe: Recipe, seeds: int) -> list[str]:
    """Names the runs in progress lines, in the order of `entries_of`, by the seed that differs."""
    return [
        _(
            "{label} (seed {seed})",
            label=label_text(source.label),
            seed=(recipe.data.split.seed if source is Source.SPLIT else recipe.seed) + offset,
        )
        for source in Source
        for offset in range(seeds)
    ]


def run(recipe: Recipe, session: Session, *, seeds: int, differences: Sequence[float]) -> Study | None:
    """Trains the missing runs and writes the finding. Returns None if interrupted.

    Raises ValueError like `entries_of`, and if no images would be scored.
    """
    entries = entries_of(recipe, seeds)
    prepared = plan_one(recipe).prepared
    if prepared.validation is None and (prepared.test is None or not session.test):
        raise ValueError(_("neither test nor validation images would be scored: set data.split.validation above 0"))
    name = partial(study_name, "seeds", [recipe.label])
    members = train_all(entries, session, distinct=False, name=name)
    if members is None:
        return None
    study = write_study("seeds", name, members, session)
    findings.write(study, find(members, differences=differences))
    return study
