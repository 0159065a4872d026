"""Losses by the recipe's name: logits [B, classes] and labels to a scalar.

Labels are int64 [B], or probabilities [B, classes] where an augmentation mixes images.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import torch
import torch.nn.functional as F

from convoy.recipe import CrossEntropy, SquaredError, Train

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def build(
    spec: CrossEntropy | SquaredError, class_weights: torch.Tensor | None = None, faults: Collection[str] = ()
) -> Loss:
    """`class_weights` [classes]: on the device of the logits and of the type in which the loss is computed."""
    loss = _of_logits(spec, class_weights)
    if "log_softmax" in faults:
        loss = _after(F.log_softmax, loss)
    if "softmax_before_loss" in faults:
        loss = _after(F.softmax, loss)
    return loss


def divided_twice(loss: Loss, batch_size: int) -> Loss:
    """The fault loss_divided_twice: batch means, summed, and then divided by the number of images."""

    def faulty(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        batches = zip(logits.split(batch_size), labels.split(batch_size), strict=True)
        return torch.stack([loss(*batch) for batch in batches]).sum() / len(labels)

    return faulty


def _after(change: Callable[..., torch.Tensor], loss: Loss) -> Loss:
    return lambda logits, labels: loss(change(logits, dim=-1), labels)


def _of_logits(spec: CrossEntropy | SquaredError, class_weights: torch.Tensor | None) -> Loss:
    if isinstance(spec, SquaredError):
        return squared_error
    smoothing = spec.label_smoothing
    if class_weights is None:
        return lambda logits, labels: F.cross_entropy(logits, labels, label_smoothing=smoothing)

    def weighted(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Divided by the number of images: torch's mean divides by the weights that a batch happens to draw."""
        total = F.cross_entropy(logits, labels, class_weights, reduction="sum", label_smoothing=smoothing)
        return total / len(labels)

    return weighted


def squared_error(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean over images and classes of the squared distance to the labels, one-hot where they are no probabilities."""
    target = F.one_hot(labels, logits.shape[-1]) if labels.ndim == 1 else labels
    return F.mse_loss(logits, target.to(logits.dtype))


def class_weights(spec: Train, counts: Sequence[int]) -> torch.Tensor | None:
    """Weights float64 [classes] of which the training images, `counts` a class, have the mean 1; None: all alike.

    "balanced" weighs each class by the inverse of its frequency (King & Zeng 2001, "Logistic Regression in Rare Events
    Data"), so that all classes that are there have the same total. A class without training images weighs nothing.
    Raises ValueError: a list of another length, a loss that takes no weights.
    """
    given = spec.class_weights
    if given == "none":
        return None
    if not isinstance(spec.loss, CrossEntropy):
        raise ValueError(f"train.class_weights: the loss {spec.loss.name} takes none; set it to 'none'")
    if given != "balanced" and len(given) != len(counts):
        raise ValueError(f"train.class_weights gives {len(given)} weights, and the data have {len(counts)} classes")
    images = torch.tensor(counts, dtype=torch.float64)
    weights = 1 / images.clamp(min=1) if given == "balanced" else torch.tensor(given, dtype=torch.float64)
    weights = weights * (images > 0)
    return weights * images.sum() / (weights @ images)
