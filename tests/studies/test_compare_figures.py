"""The numbers behind the figures of a comparison."""

from __future__ import annotations

from dataclasses import replace

import pytest

from convoy.reporting.palette import Look
from convoy.stats import t_interval
from convoy.studies.compare.figures import (
    accuracy_caption,
    accuracy_rows,
    cost_bars,
    cost_caption,
    cost_kinds,
    cost_numbers,
)
from convoy.studies.compare.finding import CompareFinding, Cost, ModelSummary

SECONDS, PARAMETERS, FLOPS, _ = cost_kinds()


def row(label, accuracies, seconds, parameters, flops=None):
    cost = Cost(t_interval([seconds, seconds]), None, None, None, parameters, flops, None)
    return ModelSummary(label, (1, 2), (), t_interval(accuracies), cost)


def finding(*rows):
    return CompareFinding("test", rows, (), (), (), None, False, (), (), (), None, 0)


ROWS = (
    row("low", [0.90, 0.92], 5.0, 100, 700),
    row("high", [0.97, 0.99], 50.0, 900, 6300),
    row("slow", [0.95, 0.95], 90.0, 500, 3500),
)
EQUAL = finding(*(replace(each, cost=replace(each.cost, parameters=1000)) for each in ROWS))


def test_bars_are_sorted_by_mean_in_percent():
    by_seed = {"low": [0.90, 0.92], "high": [0.97, 0.99], "slow": [0.95, 0.95]}
    rows = accuracy_rows(finding(*ROWS), by_seed, Look(tuple(by_seed))).rows
    assert [row.name for row in rows] == ["high", "slow", "low"]
    assert rows[0].values[0].value == pytest.approx(98)
    assert rows[2].values[0].points == pytest.approx((90, 92))


def test_seeds_that_diverged_are_crossed():
    found = finding(replace(ROWS[0], diverged=(2,)), ROWS[1])
    high, low = accuracy_rows(found, {"low": [0.90, 0.92], "high": [0.97, 0.99]}, Look(("low", "high"))).rows
    assert (high.values[0].diverged, low.values[0].diverged) == ((), (92.0,))
    assert "diverged" in accuracy_caption(found)
    assert "diverged" not in accuracy_caption(finding(*ROWS))


def test_cost_numbers_have_the_pareto_front():
    assert cost_numbers(finding(*ROWS), SECONDS).pareto_front == ("low", "high")
    assert cost_numbers(finding(*ROWS), PARAMETERS).pareto_front == ("low", "slow", "high")


def test_equal_costs_have_no_pareto_front():
    assert "all models: Parameters" in cost_caption([cost_numbers(EQUAL, PARAMETERS)])


def test_costs_with_the_same_front_share_a_sentence():
    panels = [cost_numbers(finding(*ROWS), cost) for cost in (PARAMETERS, FLOPS)]
    assert cost_caption(panels).count("low; slow; high") == 1


def test_cost_bars_are_sorted_by_accuracy_and_have_intervals():
    numbers = cost_bars(finding(*ROWS), SECONDS)
    assert (numbers.labels, numbers.values) == (("high", "slow", "low"), (50.0, 90.0, 5.0))
    assert numbers.intervals[0] == pytest.approx((50.0, 50.0))


def test_cost_of_a_single_model_has_no_figure():
    assert cost_numbers(finding(ROWS[0]), PARAMETERS) is cost_bars(finding(ROWS[0]), PARAMETERS) is None
