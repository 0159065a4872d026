"""Scores a network on corrupted images."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from convoy.data import ImageSet
from convoy.evaluation.calibration import RESAMPLES
from convoy.evaluation.corruptions import SEVERITIES, corrupt, kinds_for
from convoy.evaluation.predict import predict
from convoy.evaluation.robustness import CorruptedScore
from convoy.evaluation.scores import predicted_classes
from convoy.stats import TAILS, Estimate


class CorruptionScores(NamedTuple):
    scores: tuple[CorruptedScore, ...]
    mean_error: Estimate


def score_corrupted(
    module: nn.Module, images: ImageSet, normaliser: Callable[[torch.Tensor], torch.Tensor], *, seed: int = 0
) -> CorruptionScores:
    """Scores all kinds for these images at all severities. Raises ValueError for images that no kind supports.

    An image with NaN among its outputs counts as wrong.
    """
    scores, errors = [], np.zeros(len(images))
    for kind in kinds_for(images.channels, images.size):
        for severity in SEVERITIES:
            corrupted = corrupt(images.images, kind.name, severity, seed=seed)
            right = predicted_classes(predict(module, corrupted, normaliser)) == images.labels
            scores.append(CorruptedScore(kind.name, severity, int(right.sum()), len(images)))
            errors += ~right
    errors /= len(scores)
    n, random = len(errors), np.random.default_rng(seed)
    means = [errors[random.integers(n, size=n)].mean() for _ in range(RESAMPLES)]
    low, high = np.quantile(means, TAILS).tolist()
    return CorruptionScores(tuple(scores), Estimate(float(errors.mean()), None, n, low, high, "bootstrap"))
