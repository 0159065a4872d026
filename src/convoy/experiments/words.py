"""Text of measures, verdicts and tested claims: names, units and numbers."""

from __future__ import annotations

from typing import NamedTuple

from convoy.agreement import Reason, Verdict
from convoy.experiments.measures import MEASURES, NONE, Kind, Measure, Settings
from convoy.experiments.verdicts import Inconclusive, JudgedClaim, Value
from convoy.stats import Estimate, mean_of
from convoy.text import gettext as _
from convoy.text import numbers, translated
from convoy.text.lists import listed
from convoy.text.numbers import compact, fixed, plain, significant


def words_of(name: str, settings: Settings = NONE) -> str:
    """Returns the name of a measure for use within a sentence."""
    names = settings.get("classes")
    classes = listed(names) if isinstance(names, list) else ""
    labels = {
        "test_accuracy": _("test accuracy"),
        "validation_accuracy": _("validation accuracy"),
        "fold_accuracy": _("accuracy on the fold"),
        "best_test_accuracy": _("best test accuracy of all epochs"),
        "test_loss": _("test loss"),
        "epochs": _("epochs trained"),
        "parameters": _("parameters"),
        "flops_per_image": _("FLOPs per image"),
        "macs_per_image": _("multiply-adds per image"),
        "train_seconds": _("training time"),
        "total_seconds": _("total time"),
        "images_per_second": _("training images per second"),
        "mean_accuracy": _("validation accuracy averaged over the epochs"),
        "largest_drop": _("largest drop of the test accuracy between two epochs"),
        "largest_validation_drop": _("largest drop of the validation accuracy between two epochs"),
        "fluctuation": _("fluctuation of the validation accuracy"),
        "final_train_loss": _("training loss of the last epoch"),
        "epochs_to": _("epochs to a validation accuracy of {accuracy}", accuracy=settings.get("accuracy")),
        "generalisation_gap": _("loss on held-out images minus loss on training images"),
        "recall_lead": _("lowest recall of {classes} minus the mean of the others", classes=classes),
        "confusion_lead": _(
            "images confused between {classes} minus images confused between the worst other pair", classes=classes
        ),
        "gain_while_rising": _("additional decrease of the loss per step while the learning rate rises"),
        "gradient_change": _("change of the gradient along the step"),
        "band_width": _("width of the band of losses in the first {n:,} steps", n=settings.get("steps", 0)),
        "highest_that_trains": _("highest value at which the network learns"),
    }
    return labels[name]


def why_none(name: str) -> str:
    """Returns why a finished run may have no value of the measure; "" without a special reason."""
    reasons = {
        "largest_drop": _("one epoch, or the test set was not scored in every epoch"),
        "generalisation_gap": _("a loss is not finite, or the run did not score its training images"),
        "gradient_change": _("the run was not probed, or its gradients are not finite"),
        "highest_that_trains": _("no value is clearly above chance, or one was not scored"),
    }
    return reasons.get(name, "")


class Unit(NamedTuple):
    """A unit and the factor `scale` by which values are multiplied."""

    scale: float
    of_value: str
    of_difference: str


def unit_of(kind: Kind) -> Unit:
    points = _("points")
    units = {
        "fraction": Unit(100.0, "%", points),
        "points": Unit(100.0, points, points),
        "seconds": Unit(1.0, _("s"), _("s")),
        "epochs": Unit(1.0, "", _("epochs")),
    }
    return units.get(kind, Unit(1.0, "", ""))


