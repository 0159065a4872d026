"""Verdicts in words, and a judged claim: the measurement of both sides, their difference, and the claim."""

from __future__ import annotations

from convoy.experiments.measure_words import Unit, joined, rate_parts, shown, why_none
from convoy.experiments.verdicts import Inconclusive, JudgedClaim
from convoy.prediction import Reason, Verdict
from convoy.reporting.quantities import listed
from convoy.text import gettext as _
from convoy.text import ngettext


def verdict_name(verdict: Verdict) -> str:
    names = {
        Verdict.HOLDS: _("holds"),
        Verdict.DOES_NOT_HOLD: _("does not hold"),
        Verdict.INCONCLUSIVE: _("inconclusive"),
    }
    return names[verdict]


def reason_text(reason: Reason) -> str:
    """Why numbers are shown without a verdict."""
    texts = {
        Reason.NOT_PUBLISHED: _("not published"),
        Reason.NOT_MEASURED: _("not measured"),
        Reason.QUICK_TRY: _("quick try"),
        Reason.REDUCED: _("fewer images or epochs than published"),
        Reason.LONGER: _("more epochs than published"),
        Reason.NO_INTERVAL: _("a single run, and the number has no interval over images"),
        Reason.NO_SPREAD: _("all runs are equal, and the resolution of the number is unknown"),
    }
    return texts[reason]


def words(claim: JudgedClaim) -> str:
    """The numbers behind the verdict; `verdict` itself is not repeated."""
    if claim.why is Inconclusive.FULL_SIZE_ONLY:
        return _("Not tried at this scale: {reason}", reason=claim.full_size_only)
    metric = shown(claim.measure, claim.settings)
    values = [f"{side.label} {metric.text(side.value)}" for side in claim.sides if side.value is not None]
    clauses = [f"{metric.title}: {', '.join(values) or _('not measured')}"]
    if claim.result is None:
        clauses.append(_("nothing to compare"))
    elif claim.quantity == "ratio":
        clauses.append(_("ratio {number}", number=joined(claim.result, rate_parts(claim.result), "")))
    elif claim.quantity == "difference":
        clauses.append(_("difference {number}", number=metric.difference(claim.result, signed=False)))
    if claim.result is not None:
        clauses.append(ngettext("{n} seed", "{n} seeds", claim.n) if claim.n else _("counted"))
    clauses += [_claimed(claim, metric.unit), *_left_out(claim)]
    if claim.why is Inconclusive.ONE_SEED:
        clauses.append(_("one seed has no interval"))
    elif claim.why is Inconclusive.INTERVAL:
        clauses.append(_("the 95 % interval contains that limit"))
    if claim.withheld is not None:
        clauses.append(_("no verdict ({reason})", reason=reason_text(claim.withheld)))
    return "; ".join(clauses)


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


def _claimed(claim: JudgedClaim, unit: Unit) -> str:
    name = unit.of_value if claim.quantity == "value" else ""
    name, scale = (_("times"), 1.0) if claim.quantity == "ratio" else (name or unit.of_difference, unit.scale)
    low, high = (f"{scale * end:.6g}" for end in (claim.limit - claim.margin, claim.limit + claim.margin))
    upper = f"{high} {name}".rstrip()
    match claim.relation:
        case "about":
            return _("claimed: {low} to {high}", low=low, high=upper)
        case "above":
            return _("claimed: more than {limit}", limit=upper)
    return _("claimed: less than {limit}", limit=upper)
