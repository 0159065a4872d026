"""Coverage of the intervals and error rates of the tests in simulations with fixed seeds."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np
import pytest

from convoy.stats import (
    holm,
    is_significant,
    mcnemar_counts,
    nadeau_bengio_test,
    paired_t,
    t_interval,
    wilson,
)

DATA_SETS, IMAGES, FEATURES = 3000, 300, 5  # 300 images as in the simulations of Dietterich (1998)


def rate(outcomes: Iterator[bool]) -> float:
    return float(np.mean(list(outcomes)))


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_t_interval_covers_the_mean_of_all_seeds_in_95_percent(seeds):
    samples = np.random.default_rng(seeds).normal(0.99, 0.001, (5_000, seeds)).tolist()
    assert 0.94 <= rate(e.low <= 0.99 <= e.high for e in map(t_interval, samples)) <= 0.96


@pytest.mark.parametrize("share", [0.5, 0.9, 0.99])
def test_wilson_interval_covers_the_share_in_95_percent(share):
    corrects = np.random.default_rng(1).binomial(2000, share, 5_000).tolist()
    assert 0.94 <= rate(e.low <= share <= e.high for e in (wilson(correct, 2000) for correct in corrects)) <= 0.96


def test_bonett_price_interval_covers_the_difference_in_95_percent():
    shares = [0.012, 0.008, 0.98]  # only a, only b, both or neither
    counts = np.random.default_rng(4).multinomial(2000, shares, 5_000).tolist()
    estimates = (mcnemar_counts(only_a, only_b, 2000).difference for only_a, only_b, _ in counts)
    assert 0.94 <= rate(e.low <= 0.004 <= e.high for e in estimates) <= 0.965


@pytest.mark.parametrize("differing", [0.002, 0.02, 0.2])
def test_error_rate_of_exact_mcnemar_is_at_most_5_percent(differing):
    counts = np.random.default_rng(5).multinomial(2000, [differing / 2, differing / 2, 1 - differing], 5_000).tolist()
    assert rate(is_significant(mcnemar_counts(a, b, 2000).p) for a, b, _ in counts) <= 0.05


def test_family_wise_error_rate_of_holm_over_ten_pairs_is_at_most_5_percent():
    """Five networks classify an image correctly with the same probability, which depends only on the image."""
    random = np.random.default_rng(6)
    corrected, uncorrected = [], []
    for _ in range(1000):
        probability = random.beta(9, 1, 400)  # (images,)
        correct = random.random((5, 400)) < probability
        only = correct.astype(int) @ (~correct).T.astype(int)  # (5, 5): images that only the row's network gets right
        ps = [mcnemar_counts(int(only[a, b]), int(only[b, a]), 400).p for a, b in combinations(range(5), 2)]
        corrected.append(any(map(is_significant, holm(ps))))
        uncorrected.append(any(map(is_significant, ps)))
    assert np.mean(corrected) <= 0.05 < np.mean(uncorrected)


@pytest.mark.parametrize("seeds", [2, 3, 10])
def test_error_rate_of_paired_t_is_5_percent(seeds):
    """Scores of two equally good models, with an effect of the seed that is the same for both."""
    random = np.random.default_rng(7)
    shared = random.normal(0.98, 0.002, (5_000, 1, seeds))
    scores = (shared + random.normal(0, 0.001, (5_000, 2, seeds))).tolist()
    assert 0.035 <= rate(is_significant(paired_t(a, b).p) for a, b in scores) <= 0.065


def accuracies(splits: np.ndarray) -> np.ndarray:
    """Accuracies [data sets, 2, splits] of two nearest-mean classifiers with different features of one distribution.

    By symmetry they are equally good. `splits` [splits, images] is True for training images; all data sets share it.
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


def test_error_rate_is_5_percent_with_nadeau_bengio_and_higher_with_the_t_test():
    """In the setting of the paper: 15 random splits, a tenth of the images for testing.

    Over 5 or 10 folds of one cross-validation, whose scored parts are disjoint, its error rate is 1 to 2 %.
    """
    scores = accuracies(random_splits(15, IMAGES // 10))
    corrected = rate(is_significant(nadeau_bengio_test(a, b, 0.9 * IMAGES, 0.1 * IMAGES).p) for a, b in scores)
    plain = rate(is_significant(paired_t(a, b).p) for a, b in scores[:1000].tolist())
    assert 0.035 <= corrected <= 0.065
    assert plain > 0.15
