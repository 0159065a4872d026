"""Whether the saved weights are all of a network: outputs of the trained network against those of the reloaded one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import nn

from convoy.runs import Run
from convoy.training.plan import Plan
from convoy.training.scoring import score_part

IMAGES = 256  # of the part that picks the best epoch; their outputs are there anyway
TRAINING_IMAGES = 64  # where no part picks an epoch: they take a pass of their own
TOLERANCE = 0.01  # of the largest output: above what rounding and memory layout make of it


@dataclass(frozen=True)
class ReloadDifference:
    images: int
    changed: int  # images of another predicted class
    largest: float  # difference of two outputs, of the same image and class

    @property
    def sentence(self) -> str:
        return (
            f"the saved weights do not reproduce the trained network: of {self.images} images, {self.changed} have "
            f"another predicted class after reloading (largest difference of two outputs: {self.largest:.3g}); the "
            "network has state outside its state_dict (make it a parameter or a buffer), or its forward is random in "
            "evaluation mode"
        )


def difference(trained: np.ndarray, reloaded: np.ndarray) -> ReloadDifference | None:
    """Of outputs [N, classes] for the same images; None where they agree within TOLERANCE."""
    finite = np.isfinite(trained) & np.isfinite(reloaded)
    gap = np.abs(np.where(finite, trained, 0) - np.where(finite, reloaded, 0))
    same = np.array_equal(np.isfinite(trained), np.isfinite(reloaded))
    if same and gap.max(initial=0) <= TOLERANCE * np.abs(trained[finite]).max(initial=0):
        return None
    changed = int((trained.argmax(1) != reloaded.argmax(1)).sum())
    return ReloadDifference(len(trained), changed, float(gap.max(initial=0)))


def since_selection(run: Run, ready: Plan, kept: np.ndarray | None) -> ReloadDifference | None:
    """Of the outputs that picked the kept epoch and those of the reloaded network, whose predictions are written.

    None too where either is missing.
    """
    scored = run.predictions.get(f"{ready.selection}_logits")
    return None if kept is None or scored is None else difference(kept, scored[: len(kept)])


def outputs(ready: Plan, module: nn.Module, epoch: int) -> np.ndarray:
    """Of the first training images, float32 [N, classes]."""
    images = ready.prepared.train.take(np.arange(min(TRAINING_IMAGES, len(ready.prepared.train))))
    return score_part(ready, module, "train", images, epoch=epoch).logits
