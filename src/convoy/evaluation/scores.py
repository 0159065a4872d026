"""Scores of a classifier from its logits.

Uses numpy: scikit-learn would take 1.5 s to import in each worker process. The tests compare with scikit-learn.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F

from convoy.counts import NO_CLASS, count_scores
from convoy.evaluation.calibration import are_probabilities
from convoy.run_contents import Score

TOP_K = (3, 5)


def score(
    logits: np.ndarray,
    labels: np.ndarray,
    classes: Sequence[str],
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None = None,
    predicted: np.ndarray | None = None,
) -> Score:
    """Scores of logits float32 [N, classes] with labels int64 [N]: the scores of `count_scores`, and:

    loss: mean of the given function (default: cross-entropy).
    top_k: for k = 3 and 5, if there are more classes; ties go to the lower class.
    not_finite: images with NaN or +inf among their logits; -inf may mask a class. An image with NaN has no predicted
    class, counts as wrong, and is in no column of the confusion matrix.

    `predicted` int64 [N] replaces `predicted_classes`, but not in top_k.
    """
    predicted = predicted_classes(logits) if predicted is None else predicted
    value = float((loss or F.cross_entropy)(torch.tensor(logits), torch.tensor(labels)))
    best = np.argsort(-logits, axis=1, kind="stable")
    return replace(
        count_scores(labels, predicted, classes),
        loss=value if math.isfinite(value) else None,
        top_k={str(k): float((best[:, :k] == labels[:, None]).any(axis=1).mean()) for k in TOP_K if k < len(classes)},
        not_finite=int((np.isnan(logits) | np.isposinf(logits)).any(axis=1).sum()),
    )


def predicted_classes(logits: np.ndarray) -> np.ndarray:
    """The class with the largest logit, int64 [N]; NO_CLASS for an image with NaN among its logits."""
    return np.where(np.isnan(logits).any(axis=1), NO_CLASS, logits.argmax(axis=1))


def probabilities(outputs: np.ndarray) -> np.ndarray:
    """Softmax over the classes, float64 [N, classes]; unchanged if the outputs already are probabilities."""
    values = outputs.astype(np.float64)
    if are_probabilities(outputs):
        return values
    return torch.softmax(torch.from_numpy(values), dim=1).numpy()


def sampled_classes(probs: np.ndarray, seed: int) -> np.ndarray:
    """Samples a class for each image from probabilities [N, classes]; int64 [N]."""
    cumulated = probs.cumsum(axis=1, dtype=np.float64)
    uniform = np.random.RandomState(seed).random_sample((len(probs), 1))
    return (cumulated < uniform * cumulated[:, -1:]).sum(axis=1)


def hardest(logits: np.ndarray, labels: np.ndarray, count: int) -> np.ndarray:
    """Indices of the `count` images with the highest cross-entropy, highest first; NaN counts as infinite."""
    losses = F.cross_entropy(torch.tensor(logits), torch.tensor(labels), reduction="none").numpy()
    return np.argsort(-np.nan_to_num(losses, nan=np.inf), kind="stable")[:count]
