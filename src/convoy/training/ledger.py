"""The numbers of a run so far."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from convoy.training.loop import Record


@dataclass
class Ledger:
    """The numbers of a run so far: all of them go into a checkpoint, and with it a run goes on to the bit."""

    step: int = 0
    train_seconds: float = 0.0
    total_seconds: float = 0.0
    images: int = 0
    best_epoch: int = 0  # from 1; 0: none yet
    best_accuracy: float = -1.0
    best_loss: float = math.inf
    skipped_in_a_row: int = 0  # updates left out since the last one that was not
    epoch_loss: float = 0.0  # summed over the epoch's updates so far
    epoch_correct: int = 0
    epoch_images: int = 0
    epoch_skipped: int = 0
    epoch_grad_norm: float = 0.0
    selection_losses: list[float] = field(default_factory=list)

    def add(self, record: Record) -> None:
        self.step = record.step
        self.train_seconds += record.seconds
        self.images += record.images
        updated = np.isfinite(record.loss[:, 0] + record.grad_norm[:, 0])
        self.epoch_loss += float(record.loss[updated, 0].astype(np.float64).sum())
        self.epoch_grad_norm += float(record.grad_norm[updated, 0].astype(np.float64).sum())
        last_update = np.flatnonzero(updated)
        in_a_row = len(updated) - 1 - last_update[-1] if len(last_update) else self.skipped_in_a_row + len(updated)
        self.skipped_in_a_row = int(in_a_row)
        self.epoch_correct += int(record.correct[0])
        self.epoch_images += record.images
        self.epoch_skipped += int(record.skipped[0])

    def begin_epoch(self) -> None:
        self.epoch_loss, self.epoch_grad_norm = 0.0, 0.0
        self.epoch_correct, self.epoch_images, self.epoch_skipped = 0, 0, 0
