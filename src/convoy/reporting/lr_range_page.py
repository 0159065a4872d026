"""The page of a learning-rate range test."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from convoy.reporting import figures_lr_range as range_
from convoy.reporting import sections
from convoy.reporting.content import Cell, Chart, Column, Page, Panel, Section, Table, clean
from convoy.reporting.palette import MODELS
from convoy.reporting.reading import of_study
from convoy.runs import Study


def lr_range_page(study: Study, folder: Path) -> Page:
    groups = of_study(study)
    ((label, (reading,)),) = groups.items()
    numbers = range_.range_numbers(study.finding)
    panel = Panel("", partial(range_.draw_range, numbers=numbers, colour=MODELS[0][0]), height=3.4, top=0.15)
    chart = Chart("lr_range", "Loss by learning rate", (panel,), range_.range_caption(numbers))
    rates = (
        ("steepest decrease of the loss", numbers.steepest),
        ("lowest loss", numbers.lowest),
        ("half of the decrease is lost", numbers.diverges),
    )
    rows = tuple((Cell(event), Cell("not reached" if rate is None else f"{rate:.2g}")) for event, rate in rates)
    return Page(
        kicker=sections.kicker("Learning-rate range test", study.name, [reading]),
        title=f"Learning-rate range test: {label} on {clean(reading.data['name'])}",
        sentence=clean(study.finding["sentence"]),
        caveats=tuple(clean(caveat) for caveat in study.finding["caveats"]),
        tables=(Table((Column("", numeric=False), Column("learning rate")), rows),),
        sections=(
            Section("Range test", (chart,)),
            sections.setup(groups, folder, [clean(study.table["command"])]),
        ),
        labels=(label,),
    )
