"""The training loop. It does not depend on the model or the data set.

It can start at any step of the run. It yields a record about every half second, at the end of each epoch and at an
interruption, and waits for the device only then. The caller handles stop rules, scores, checkpoints and display.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import NamedTuple, Protocol

import numpy as np
import torch

from convoy.evaluation.interruption import Interrupted, ending_early
from convoy.randomness import derive_seed
from convoy.training.step.learner import Learner, StepOutcome

Probe = Callable[[Learner, torch.Tensor, torch.Tensor], None]
RECORD_SECONDS = 0.5
# If a step took this long, an interruption ends the next step early. Preparing for this takes up to 5 ms (ResNet-50).
LONG_SECONDS = 0.5


class Batches(Protocol):
    @property
    def steps_per_epoch(self) -> int: ...

    def at(self, epoch: int, step: int) -> tuple[torch.Tensor, torch.Tensor]: ...


class Record(NamedTuple):
    """The results of the steps since the last record."""

    epoch: int  # from 0
    step: int  # steps of the run so far
    loss: np.ndarray  # float32 [steps]
    grad_norm: np.ndarray  # float32 [steps]
    lr_factor: np.ndarray  # float32 [steps]
    correct: int  # images classified correctly before the step
    skipped: int  # steps skipped because loss or gradient was not finite
    images: int
    seconds: float  # training time, without the caller's time between records
    epoch_ended: bool


def train(
    learner: Learner,
    batches: Batches,
    lr_factor: Callable[[int], float],
    *,
    seed: int,
    steps: range,
    probe: Probe | None = None,
    interrupted: Callable[[], bool] = lambda: False,
) -> Iterator[Record]:
    """Trains `steps` of the run, counted from 0 over all epochs. Calls `lr_factor` once per step.

    Yields a record as soon as `interrupted` returns True. If this happens within a long step of a single process,
    yields a record of the steps before it and raises Interrupted; the learner then has the state before that step.
    """
    steps_per_epoch = batches.steps_per_epoch
    outcomes: list[StepOutcome] = []
    factors: list[float] = []
    step_seconds, started_at = 0.0, time.perf_counter()
    for run_step in steps:
        epoch, step = divmod(run_step, steps_per_epoch)
        factor, step_started_at = lr_factor(run_step), time.perf_counter()
        # Dropout uses the default generator; seeding it takes about a microsecond.
        dropout_seed = derive_seed(seed, "dropout", epoch, step)
        torch.default_generator.manual_seed(dropout_seed)
        x, y = batches.at(epoch, step)
        if x.is_cuda:
            torch.cuda.manual_seed(dropout_seed)
        learner.set_lr_factor(factor)
        is_long = step_seconds > LONG_SECONDS and not learner.is_shared
        try:
            with ending_early(learner.module, interrupted) if is_long else nullcontext():
                outcomes.append(learner.step(x, y))
        except Interrupted:
            if outcomes:
                yield _record(outcomes, factors, run_step, steps_per_epoch, started_at)
            raise
        if probe is not None:
            probe(learner, x, y)
        factors.append(factor)
        now = time.perf_counter()
        step_seconds = now - step_started_at
        if step + 1 == steps_per_epoch or now - started_at > RECORD_SECONDS or interrupted():
            yield _record(outcomes, factors, run_step + 1, steps_per_epoch, started_at)
            outcomes, factors = [], []
            started_at = time.perf_counter()


def _record(
    outcomes: list[StepOutcome], factors: list[float], step: int, steps_per_epoch: int, started_at: float
) -> Record:
    """The record of the last steps up to `step` (from 1). Only here does the host wait for the device."""
    loss = torch.stack([outcome.loss for outcome in outcomes])  # (steps,)
    grad_norm = torch.stack([outcome.grad_norm for outcome in outcomes])
    predicted = torch.cat([outcome.logits for outcome in outcomes]).argmax(1)  # (images,)
    labels = torch.cat([outcome.labels for outcome in outcomes])
    return Record(
        epoch=(step - 1) // steps_per_epoch,
        step=step,
        loss=loss.float().to("cpu").numpy(),
        grad_norm=grad_norm.float().to("cpu").numpy(),
        lr_factor=np.array(factors, dtype=np.float32),
        correct=int((predicted == labels).sum()),
        skipped=int((~torch.isfinite(loss + grad_norm)).sum()),
        images=len(labels),
        seconds=time.perf_counter() - started_at,
        epoch_ended=step % steps_per_epoch == 0,
    )
