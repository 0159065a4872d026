"""Scores a part of the data, after an epoch and at the end of a run, with the faults that affect scores."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from convoy.data.augment import build as build_augmentation
from convoy.data.batches import augmented
from convoy.data.imageset import ImageSet
from convoy.evaluation import losses
from convoy.evaluation.predict import predict
from convoy.evaluation.scores import predicted_classes, probabilities, sampled_classes, score
from convoy.randomness import derive_seed
from convoy.recipe.faults import Fault
from convoy.run_contents import PartScore, Score
from convoy.training.run.plan import Plan

Normalise = Callable[[torch.Tensor], torch.Tensor]
Predict = Callable[[nn.Module, np.ndarray, Normalise], np.ndarray]  # as evaluation.predict

SAMPLE = 10_000  # training images that are scored at the end of a run


class ScoredPart(NamedTuple):
    images: ImageSet  # without those that a fault drops
    logits: np.ndarray  # float32 [N, classes]
    predicted: np.ndarray  # int64 [N], predicted classes
    score: Score  # as reported
    loss: float  # for selection and schedule, without faults that change reported losses; inf if not finite

    @property
    def part_score(self) -> PartScore:
        return PartScore(self.score.loss, self.score.accuracy, self.score.correct, self.score.n)


def score_part(
    plan: Plan, module: nn.Module, part: str, images: ImageSet, *, epoch: int, predict: Predict = predict
) -> ScoredPart:
    """Scores one part. `epoch` (from 1) is the epoch of the weights; it seeds the fault augmented_test."""
    recipe, faults = plan.recipe, plan.recipe.protocol.faults
    if Fault.DROP_LAST_IN_EVALUATION in faults and part != "train":
        count = len(images) - len(images) % recipe.train.batch_size
        images = ImageSet(images.images[:count], images.labels[:count], images.classes)
    logits = predict(module, images.images, _normaliser(plan, part, epoch))
    predicted = predicted_classes(logits)
    if Fault.SAMPLED_LABELS in faults and part == "test":
        predicted = sampled_classes(probabilities(logits), derive_seed(recipe.seed, "sampled labels"))
    loss = losses.build(recipe.train.loss, faults=faults)
    reported = score(logits, images.labels, images.classes, loss, predicted)
    mean = math.inf if reported.loss is None else reported.loss
    if reported.loss is not None:
        reported = replace(reported, loss=losses.reported(reported.loss, loss, logits, images.labels, faults))
    return ScoredPart(images, logits, predicted, reported, mean)


def score_training(plan: Plan, module: nn.Module) -> Score:
    """Scores at most SAMPLE random training images, without augmentation or dropout, for the generalisation gap.

    The training loss of an epoch differs, because the weights change in every step.
    """
    images = plan.prepared.train
    rng = np.random.default_rng(derive_seed(plan.recipe.seed, "training sample"))
    indices = np.sort(rng.choice(len(images), size=min(SAMPLE, len(images)), replace=False))
    sample = ImageSet(images.images[indices], images.labels[indices], images.classes)
    scored = score_part(plan, module, "train", sample, epoch=0).score
    return Score(scored.accuracy, scored.correct, scored.n, scored.loss)


def augments(plan: Plan) -> bool:
    """Whether images are augmented before scoring, with random numbers that depend on the preceding images."""
    return Fault.AUGMENTED_TEST in plan.recipe.protocol.faults


def _normaliser(plan: Plan, part: str, epoch: int) -> Normalise:
    if not augments(plan) or part == "train":
        return plan.normaliser
    augmentation = build_augmentation(plan.recipe.data.augment)
    return augmented(plan.normaliser, augmentation, derive_seed(plan.recipe.seed, f"augment {part}", epoch))
