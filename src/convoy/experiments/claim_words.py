"""The sentence for a claim's verdict: the measurement of both sides, their difference, and the claim."""

from __future__ import annotations

from typing import NamedTuple

from convoy.experiments.measures import Kind
from convoy.prediction import Verdict
from convoy.stats import Estimate, digits_for

Found = Estimate | float | None


class Facts(NamedTuple):
    measure: str  # its words
    kind: Kind
    sides: tuple[tuple[str, Found], ...]  # label and what was measured
    quantity: str  # "difference", "ratio", or "value" without a side b
    result: Found  # of the quantity
    relation: str
    limit: float
    margin: float
    withheld: str  # why the claim was not tried
    lacking: tuple[str, ...]  # labels of sides with a seed that was not measured
    why_none: str  # why a run may lack the measure; "" if it was not scored
    excluded: int  # seeds left out because their runs were measured on different machines


# Scale of a value, its unit, and the unit of a difference.
UNITS: dict[Kind, tuple[float, str, str]] = {
    "fraction": (100.0, " %", " points"),
    "points": (100.0, " points", " points"),
    "seconds": (1.0, " s", " s"),
    "epochs": (1.0, " epochs", " epochs"),
}


def words(facts: Facts, verdict: Verdict) -> str:
    if facts.withheld:
        return f"Not tried at this scale: {facts.withheld}"
    measured = ", ".join(f"{label} {_value(found, facts.kind)}" for label, found in facts.sides if found is not None)
    left_out = "".join(f"; {why}" for why in _left_out(facts))
    if facts.result is None:
        return f"Nothing to compare of {facts.measure}{f': {measured}' if measured else ''}{left_out}"
    compared = f"; {facts.quantity} {_quantity(facts)}" if facts.quantity != "value" else ""
    measure = f"{facts.measure[:1].upper()}{facts.measure[1:]}"
    sentence = f"{measure}: {measured}{compared} ({_basis(facts.result)}); claimed: {_claimed(facts)}{left_out}"
    if verdict is not Verdict.INCONCLUSIVE:
        return sentence
    without = isinstance(facts.result, Estimate) and facts.result.low is None
    return f"{sentence}. {'One seed has no interval' if without else 'The 95 % interval contains that limit'}"


def _left_out(facts: Facts) -> list[str]:
    """Why some seeds were left out."""
    reasons = []
    if facts.lacking:
        lack = "lack" if len(facts.lacking) > 1 else "lacks"
        why = f" ({facts.why_none})" if facts.why_none else ""
        reasons.append(f"{' and '.join(facts.lacking)} {lack} it for some seed{why}")
    if facts.excluded:
        seeds = f"{facts.excluded} seed{'s' * (facts.excluded > 1)}"
        reasons.append(f"{seeds} left out: measured on different machines or with different thread counts")
    return reasons


def _value(found: Estimate | float, kind: Kind) -> str:
    scale, unit, _ = UNITS.get(kind, (1.0, "", ""))
    return f"{_number(found, scale, kind)}{unit}"


def _quantity(facts: Facts) -> str:
    assert facts.result is not None
    if facts.quantity == "ratio":
        return _number(facts.result, 1.0, "rate")
    scale, _, unit = UNITS.get(facts.kind, (1.0, "", ""))
    return f"{_number(facts.result, scale, facts.kind)}{unit}"


def _number(found: Estimate | float, scale: float, kind: Kind) -> str:
    if not isinstance(found, Estimate):
        return _plain(scale * found, kind)
    if found.low is None or found.high is None:
        return _plain(scale * found.mean, kind)
    if kind == "rate" or found.interval == "wilson":
        mean, low, high = (_plain(scale * value, kind) for value in (found.mean, found.low, found.high))
        return f"{mean} ({low} to {high})"
    digits = digits_for(scale * (found.high - found.mean))
    digits = max(2, digits) if kind in ("fraction", "points") else digits
    number, interval = found.parts(scale=scale, digits=digits)
    return f"{number} {interval}"


def _plain(value: float, kind: Kind) -> str:
    if kind == "count":
        return f"{value:,.0f}"
    return f"{value:.2f}" if kind in ("fraction", "points") else f"{value:.3g}"


def _basis(result: Estimate | float | None) -> str:
    if not isinstance(result, Estimate):
        return "counted"
    return f"n = {result.n} seeds" if result.n > 1 else "one seed"


def _claimed(facts: Facts) -> str:
    scale, unit, difference_unit = UNITS.get(facts.kind, (1.0, "", ""))
    scale = 1.0 if facts.quantity == "ratio" else scale
    unit = {"ratio": " times", "value": unit, "difference": difference_unit}[facts.quantity]
    low, high = (f"{scale * end:.6g}" for end in (facts.limit - facts.margin, facts.limit + facts.margin))
    if facts.relation == "about":
        return f"{low} to {high}{unit}"
    return f"more than {high}{unit}" if facts.relation == "above" else f"less than {low}{unit}"
