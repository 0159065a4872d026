"""The sentence for a flaw that more than one published network has."""

from __future__ import annotations

import math


def softmax_before_loss(num_classes: int) -> str:
    return f"softmax output before cross-entropy: {floor_of_loss(num_classes)}"


def floor_of_loss(num_classes: int) -> str:
    """Cross-entropy of probabilities taken for logits is least at a one-hot output: log(1 + (classes - 1) / e)."""
    floor = math.log1p((num_classes - 1) / math.e)
    return f"with {num_classes} classes the loss cannot fall below {floor:.3f}"
