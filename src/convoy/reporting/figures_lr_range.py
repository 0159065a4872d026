"""The loss of a learning-rate range test over the rate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes

from convoy.reporting import ticks
from convoy.reporting.palette import INK, MUTED


class RangeNumbers(NamedTuple):
    lr: np.ndarray
    loss: np.ndarray  # of single batches
    smoothed: np.ndarray
    steepest: float | None  # rates
    lowest: float | None
    diverges: float | None


def range_numbers(finding: Mapping[str, Any]) -> RangeNumbers:
    lr, loss, smoothed = (np.array(finding["curve"][key]) for key in ("lr", "loss", "smoothed"))
    rates = (finding["steepest_lr"], finding["lowest_loss_lr"], finding["diverges_lr"])
    return RangeNumbers(lr, loss, smoothed, *rates)


def draw_range(axes: Axes, numbers: RangeNumbers, colour: str) -> None:
    axes.plot(numbers.lr, numbers.loss, color=colour, alpha=0.3, linewidth=0.7)
    axes.plot(numbers.lr, numbers.smoothed, color=colour, linewidth=1.8)
    axes.set_xscale("log")
    first, least = float(numbers.smoothed[0]), float(numbers.smoothed.min())
    margin = 0.15 * max(first - least, 1e-3)
    axes.set_ylim(max(0.0, least - margin), first + 3 * margin)  # the loss after divergence would compress the rest
    for rate, word, offset in ((numbers.steepest, "steepest", (10, 2)), (numbers.lowest, "lowest", (-14, 14))):
        if rate is not None:
            place = float(np.interp(np.log(rate), np.log(numbers.lr), numbers.smoothed))
            axes.plot([rate], [place], "o", color=INK, markersize=5)
            axes.annotate(f"{word}: {rate:.2g}", (rate, place), offset, textcoords="offset points", fontsize=9)
    if numbers.diverges is not None:
        axes.axvline(numbers.diverges, color=MUTED, linewidth=1, linestyle=(0, (2, 2)))
    axes.set_xlabel("learning rate")
    axes.set_ylabel("training loss")
    ticks.decades(axes.xaxis)


def range_caption(numbers: RangeNumbers) -> str:
    end = "The loss does not rise again, so a higher rate may work too."
    if numbers.lowest is None:
        end = "The loss does not decrease."
    elif numbers.diverges is not None:
        end = "Dashed: half of the decrease is lost."
    return f"Thin: single batches; thick: smoothed. {end} Each step multiplies the rate by the same factor."
