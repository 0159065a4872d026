"""Accuracies by source of chance."""

from __future__ import annotations

from matplotlib.axes import Axes

from convoy.reporting.palette import INK, MODELS, MUTED
from convoy.studies.seeds.finding import SeedsFinding
from convoy.studies.seeds.words import part_name, source_name


def draw_spreads(axes: Axes, finding: SeedsFinding) -> None:
    for row, spread in enumerate(finding.spreads):
        mean, sd = 100 * spread.mean, 100 * spread.sd
        axes.plot([mean - sd, mean + sd], [row, row], color=MUTED, linewidth=5, alpha=0.35, solid_capstyle="butt")
        axes.plot([mean], [row], "|", color=INK, markersize=14, markeredgewidth=1.6)
        values = [100 * accuracy for accuracy in spread.accuracies]
        axes.plot(values, [row] * len(values), "o", color=MODELS[0][0], markersize=5, alpha=0.75, markeredgewidth=0)
    axes.set_yticks(range(len(finding.spreads)), [source_name(spread.source) for spread in finding.spreads])
    axes.set_ylim(len(finding.spreads) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(f"{part_name(finding)} (%)")


def caption(finding: SeedsFinding) -> str:
    n = len(finding.spreads[0].accuracies)
    return f"Points: runs, n = {n} per row. Stroke: mean. Bar: one standard deviation to either side."
