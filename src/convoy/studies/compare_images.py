"""Exact McNemar tests between networks that were trained with the same seed and scored on the same images.

The test compares two trained networks over images and does not cover other seeds, as the paired t test over seeds does
not cover other images. Each common seed is a separate test: a majority vote over seeds would test ensembles, and adding
the counts of seeds would count an image several times, although errors of seeds are correlated. All tests, over pairs
and seeds, are corrected together (Holm 1979): the probability of any false difference is at most 5 %.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from convoy.recipe.faults import Fault
from convoy.runs import Member
from convoy.stats import distinguishable, holm, mcnemar

UNKEPT = "their predictions were not stored"
UNLIKE = "their stored predictions do not match their accuracy"
REDRAWN = "their validation images differ between epochs"
OTHER_IMAGES = "they were not scored on the same images"
UNKNOWN_IMAGES = "the splits differ, and an older run did not store its images"


class Answers(NamedTuple):
    data: str  # hash of all images
    split: str
    part: str | None  # hash of the images in the part; None if a run did not store it
    labels: np.ndarray  # int64 [N]
    right: np.ndarray  # bool [N]


def compare_images(groups: Mapping[str, Sequence[Member]], part: str) -> tuple[list[dict[str, Any]], list[str]]:
    """A test for each pair of labels and each common seed, and caveats about missing tests."""
    answers: defaultdict[str, dict[int, Answers]] = defaultdict(dict)
    missing: defaultdict[str, dict[str, None]] = defaultdict(dict)  # reason -> labels, in order
    for label, group in groups.items():
        for member in group:
            read = _answers(member, part)
            if isinstance(read, str):
                missing[read][label] = None
            else:
                answers[label][member.seed] = read
    caveats = [f"No McNemar test of {', '.join(labels)}: {reason}" for reason, labels in missing.items()]
    tests: list[dict[str, Any]] = []
    untested: defaultdict[str, dict[str, None]] = defaultdict(dict)  # reason -> pairs, in order
    for a, b in combinations(groups, 2):
        for seed in sorted(answers[a].keys() & answers[b].keys()):
            first, second = answers[a][seed], answers[b][seed]
            if (reason := _difference(first, second)) is None:
                tests.append(_test(a, b, seed, first.right, second.right))
            else:
                untested[reason][f"{a} and {b}"] = None
    for reason, pairs in untested.items():
        more = f" and in {len(pairs) - 1} more pairs" if len(pairs) > 1 else ""
        caveats.append(f"No McNemar test between {next(iter(pairs))}{more}: {reason}")
    for test, adjusted in zip(tests, holm([test["p"] for test in tests]), strict=True):
        test |= {"p_holm": adjusted, "distinguishable": distinguishable(adjusted)}
    return tests, caveats


def _answers(member: Member, part: str) -> Answers | str:
    """The answers, or the reason why they are missing."""
    if part == "validation" and Fault.RESPLIT_EVERY_EPOCH in member.run.recipe.protocol.faults:
        return REDRAWN
    try:
        labels, predicted = member.run.predicted(part)
    except ValueError:
        return UNKEPT
    right = labels == predicted
    if int(right.sum()) != member.run.scores[part].correct:
        return UNLIKE
    data = member.run.data
    return Answers(data.data_hash, data.split_hash, data.parts_hash.get(part), labels, right)


def _difference(a: Answers, b: Answers) -> str | None:
    """Why two networks cannot be compared image by image; None if they were scored on the same images.

    Equal labels are not enough: if images are sorted by class, all stratified splits have the same labels.
    """
    if a.data != b.data or not np.array_equal(a.labels, b.labels):
        return OTHER_IMAGES
    if a.split == b.split:
        return None
    if a.part is None or b.part is None:
        return UNKNOWN_IMAGES
    return None if a.part == b.part else OTHER_IMAGES


def _test(a: str, b: str, seed: int, a_right: np.ndarray, b_right: np.ndarray) -> dict[str, Any]:
    test = mcnemar(a_right, b_right)
    counts = {"only_a": test.only_a, "only_b": test.only_b}
    return {"a": a, "b": b, "seed": seed, **counts, "difference": test.difference.as_json(), "p": test.p}
