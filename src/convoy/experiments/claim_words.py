"""A judged claim in words: the measurement of both sides, their difference, and the claim."""

from __future__ import annotations

from convoy.experiments.measure_words import unit_of, why_none, words_of
from convoy.experiments.measures import Kind, find
from convoy.experiments.reason_words import reason_text
from convoy.experiments.verdicts import Inconclusive, JudgedClaim, Value
from convoy.prediction import Verdict
from convoy.reporting.quantities import listed
from convoy.stats import Estimate, digits_for
from convoy.text import gettext as _
from convoy.text import ngettext


def verdict_name(verdict: Verdict) -> str:
    names = {
        Verdict.HOLDS: _("holds"),
        Verdict.DOES_NOT_HOLD: _("does not hold"),
        Verdict.INCONCLUSIVE: _("inconclusive"),
    }
    return names[verdict]


def words(claim: JudgedClaim) -> str:
    """The numbers behind the verdict; `verdict` itself is not repeated."""
    if claim.why is Inconclusive.FULL_SIZE_ONLY:
        return _("Not tried at this scale: {reason}", reason=claim.full_size_only)
    kind, measure = find(claim.measure).kind, words_of(claim.measure, claim.settings)
    measured = ", ".join(f"{side.label} {_value(side.value, kind)}" for side in claim.sides if side.value is not None)
    if claim.result is not None:
        numbers = [f"{measure[:1].upper()}{measure[1:]}: {measured}", *_compared(claim, claim.result, kind)]
        clauses = [f"{'; '.join(numbers)} ({_basis(claim.result)})", _("claimed: {claim}", claim=_claimed(claim, kind))]
    elif measured:
        clauses = [_("Nothing to compare of {measure}: {measured}", measure=measure, measured=measured)]
    else:
        clauses = [_("Nothing to compare of {measure}", measure=measure)]
    sentences = ["; ".join([*clauses, *_left_out(claim)])]
    sentences += [_("One seed has no interval")] if claim.why is Inconclusive.ONE_SEED else []
    sentences += [_("The 95 % interval contains that limit")] if claim.why is Inconclusive.INTERVAL else []
    withheld = [_("no verdict ({reason})", reason=reason_text(claim.withheld))] if claim.withheld else []
    return "; ".join([". ".join(sentences), *withheld])


def reduced(claim: JudgedClaim, further: str) -> str:
    """The scale of a claim that is not tested at the published one; `further` is what the command changed."""
    if not further or not claim.runs:
        return claim.reduced
    if claim.reduced:
        return _("{scale}; further reduced to {changes}", scale=claim.reduced, changes=further)
    return _("only {changes}", changes=further)


def _left_out(claim: JudgedClaim) -> list[str]:
    """Why some seeds were left out."""
    reasons = []
    if lacking := [side.label for side in claim.sides if side.lacking and claim.runs]:
        text = ngettext(
            "{sides} lacks it for some seed", "{sides} lack it for some seed", len(lacking), sides=listed(lacking)
        )
        why = why_none(claim.measure)
        reasons.append(f"{text} ({why})" if why else text)
    if claim.excluded:
        reasons.append(
            ngettext(
                "{n} seed left out: measured on different machines or with different thread counts",
                "{n} seeds left out: measured on different machines or with different thread counts",
                claim.excluded,
            )
        )
    return reasons


def _value(found: Value, kind: Kind) -> str:
    unit = unit_of(kind)
    return f"{_number(found, unit.scale, kind)} {unit.of_value or unit.of_difference}".rstrip()


def _compared(claim: JudgedClaim, result: Value, kind: Kind) -> list[str]:
    unit = unit_of(kind)
    match claim.quantity:
        case "ratio":
            return [_("ratio {number}", number=_number(result, 1.0, "rate"))]
        case "difference":
            number = f"{_number(result, unit.scale, kind)} {unit.of_difference}".rstrip()
            return [_("difference {number}", number=number)]
    return []


def _number(found: Value, scale: float, kind: Kind) -> str:
    if not isinstance(found, Estimate):
        return _plain(scale * found, kind)
    if found.low is None or found.high is None:
        return _plain(scale * found.mean, kind)
    if kind == "rate" or found.interval == "wilson":
        mean, low, high = (_plain(scale * value, kind) for value in (found.mean, found.low, found.high))
        return f"{mean} ({_range(low, high)})"
    digits = digits_for(scale * (found.high - found.mean))
    digits = max(2, digits) if kind in ("fraction", "points") else digits
    return " ".join(found.parts(scale=scale, digits=digits))


def _plain(value: float, kind: Kind) -> str:
    if kind == "count":
        return f"{value:,.0f}"
    return f"{value:.2f}" if kind in ("fraction", "points") else f"{value:.3g}"


def _range(low: str, high: str) -> str:
    return _("{low} to {high}", low=low, high=high)


def _basis(result: Value) -> str:
    if not isinstance(result, Estimate):
        return _("counted")
    return _("n = {n} seeds", n=result.n) if result.n > 1 else _("one seed")


def _claimed(claim: JudgedClaim, kind: Kind) -> str:
    unit = unit_of(kind)
    scale = 1.0 if claim.quantity == "ratio" else unit.scale
    names = {"ratio": _("times"), "value": unit.of_value or unit.of_difference, "difference": unit.of_difference}
    low, high = (f"{scale * end:.6g}" for end in (claim.limit - claim.margin, claim.limit + claim.margin))
    limits = {
        "about": _range(low, high),
        "above": _("more than {limit}", limit=high),
        "below": _("less than {limit}", limit=low),
    }
    return f"{limits[claim.relation]} {names[claim.quantity]}".rstrip()
