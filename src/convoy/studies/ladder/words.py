"""Text of the finding: its sentence and its caveats."""

from __future__ import annotations

from convoy.reporting.about import About
from convoy.reporting.words import accuracy_name
from convoy.studies.ladder.finding import LadderFinding, Rung
from convoy.text import gettext as _
from convoy.text.labels import change_text
from convoy.text.lists import joined


def sentence(finding: LadderFinding) -> str:
    rung = finding.largest
    return _(
        "From {first} to {second}, the {metric} on {data} changes by {total}; the change with the largest "
        "step is {rung}: {step}",
        first=finding.first,
        second=finding.second,
        metric=accuracy_name(finding.part),
        data=finding.data,
        total=finding.total.points(),
        rung=rung_name(rung),
        step=rung.step.difference.points(),
    )


def rung_name(rung: Rung) -> str:
    return joined(change_text(change.key) for change in rung.changes)


def values(rung: Rung, *, after: bool) -> str:
    """Returns the values before or after the step."""
    texts = [change.after if after else change.before for change in rung.changes]
    names = {"on": _("on"), "off": _("off")}
    return "; ".join(names[text] if change.is_fault else text for change, text in zip(rung.changes, texts, strict=True))


def about() -> About:
    return About(compares_models=True)


def caveats(finding: LadderFinding) -> list[str]:
    texts = [
        _(
            "The effect of a step depends on the changes made before it. If it differs from the "
            "leave-one-out effect, changes interact"
        )
    ]
    n = len(finding.seeds)
    if n == 1:
        texts.append(_("One seed: no intervals and no tests"))
    else:
        significant = sum(rung.step.significant for rung in finding.rungs)
        texts.append(
            _(
                "Significant steps: {n} of {rungs} (paired t test, Holm's correction over all effects)",
                n=significant,
                rungs=len(finding.rungs),
            )
        )
    if any(rung.leave_one_out is None for rung in finding.rungs):
        texts.append(_("Some changes have no leave-one-out effect, because the recipe without them is not valid"))
    if finding.part == "validation":
        texts.append(_("These are validation accuracies; the validation set also selected the best epoch"))
    if finding.limit is not None:
        texts.append(_("Limited to {limit:,} images; the effects can be different with more", limit=finding.limit))
    return texts
