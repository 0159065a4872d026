"""The finding in words: its sentence and its caveats."""

from __future__ import annotations

from convoy.studies.lr_range.finding import LrRangeFinding


def sentence(finding: LrRangeFinding) -> str:
    lr = finding.curve.lr
    if finding.steepest_lr is None:
        return (
            f"{finding.label} learned nothing at any learning rate from {lr[0]:.2g} to {lr[-1]:.2g}: "
            "the loss did not fall"
        )
    return (
        f"The loss of {finding.label} on {finding.data} falls steepest at a learning rate of {finding.steepest_lr:.2g} "
        f"and is lowest at {finding.lowest_loss_lr:.2g}"
    )


def caveats(finding: LrRangeFinding) -> list[str]:
    single = "One run of one seed: a starting point for a search, not evidence that another rate is worse"
    return [single, *finding.flags]
