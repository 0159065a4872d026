"""Trains variants of a plan for the doctor, in temporary folders: without a last softmax, with permuted labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from convoy.diagnosing.checks.measured import Predicted, Trainings
from convoy.events import Ended
from convoy.randomness import derive_seed
from convoy.recipe import Recipe
from convoy.runs import Run
from convoy.training.run.plan import Plan, plan_one
from convoy.training.run.run_one import run_one


def trainings_of(plan: Plan, train: Callable[[Recipe, bool], Run]) -> Trainings:
    """`train`: returns the run of a recipe, and opens the test set only if its second argument is True.

    The test set is used if there are no validation images and no fold.
    """
    prepared = plan.prepared
    part = "fold" if prepared.fold is not None else "test" if prepared.validation is None else "validation"
    return Trainings(
        plan.subject,
        part,
        lambda: train(plan.recipe, part == "test").predicted(part),
        lambda: _predicted(_without_softmax(plan.recipe), part),
        lambda: _predicted(_with_permuted_labels(plan), part),
    )


def _predicted(plan: Plan, part: str) -> Predicted:
    with TemporaryDirectory(prefix="convoy-doctor-") as folder:
        *_others, ended = run_one(plan, Path(folder), test=True if part == "test" else "only with fault")
        assert isinstance(ended, Ended)
        assert ended.run is not None
        return Run(ended.run).predicted(part)


def _without_softmax(recipe: Recipe) -> Plan:
    """The logarithm of a softmax gives cross-entropy the same loss and gradients as the logits before it."""
    plan = plan_one(recipe)
    plan.network.register_forward_hook(lambda module, args, output: output.clamp_min(_SMALLEST).log())
    return plan


_SMALLEST = torch.finfo(torch.float32).tiny


def _with_permuted_labels(plan: Plan) -> Plan:
    train = plan.prepared.train
    order = np.random.RandomState(derive_seed(plan.recipe.seed, "permuted labels")).permutation(len(train))
    permuted = replace(train, labels=np.asarray(train.labels)[order], cached_hash=None)
    return plan_one(plan.recipe, replace(plan.prepared, train=permuted))
