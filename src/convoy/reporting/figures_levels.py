"""Which levels the pixels of a data set have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from convoy.reporting.palette import MODELS, MUTED

BINS = 32
_COLOURS = {1: {"grey": MUTED}, 3: {"red": MODELS[1][0], "green": MODELS[2][0], "blue": MODELS[0][0]}}


class LevelNumbers(NamedTuple):
    shares: Mapping[str, np.ndarray]  # by part, [C, BINS], percent of the channel's pixels

    @property
    def uneven(self) -> bool:
        """Whether one bin would press all others to the ground."""
        every = np.concatenate(list(self.shares.values()))
        return bool(every.max() > 25 * np.median(every))


def level_numbers(levels: Mapping[str, np.ndarray]) -> LevelNumbers:
    """`levels` are counts by part, [C, 256]."""
    binned = {part: counts.reshape(len(counts), BINS, -1).sum(axis=2) for part, counts in levels.items()}
    return LevelNumbers({part: 100 * counts / counts.sum(axis=1, keepdims=True) for part, counts in binned.items()})


def draw_levels(axes: Axes, numbers: LevelNumbers) -> None:
    """The training part by full lines, the test part by dashes."""
    edges = np.linspace(0, 255, BINS + 1)
    for part, shares in numbers.shares.items():
        if part == "validation":
            continue
        for (name, colour), share in zip(_COLOURS[len(shares)].items(), shares, strict=True):
            dashes = "-" if part == "train" else (0, (2, 1.5))
            label = name if part == "train" else None
            axes.stairs(share, edges, baseline=None, color=colour, linestyle=dashes, linewidth=1.6, label=label)
    if numbers.uneven:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.tick_params(axis="y", which="minor", length=0)
    else:
        axes.set_ylim(bottom=0)
    if len(numbers.shares["train"]) > 1:
        axes.legend(
            loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=3, frameon=False, handlelength=1.2, columnspacing=1
        )
    axes.set_xlim(0, 255)
    axes.set_xticks([0, 64, 128, 192, 255])
    axes.set_xlabel("level of a pixel")
    axes.set_ylabel("share of the pixels (%)")


def levels_caption(numbers: LevelNumbers) -> str:
    train = numbers.shares["train"]
    black, white = train[:, 0].mean(), train[:, -1].mean()
    told = f"Of the training pixels {black:.1f} % are black (levels 0 to 7) and {white:.1f} % white (248 to 255)."
    if "test" not in numbers.shares:
        return told
    # Half of the summed differences is the share of the pixels that would have to move to make them equal.
    moved = np.abs(train - numbers.shares["test"]).sum(axis=1).max() / 2
    return f"{told} Dashes: the test part; {moved:.1f} % of its pixels would have to change to be spread alike."
