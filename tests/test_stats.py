"""Reference values were computed with statsmodels 0.14 (wilson, holm) and scipy 1.17 (t).

McNemar: statsmodels 0.15.0, `mcnemar([[100, only_a], [only_b, 100]], exact=True).pvalue`. No library has the corrected
t test; its values are computed from the definition.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from convoy.stats import (
    Estimate,
    holm,
    mcnemar,
    mcnemar_counts,
    nadeau_bengio,
    nadeau_bengio_test,
    paired_t,
    t_interval,
    welch,
    wilson,
)

EXACT = {"rel": 1e-9, "abs": 1e-9}  # scipy 1.14 has 10 digits of a t quantile, newer ones 14
values = st.floats(-1e3, 1e3, allow_nan=False)
probabilities = st.floats(0, 1)


@pytest.mark.parametrize(
    ("correct", "n", "low", "high"),
    [
        (9821, 10000, 0.9793101084823285, 0.984519640288665),
        (0, 50, 0.0, 0.07134759913335874),
        (50, 50, 0.9286524008666412, 1.0),
        (7, 12, 0.31951131254954973, 0.8067396863412435),
    ],
)
def test_wilson_agrees_with_statsmodels(correct, n, low, high):
    estimate = wilson(correct, n)
    assert (estimate.low, estimate.high) == (pytest.approx(low, **EXACT), pytest.approx(high, **EXACT))


@given(st.integers(1, 10**7).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_interval_contains_the_share_and_is_within_0_and_1(pair):
    estimate = wilson(*pair)
    assert 0 <= estimate.low <= estimate.mean <= estimate.high <= 1


@given(st.integers(1, 10**6).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_intervals_of_errors_and_accuracy_are_mirrored(pair):
    correct, n = pair
    accuracy, errors = wilson(correct, n), wilson(n - correct, n)
    assert accuracy.low == pytest.approx(1 - errors.high, abs=1e-9)


@pytest.mark.parametrize(("correct", "n"), [(3, 2), (-1, 2), (0, 0)])
def test_wilson_rejects_invalid_proportions(correct, n):
    with pytest.raises(ValueError, match="correct of"):
        wilson(correct, n)


@pytest.mark.parametrize(
    ("sample", "sd", "low", "high"),
    [
        ([0.9912, 0.9903, 0.9921], 0.0009000000000000119, 0.9889642760594247, 0.9934357239405754),
        ([0.5, 0.7], 0.14142135623730948, -0.6706204736174691, 1.870620473617469),
        ([12.1, 12.9, 11.8, 12.3, 14.0], 0.8700574693662481, 11.539680963919654, 13.700319036080344),
    ],
)
def test_t_interval_agrees_with_scipy(sample, sd, low, high):
    estimate = t_interval(sample)
    assert estimate.sd == pytest.approx(sd, **EXACT)
    assert (estimate.low, estimate.high) == (pytest.approx(low, **EXACT), pytest.approx(high, **EXACT))


def test_one_value_has_no_interval():
    estimate = t_interval([12.5])
    assert (estimate.sd, estimate.low, estimate.high, estimate.n) == (None, None, None, 1)


@pytest.mark.parametrize("sample", [[], [1.0, math.nan], [math.inf]])
def test_t_interval_rejects_values_without_a_mean(sample):
    with pytest.raises(ValueError, match="finite values"):
        t_interval(sample)


@given(st.lists(values, min_size=2, max_size=20), values)
def test_t_interval_shifts_with_its_values(sample, shift):
    original, shifted = t_interval(sample), t_interval([value + shift for value in sample])
    assert shifted.low == pytest.approx(original.low + shift, abs=1e-6)
    assert shifted.high == pytest.approx(original.high + shift, abs=1e-6)


@pytest.mark.parametrize(
    ("a", "b", "p", "low", "high"),
    [
        (
            [0.9912, 0.9903, 0.9921, 0.9899],
            [0.9821, 0.9830, 0.9817, 0.9840],
            0.0037128981932649094,
            0.005026213688849734,
            0.011323786311150242,
        ),
        ([0.95, 0.93, 0.96], [0.94, 0.95, 0.945], 0.8927887465162178, -0.04535730127792032, 0.04869063461125373),
    ],
)
def test_paired_t_agrees_with_scipy(a, b, p, low, high):
    test = paired_t(a, b)
    assert test.p == pytest.approx(p, **EXACT)
    assert (test.difference.low, test.difference.high) == (pytest.approx(low, **EXACT), pytest.approx(high, **EXACT))


@given(st.lists(st.tuples(values, values), min_size=2, max_size=12))
def test_paired_t_is_significant_exactly_if_its_interval_excludes_zero(pairs):
    a, b = zip(*pairs, strict=True)
    (difference, p), (mirrored, same_p) = paired_t(a, b), paired_t(b, a)
    assert p == pytest.approx(same_p)
    assert mirrored.mean == pytest.approx(-difference.mean)
    if abs(p - 0.05) > 1e-6:
        assert (p < 0.05) == (not difference.low <= 0 <= difference.high)


def test_p_of_equal_differences_is_limited_by_the_resolution():
    p = paired_t([0.9912, 0.9903], [0.9902, 0.9893], step=1e-4).p
    assert 0.01 < p < 0.05


def test_equal_values_have_p_1():
    assert paired_t([0.5, 0.7], [0.5, 0.7]).p == 1.0


@pytest.mark.parametrize(("a", "b"), [([0.9], [0.8]), ([0.9, 0.8], [0.9])])
def test_paired_t_rejects_fewer_than_two_pairs(a, b):
    with pytest.raises(ValueError, match="at least two pairs"):
        paired_t(a, b)


@pytest.mark.parametrize(
    ("ps", "adjusted"),
    [
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),
        ([0.5, 0.9, 0.02], [1.0, 1.0, 0.06]),
        ([0.2], [0.2]),
        ([], []),
    ],
)
def test_holm_agrees_with_statsmodels(ps, adjusted):
    assert holm(ps) == pytest.approx(adjusted, **EXACT)


@given(st.lists(probabilities, max_size=20))
def test_holm_preserves_the_order_and_is_between_p_and_bonferroni(ps):
    adjusted = holm(ps)
    for p, q in zip(ps, adjusted, strict=True):
        assert p <= q <= min(1.0, p * len(ps))
    by_p = [q for _, q in sorted(zip(ps, adjusted, strict=True))]
    assert by_p == sorted(adjusted)


@pytest.mark.parametrize(
    ("only_a", "only_b", "p"),
    [
        (10, 3, 0.09228515625),
        (0, 7, 0.015625),
        (25, 25, 1.0),
        (139, 122, 0.32199452998210293),
        (1200, 1081, 0.013467650769155676),
        (0, 0, 1.0),
    ],
)
def test_exact_mcnemar_agrees_with_statsmodels(only_a, only_b, p):
    assert mcnemar_counts(only_a, only_b, 10_000).p == pytest.approx(p, **EXACT)


@given(st.integers(0, 300), st.integers(0, 300))
def test_exact_mcnemar_is_the_sum_of_the_two_tails(only_a, only_b):
    both = only_a + only_b
    tail = sum(math.comb(both, k) for k in range(min(only_a, only_b) + 1)) / 2**both
    assert mcnemar_counts(only_a, only_b, 600).p == pytest.approx(min(1.0, 2 * tail), rel=1e-9)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40))
def test_mcnemar_of_images_agrees_with_counts_and_is_antisymmetric(pairs):
    a, b = (np.array(correct) for correct in zip(*pairs, strict=True))
    test, mirrored = mcnemar(a, b), mcnemar(b, a)
    assert test == mcnemar_counts(int((a > b).sum()), int((b > a).sum()), len(a))
    assert test.difference.mean == pytest.approx(a.mean() - b.mean())
    assert (mirrored.p, mirrored.difference.low) == (test.p, pytest.approx(-test.difference.high))


def test_mcnemar_has_the_interval_of_bonett_and_price():
    """By hand: shares 13/102 and 4/102, their difference 9/102, variance ((17 / 102) - (9 / 102)^2) / 102."""
    difference = mcnemar_counts(12, 3, 100).difference
    half = 1.959963984540054 * math.sqrt((17 / 102 - (9 / 102) ** 2) / 102)
    assert difference.mean == pytest.approx(0.09)
    assert (difference.low, difference.high) == (pytest.approx(9 / 102 - half), pytest.approx(9 / 102 + half))


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (np.ones(3), np.ones(3, bool), "two boolean arrays"),
        (np.ones(3, bool), np.ones(2, bool), r"got shapes \(3,\) and \(2,\)"),
        (np.ones((2, 2), bool), np.ones((2, 2), bool), "the same images twice"),
        (np.ones(0, bool), np.ones(0, bool), "counts"),
    ],
)
def test_mcnemar_rejects_arrays_that_are_not_booleans_of_the_same_images(a, b, message):
    with pytest.raises(ValueError, match=message):
        mcnemar(a, b)


def test_mcnemar_rejects_more_differences_than_images():
    with pytest.raises(ValueError, match="7 and 5 of 10"):
        mcnemar_counts(7, 5, 10)


def test_corrected_interval_is_wider_than_the_t_interval():
    """Ten folds: sqrt(1/10 + 1/9) instead of sqrt(1/10)."""
    scores = [0.981, 0.979, 0.984, 0.977, 0.980, 0.983, 0.978, 0.982, 0.979, 0.985]
    plain, corrected = t_interval(scores), nadeau_bengio(scores, 54_000, 6_000)
    assert (corrected.mean, corrected.sd, corrected.n) == (plain.mean, plain.sd, 10)
    assert corrected.half_width / plain.half_width == pytest.approx(math.sqrt(1 + 10 / 9), **EXACT)


@given(st.lists(st.tuples(values, values), min_size=2, max_size=12))
def test_corrected_test_is_significant_exactly_if_its_interval_excludes_zero(pairs):
    a, b = zip(*pairs, strict=True)
    difference, p = nadeau_bengio_test(a, b, 90, 10)
    if abs(p - 0.05) > 1e-6:
        assert (p < 0.05) == (not difference.low <= 0 <= difference.high)


def test_corrected_test_agrees_with_the_t_distribution_of_scipy():
    a, b = [0.91, 0.93, 0.90, 0.94, 0.92], [0.90, 0.91, 0.91, 0.92, 0.90]
    differences = np.subtract(a, b)
    t = differences.mean() / math.sqrt(differences.var(ddof=1) * (1 / 5 + 1 / 4))
    assert nadeau_bengio_test(a, b, 80, 20).p == pytest.approx(2 * scipy_stats.t.sf(t, 4), **EXACT)


@pytest.mark.parametrize(
    ("scores", "n_train", "n_test", "message"),
    [
        ([0.9], 90, 10, "at least two values"),
        ([0.9, math.nan, 0.8], 90, 10, "finite values"),
        ([0.9, 0.8], 0, 10, "n_train > 0"),
        ([0.9, 0.8], 90, -1, "n_train > 0"),
    ],
)
def test_corrected_interval_rejects_invalid_folds(scores, n_train, n_test, message):
    with pytest.raises(ValueError, match=message):
        nadeau_bengio(scores, n_train, n_test)


def test_corrected_test_rejects_unequal_numbers_of_folds():
    with pytest.raises(ValueError, match="2 and 3 values"):
        nadeau_bengio_test([0.9, 0.8], [0.9, 0.8, 0.7], 90, 10)


def test_welch_agrees_with_scipy_without_overlap() -> None:
    a, b = [0.91, 0.93, 0.90, 0.95], [0.90, 0.88, 0.91]
    theirs = scipy_stats.ttest_ind(a, b, equal_var=False)

    ours = welch(a, b)

    assert ours.p == pytest.approx(theirs.pvalue, **EXACT)
    assert (ours.difference.low, ours.difference.high) == pytest.approx(theirs.confidence_interval(), **EXACT)


def test_welch_interval_over_folds_is_wider_because_of_their_overlap() -> None:
    a, b = [0.91, 0.93, 0.90, 0.95, 0.92], [0.90, 0.88, 0.91, 0.89, 0.93]
    plain, corrected = welch(a, b).difference, welch(a, b, overlap=1 / 4).difference

    assert (corrected.half_width or 0) == pytest.approx((plain.half_width or 0) * math.sqrt((1 / 5 + 1 / 4) / (1 / 5)))
    assert corrected.interval == "corrected_t"


def test_tests_of_equal_folds_use_the_standard_deviation_of_rounding() -> None:
    a, b, step = [0.92] * 5, [0.90] * 5, 0.01

    paired, unpaired = nadeau_bengio_test(a, b, 80, 20, step=step), welch(a, b, overlap=1 / 4, step=step)

    error = step / math.sqrt(6) * math.sqrt(1 / 5 + 1 / 4)
    assert paired.p == pytest.approx(2 * scipy_stats.t.sf(0.02 / error, 4), **EXACT)
    assert unpaired.p == pytest.approx(2 * scipy_stats.t.sf(0.02 / error, 8), **EXACT)
    assert (paired.difference.half_width or 0) == pytest.approx(scipy_stats.t.ppf(0.975, 4) * error, **EXACT)


def test_welch_needs_two_values_on_each_side() -> None:
    with pytest.raises(ValueError, match="at least two values .*1 and 2"):
        welch([0.9], [0.8, 0.9])


@pytest.mark.parametrize(
    ("estimate", "text"),
    [
        (Estimate(0.9912, 0.0008, 3, 0.9891, 0.9933, "t"), "99.12 ± 0.21 % (n = 3)"),
        (wilson(9821, 10000), "98.21 % (97.93–98.45, 10,000 images)"),
        (t_interval([0.9821]), "98.21 % (n = 1)"),
        (Estimate(0.9912, 0.0008, 10, 0.9891, 0.9933, "corrected_t"), "99.12 ± 0.21 % (n = 10 folds)"),
        (Estimate(0.0017, None, 10_000, -0.0002, 0.0036, "bonett_price"), "0.17 % (−0.02 to 0.36, 10,000 images)"),
    ],
)
def test_accuracy_is_formatted_in_percent_with_its_interval(estimate, text):
    assert estimate.text() == text


@given(st.lists(st.integers(-300, 300).map(lambda n: n / 100), min_size=1, max_size=5))
def test_negating_a_difference_inverts_its_ratio(logarithms):
    a_minus_b, b_minus_a = t_interval(logarithms), t_interval([-value for value in logarithms])
    assert (-a_minus_b).span == pytest.approx(b_minus_a.span)
    assert a_minus_b.exp().inverse().span == pytest.approx(b_minus_a.exp().span)
    assert a_minus_b.excludes(0) == a_minus_b.exp().excludes(1) == (-a_minus_b).excludes(0)
    mean, ends = a_minus_b.mean, (a_minus_b.low, a_minus_b.high)
    assert a_minus_b.span == ((mean, mean) if len(logarithms) == 1 else ends)


def test_cost_is_formatted_with_its_unit():
    assert (
        Estimate(12345.6, 10.0, 3, 12320.8, 12370.4, "t").text("images/s", digits=0) == "12,346 ± 25 images/s (n = 3)"
    )


@pytest.mark.parametrize(
    ("estimate", "text"),
    [
        (Estimate(0.96, 0.03, 2, 0.69, 1.23, "t"), "96.00 % (69.00–100.00, n = 2)"),
        (Estimate(0.04, 0.03, 2, -0.23, 0.31, "corrected_t"), "4.00 % (0.00–31.00, n = 2 folds)"),
    ],
)
def test_interval_of_an_accuracy_is_clipped_to_0_and_100_percent(estimate, text):
    assert estimate.text() == text


def test_equal_folds_have_the_interval_of_rounding():
    estimate = nadeau_bengio([0.5, 0.5], 30, 30, step=1 / 30)
    assert estimate.sd == 0
    assert estimate.half_width == pytest.approx(12.7062 * (1 / 30) / math.sqrt(12) * math.sqrt(1.5), rel=1e-4)


@pytest.mark.parametrize("seeds", [2, 3, 10])
def test_equal_accuracies_have_the_interval_of_rounding(seeds):
    step = 1 / 10_000
    estimate = t_interval([0.9821] * seeds, step=step)
    quantile = scipy_stats.t.ppf(0.975, seeds - 1)
    assert estimate.sd == 0
    assert estimate.half_width == pytest.approx(quantile * step / math.sqrt(12 * seeds), rel=1e-9)
    assert "± 0.00 " not in estimate.text()


def test_resolution_does_not_change_the_interval_of_a_larger_spread():
    sample = [0.9912, 0.9903, 0.9921]
    assert t_interval(sample, step=1 / 10_000) == t_interval(sample)


@pytest.mark.parametrize("digits", [1, 2, 3])
def test_numbers_that_differ_by_a_rounding_error_have_the_same_text(digits):
    pooled = wilson(19_185, 20_000)
    of_folds = t_interval([3846 / 4000, 3860 / 4000, 3870 / 4000, 3804 / 4000, 3805 / 4000])
    assert pooled.mean != of_folds.mean
    assert pooled.parts(scale=100, digits=digits)[0] == of_folds.parts(scale=100, digits=digits)[0]
