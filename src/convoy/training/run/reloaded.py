"""Checks that the saved weights are complete: compares outputs of the trained and the reloaded network."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import nn

from convoy.runs import Run
from convoy.text import gettext as _
from convoy.training.run.plan import Plan
from convoy.training.run.scoring import score_part

IMAGES = 256  # from the part that selects the best epoch; their outputs are computed anyway
TRAINING_IMAGES = 64  # if no part selects an epoch; needs an extra pass
TOLERANCE = 0.01  # relative to the largest output; above the effect of rounding and memory layout


@dataclass(frozen=True)
class ReloadDifference:
    images: int
    changed: int  # images whose predicted class changed
    largest: float  # largest difference between two outputs of the same image and class

    @property
    def sentence(self) -> str:
        return _(
            "the saved weights do not reproduce the trained network: {changed} of {images} images have a "
            "different predicted class after reloading (largest difference of outputs: {largest:.3g}); "
            "the network has state outside its state_dict (make it a parameter or a buffer), or its "
            "forward is random in evaluation mode",
            changed=self.changed,
            images=self.images,
            largest=self.largest,
        )


def difference(trained: np.ndarray, reloaded: np.ndarray) -> ReloadDifference | None:
    """Compares outputs [N, classes] for the same images. Returns None if they agree within TOLERANCE."""
    finite = np.isfinite(trained) & np.isfinite(reloaded)
    gap = np.abs(np.where(finite, trained, 0) - np.where(finite, reloaded, 0))
    same = np.array_equal(np.isfinite(trained), np.isfinite(reloaded))
    if same and gap.max(initial=0) <= TOLERANCE * np.abs(trained[finite]).max(initial=0):
        return None
    changed = int((trained.argmax(1) != reloaded.argmax(1)).sum())
    return ReloadDifference(len(trained), changed, float(gap.max(initial=0)))


def difference_since_selection(run: Run, plan: Plan, trained: np.ndarray | None) -> ReloadDifference | None:
    """Compares the outputs that selected the saved epoch with the saved predictions of the reloaded network.

    Also returns None if either is missing.
    """
    reloaded = run.predictions.get(f"{plan.selection}_logits")
    return None if trained is None or reloaded is None else difference(trained, reloaded[: len(trained)])


def outputs(plan: Plan, module: nn.Module, epoch: int) -> np.ndarray:
    """Returns the outputs for the first training images, float32 [N, classes]."""
    images = plan.prepared.train.take(np.arange(min(TRAINING_IMAGES, len(plan.prepared.train))))
    return score_part(plan, module, "train", images, epoch=epoch).logits
