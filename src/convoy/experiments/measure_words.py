"""Measures as text: their units, and their numbers in tables, figures and sentences."""

from __future__ import annotations

from typing import NamedTuple

from convoy.experiments.measures import MEASURES, Kind
from convoy.reporting.quantities import compact, plain
from convoy.stats import Estimate

Value = Estimate | float  # a counted number has no interval


class Unit(NamedTuple):
    """Values are multiplied by `scale`."""

    scale: float
    of_value: str
    of_difference: str


NO_UNIT = Unit(1.0, "", "")
UNITS: dict[Kind, Unit] = {
    "fraction": Unit(100.0, "%", "points"),
    "points": Unit(100.0, "points", "points"),
    "seconds": Unit(1.0, "s", "s"),
    "epochs": Unit(1.0, "", "epochs"),
}


class Shown(NamedTuple):
    name: str  # of the measure, "test_accuracy"
    words: str  # within a sentence
    kind: Kind
    exact: bool = False  # counted: has no interval
    of_machine: bool = False  # only ratios can be compared

    @property
    def title(self) -> str:
        return f"{self.words[:1].upper()}{self.words[1:]}"

    @property
    def unit(self) -> Unit:
        return UNITS.get(self.kind, NO_UNIT)

    @property
    def is_accuracy(self) -> bool:
        return self.kind == "fraction"

    def heading(self, *words: str) -> str:
        """Words and the unit of a value, for the head of a column: "measured, %"."""
        return ", ".join(filter(None, (*words, self.unit.of_value)))

    def number(self, value: float) -> str:
        if self.name == "parameters":
            return f"{value:,.0f}"
        if self.kind == "epochs":
            return f"{value:,.1f}".removesuffix(".0")
        if self.exact:
            return f"{'-' if value < 0 else ''}{compact(abs(value))}"
        value *= self.unit.scale
        return f"{value:,.2f}" if self.unit.of_difference == "points" else plain(value)

    def parts(self, value: Value | None, *, signed: bool = False) -> tuple[str, str]:
        """A number, and its interval if it is an estimate; ("", "") if not measured."""
        if value is None:
            return "", ""
        mean = mean_of(value)
        number, interval = self.number(mean), ""
        if isinstance(value, Estimate) and not self.exact:
            decimals = len(number.partition(".")[2])
            number, interval = value.parts(scale=self.unit.scale, digits=decimals)
        if signed:
            zero = not number.strip("-0.,")
            number = number.lstrip("-") if zero else f"{'+' if mean > 0 else '−'}{number.lstrip('-')}"
        return number, interval

    def unsigned_difference(self, value: float) -> str:
        """A difference with its unit, without sign: "0.43 points"."""
        return f"{self.number(abs(value))} {self.unit.of_difference}".rstrip()


def shown(name: str) -> Shown:
    """A measure of single runs."""
    measure = MEASURES[name]
    return Shown(name, measure.words, measure.kind, measure.exact, measure.of_machine)


def mean_of(value: Value) -> float:
    return value.mean if isinstance(value, Estimate) else value
