"""Text of the finding: sentence, caveats and caption."""

from __future__ import annotations

from convoy.studies.lr_range.finding import LrRangeFinding
from convoy.text import gettext as _


def sentence(finding: LrRangeFinding) -> str:
    label, lr = finding.label, finding.curve.lr
    if finding.steepest_lr is None:
        return _(
            "{label} learned nothing at any learning rate from {first:.2g} to {last:.2g}: the loss did not fall",
            label=label,
            first=lr[0],
            last=lr[-1],
        )
    return _(
        "The loss of {label} on {data} falls fastest at a learning rate of {steepest:.2g} and is lowest at "
        "{lowest:.2g}",
        label=label,
        data=finding.data,
        steepest=finding.steepest_lr,
        lowest=finding.lowest_loss_lr,
    )


def caveats(finding: LrRangeFinding) -> list[str]:
    single = _("One run of one seed: a starting point for a search, not evidence that another rate is worse")
    return [single, *finding.flags]


def caption(finding: LrRangeFinding) -> str:
    if finding.lowest_loss_lr is None:
        end = _("The loss does not decrease.")
    elif finding.diverges_lr is not None:
        end = _("Dashed: the loss has risen back by half of its total decrease.")
    else:
        end = _("The loss does not rise back by half of its total decrease: a higher rate may also work.")
    marks = _("Thin: loss of individual steps; thick: smoothed. Each step multiplies the rate by the same factor.")
    return f"{marks} {end}"
