"""Losses by the recipe's name: logits [B, classes] and labels [B] to a scalar."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F

from convoy.recipe import CrossEntropy, SquaredError

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def build(spec: CrossEntropy | SquaredError) -> Loss:
    if isinstance(spec, SquaredError):
        return squared_error
    smoothing = spec.label_smoothing
    return lambda logits, labels: F.cross_entropy(logits, labels, label_smoothing=smoothing)


def squared_error(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean over images and classes of the squared distance to the one-hot label."""
    return F.mse_loss(logits, F.one_hot(labels, logits.shape[-1]).to(logits.dtype))
