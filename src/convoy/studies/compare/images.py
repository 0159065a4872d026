"""Exact McNemar tests between networks that were trained with the same seed and scored on the same images.

This test compares two trained networks over images and does not cover other seeds, just as the paired t test over seeds
does not cover other images. Each common seed is a separate test: a majority vote over seeds would test ensembles, and
adding the counts of several seeds would count each image several times, although the errors of different seeds are
correlated. The tests of all pairs and seeds are corrected together (Holm 1979): the probability of any false difference
is at most 5 %.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import combinations
from typing import NamedTuple, Self

import numpy as np

from convoy.runs import Member
from convoy.stats import mcnemar
from convoy.studies.compare.pair import Pair, corrected


class Reason(StrEnum):
    """Why a test over images is missing."""

    NOT_STORED = "not_stored"  # the predictions were not stored
    MISMATCH = "mismatch"  # the stored predictions do not match the accuracy
    RESPLIT = "resplit"  # the validation images differ between epochs
    OTHER_IMAGES = "other_images"


@dataclass(frozen=True)
class ImagePair(Pair):
    """Two networks of one seed; the difference is over images."""

    seed: int = 0
    only_a: int = 0  # images that only a classifies correctly
    only_b: int = 0

    def exchanged(self) -> Self:
        return replace(super().exchanged(), only_a=self.only_b, only_b=self.only_a)


@dataclass(frozen=True)
class MissingTest:
    """Labels that have no test, or pairs of labels."""

    reason: Reason
    labels: tuple[str, ...] = ()
    pairs: tuple[tuple[str, str], ...] = ()


class Answers(NamedTuple):
    data: str  # hash of all images
    split: str
    part: str | None  # hash of the images in the part
    labels: np.ndarray  # int64 [N]
    right: np.ndarray  # bool [N]


def compare_images(
    groups: Mapping[str, Sequence[Member]], part: str
) -> tuple[tuple[ImagePair, ...], tuple[MissingTest, ...]]:
    """Tests each pair of labels for each common seed. Returns the tests and the missing ones with their reasons."""
    answers: defaultdict[str, dict[int, Answers]] = defaultdict(dict)
    missing: defaultdict[Reason, dict[str, None]] = defaultdict(dict)  # labels, in order
    for label, group in groups.items():
        for member in group:
            read = _answers(member, part)
            if isinstance(read, Reason):
                missing[read][label] = None
            else:
                answers[label][member.seed] = read
    tests: list[ImagePair] = []
    untested: defaultdict[Reason, dict[tuple[str, str], None]] = defaultdict(dict)  # pairs, in order
    for a, b in combinations(groups, 2):
        for seed in sorted(answers[a].keys() & answers[b].keys()):
            first, second = answers[a][seed], answers[b][seed]
            if (reason := _obstacle(first, second)) is None:
                test = mcnemar(first.right, second.right)
                tests.append(ImagePair(a, b, test.difference, test.p, None, seed, test.only_a, test.only_b))
            else:
                untested[reason][a, b] = None
    return corrected(tests), (
        *(MissingTest(reason, labels=tuple(labels)) for reason, labels in missing.items()),
        *(MissingTest(reason, pairs=tuple(pairs)) for reason, pairs in untested.items()),
    )


def _answers(member: Member, part: str) -> Answers | Reason:
    if part == "validation" and any(fault.info.redraws_validation for fault in member.run.recipe.protocol.faults):
        return Reason.RESPLIT
    try:
        labels, predicted = member.run.predicted(part)
    except ValueError:
        return Reason.NOT_STORED
    right = labels == predicted
    if int(right.sum()) != member.run.scores[part].correct:
        return Reason.MISMATCH
    data = member.run.data
    return Answers(data.data_hash, data.split_hash, data.parts_hash.get(part), labels, right)


def _obstacle(a: Answers, b: Answers) -> Reason | None:
    """Returns why two networks cannot be compared image by image; None if they were scored on the same images.

    Equal labels are not enough: if images are sorted by class, all stratified splits have the same labels.
    """
    same_part = a.split == b.split or (a.part is not None and a.part == b.part)
    same_images = a.data == b.data and same_part and np.array_equal(a.labels, b.labels)
    return None if same_images else Reason.OTHER_IMAGES
