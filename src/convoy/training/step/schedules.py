"""The learning rate as a pure function of the step (and, for plateau, of the validation losses so far).

Schedules have no state: a resumed run has the same rates as an uninterrupted one.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import NamedTuple

from convoy.recipe.faults import Fault
from convoy.recipe.sections import Constant, Cosine, OneCycle, Plateau, Range, ScheduleBase, Step

THRESHOLD = 1e-4  # fraction by which a loss must fall to end a plateau (torch's default)


class Horizon(NamedTuple):
    steps_per_epoch: int
    epochs: int


def horizon_of(steps_per_epoch: int, epochs: int, faults: Collection[Fault] = ()) -> Horizon:
    """Returns the length of the schedule. With the fault schedule_per_batch, an epoch has one step."""
    return Horizon(1 if Fault.SCHEDULE_PER_BATCH in faults else steps_per_epoch, epochs)


def lr_factor(spec: ScheduleBase, step: int, horizon: Horizon, losses: Sequence[float] = ()) -> float:
    """Returns the factor of optim.lr at `step` (from 0). `losses`: validation losses of the previous epochs."""
    warmup_steps = round(spec.warmup_epochs * horizon.steps_per_epoch)
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    total = max(1, horizon.epochs * horizon.steps_per_epoch - warmup_steps)
    step -= warmup_steps
    epoch = step // horizon.steps_per_epoch
    match spec:
        case Constant():
            return 1.0
        case Step():
            return spec.factor ** int(
                step / horizon.steps_per_epoch / spec.every_epochs + 1e-9
            )  # 0.3 / 0.1 is 2.999...
        case Cosine():
            period = spec.t_max or (total if spec.per == "step" else math.ceil(total / horizon.steps_per_epoch))
            position = step if spec.per == "step" else epoch
            return spec.min_factor + (1 - spec.min_factor) * (1 + math.cos(math.pi * position / period)) / 2
        case OneCycle():
            return _one_cycle(spec, step / max(1, total - 1))
        case Plateau():
            return spec.factor ** plateau_drops(losses, spec.patience_epochs)
        case Range():
            return spec.start_factor ** (1 - step / max(1, total - 1))
    raise AssertionError(spec)


def _one_cycle(spec: OneCycle, progress: float) -> float:
    """Increases to the full rate, then decreases, each along half a cosine (L. N. Smith and N. Topin 2018,
    arXiv 1708.07120).
    """
    if progress < spec.rise:
        low, high, part = spec.start_factor, 1.0, progress / spec.rise
    else:
        low, high, part = 1.0, spec.end_factor, (progress - spec.rise) / (1 - spec.rise)
    return high + (low - high) * (1 + math.cos(math.pi * part)) / 2


def plateau_drops(losses: Sequence[float], patience: int) -> int:
    """Returns the number of rate drops: one after every `patience` + 1 consecutive epochs without a lower loss."""
    best, bad, drops = math.inf, 0, 0
    for loss in losses:
        if loss < best * (1 - THRESHOLD):
            best, bad = loss, 0
        else:
            bad += 1
        if bad > patience:
            drops, bad = drops + 1, 0
    return drops
