"""Finds labels that are probably wrong from the outputs of networks that were not trained on the images.

The model has two parameters. A label is wrong with probability `share`, and then each other class is equally probable
(Patrini et al. 2017, "Making Deep Neural Networks Robust to Label Noise: A Loss Correction Approach", with one value
for all classes). A correct label has the probability softmax(logits / temperature) (Guo et al. 2017, "On Calibration of
Modern Neural Networks"). Share and temperature are fitted to the given labels by maximum likelihood, and Bayes' rule
gives the probability that a label is wrong. Unlike the rule "prediction ≠ label", this takes into account how confident
the network is, and how far its confidence can be trusted: a weak network disagrees with many correct labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

# The first values that are tried: logarithm of 1 / temperature, and log odds of a wrong label.
SHARPNESS, ODDS = (-1.0, 0.0, 1.0, 2.0), (-5.0, -2.0, -0.5)
MIN_ODDS = -12.0  # with fewer wrong labels, the likelihood no longer changes
BOUNDS_OF_SHARPNESS = (-4.0, 5.0)
STEPS = 200
MIN_PROBABILITY = 0.3  # with few wrong labels, the highest expected F1 would list mostly correct ones
TINY = 1e-12


@dataclass(frozen=True)
class Suspects:
    """How probably each of N labels is wrong."""

    probability: np.ndarray  # float64 [N]: probability that the given label is wrong
    suggested: np.ndarray  # int64 [N]: the most probable other class
    share: float  # estimated share of wrong labels
    gain: float  # in log likelihood, compared with the model in which all labels are correct

    @property
    def flagged(self) -> np.ndarray:
        """Indices of the suspect labels, those most probably wrong first.

        Their number maximises the expected F1 (Lipton et al. 2014, "Optimal Thresholding of Classifiers to Maximize F1
        Measure"). If a weak network leaves many labels uncertain, some of the listed ones are more likely correct than
        wrong.
        """
        order = np.argsort(-self.probability, kind="stable")
        probability = self.probability[order]
        expected_f1 = 2 * probability.cumsum() / (np.arange(1, len(order) + 1) + probability.sum())
        return order[: min(int(expected_f1.argmax()) + 1, int((probability > MIN_PROBABILITY).sum()))]


def find_suspects(logits: np.ndarray, labels: np.ndarray) -> Suspects:
    """Estimates how probably each label is wrong.

    `logits` [N, K] are of networks that were not trained on these images; `labels` int64 [N].
    """
    from scipy.optimize import minimize, minimize_scalar
    from scipy.special import expit

    rows, shifted = np.arange(len(labels)), (logits - logits.max(1, keepdims=True)).astype(np.float64)

    def correct_and_wrong(parameters: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
        """Returns the probability of each given label if it is correct and if it is wrong, and the share."""
        unnormalised = np.exp(np.exp(parameters[0]) * shifted)
        given = unnormalised[rows, labels] / unnormalised.sum(1)
        share = float(expit(max(parameters[1], MIN_ODDS)))
        return (1 - share) * given, share * (1 - given) / (logits.shape[1] - 1), share

    def loss(parameters: np.ndarray) -> float:
        correct, wrong, _share = correct_and_wrong(parameters)
        return -float(np.log(correct + wrong + TINY).mean())

    start = min((np.array(each) for each in product(SHARPNESS, ODDS)), key=loss)
    fit = minimize(loss, start, method="Nelder-Mead", options={"maxiter": STEPS})
    correct, wrong, share = correct_and_wrong(fit.x)
    all_correct = minimize_scalar(
        lambda sharpness: loss(np.array([sharpness, MIN_ODDS])), bounds=BOUNDS_OF_SHARPNESS, method="bounded"
    )
    others = shifted.copy()
    others[rows, labels] = -np.inf
    return Suspects(
        wrong / (correct + wrong + TINY), others.argmax(1), share, float(all_correct.fun - fit.fun) * len(labels)
    )
