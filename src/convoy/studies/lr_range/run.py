"""Trains the run of a range test. Its learning rate rises at each step."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

from convoy.data.batches import steps_per_epoch
from convoy.recipe import Recipe
from convoy.recipe.sections import Stop
from convoy.runs import Study
from convoy.studies import findings
from convoy.studies.lr_range.finding import MIN_STEPS, conclude
from convoy.studies.session import Entry, Session
from convoy.studies.train_all import study_name, train_all, write_study
from convoy.text import gettext as _
from convoy.training.run.plan import plan_one


def run(recipe: Recipe, session: Session, *, lowest: float, highest: float) -> Study | None:
    """Runs the test. The test set stays closed. Returns None if interrupted. Raises ValueError for an invalid recipe
    or rate."""
    rising = _rising(recipe, lowest, highest)
    name = partial(study_name, "lr-range", [recipe.label])
    members = train_all([Entry(recipe.label, rising)], replace(session, test=False), name=name)
    if members is None:
        return None
    study = write_study("lr_range", name, members, session)
    findings.write(study, conclude(recipe.label, members[0].run))
    return study


def _rising(recipe: Recipe, lowest: float, highest: float) -> Recipe:
    """Returns the recipe with a rising rate, without early stopping, and with enough epochs."""
    if not 0 < lowest < highest < math.inf:
        raise ValueError(
            _("expected 0 < lowest < highest rate, got {lowest:g} and {highest:g}", lowest=lowest, highest=highest)
        )
    rising = recipe.override(
        {
            "optim.lr": highest,
            "schedule": {"name": "range", "start_factor": lowest / highest, "warmup_epochs": 0.0},
            "protocol.faults": [],  # no selection, and the test set stays closed
            "stop": Stop().model_dump(),
            "train.epochs": 1,
        }
    )
    steps = steps_per_epoch(len(plan_one(rising).prepared.train), rising.train.batch_size)
    return rising.override({"train.epochs": math.ceil(MIN_STEPS / steps)})
