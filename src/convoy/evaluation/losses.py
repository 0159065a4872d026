"""The losses of recipes. A loss is a function of logits [B, classes] and labels that returns a scalar.

Labels are int64 [B], or probabilities [B, classes] if an augmentation mixes images.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import numpy as np
import torch
import torch.nn.functional as F

from convoy.counts import divides_twice
from convoy.evaluation.predict import BATCH
from convoy.recipe.faults import Fault
from convoy.recipe.sections import CrossEntropy, SquaredError, Train
from convoy.text import gettext as _

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def build(
    spec: CrossEntropy | SquaredError, class_weights: torch.Tensor | None = None, faults: Collection[Fault] = ()
) -> Loss:
    """Builds the loss with its faults. `class_weights` [classes] have the device and dtype of the logits."""
    loss = _of_logits(spec, class_weights)
    if Fault.LOG_SOFTMAX in faults:
        loss = _after(F.log_softmax, loss)
    if Fault.SOFTMAX_BEFORE_LOSS in faults:
        loss = _after(F.softmax, loss)
    return loss


def reported(mean: float, loss: Loss, logits: np.ndarray, labels: np.ndarray, faults: Collection[Fault]) -> float:
    """The reported loss of an evaluation: `mean`, or with the fault loss_divided_twice, sum of batch means / images."""
    if not divides_twice(faults):
        return mean
    batches = zip(torch.tensor(logits).split(BATCH), torch.tensor(labels).split(BATCH), strict=True)
    return float(torch.stack([loss(*batch) for batch in batches]).sum() / len(labels))


def _after(change: Callable[..., torch.Tensor], loss: Loss) -> Loss:
    return lambda logits, labels: loss(change(logits, dim=-1), labels)


def _of_logits(spec: CrossEntropy | SquaredError, class_weights: torch.Tensor | None) -> Loss:
    if isinstance(spec, SquaredError):
        return squared_error
    smoothing = spec.label_smoothing
    if class_weights is None:
        return lambda logits, labels: F.cross_entropy(logits, labels, label_smoothing=smoothing)

    def weighted(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Divides by the number of images; torch's mean would divide by the sum of the weights in the batch."""
        total = F.cross_entropy(logits, labels, class_weights, reduction="sum", label_smoothing=smoothing)
        return total / len(labels)

    return weighted


def squared_error(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean over images and classes of the squared distance to one-hot labels or probabilities."""
    target = F.one_hot(labels, logits.shape[-1]) if labels.ndim == 1 else labels
    return F.mse_loss(logits, target.to(logits.dtype))


def class_weights(spec: Train, counts: Sequence[int]) -> torch.Tensor | None:
    """Weights float64 [classes] with mean 1 over the training images (`counts` per class); None: no weights.

    "balanced" weights each class by its inverse frequency (King & Zeng 2001, "Logistic Regression in Rare Events
    Data"), so that all classes have the same total weight. A class without training images has weight 0.
    Raises ValueError for a list of another length, and for a loss that does not support weights.
    """
    setting = spec.class_weights
    if setting == "none":
        return None
    if not isinstance(spec.loss, CrossEntropy):
        raise ValueError(
            _("train.class_weights: the loss {name} does not support weights; expected 'none'", name=spec.loss.name)
        )
    if setting != "balanced" and len(setting) != len(counts):
        raise ValueError(
            _("train.class_weights: expected {n} weights, one per class, got {m}", n=len(counts), m=len(setting))
        )
    images = torch.tensor(counts, dtype=torch.float64)
    weights = 1 / images.clamp(min=1) if setting == "balanced" else torch.tensor(setting, dtype=torch.float64)
    weights = weights * (images > 0)
    return weights * images.sum() / (weights @ images)
