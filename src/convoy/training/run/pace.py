"""Measures training and evaluation speed of a recipe on a few batches, and estimates the time of its run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch

from convoy.data.augment import build as build_augmentation
from convoy.data.batches import Batches
from convoy.evaluation import cost
from convoy.evaluation.predict import predict
from convoy.recipe import Recipe
from convoy.training.run.plan import Plan
from convoy.training.run.scoring import SAMPLE

Clock = Callable[[], float]  # seconds

FORWARD_AND_BACKWARD = 3  # FLOPs of a training step / FLOPs of a forward pass
TIMED_FLOPS = 5e9  # per timed step: about 0.1 s on one core
MIN_IMAGES = 8
REPEATS, MAX_SECONDS = 5, 0.3  # per measurement
FIXED_SECONDS = 2.0  # per run: building the network, files, overhead of scoring, latency measurement


@dataclass(frozen=True)
class Pace:
    """Speed of one thread."""

    train: float  # images/s: forward, backward, optimizer
    evaluate: float  # images/s
    flops_per_image: int  # forward pass


@cost.one_thread()
@torch.random.fork_rng(devices=[])
def measure(plan: Plan, clock: Clock = time.perf_counter) -> Pace:
    """Times training steps and evaluation on one thread, in about a second or less on a quiet machine.

    With `time.thread_time` as the clock, other load on the machine is not measured. For an expensive network, the timed
    steps use fewer images than a batch; the optimizer is counted once per batch.
    """
    recipe, prepared, learner = plan.recipe, plan.prepared, plan.learner()
    flops = cost.flops_per_image(learner.module, (prepared.in_chans, prepared.image_size, prepared.image_size))
    affordable = max(MIN_IMAGES, int(TIMED_FLOPS / max(1, FORWARD_AND_BACKWARD * flops)))
    count = min(recipe.train.batch_size, len(prepared.train), affordable)
    augmentation = build_augmentation(recipe.data.augment)
    batches = [
        Batches(
            prepared.train, batch_size=size, seed=recipe.seed, normaliser=plan.normaliser, augmentation=augmentation
        ).at(0, 0)
        for size in (max(2, count // 4), count)
    ]
    few_seconds, many_seconds = (_seconds(partial(learner.step, *batch), clock) for batch in batches)
    images = prepared.train.images[: max(MIN_IMAGES, min(affordable, 1000))]
    evaluation = _seconds(lambda: predict(learner.module, images, plan.normaliser), clock)
    step = _extrapolated(few_seconds, len(batches[0][1]), many_seconds, len(batches[1][1]), recipe.train.batch_size)
    return Pace(recipe.train.batch_size / step, len(images) / evaluation, flops)


def _extrapolated(few_seconds: float, few_images: int, many_seconds: float, many_images: int, batch_size: int) -> float:
    """Extrapolates the seconds of a step linearly to a full batch; the optimizer's time is constant."""
    if many_images in (batch_size, few_images):
        return many_seconds * batch_size / many_images
    slope = (many_seconds - few_seconds) / (many_images - few_images)
    slope = max(slope, many_seconds / many_images / 4)  # a minimum, because noise can hide the slope
    return many_seconds + slope * (batch_size - many_images)


def _seconds(work: Callable[[], object], clock: Clock) -> float:
    """Returns the median of up to REPEATS calls after a warm-up, or the warm-up alone if it took MAX_SECONDS."""
    times = [_timed(work, clock)]
    if times[0] < MAX_SECONDS:
        times = []
    while len(times) < REPEATS and sum(times) < MAX_SECONDS:
        times.append(_timed(work, clock))
    return statistics.median(times)


def _timed(work: Callable[[], object], clock: Clock) -> float:
    started_at = clock()
    work()
    return clock() - started_at


def images_to_train(plan: Plan) -> int:
    """Returns the number of images in all epochs, ignoring stop rules."""
    return len(plan.prepared.train) * plan.recipe.train.epochs


class Counts(NamedTuple):
    """Number of images per part."""

    train: int
    validation: int
    test: int
    fold: int


def seconds(plan: Plan, pace: Pace) -> float:
    """Estimates the time of a run on one thread: all epochs with their evaluations, and the final scores."""
    prepared = plan.prepared
    fold = 0 if prepared.fold is None else len(prepared.fold)
    test = 0 if prepared.test is None or fold else len(prepared.test)
    validation = 0 if prepared.validation is None else len(prepared.validation)
    return seconds_of(plan.recipe, Counts(len(prepared.train), validation, test, fold), pace)


def seconds_of(recipe: Recipe, counts: Counts, pace: Pace) -> float:
    """Like `seconds`, from the number of images instead of loaded data."""
    epochs, faults = recipe.train.epochs, [fault.info for fault in recipe.protocol.faults]
    per_epoch: float = 0 if any(fault.selects_on_test for fault in faults) else counts.validation
    per_epoch += counts.test * sum(fault.opens_test for fault in faults)
    at_end = counts.validation + counts.fold + counts.test + min(SAMPLE, counts.train)
    trained = epochs * counts.train / pace.train
    return trained + (epochs * per_epoch + at_end) / pace.evaluate + FIXED_SECONDS
