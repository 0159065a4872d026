"""What a quick try trains, on how many images, and what it skips and why."""

from __future__ import annotations

from collections.abc import Sequence

from convoy.experiments.quick import Choice, LeftOut, LeftOutBecause
from convoy.experiments.reproduction.words import PROTOCOLS
from convoy.reporting.content import Cell, Column, Section, Table
from convoy.reporting.quantities import plain

REASONS = {
    LeftOutBecause.SEEDS: "compares seeds; a quick try has one",
    LeftOutBecause.NO_VERDICT: "a quick try judges no claim by training",
}


def quick_try(choice: Choice | None) -> Section | None:
    if choice is None:
        return None
    machine = f"{choice.cpu}, {choice.cores} core{'s' if choice.cores > 1 else ''}"
    tables = []
    if choice.sizes:
        columns = (Column("Network", numeric=False), Column("Training images"), Column("Epochs"))
        rows = tuple(
            (Cell(name), Cell(f"{size.images:,}"), Cell(str(size.epochs))) for name, size in choice.sizes.items()
        )
        note = (
            "From a timing of each network on this machine: 1.5 times the training images (over all epochs) that it "
            "was measured to need to learn; more if that takes almost no time."
        )
        tables.append(Table(columns, rows, note, "Trained networks"))
    if choice.left_out:
        tables.append(_left_out(choice.left_out, machine))
    return Section("Quick try", tuple(tables)) if tables else None


def _left_out(skipped: Sequence[LeftOut], machine: str) -> Table:
    columns = (
        Column("Part", numeric=False),
        Column("Skipped", numeric=False),
        Column("Reason", numeric=False),
        Column("Training speed", "images/s"),
    )
    rows = tuple(
        (
            Cell(each.part),
            Cell(f"{each.name}, {PROTOCOLS[each.side]}" if each.side else each.name),
            Cell(_reason(each)),
            Cell("" if each.images_per_second is None else plain(each.images_per_second)),
        )
        for each in skipped
    )
    return Table(columns, rows, f"Times and speeds of one thread: {machine}.", "Skipped")


def _reason(left_out: LeftOut) -> str:
    if left_out.seconds is None:
        return REASONS[left_out.reason]
    minutes = left_out.seconds / 60
    duration = f"{minutes:.0f} minutes" if minutes >= 1.5 else "at least a minute"
    return f"needs about {duration} on this machine" + ("; timed only" if left_out.part == "models" else "")
