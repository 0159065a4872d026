"""Two models on the same images, image by image: exact McNemar tests between networks trained with the same seed.

The test asks whether two trained networks differ on images such as these; it knows nothing of other seeds, as the
paired t test over seeds knows nothing of other images. With several seeds, each common seed is a test of its own. A
majority vote over the seeds would test ensembles, which nobody asked about; adding up the seeds' counts would count an
image several times, and what is hard for one seed is hard for the next. All tests, over pairs and seeds, are corrected
together (Holm 1979): the chance that any of them finds a difference where none is stays at 5 % or below.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from convoy.runs import Member
from convoy.stats import distinguishable, holm, mcnemar

UNKEPT = "what they took each image for was not kept"
UNLIKE = "the answers that were kept do not give their accuracy"
REDRAWN = "its validation images were others in each epoch"
OTHER_IMAGES = "they were not scored on the same images"
UNKNOWN_IMAGES = "which images an older run was scored on was not kept, and the splits differ"


class Answers(NamedTuple):
    data: str  # hash of all images
    split: str
    part: str | None  # hash of which of the images the part has; None in runs that did not keep it
    labels: np.ndarray  # int64 [N]
    right: np.ndarray  # bool [N]


def compare_images(groups: Mapping[str, Sequence[Member]], part: str) -> tuple[list[dict[str, Any]], list[str]]:
    """A test for every two labels and each seed that both have, and sentences that say why some are missing."""
    answers: defaultdict[str, dict[int, Answers]] = defaultdict(dict)
    missing: defaultdict[str, dict[str, None]] = defaultdict(dict)  # reason to labels, in their order
    for label, group in groups.items():
        for member in group:
            read = _answers(member, part)
            if isinstance(read, str):
                missing[read][label] = None
            else:
                answers[label][member.seed] = read
    caveats = [f"No McNemar test of {', '.join(labels)}: {reason}" for reason, labels in missing.items()]
    tests: list[dict[str, Any]] = []
    untested: defaultdict[str, dict[str, None]] = defaultdict(dict)  # reason to pairs, in their order
    for a, b in combinations(groups, 2):
        for seed in sorted(answers[a].keys() & answers[b].keys()):
            first, second = answers[a][seed], answers[b][seed]
            if (reason := _apart(first, second)) is None:
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
    """Or the reason why there are none."""
    if part == "validation" and "resplit_every_epoch" in member.run.recipe.protocol.faults:
        return REDRAWN
    try:
        labels, predicted = member.run.predicted(part)
    except ValueError:
        return UNKEPT
    right = labels == predicted
    if int(right.sum()) != member.run.scores[part]["correct"]:
        return UNLIKE
    data = member.run.data
    return Answers(data["data_hash"], data["split_hash"], data.get("parts_hash", {}).get(part), labels, right)


def _apart(a: Answers, b: Answers) -> str | None:
    """Why two networks cannot be held against each other image by image; None where they were given the same images.

    Labels alone do not tell: of images sorted by class, every stratified split has the same ones.
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
    told = {"only_a": test.only_a, "only_b": test.only_b, "difference": test.difference.as_json(), "p": test.p}
    return {"a": a, "b": b, "seed": seed, **told}
