"""Reference values: statsmodels 0.14 (wilson, holm) and scipy 1.17 (t), computed apart and pasted here in full."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convoy.stats import Estimate, digits_for, holm, paired_t, t_interval, wilson

EXACT = {"rel": 1e-12, "abs": 1e-12}
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
def test_wilson_holds_the_share_and_stays_within_0_and_1(pair):
    estimate = wilson(*pair)
    assert 0 <= estimate.low <= estimate.mean <= estimate.high <= 1


@given(st.integers(1, 10**6).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_of_the_errors_mirrors_that_of_the_hits(pair):
    correct, n = pair
    hits, errors = wilson(correct, n), wilson(n - correct, n)
    assert hits.low == pytest.approx(1 - errors.high, abs=1e-9)


@pytest.mark.parametrize(("correct", "n"), [(3, 2), (-1, 2), (0, 0)])
def test_wilson_refuses_what_is_no_proportion(correct, n):
    with pytest.raises(ValueError, match="is no proportion"):
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
def test_t_interval_refuses_what_has_no_mean(sample):
    with pytest.raises(ValueError, match="needs finite values"):
        t_interval(sample)


@given(st.lists(values, min_size=2, max_size=20), values)
def test_t_interval_moves_with_its_values(sample, shift):
    here, there = t_interval(sample), t_interval([value + shift for value in sample])
    assert there.low == pytest.approx(here.low + shift, abs=1e-6)
    assert there.high == pytest.approx(here.high + shift, abs=1e-6)


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
def test_paired_t_rejects_exactly_where_its_interval_leaves_out_zero(pairs):
    a, b = zip(*pairs, strict=True)
    (difference, p), (mirrored, same_p) = paired_t(a, b), paired_t(b, a)
    assert p == pytest.approx(same_p)
    assert mirrored.mean == pytest.approx(-difference.mean)
    if abs(p - 0.05) > 1e-6:
        assert (p < 0.05) == (not difference.low <= 0 <= difference.high)


def test_differences_equal_to_the_grain_do_not_prove_without_bound():
    p = paired_t([0.9912, 0.9903], [0.9902, 0.9893], step=1e-4).p
    assert 0.01 < p < 0.05


def test_values_without_any_difference_have_p_1():
    assert paired_t([0.5, 0.7], [0.5, 0.7]).p == 1.0


@pytest.mark.parametrize(("a", "b"), [([0.9], [0.8]), ([0.9, 0.8], [0.9])])
def test_paired_t_refuses_fewer_than_two_pairs(a, b):
    with pytest.raises(ValueError, match="two pairs or more"):
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
def test_holm_keeps_the_order_and_lies_between_p_and_bonferroni(ps):
    adjusted = holm(ps)
    for p, q in zip(ps, adjusted, strict=True):
        assert p <= q <= min(1.0, p * len(ps))
    by_p = [q for _, q in sorted(zip(ps, adjusted, strict=True))]
    assert by_p == sorted(adjusted)


@given(st.lists(values, min_size=1, max_size=5))
def test_estimate_comes_back_from_json(sample):
    estimate = t_interval(sample)
    assert Estimate.from_json(json.loads(json.dumps(estimate.as_json()))) == estimate


@pytest.mark.parametrize(
    ("estimate", "text"),
    [
        (Estimate(0.9912, 0.0008, 3, 0.9891, 0.9933, "t"), "99.12 ± 0.21 % (n = 3)"),
        (wilson(9821, 10000), "98.21 % (97.93–98.45, 10,000 images)"),
        (t_interval([0.9821]), "98.21 % (n = 1)"),
    ],
)
def test_accuracy_reads_as_percent_with_its_interval(estimate, text):
    assert estimate.text() == text


def test_cost_reads_in_its_own_unit():
    assert (
        Estimate(12345.6, 10.0, 3, 12320.8, 12370.4, "t").text("images/s", digits=0) == "12,346 ± 25 images/s (n = 3)"
    )


@pytest.mark.parametrize(("half_width", "digits"), [(0.21, 1), (0.14, 2), (0.0951, 2), (0.196, 1), (4.2, 0), (12.0, 0)])
def test_uncertainty_decides_the_digits(half_width, digits):
    assert digits_for(half_width) == digits
