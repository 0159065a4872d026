"""Detects networks that have not learned, by comparing their accuracy with that of guesses that ignore the image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from convoy.run_contents import Score, part_name
from convoy.stats import wilson
from convoy.text import gettext as _
from convoy.text import ngettext
from convoy.text.labels import label_text
from convoy.text.lists import joined

MIN_OTHERS = 20  # images of other classes; a network that recognises 1 in 7 misses all 20 with p < 0.05
MARGIN = 0.2  # the interval must end below chance + this fraction of (100 % - chance)


class Kind(StrEnum):
    ONE_CLASS = "one_class"  # all predictions are the same class
    GUESSES = "guesses"  # no better than guessing


@dataclass(frozen=True)
class AtChance:
    kind: Kind
    predicted: str  # the only predicted class; empty if there are several
    accuracy: float
    chance: float  # the accuracy of random guesses with the class frequencies of the predictions
    images: int


def at_chance(score: Score) -> AtChance | None:
    """Returns None if the network has learned something, or if there are too few images to decide.

    Chance is the accuracy of random guesses with the class frequencies of the network's predictions: the sum over
    classes of the fraction of labels times the fraction of predictions, as in Cohen's kappa. It is 1/K for K classes of
    equal size. A network is at chance if the 95 % Wilson interval of its accuracy includes chance and ends below
    chance + MARGIN * (1 - chance). A network that predicts one class for all images is reported if at least MIN_OTHERS
    images belong to other classes.
    """
    confusion = np.asarray(score.confusion, dtype=np.int64)
    images = int(confusion.sum())
    if images == 0 or score.not_finite:  # non-finite outputs have their own flag
        return None
    true, predicted = confusion.sum(axis=1), confusion.sum(axis=0)
    accuracy, chance = int(confusion.trace()) / images, float(true @ predicted) / images**2
    if np.count_nonzero(predicted) == 1:
        only = int(predicted.argmax())
        name = score.per_class[only].name
        enough = images - int(true[only]) >= MIN_OTHERS
        return AtChance(Kind.ONE_CLASS, name, accuracy, chance, images) if enough else None
    low, high = wilson(int(confusion.trace()), images).span
    if low <= chance and high <= chance + MARGIN * (1 - chance):
        return AtChance(Kind.GUESSES, "", accuracy, chance, images)
    return None


def sentence(name: str, part: str, result: AtChance) -> str:
    """`name` is a model's label, with its seed if there are several runs."""
    if result.kind is Kind.ONE_CLASS:
        return _(
            "{name} predicts class {predicted} for every {part} image: it has not learned",
            name=name,
            predicted=result.predicted,
            part=part_name(part),
        )
    return _(
        "{name} is at chance level: {accuracy:.2f} % {part} accuracy; guesses that ignore the image "
        "reach {chance:.2f} %",
        name=name,
        accuracy=100 * result.accuracy,
        part=part_name(part),
        chance=100 * result.chance,
    )


def sentences(scores: Sequence[tuple[str, int, Score]], part: str) -> list[str]:
    """Returns sentences about networks at chance level, from (label, seed, score on the part)."""
    return sentences_of([(label, seed, at_chance(score)) for label, seed, score in scores], part)


def sentences_of(results: Sequence[tuple[str, int, AtChance | None]], part: str) -> list[str]:
    """Returns one sentence per label and kind, from (label, seed, result). Lists seeds if not all are at chance."""
    lines = []
    for label in dict.fromkeys(label for label, *_rest in results):
        group = [(seed, result) for name, seed, result in results if name == label]
        kinds = dict.fromkeys((result.kind, result.predicted) for _seed, result in group if result is not None)
        for kind in kinds:
            same = [(seed, result) for seed, result in group if result and (result.kind, result.predicted) == kind]
            seeds = joined(map(str, sorted(seed for seed, _result in same)))
            name = label_text(label)
            if len(same) < len(group):
                name = ngettext("{label} (seed {seeds})", "{label} (seeds {seeds})", len(same), label=name, seeds=seeds)
            lines.append(sentence(name, part, same[0][1]))
    return lines