class MeasureText(NamedTuple):
    name: str  # name of the measure, such as "test_accuracy"
    words: str  # within a sentence
    measure: Measure

    @property
    def title(self) -> str:
        return f"{self.words[:1].upper()}{self.words[1:]}"

    @property
    def unit(self) -> Unit:
        return unit_of(self.measure.kind)

    @property
    def is_accuracy(self) -> bool:
        return self.measure.kind == "fraction"

    def heading(self, quantity: str) -> str:
        """Returns a column heading with the unit of values: "measured, %"."""
        unit = self.unit.of_value
        return _("{quantity}, {unit}", quantity=quantity, unit=unit) if unit else quantity

    def number(self, value: float) -> str:
        if self.name == "parameters":
            return fixed(value, 0)
        if self.measure.kind == "epochs":
            return fixed(value, 1).removesuffix(".0")
        if self.measure.exact:
            return compact(value)
        value *= self.unit.scale
        if self.unit.scale == 100:
            return fixed(value, 2)
        return plain(value) if abs(value) >= 0.01 or not value else significant(value, 2)

    def parts(self, value: Value | None, *, signed: bool = False) -> tuple[str, str]:
        """Formats a number, and its interval if it is an estimate; ("", "") if not measured."""
        if value is None:
            return "", ""
        if self.measure.kind == "rate":
            return rate_parts(value)
        mean = mean_of(value)
        number, interval = self.number(mean), ""
        if isinstance(value, Estimate) and not self.measure.exact:
            decimals = min(3, len(number.partition(".")[2]))
            number, interval = value.parts(scale=self.unit.scale, digits=decimals)
        is_positive = mean > 0 and bool(number.strip("0.,"))
        return (f"+{number}" if signed and is_positive else number), interval

    def text(self, value: Value) -> str:
        """Formats a value with its interval and unit: "98.20 ± 0.21 %"."""
        return joined(value, self.parts(value), self.unit.of_value or self.unit.of_difference)

    def distance(self, value: float, *, ratio: bool) -> str:
        """Formats a margin with its unit: "0.2 points"; for a ratio "5 %"."""
        scale, unit = (100, "%") if ratio else (self.unit.scale, self.unit.of_difference)
        return f"{significant(scale * value, 6)} {unit}".rstrip()

    def difference(self, value: Value, *, signed: bool = True) -> str:
        """Formats a difference with its interval and unit: "+0.43 points"."""
        return joined(value, self.parts(value, signed=signed), self.unit.of_difference)


def measure_text(name: str, settings: Settings = NONE) -> MeasureText:
    return MeasureText(name, words_of(name, settings), MEASURES[name])


def rate_parts(value: Value) -> tuple[str, str]:
    """Like `MeasureText.parts`, for a rate or a ratio."""
    low, high = value.span if isinstance(value, Estimate) else (value, value)
    return significant(mean_of(value)), numbers.interval(low, high, significant) if high > low else ""


def joined(value: Value, parts: tuple[str, str], unit: str) -> str:
    """Joins the `parts` of a value and its unit: "98.20 ± 0.21 %", "98.20 % (97.92–98.44)"."""
    number, interval = parts
    symmetric = isinstance(value, Estimate) and value.half_width is not None
    return " ".join(
        filter(None, (number, interval, unit) if symmetric else (number, unit, interval and f"({interval})"))
    )


# ---- verdicts and claims ----


def verdict_name(verdict: Verdict) -> str:
    names = {
        Verdict.HOLDS: _("holds"),
        Verdict.DOES_NOT_HOLD: _("does not hold"),
        Verdict.NO_EFFECT: _("no effect larger than the margin"),
        Verdict.INCONCLUSIVE: _("inconclusive"),
    }
    return names[verdict]


def claim_verdict(claim: JudgedClaim) -> str:
    """Returns the verdict; for "no effect", with the margin."""
    if claim.withheld is not None:
        return _("no verdict")
    if claim.verdict is Verdict.NO_EFFECT:
        return _("no effect larger than {margin}", margin=_margin(claim))
    return verdict_name(claim.verdict)


def _margin(claim: JudgedClaim) -> str:
    return measure_text(claim.measure, claim.settings).distance(claim.margin, ratio=claim.quantity == "ratio")


def detectable_words(claim: JudgedClaim) -> str:
    """The smallest detectable effect with its unit, or ""."""
    if claim.detectable is None:
        return ""
    metric = measure_text(claim.measure, claim.settings)
    if claim.quantity == "ratio" or metric.measure.several:
        return _("factor {number}", number=significant(claim.detectable))
    return metric.difference(claim.detectable, signed=False)


def reason_text(reason: Reason) -> str:
    """Returns why numbers are shown without a verdict."""
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


