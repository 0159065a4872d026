"""Revisions change the fingerprints of exactly those runs whose results a code change affects.

A revision starts at 1, which is not part of a fingerprint. Increase it in the commit that changes the results:

    of a model   `revision` in its row of convoy.models.catalogue: its computation, initial weights, or option defaults
    of a fault   its row in convoy.recipe.faults
    of a rule    RULE_REVISIONS below: a decision in the training code, and the runs that it affects
    of all       TRAINING_REVISION
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from convoy import models
from convoy.recipe import Recipe

TRAINING_REVISION = 2


class Rule(NamedTuple):
    revision: int
    applies: Callable[[Recipe, str | None], bool]  # the recipe, the part that selects the best epoch


def selects_an_epoch(recipe: Recipe, selection: str | None) -> bool:
    return selection is not None and recipe.train.epochs > 1


RULE_REVISIONS = {
    "selection": Rule(2, selects_an_epoch),  # 2: a new best epoch must be strictly more accurate
}


def revisions(recipe: Recipe, selection: str | None) -> dict[str, int]:
    """Returns the revisions above 1 that apply to this run, for its fingerprint."""
    name = recipe.model.name
    model = {"model": models.MODELS[name].revision} if name in models.MODELS else {}
    rules = {rule: revision for rule, (revision, applies) in RULE_REVISIONS.items() if applies(recipe, selection)}
    faults = {fault.value: fault.info.revision for fault in recipe.protocol.faults}
    return {key: revision for key, revision in (model | rules | faults).items() if revision > 1}
