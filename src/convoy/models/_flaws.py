"""The sentence for a flaw of several published networks."""

import math


def softmax_before_loss(num_classes: int) -> str:
    return f"softmax output before cross-entropy: {floor_of_loss(num_classes)}"


def floor_of_loss(num_classes: int) -> str:
    """The minimum of cross-entropy with probabilities as logits: log(1 + (classes - 1) / e), for one-hot outputs."""
    floor = math.log1p((num_classes - 1) / math.e)
    return f"with {num_classes} classes the loss cannot fall below {floor:.3f}"
