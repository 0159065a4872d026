"""A judged claim in words: the measurement of both sides, their difference, and the claim."""

from __future__ import annotations

from convoy.experiments.measure_words import NO_UNIT, UNITS, Value
from convoy.experiments.measures import Kind, find, words_of
from convoy.experiments.reason_words import REASONS
from convoy.experiments.verdicts import Inconclusive, JudgedClaim
from convoy.stats import Estimate, digits_for


def words(claim: JudgedClaim) -> str:
    """The numbers behind the verdict; `verdict` itself is not repeated."""
    if claim.why is Inconclusive.FULL_SIZE_ONLY:
        return f"Not tried at this scale: {claim.full_size_only}"
    kind, measure = find(claim.measure).kind, words_of(claim.measure, claim.settings)
    measured = ", ".join(f"{side.label} {_value(side.value, kind)}" for side in claim.sides if side.value is not None)
    left_out = "".join(f"; {why}" for why in _left_out(claim))
    if claim.result is None:
        sentence = f"Nothing to compare of {measure}{f': {measured}' if measured else ''}{left_out}"
    else:
        compared = "" if claim.quantity == "value" else f"; {claim.quantity} {_quantity(claim, claim.result, kind)}"
        sentence = (
            f"{measure[:1].upper()}{measure[1:]}: {measured}{compared} ({_basis(claim.result)}); "
            f"claimed: {_claimed(claim, kind)}{left_out}"
        )
    if claim.why is Inconclusive.ONE_SEED:
        sentence += ". One seed has no interval"
    if claim.why is Inconclusive.INTERVAL:
        sentence += ". The 95 % interval contains that limit"
    return f"{sentence}; no verdict ({REASONS[claim.withheld]})" if claim.withheld else sentence


def reduced(claim: JudgedClaim, further: str) -> str:
    """The scale of a claim that is not tested at the published one; `further` is what the command changed."""
    if not further or not claim.runs:
        return claim.reduced
    return f"{claim.reduced}; further reduced to {further}" if claim.reduced else f"only {further}"


def _left_out(claim: JudgedClaim) -> list[str]:
    """Why some seeds were left out."""
    reasons = []
    if lacking := [side.label for side in claim.sides if side.lacking and claim.runs]:
        why_none = find(claim.measure).why_none
        lack = "lack" if len(lacking) > 1 else "lacks"
        reasons.append(f"{' and '.join(lacking)} {lack} it for some seed{f' ({why_none})' if why_none else ''}")
    if claim.excluded:
        seeds = f"{claim.excluded} seed{'s' * (claim.excluded > 1)}"
        reasons.append(f"{seeds} left out: measured on different machines or with different thread counts")
    return reasons


def _value(found: Value, kind: Kind) -> str:
    unit = UNITS.get(kind, NO_UNIT)
    return f"{_number(found, unit.scale, kind)} {unit.of_value or unit.of_difference}".rstrip()


def _quantity(claim: JudgedClaim, result: Value, kind: Kind) -> str:
    if claim.quantity == "ratio":
        return _number(result, 1.0, "rate")
    unit = UNITS.get(kind, NO_UNIT)
    return f"{_number(result, unit.scale, kind)} {unit.of_difference}".rstrip()


def _number(found: Value, scale: float, kind: Kind) -> str:
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


def _basis(result: Value) -> str:
    if not isinstance(result, Estimate):
        return "counted"
    return f"n = {result.n} seeds" if result.n > 1 else "one seed"


def _claimed(claim: JudgedClaim, kind: Kind) -> str:
    unit = UNITS.get(kind, NO_UNIT)
    scale = 1.0 if claim.quantity == "ratio" else unit.scale
    names = {"ratio": "times", "value": unit.of_value or unit.of_difference, "difference": unit.of_difference}
    low, high = (f"{scale * end:.6g}" for end in (claim.limit - claim.margin, claim.limit + claim.margin))
    limit = {"about": f"{low} to {high}", "above": f"more than {high}", "below": f"less than {low}"}[claim.relation]
    return f"{limit} {names[claim.quantity]}".rstrip()
