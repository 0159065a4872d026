"""Revisions: a change of results changes the fingerprints of the runs that it affects, and no others.

A revision begins at 1, where a fingerprint leaves it out. It is raised in the commit that changes the results:

    of a model   `revision` in its `@register`: its computation, its initial weights, a default of its options
    of a fault   REVISIONS in convoy.recipe.faults
    of a rule    RULES below: what a part of the training code decides, with the plans that it decides something in
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
    "selection": Rule(2, selects_an_epoch),  # 2: a new best epoch is strictly more accurate; of equal ones the first
}


def revisions(ready: Plan) -> dict[str, int]:
    """Those above 1 that this plan is affected by, for its fingerprint."""
    name = ready.recipe.model.name
    model = {"model": models.MODELS[name].revision} if name in models.MODELS else {}
    rules = {rule: revision for rule, (revision, applies) in RULES.items() if applies(ready)}
    faults = {fault: FAULTS[fault] for fault in ready.recipe.protocol.faults if fault in FAULTS}
    return {key: revision for key, revision in (model | rules | faults).items() if revision > 1}
