"""Checks that the saved weights are complete: compares outputs of the trained and the reloaded network."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import nn

from convoy.runs import Run
from convoy.text import gettext as _
from convoy.training.run.plan import Plan
from convoy.training.run.scoring import score_part

IMAGES = 256  # of the part that selects the best epoch; their outputs are computed anyway
TRAINING_IMAGES = 64  # if no part selects an epoch; they need an extra pass
TOLERANCE = 0.01  # of the largest output: more than rounding and memory layout change


@dataclass(frozen=True)
class ReloadDifference:
    images: int
    changed: int  # images whose predicted class changed
    largest: float  # difference of two outputs of the same image and class

    @property
    def sentence(self) -> str:
        return _(
            "the saved weights do not reproduce the trained network: {changed} of {images} images have another "
            "predicted class after reloading (largest difference of outputs: {largest:.3g}); the network has state "
            "outside its state_dict (make it a parameter or a buffer), or its forward is random in evaluation mode",
            changed=self.changed,
            images=self.images,
            largest=self.largest,
        )


def difference(trained: np.ndarray, reloaded: np.ndarray) -> ReloadDifference | None:
    """Of outputs [N, classes] for the same images; None if they agree within TOLERANCE."""
    finite = np.isfinite(trained) & np.isfinite(reloaded)
    gap = np.abs(np.where(finite, trained, 0) - np.where(finite, reloaded, 0))
    same = np.array_equal(np.isfinite(trained), np.isfinite(reloaded))
    if same and gap.max(initial=0) <= TOLERANCE * np.abs(trained[finite]).max(initial=0):
        return None
    changed = int((trained.argmax(1) != reloaded.argmax(1)).sum())
    return ReloadDifference(len(trained), changed, float(gap.max(initial=0)))


def since_selection(run: Run, ready: Plan, trained: np.ndarray | None) -> ReloadDifference | None:
    """Between the outputs that selected the saved epoch and the written predictions of the reloaded network.

    Also None if either is missing.
    """
    reloaded = run.predictions.get(f"{ready.selection}_logits")
    return None if trained is None or reloaded is None else difference(trained, reloaded[: len(trained)])


def outputs(ready: Plan, module: nn.Module, epoch: int) -> np.ndarray:
    """Outputs of the first training images, float32 [N, classes]."""
    images = ready.prepared.train.take(np.arange(min(TRAINING_IMAGES, len(ready.prepared.train))))
    return score_part(ready, module, "train", images, epoch=epoch).logits
