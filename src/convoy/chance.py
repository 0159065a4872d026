"""Whether a network has learned anything: its predictions against guesses that do not look at the image.

`at_chance` needs no more than the confusion matrix of a score, so that it also answers for runs of older versions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np

from convoy.stats import wilson

OTHERS = 20  # images of other classes: a network that recognises one in seven of them names none with p < 0.05
MARGIN = 0.2  # of the way from chance to 100 %: an interval that reaches further leaves open whether it has learned


class Kind(Enum):
    ONE_CLASS = "one_class"  # every image gets the same predicted class
    GUESSES = "guesses"  # the accuracy is that of guesses


@dataclass(frozen=True)
class AtChance:
    kind: Kind
    predicted: str  # the one class; empty where there are several
    accuracy: float
    chance: float  # the accuracy of guesses that name each class as often as the network does
    images: int


def at_chance(score: Mapping[str, Any]) -> AtChance | None:
    """None where a network has learned something, or where the images are too few to say that it has not.

    `score` is a part's in scores.json. Chance is the accuracy of guesses that name each class as often as the network
    does, the sum over the classes of its share of the labels times its share of the predictions (as in Cohen's kappa):
    1/K where the classes are of one size, and the majority share for a network that always names the largest class. A
    network is at chance where the 95 % Wilson interval of its accuracy reaches down to that, and ends within MARGIN of
    it. One predicted class for all images is also reported where OTHERS images or more belong to other classes.
    """
    confusion = np.asarray(score.get("confusion", ()), dtype=np.int64)
    images = int(confusion.sum())
    if images == 0 or score.get("not_finite"):  # outputs that are not finite have a flag of their own
        return None
    true, predicted = confusion.sum(axis=1), confusion.sum(axis=0)
    accuracy, chance = int(confusion.trace()) / images, float(true @ predicted) / images**2
    if np.count_nonzero(predicted) == 1:
        place = int(predicted.argmax())
        name = str(score["per_class"][place]["class"])
        enough = images - int(true[place]) >= OTHERS
        return AtChance(Kind.ONE_CLASS, name, accuracy, chance, images) if enough else None
    interval = wilson(int(confusion.trace()), images)
    assert interval.low is not None
    assert interval.high is not None
    if interval.low <= chance and interval.high <= chance + MARGIN * (1 - chance):
        return AtChance(Kind.GUESSES, "", accuracy, chance, images)
    return None


def sentence(name: str, part: str, found: AtChance) -> str:
    """`name` is a model's label, with its seed where there are several runs."""
    if found.kind is Kind.ONE_CLASS:
        return f"{name} predicts class {found.predicted} for every {part} image: it has not learned"
    return (
        f"{name} is at chance level: {100 * found.accuracy:.2f} % {part} accuracy, and guesses that do not look at the "
        f"image reach {100 * found.chance:.2f} %"
    )


def sentences(scores: Sequence[tuple[str, int, Mapping[str, Any]]], part: str) -> list[str]:
    """One for each label and kind, of (label, seed, score of the part): the seeds are named where not all are so."""
    labels = list(dict.fromkeys(label for label, _, _ in scores))
    lines = []
    for label in labels:
        group = [(seed, at_chance(score)) for name, seed, score in scores if name == label]
        kinds = dict.fromkeys((found.kind, found.predicted) for _, found in group if found is not None)
        for kind in kinds:
            alike = [(seed, found) for seed, found in group if found and (found.kind, found.predicted) == kind]
            seeds = ", ".join(str(seed) for seed, _ in alike)
            some = f" (seed{'s' * (len(alike) > 1)} {seeds})" if len(alike) < len(group) else ""
            lines.append(sentence(label + some, part, alike[0][1]))
    return lines