def side_words(claim: JudgedClaim, position: int) -> str:
    """The label and the value of a side: "Adam: 98.20 ± 0.21 %"; "" if the claim has no such side."""
    if position >= len(claim.sides):
        return ""
    side, metric = claim.sides[position], measure_text(claim.measure, claim.settings)
    value = _("not measured") if side.value is None else non_breaking(metric.text(side.value))
    return _("{label}: {value}", label=translated(side.label), value=value)


def result_words(claim: JudgedClaim) -> str:
    """Returns the judged quantity with its interval; "" for the value of a single side."""
    metric = measure_text(claim.measure, claim.settings)
    if claim.result is None or claim.quantity == "value":
        return ""
    if claim.quantity == "ratio":
        return _("ratio {number}", number=non_breaking(joined(claim.result, rate_parts(claim.result), "")))
    if claim.quantity == "spread":
        return _("spread {number}", number=non_breaking(metric.difference(claim.result, signed=False)))
    return non_breaking(metric.difference(claim.result))


def non_breaking(text: str) -> str:
    """Prevents line breaks in a number with its interval and unit, except before a bracket."""
    return text.replace(" ", "\u00a0").replace("\u00a0(", " (")


def remarks(claim: JudgedClaim) -> str:
    """Returns why the claim is inconclusive, and remarks on the numbers."""
    if claim.why is Inconclusive.FULL_SIZE_ONLY:
        return _("Tested only with --full-size: {reason}", reason=translated(claim.full_size_only))
    clauses = [_("nothing to compare")] if claim.result is None else []
    clauses += [] if claim.n or claim.result is None else [_("counted")]
    clauses += [_("one seed has no interval")] if claim.why is Inconclusive.ONE_SEED else []
    if claim.n == 1 and claim.detectable is not None:
        clauses.append(_("smallest detectable effect: over images, not over seeds"))
    if claim.negligible and claim.verdict in (Verdict.HOLDS, Verdict.DOES_NOT_HOLD):
        clauses.append(_("the effect is smaller than {margin}", margin=_margin(claim)))
    clauses += _left_out(claim)
    return "; ".join(clauses)


def reduced_to(claim: JudgedClaim, further: str) -> str:
    """Describes the scale of a claim that is not tested at the published scale. `further`: changes by the command."""
    if not further or not claim.runs:
        return translated(claim.reduced)
    if claim.reduced:
        return _("{scale}; further reduced to {changes}", scale=translated(claim.reduced), changes=further)
    return _("only {changes}", changes=further)


def _left_out(claim: JudgedClaim) -> list[str]:
    """Returns why some seeds were left out."""
    reasons = []
    if lacking := [translated(side.label) for side in claim.sides if side.lacking and claim.runs]:
        text, why = _("no value for some seed: {sides}", sides=listed(lacking)), why_none(claim.measure)
        reasons.append(f"{text} ({why})" if why else text)
    if claim.excluded:
        why = _("measured on different machines or with different thread counts")
        reasons.append(_("seeds left out: {n} ({reason})", n=claim.excluded, reason=why))
    return reasons


def claimed_words(claim: JudgedClaim, changes: str = "") -> str:
    """Returns measure, claimed value and scale: "Test accuracy; claimed: above 0 points; reduced: 1 epoch".

    `changes`: what the command changed in all runs.
    """
    metric, scale = measure_text(claim.measure, claim.settings), reduced_to(claim, changes)
    reduced = [_("reduced: {scale}", scale=scale)] if scale else []
    return "; ".join([metric.title, _claimed(claim, metric.unit), *reduced])


def _claimed(claim: JudgedClaim, unit: Unit) -> str:
    name, scale = (unit.of_value if claim.quantity == "value" else "") or unit.of_difference, unit.scale
    if claim.quantity == "ratio":
        name, scale = "", 1.0
    low, limit, high = (
        significant(scale * end, 6) for end in (claim.limit - claim.margin, claim.limit, claim.limit + claim.margin)
    )
    match claim.relation:
        case "about":
            return _("claimed: {low} to {high}", low=low, high=f"{high} {name}".rstrip())
        case "above":
            return _("claimed: above {limit}", limit=f"{limit} {name}".rstrip())
        case "below":
            return _("claimed: below {limit}", limit=f"{limit} {name}".rstrip())
