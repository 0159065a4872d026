"""Revisions: if a change of code affects results, the fingerprints of exactly the affected runs change.

A revision starts at 1, which is not part of a fingerprint. Increase it in the commit that changes the results:

    of a model   `revision` in its `@register`: its computation, initial weights, or option defaults
    of a fault   REVISIONS in convoy.recipe.faults
    of a rule    RULES below: a decision in the training code, and the plans that it affects
    of all       TRAINING_REVISION
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from convoy import models
from convoy.recipe.faults import REVISIONS as FAULTS

if TYPE_CHECKING:
    from convoy.training.plan import Plan

TRAINING_REVISION = 2


class Rule(NamedTuple):
    revision: int
    applies: Callable[[Plan], bool]


def selects_an_epoch(ready: Plan) -> bool:
    return ready.selection is not None and ready.recipe.train.epochs > 1


RULES = {
    "selection": Rule(2, selects_an_epoch),  # 2: a new best epoch must be strictly more accurate
}


def revisions(ready: Plan) -> dict[str, int]:
    """The revisions above 1 that affect this plan, for its fingerprint."""
    name = ready.recipe.model.name
    model = {"model": models.MODELS[name].revision} if name in models.MODELS else {}
    rules = {rule: revision for rule, (revision, applies) in RULES.items() if applies(ready)}
    faults = {fault: FAULTS[fault] for fault in ready.recipe.protocol.faults if fault in FAULTS}
    return {key: revision for key, revision in (model | rules | faults).items() if revision > 1}
