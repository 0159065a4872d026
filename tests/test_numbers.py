from __future__ import annotations

import pytest

from convoy.text.numbers import decimals_for, fixed, interval, significant


@pytest.mark.parametrize(
    ("value", "text", "signed"),
    [
        (1234.5, "1,234.50", "+1,234.50"),
        (-0.394, "−0.39", "−0.39"),
        (-0.004, "0.00", "0.00"),
        (0.004, "0.00", "0.00"),
        (95.92499999999999, "95.92", "+95.92"),
    ],
)
def test_a_number_has_a_minus_sign_and_zero_has_none(value: float, text: str, signed: str) -> None:
    assert (fixed(value, 2), fixed(value, 2, signed=True)) == (text, signed)


def test_significant_digits_have_the_same_minus_sign() -> None:
    assert [significant(value) for value in (0.0012345, -12.345, 0.0, -0.0)] == ["0.00123", "−12.3", "0", "0"]


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [(97.92, 98.44, "97.92–98.44"), (-0.3, 1.2, "−0.30 to 1.20"), (-0.001, 1.2, "0.00–1.20")],
)
def test_an_interval_with_a_minus_sign_has_no_dash(low: float, high: float, text: str) -> None:
    assert interval(low, high, 2) == text


@pytest.mark.parametrize(("half_width", "digits"), [(0.21, 1), (0.14, 2), (0.0951, 2), (0.196, 1), (4.2, 0), (12.0, 0)])
def test_number_of_decimals_depends_on_the_half_width(half_width: float, digits: int) -> None:
    assert decimals_for(half_width) == digits
