"""The page of a learning-rate range test: the loss over the rate."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from convoy.reporting import sections, ticks
from convoy.reporting.content import Chart, Field, Page, Panel, Section, TextField, table_of
from convoy.reporting.palette import INK, MODELS, MUTED, PAPER
from convoy.reporting.reading import all_views, read_study
from convoy.runs import Study
from convoy.studies.lr_range import words
from convoy.studies.lr_range.finding import LrRangeFinding
from convoy.text import gettext as _


def page(study: Study, finding: LrRangeFinding, folder: Path) -> Page:
    groups = read_study(study)
    panel = Panel("", partial(draw, finding=finding), height=3.4, top=0.15)
    chart = Chart("lr_range", _("Loss by learning rate"), (panel,), words.caption(finding))
    rates = [
        (_("learning rate of the steepest decrease of the loss"), finding.steepest_lr),
        (_("learning rate of the lowest loss"), finding.lowest_loss_lr),
        (_("learning rate at which the loss has risen back by half of its total decrease"), finding.diverges_lr),
    ]
    fields: list[Field[tuple[str, float | None]]] = [
        TextField("", lambda row: row[0]),
        Field(_("learning rate"), lambda row: _("not reached") if row[1] is None else f"{row[1]:.2g}"),
    ]
    return Page(
        kicker=sections.kicker(_("Learning-rate range test"), study.name, all_views(groups)),
        title=_("Learning-rate range test: {label} on {data}", label=finding.label, data=finding.data),
        sentence=words.sentence(finding),
        caveats=tuple(words.caveats(finding)),
        tables=(table_of(fields, rates),),
        sections=(Section(_("Range test"), (chart,)), sections.setup(groups, folder, [study.command])),
        labels=tuple(groups),
    )


def draw(axes: Axes, finding: LrRangeFinding) -> None:
    curve, colour = finding.curve, MODELS[0][0]
    axes.plot(curve.lr, curve.loss, color=colour, alpha=0.3, linewidth=0.7)
    axes.plot(curve.lr, curve.smoothed, color=colour, linewidth=1.8)
    first, least = curve.smoothed[0], min(curve.smoothed)
    margin = 0.15 * max(first - least, 1e-3)
    axes.set_ylim(max(0.0, least - margin), first + 3 * margin)  # the loss after divergence would compress the rest
    for rate, name in (
        (finding.steepest_lr, _("steepest: {lr:.2g}", lr=finding.steepest_lr or 0)),
        (finding.lowest_loss_lr, _("lowest: {lr:.2g}", lr=finding.lowest_loss_lr or 0)),
    ):
        if rate is not None:
            place = float(np.interp(np.log(rate), np.log(curve.lr), curve.smoothed))
            axes.plot([rate], [place], "o", color=INK, markersize=5)
            axes.annotate(  # on the left, where the curve is above the text
                name, (rate, place), (-8, -3), textcoords="offset points", fontsize=9, ha="right",
                bbox={"facecolor": PAPER, "edgecolor": "none", "alpha": 0.8, "pad": 1},
            )  # fmt: skip
    if finding.diverges_lr is not None:
        axes.axvline(finding.diverges_lr, color=MUTED, linewidth=1, linestyle=(0, (2, 2)))
    axes.set_xlabel(_("learning rate"))
    axes.set_ylabel(_("training loss"))
    margin = (curve.lr[-1] / curve.lr[0]) ** 0.04
    ticks.logarithmic(axes, "x", curve.lr[0] / margin, curve.lr[-1] * margin)
