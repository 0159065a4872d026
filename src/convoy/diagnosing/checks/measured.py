"""Checks that train a recipe, only with --measure. Subject: `Trainings`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from convoy.diagnosing.checks.network import are_probabilities
from convoy.diagnosing.finding import Finding, Severity
from convoy.diagnosing.network import Network
from convoy.recipe.sections import CrossEntropy
from convoy.run_contents import part_name
from convoy.stats import mcnemar
from convoy.text import gettext as _

Predicted = tuple[np.ndarray, np.ndarray]  # labels and predicted classes of the images of a part, int64 [N] each
PERMUTATIONS = 2000
MAX_P = 0.001
MAX_EXCESS = 0.5  # share of (100 % - chance); needed because p cannot be small with few classes


@dataclass(frozen=True, eq=False)
class Trainings:
    """Functions that train the recipe of the network and predict the same images."""

    network: Network
    part: str  # part that the images are from
    unchanged: Callable[[], Predicted]
    without_softmax: Callable[[], Predicted]
    with_permuted_labels: Callable[[], Predicted]


def effect_of_softmax(trainings: Trainings) -> Iterator[Finding]:
    """Compares a network that ends in a softmax with the same network without it.

    A log-softmax has no effect: cross-entropy of log-probabilities is that of the logits.
    """
    network = trainings.network
    is_cross_entropy = isinstance(network.recipe.train.loss, CrossEntropy)
    if not is_cross_entropy or not are_probabilities(network.first_step.logits):
        return
    right, right_without = (
        labels == predicted for labels, predicted in (trainings.unchanged(), trainings.without_softmax())
    )
    yield Finding(
        Severity.WARNING,
        _(
            "With the softmax before cross-entropy, {accuracy:.2%} of the {part} images are classified correctly, "
            "without it {without:.2%}",
            accuracy=right.mean(),
            without=right_without.mean(),
            part=part_name(trainings.part),
        ),
        _("Remove the last softmax, so that the network returns logits"),
        {"accuracy": float(right.mean()), "accuracy_logits": float(right_without.mean()), "images": len(right)},
        cost=mcnemar(right, right_without).difference,
    )


def permuted_labels(trainings: Trainings) -> Iterator[Finding]:
    """The accuracy of a network trained on permuted labels is at chance, unless labels leak from another source."""
    labels, predicted = trainings.with_permuted_labels()
    classes = trainings.network.classes
    confusion = np.zeros((classes, classes))
    np.add.at(confusion, (labels, predicted), 1 / len(labels))
    guesses = np.outer(confusion.sum(1), confusion.sum(0))  # expected if predictions and labels are independent
    excess, chance = float((confusion - guesses).trace()), float(guesses.trace())
    # A network that has learned nothing about the labels may still predict the same class for most images of another
    # class, so the images are not independent. Under chance, all permutations of the predicted classes are equally
    # probable.
    rng = np.random.RandomState(0)
    others = [(confusion - guesses)[np.arange(classes), rng.permutation(classes)].sum() for _i in range(PERMUTATIONS)]
    p = (1 + np.count_nonzero(np.array(others) >= excess - 1e-12)) / (1 + PERMUTATIONS)
    is_above = p <= MAX_P or excess > MAX_EXCESS * (1 - chance)
    yield Finding(
        Severity.ERROR if is_above else Severity.HINT,
        _(
            "Trained on permuted labels, the network classifies {accuracy:.2%} of the {part} images correctly, above "
            "chance ({chance:.2%}): labels of these images leak from a source other than the training labels",
            accuracy=excess + chance,
            chance=chance,
            part=part_name(trainings.part),
        )
        if is_above
        else _(
            "Trained on permuted labels, the network classifies {accuracy:.2%} of the {part} images "
            "correctly, which is consistent with chance ({chance:.2%}), as it should be",
            accuracy=excess + chance,
            chance=chance,
            part=part_name(trainings.part),
        ),
        _("Look for initial weights that were trained on these images, and for labels in the code of the network")
        if is_above
        else _("Nothing to do"),
        {"accuracy": excess + chance, "chance": chance, "p": p, "images": len(labels)},
    )
