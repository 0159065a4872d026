"""Coverage of the intervals and error rates of the tests in simulations with fixed seeds."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np
import pytest

from convoy.stats import (
    distinguishable,
    holm,
    mcnemar_counts,
    nadeau_bengio_test,
    paired_t,
    t_interval,
    wilson,
)

DATA_SETS, IMAGES, FEATURES = 3000, 300, 5  # 300 images: as in Dietterich's simulations


def rate(outcomes: Iterator[bool]) -> float:
    return float(np.mean(list(outcomes)))


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_t_interval_holds_the_mean_of_all_seeds_95_times_of_100(seeds):
    samples = np.random.default_rng(seeds).normal(0.99, 0.001, (10_000, seeds)).tolist()
    assert 0.94 <= rate(e.low <= 0.99 <= e.high for e in map(t_interval, samples)) <= 0.96


@pytest.mark.parametrize("share", [0.5, 0.9, 0.99])
def test_wilson_holds_the_share_95_times_of_100(share):
    corrects = np.random.default_rng(1).binomial(2000, share, 10_000).tolist()
    assert 0.94 <= rate(e.low <= share <= e.high for e in (wilson(correct, 2000) for correct in corrects)) <= 0.96


def test_the_interval_of_a_paired_difference_holds_it_95_times_of_100():
    shares = [0.012, 0.008, 0.98]  # only a, only b, both or neither
    counts = np.random.default_rng(4).multinomial(2000, shares, 10_000).tolist()
    estimates = (mcnemar_counts(only_a, only_b, 2000).difference for only_a, only_b, _ in counts)
    assert 0.94 <= rate(e.low <= 0.004 <= e.high for e in estimates) <= 0.965


@pytest.mark.parametrize("differing", [0.002, 0.02, 0.2])
def test_exact_mcnemar_errs_at_most_5_times_of_100(differing):
    counts = np.random.default_rng(5).multinomial(2000, [differing / 2, differing / 2, 1 - differing], 10_000).tolist()
    assert rate(distinguishable(mcnemar_counts(a, b, 2000).p) for a, b, _ in counts) <= 0.05


def test_holm_keeps_the_chance_of_any_error_among_ten_pairs_of_equal_models_under_5_of_100():
    """Five networks, each right on an image with the same probability, independently given how hard the image is."""
    random = np.random.default_rng(6)
    alarms, uncorrected = [], []
    for _ in range(1000):
        hard = random.beta(9, 1, 400)  # (images,)
        right = random.random((5, 400)) < hard
        only = right.astype(int) @ (~right).T.astype(int)  # (5, 5): images that row has and column has not
        ps = [mcnemar_counts(int(only[a, b]), int(only[b, a]), 400).p for a, b in combinations(range(5), 2)]
        alarms.append(any(map(distinguishable, holm(ps))))
        uncorrected.append(any(map(distinguishable, ps)))
    assert np.mean(alarms) <= 0.05 < np.mean(uncorrected)


@pytest.mark.parametrize("seeds", [2, 3, 10])
def test_paired_t_errs_5_times_of_100(seeds):
    """Scores of two equal models that share what a seed does to both."""
    random = np.random.default_rng(7)
    shared = random.normal(0.98, 0.002, (10_000, 1, seeds))
    scores = (shared + random.normal(0, 0.001, (10_000, 2, seeds))).tolist()
    assert 0.035 <= rate(distinguishable(paired_t(a, b).p) for a, b in scores) <= 0.065


def accuracies(splits: np.ndarray) -> np.ndarray:
    """[data sets, 2, splits]: two nearest-mean classifiers, each with features of its own of one distribution.

    They are equally good by symmetry, however they are trained. `splits` [splits, images] is true where an image is
    trained on; the images are independent draws, so that all data sets can share it.
    """
    random = np.random.default_rng(8)
    labels = np.arange(IMAGES) % 2
    images = random.normal(size=(DATA_SETS, 2, IMAGES, FEATURES))
    images[..., 0] += labels - 0.5
    weights = [splits * (labels == label) for label in (0, 1)]
    zero, one = ((part / part.sum(1, keepdims=True)) @ images for part in weights)  # (data sets, 2, splits, features)
    nearer_one = np.empty((DATA_SETS, 2, len(splits), IMAGES), dtype=bool)
    offsets = ((one - zero) * (one + zero)).sum(-1, keepdims=True) / 2
    np.greater((one - zero) @ images.swapaxes(-1, -2), offsets, out=nearer_one)
    return ((nearer_one == (labels == 1)) & ~splits).sum(-1) / (~splits).sum(-1)


def random_splits(count: int, test: int) -> np.ndarray:
    random = np.random.default_rng(9)
    return np.array([random.permutation(IMAGES) >= test for _ in range(count)])


def test_nadeau_bengio_errs_5_times_of_100_where_the_plain_t_test_errs_20_times():
    """In the setting of its source: 15 random splits, a tenth of the images to test on.

    Over 5 or 10 folds of one cross-validation, whose scored parts are disjoint, it errs less: 1 to 2 times of 100.
    """
    scores = accuracies(random_splits(15, IMAGES // 10))
    corrected = rate(distinguishable(nadeau_bengio_test(a, b, 0.9 * IMAGES, 0.1 * IMAGES).p) for a, b in scores)
    plain = rate(distinguishable(paired_t(a, b).p) for a, b in scores[:1000].tolist())
    assert 0.035 <= corrected <= 0.065
    assert plain > 0.15
