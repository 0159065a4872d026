"""Finds labels that are probably wrong from the outputs of networks that were not trained on the images.

The score of a label is the log ratio of the probability of the most probable other class to that of the label. The
scores of correct and of wrong labels are modelled by a mixture of two normal distributions with a common standard
deviation, fitted by expectation maximisation. It gives the fraction of wrong labels and the probability that a label is
wrong; Arazo et al. (2019, "Unsupervised Label Noise Modeling and Loss Correction") do the same with the training loss.
Unlike the rule "prediction ≠ label", it uses the size of the disagreement: even a network trained on wrong labels
rarely disagrees strongly with a correct label.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

ROUNDS = 200
START_QUANTILES = (0.25, 0.95)  # of the scores: the first means of the two groups
MIN_PROBABILITY = 1e-9


@dataclass(frozen=True)
class Suspects:
    """How probably each of N labels is wrong."""

    probability: np.ndarray  # float64 [N]: that the given label is wrong
    suggested: np.ndarray  # int64 [N]: the most probable other class

    @property
    def flagged(self) -> np.ndarray:
        """Indices of the suspect labels, those most probably wrong first."""
        order = np.argsort(-self.probability, kind="stable")
        return order[self.probability[order] > 0.5]


def find_suspects(logits: np.ndarray, labels: np.ndarray) -> Suspects:
    """Estimates how probably each label is wrong.

    `logits` [N, K] are of networks that were not trained on these images; `labels` int64 [N].
    """
    shifted = (logits - logits.max(1, keepdims=True)).astype(np.float64)
    likely = np.exp(shifted)
    likely /= likely.sum(1, keepdims=True)
    rows = np.arange(len(labels))
    label_scores = likely[rows, labels]
    others = likely.copy()
    others[rows, labels] = 0
    scores = np.log(others.max(1) + MIN_PROBABILITY) - np.log(label_scores + MIN_PROBABILITY)
    # Wrong labels are the group with the larger scores; for them, another class must be more probable than the label.
    probability = np.where(scores > 0, _of_larger_group(scores), 0.0)
    return Suspects(probability, others.argmax(1))


def _of_larger_group(scores: np.ndarray) -> np.ndarray:
    """Returns the probability that a score belongs to the group with the larger mean."""
    means, shares = np.quantile(scores, START_QUANTILES), np.array([0.8, 0.2])
    deviation = scores.std() / 2 + 1e-6
    for _round in range(ROUNDS):
        exponent = -0.5 * np.square((scores[:, None] - means) / deviation) + np.log(shares + 1e-12)
        weights = np.exp(exponent - exponent.max(1, keepdims=True))
        weights /= weights.sum(1, keepdims=True)
        totals = weights.sum(0) + 1e-12
        shares, means = totals / len(scores), (weights * scores[:, None]).sum(0) / totals
        deviation = np.sqrt((weights * np.square(scores[:, None] - means)).sum() / len(scores)) + 1e-6
    larger: np.ndarray = weights[:, int(means.argmax())]
    return larger
