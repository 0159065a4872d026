"""What reporting calls a measure, held against the measures themselves."""

from __future__ import annotations

import pytest

from convoy.experiments.measure_words import measure
from convoy.experiments.measures import MEASURES

UNITS = {"fraction": "%", "points": "points", "seconds": "s"}


@pytest.mark.parametrize("name", list(MEASURES))
def test_claims_and_tables_have_the_same_unit_for_a_measure(name):
    assert measure(name).unit == UNITS.get(MEASURES[name].kind, "")


@pytest.mark.parametrize("name", [name for name in MEASURES if MEASURES[name].setting is None])
def test_claims_and_tables_have_the_same_words_for_a_measure(name):
    assert measure(name).phrase == MEASURES[name].words


def test_a_fluctuation_is_shown_in_points():
    assert measure("fluctuation").parts(0.0123, signed=True) == ("+1.23", "")
