"""Running totals of a run."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np

from convoy.counts import epoch_mean
from convoy.recipe.faults import Fault
from convoy.run_contents import EpochMetrics, PartScore
from convoy.training.step.loop import Record


@dataclass
class Ledger:
    """Running totals of a run, saved in each checkpoint for an exact resume."""

    step: int = 0
    train_seconds: float = 0.0
    total_seconds: float = 0.0
    images: int = 0
    best_epoch: int = 0  # from 1; 0: none yet
    best_accuracy: float = -1.0
    skipped_in_a_row: int = 0  # steps skipped in a row
    epoch_loss: float = 0.0  # sum over the epoch's steps so far
    epoch_correct: int = 0
    epoch_images: int = 0
    epoch_skipped: int = 0
    epoch_grad_norm: float = 0.0
    selection_losses: list[float] = field(default_factory=list)  # one per epoch, which the schedule `plateau` reads

    def add(self, record: Record) -> None:
        self.step = record.step
        self.train_seconds += record.seconds
        self.images += record.images
        updated = np.isfinite(record.loss + record.grad_norm)
        self.epoch_loss += float(record.loss[updated].astype(np.float64).sum())
        self.epoch_grad_norm += float(record.grad_norm[updated].astype(np.float64).sum())
        updated_steps = np.flatnonzero(updated)
        in_a_row = len(updated) - 1 - updated_steps[-1] if len(updated_steps) else self.skipped_in_a_row + len(updated)
        self.skipped_in_a_row = int(in_a_row)
        self.epoch_correct += record.correct
        self.epoch_images += record.images
        self.epoch_skipped += record.skipped

    @property
    def images_per_second(self) -> float:
        return self.images / max(self.train_seconds, 1e-9)

    def is_best(self, accuracy: float) -> bool:
        """Whether an epoch with this accuracy is more accurate than all earlier ones."""
        return accuracy > self.best_accuracy

    def select(self, epoch: int, accuracy: float, loss: float) -> bool:
        """Records an epoch (from 1). Returns whether it `is_best`."""
        self.selection_losses.append(loss)
        if best := self.is_best(accuracy):
            self.best_epoch, self.best_accuracy = epoch, accuracy
        return best

    def metrics(self, epoch: int, lr: float, steps_per_epoch: int, faults: Collection[Fault] = ()) -> EpochMetrics:
        """Returns the metrics of the finished epoch, before the part that selects the epoch is scored."""
        steps = steps_per_epoch - self.epoch_skipped
        loss = epoch_mean(self.epoch_loss, steps, self.epoch_images, faults) if steps else None
        return EpochMetrics(
            epoch=epoch,
            step=self.step,
            lr=lr,
            train=PartScore(loss, self.epoch_correct / self.epoch_images, self.epoch_correct, self.epoch_images),
            grad_norm=self.epoch_grad_norm / steps if steps else None,
            skipped=self.epoch_skipped,
            train_seconds=self.train_seconds,
            total_seconds=self.total_seconds,
            images_per_second=self.images_per_second,
            best=True,
        )

    def begin_epoch(self) -> None:
        self.epoch_loss, self.epoch_grad_norm = 0.0, 0.0
        self.epoch_correct, self.epoch_images, self.epoch_skipped = 0, 0, 0
