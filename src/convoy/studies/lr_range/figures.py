"""The loss of a learning-rate range test over the rate."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from convoy.reporting import ticks
from convoy.reporting.palette import INK, MODELS, MUTED, PAPER
from convoy.studies.lr_range.finding import LrRangeFinding


def draw(axes: Axes, finding: LrRangeFinding) -> None:
    curve, colour = finding.curve, MODELS[0][0]
    axes.plot(curve.lr, curve.loss, color=colour, alpha=0.3, linewidth=0.7)
    axes.plot(curve.lr, curve.smoothed, color=colour, linewidth=1.8)
    axes.set_xscale("log")
    first, least = curve.smoothed[0], min(curve.smoothed)
    margin = 0.15 * max(first - least, 1e-3)
    axes.set_ylim(max(0.0, least - margin), first + 3 * margin)  # the loss after divergence would compress the rest
    for rate, word in ((finding.steepest_lr, "steepest"), (finding.lowest_loss_lr, "lowest")):
        if rate is not None:
            place = float(np.interp(np.log(rate), np.log(curve.lr), curve.smoothed))
            axes.plot([rate], [place], "o", color=INK, markersize=5)
            axes.annotate(  # to the left: there the curve is above
                f"{word}: {rate:.2g}", (rate, place), (-8, -3), textcoords="offset points", fontsize=9, ha="right",
                bbox={"facecolor": PAPER, "edgecolor": "none", "alpha": 0.8, "pad": 1},
            )  # fmt: skip
    if finding.diverges_lr is not None:
        axes.axvline(finding.diverges_lr, color=MUTED, linewidth=1, linestyle=(0, (2, 2)))
    axes.set_xlabel("learning rate")
    axes.set_ylabel("training loss")
    ticks.decades(axes.xaxis)


def caption(finding: LrRangeFinding) -> str:
    end = "The loss does not rise again by half of its decrease: a higher rate may also work."
    if finding.lowest_loss_lr is None:
        end = "The loss does not decrease."
    elif finding.diverges_lr is not None:
        end = "Dashed: half of the decrease is lost."
    return f"Thin: single batches; thick: smoothed. {end} Each step multiplies the rate by the same factor."
