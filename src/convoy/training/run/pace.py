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
from convoy.recipe.faults import Fault
from convoy.training.run.plan import Plan
from convoy.training.run.scoring import SAMPLE

Clock = Callable[[], float]  # seconds

FORWARD_AND_BACKWARD = 3  # times the FLOPs of a forward pass
TIMED_FLOPS = 5e9  # per timed step: about 0.1 s on one core
FEWEST_IMAGES = 8
REPEATS, LONGEST_SECONDS = 5, 0.3  # per measurement
NEW_BESTS = 0.35  # share of the epochs: 51 of 144 in six archived runs
FIXED_SECONDS = 2.0  # per run: building, files, scoring's overhead, the latency of one image


@dataclass(frozen=True)
class Pace:
    """Speed of one thread."""

    train: float  # images/s: forward, backward, optimizer
    evaluate: float  # images/s
    flops_per_image: int  # forward pass


@cost.one_thread()
@torch.random.fork_rng(devices=[])
def measure(ready: Plan, clock: Clock = time.perf_counter) -> Pace:
    """Times training steps and evaluation on one thread, in about a second or less on a quiet machine.

    With `time.thread_time` as the clock, other load on the machine does not count. For an expensive network, the timed
    steps have fewer images than a batch; the optimizer is counted once per batch.
    """
    recipe, prepared, learner = ready.recipe, ready.prepared, ready.learner()
    flops = cost.flops_per_image(learner.module, (prepared.in_chans, prepared.image_size, prepared.image_size))
    affordable = max(FEWEST_IMAGES, int(TIMED_FLOPS / max(1, FORWARD_AND_BACKWARD * flops)))
    count = min(recipe.train.batch_size, len(prepared.train), affordable)
    augmentation = build_augmentation(recipe.data.augment)
    batches = [
        Batches(
            prepared.train, batch_size=size, seed=recipe.seed, normaliser=ready.normaliser, augmentation=augmentation
        ).at(0, 0)
        for size in (max(2, count // 4), count)
    ]
    few, many = (_seconds(partial(learner.step, *batch), clock) for batch in batches)
    images = prepared.train.images[: max(FEWEST_IMAGES, min(affordable, 1000))]
    evaluation = _seconds(lambda: predict(learner.module, images, ready.normaliser), clock)
    step = _of_batch(few, len(batches[0][1]), many, len(batches[1][1]), recipe.train.batch_size)
    return Pace(recipe.train.batch_size / step, len(images) / evaluation, flops)


def _of_batch(few: float, few_images: int, many: float, many_images: int, batch_size: int) -> float:
    """Seconds of a step with a full batch, extrapolated linearly from two smaller ones: part of a step, such as the
    optimizer, does not depend on the batch size."""
    if many_images in (batch_size, few_images):
        return many * batch_size / many_images
    slope = max((many - few) / (many_images - few_images), many / many_images / 4)  # if noise hides the slope
    return many + slope * (batch_size - many_images)


def _seconds(work: Callable[[], object], clock: Clock) -> float:
    """The median of up to REPEATS calls after a warm-up, or the warm-up alone if it took LONGEST_SECONDS."""
    times = [_timed(work, clock)]
    if times[0] < LONGEST_SECONDS:
        times = []
    while len(times) < REPEATS and sum(times) < LONGEST_SECONDS:
        times.append(_timed(work, clock))
    return statistics.median(times)


def _timed(work: Callable[[], object], clock: Clock) -> float:
    begun = clock()
    work()
    return clock() - begun


def images_to_train(ready: Plan) -> int:
    """Over all epochs, without stop rules."""
    return len(ready.prepared.train) * ready.recipe.train.epochs


class Counts(NamedTuple):
    """Number of images by part."""

    train: int
    validation: int
    test: int
    fold: int


def seconds(ready: Plan, pace: Pace) -> float:
    """Of a run on one thread: all epochs with their evaluations, and the final scores."""
    prepared = ready.prepared
    fold = 0 if prepared.fold is None else len(prepared.fold)
    test = 0 if prepared.test is None or fold else len(prepared.test)
    validation = 0 if prepared.validation is None else len(prepared.validation)
    return seconds_of(ready.recipe, Counts(len(prepared.train), validation, test, fold), pace)


def seconds_of(recipe: Recipe, counts: Counts, pace: Pace) -> float:
    """The same without loading data."""
    epochs, faults = recipe.train.epochs, recipe.protocol.faults
    per_epoch: float = counts.test if Fault.SELECTION_ON_TEST in faults else counts.validation
    per_epoch += NEW_BESTS * counts.test if Fault.TEST_OPENED_AT_EACH_BEST in faults else 0
    at_end = counts.validation + counts.fold + counts.test + min(SAMPLE, counts.train)
    trained = epochs * counts.train / pace.train
    return trained + (epochs * per_epoch + at_end) / pace.evaluate + FIXED_SECONDS
