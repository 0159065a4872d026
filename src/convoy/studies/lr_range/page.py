"""The page of a learning-rate range test."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from convoy.reporting import sections
from convoy.reporting.content import Cell, Chart, Column, Page, Panel, Section, Table
from convoy.reporting.reading import every, of_study
from convoy.runs import Study
from convoy.studies.lr_range import figures, words
from convoy.studies.lr_range.finding import LrRangeFinding


def page(study: Study, finding: LrRangeFinding, folder: Path) -> Page:
    groups = of_study(study)
    panel = Panel("", partial(figures.draw, finding=finding), height=3.4, top=0.15)
    chart = Chart("lr_range", "Loss by learning rate", (panel,), figures.caption(finding))
    rates = (
        ("steepest decrease of the loss", finding.steepest_lr),
        ("lowest loss", finding.lowest_loss_lr),
        ("half of the decrease is lost", finding.diverges_lr),
    )
    rows = tuple((Cell(event), Cell("not reached" if rate is None else f"{rate:.2g}")) for event, rate in rates)
    return Page(
        kicker=sections.kicker("Learning-rate range test", study.name, every(groups)),
        title=f"Learning-rate range test: {finding.label} on {finding.data}",
        sentence=words.sentence(finding),
        caveats=tuple(words.caveats(finding)),
        tables=(Table((Column("", numeric=False), Column("learning rate")), rows),),
        sections=(
            Section("Range test", (chart,)),
            sections.setup(groups, folder, [study.table["command"]]),
        ),
        labels=tuple(groups),
    )
