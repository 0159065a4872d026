"""The histogram of the pixel values of a data set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from convoy.reporting.palette import MODELS, MUTED
from convoy.text import gettext as _

BINS = 32
_COLOURS = {1: (MUTED,), 3: (MODELS[1][0], MODELS[2][0], MODELS[0][0])}


class LevelNumbers(NamedTuple):
    shares: Mapping[str, np.ndarray]  # by part, float64 [C, BINS]: percent of the pixels of a channel

    @property
    def needs_log_scale(self) -> bool:
        """Whether one bin is so large that the others would not be visible."""
        shares = np.concatenate(list(self.shares.values()))
        return bool(shares.max() > 25 * np.median(shares))


def level_numbers(levels: Mapping[str, np.ndarray]) -> LevelNumbers:
    """Computes the histogram from `levels`, int64 [C, 256] by part."""
    binned = {part: counts.reshape(len(counts), BINS, -1).sum(axis=2) for part, counts in levels.items()}
    return LevelNumbers({part: 100 * counts / counts.sum(axis=1, keepdims=True) for part, counts in binned.items()})


def draw_levels(axes: Axes, numbers: LevelNumbers) -> None:
    """Draws solid lines for the training set, dashed ones for the test set."""
    edges = np.linspace(0, 255, BINS + 1)
    names = (_("red"), _("green"), _("blue"))
    for part, shares in numbers.shares.items():
        if part == "validation":
            continue
        for name, colour, share in zip(names, _COLOURS[len(shares)], shares, strict=False):
            style = "-" if part == "train" else (0, (2, 1.5))
            label = name if part == "train" else None
            axes.stairs(share, edges, baseline=None, color=colour, linestyle=style, linewidth=1.6, label=label)
    if numbers.needs_log_scale:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _position: f"{value:g}"))
        axes.tick_params(axis="y", which="minor", length=0)
    else:
        axes.set_ylim(bottom=0)
    if len(numbers.shares["train"]) > 1:
        axes.legend(
            loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=3, frameon=False, handlelength=1.2, columnspacing=1
        )
    axes.set_xlim(0, 255)
    axes.set_xticks([0, 64, 128, 192, 255])
    axes.set_xlabel(_("pixel value"))
    axes.set_ylabel(_("share of pixels (%)"))


def levels_caption() -> str:
    return _(
        "Share of the pixels of a channel in {bins} ranges of equal width. Solid: training set; dashed: test set.",
        bins=BINS,
    )
