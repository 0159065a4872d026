"""The tables of a report. Units are in the column heads, numbers in the cells."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from convoy.recipe.faults import Fault
from convoy.reporting.content import Cell, Column, Table
from convoy.reporting.figures_classes import Confused
from convoy.reporting.quantities import MIB, compact, plain, quartile_range
from convoy.reporting.reading import PARTS, Groups, Reading, distinct, every
from convoy.run_contents import Score
from convoy.stats import wilson

MANY_CLASSES = 25


def scores_table(reading: Reading) -> Table:
    """The scores of a run, one row per part."""
    scores = [(part, reading.scores[part]) for part in PARTS if part in reading.scores]
    tops = sorted({k for _, score in scores for k in score.top_k}, key=int)
    columns = (
        Column("Part", numeric=False),
        Column("Accuracy", "%"),
        Column("Correct", "images"),
        *(Column(f"Top {k}", "%") for k in tops),
        Column("Loss"),
        Column("Macro F1"),
        Column("MCC"),
    )
    rows = []
    for part, score in scores:
        estimate = wilson(score.correct, score.n)
        rows.append(
            (
                Cell(part),
                Cell(*estimate.parts(scale=100)),
                Cell(f"{score.correct:,}", f"of {score.n:,}"),
                *(Cell(f"{100 * score.top_k[k]:.2f}" if k in score.top_k else "") for k in tops),
                *(Cell("" if value is None else f"{value:.4f}") for value in (score.loss, score.macro_f1, score.mcc)),
            )
        )
    note = "Ranges: 95 % intervals over images (Wilson). Loss: of the recipe, mean over images."
    return Table(columns, tuple(rows), note)


def cost_table(reading: Reading) -> Table:
    cost = reading.cost
    entries = (
        ("Training", "s", _plain(cost.train_seconds)),
        ("Total", "s", _plain(cost.total_seconds)),
        ("Training speed", "images/s", _plain(cost.images_per_second)),
        ("Parameters", "", _count(cost.parameters)),
        ("MACs" if _reports_macs(reading) else "FLOPs", "per image", _compact(cost.flops_per_image)),
        ("Inference", "ms/image", _plain(cost.ms_per_image)),
        ("Quartiles", "ms/image", quartile_range(cost.ms_per_image or 0, cost.ms_per_image_quartiles)),
        ("Peak memory", "MiB", _mebibytes(cost.peak_memory_bytes)),
    )
    present = [entry for entry in entries if entry[2]]
    return Table(
        tuple(Column(title, unit) for title, unit, _ in present),
        (tuple(Cell(text) for _, _, text in present),),
        flops_note([reading]),
    )


def flops_cell(value: float | None, reading: Reading) -> Cell:
    """The FLOPs of a run; marked MACs under the fault macs_as_flops."""
    return Cell(_compact(value), "MACs" if value is not None and _reports_macs(reading) else "")


def flops_note(readings: Sequence[Reading]) -> str:
    macs = [reading for reading in readings if _reports_macs(reading)]
    if not macs:
        return "FLOPs count a multiply-add as two."
    if len(macs) == len(readings):
        return "The FLOPs are MACs (fault macs_as_flops): a multiply-add counts as one."
    return "FLOPs count a multiply-add as two; values marked MACs (fault macs_as_flops) count it as one."


def _reports_macs(reading: Reading) -> bool:
    return Fault.MACS_AS_FLOPS in reading.recipe.protocol.faults


def confused_table(pairs: Mapping[str, Sequence[Confused]]) -> Table:
    """The most confused pairs: one row per pair for one model, one row per model for several."""
    title = "Most confused pairs"
    if len(pairs) == 1:
        columns = (
            Column("True class", numeric=False), Column("Predicted class", numeric=False), Column("Images"),
            Column("Share of the class", "%"),
        )  # fmt: skip
        rows = [
            (Cell(pair.true), Cell(pair.predicted), Cell(f"{pair.images:,}"), Cell(f"{pair.percent:.2f}"))
            for pair in next(iter(pairs.values()))
        ]
        return Table(columns, tuple(rows), title=title)
    most = max(map(len, pairs.values()))
    ranks = tuple(Column(name, numeric=False) for name in ("First", "Second", "Third", "Fourth", "Fifth")[:most])
    lines = []
    for label, confused in pairs.items():
        cells = [Cell(_arrow(pair), f"{pair.percent:.2f} %") for pair in confused]
        lines.append((Cell(label, model=label), *cells, *[Cell("")] * (most - len(confused))))
    note = "True class → predicted class, with the share of the true class."
    return Table((Column("Model", numeric=False), *ranks), tuple(lines), note, title)


def class_table(score: Score) -> Table:
    """In the order of the classes; of many classes only those with the lowest F1."""
    entries, note = score.per_class, ""
    if len(entries) > MANY_CLASSES:
        note = f"The {MANY_CLASSES} classes with the lowest F1; all {len(entries)} are in scores.json."
        entries = sorted(entries, key=lambda entry: entry.f1)[:MANY_CLASSES]
    columns = (
        Column("Class", numeric=False),
        Column("Precision", "%"),
        Column("Recall", "%"),
        Column("F1", "%"),
        Column("Images"),
    )
    rows = tuple(
        (
            Cell(entry.name),
            *(Cell(f"{100 * share:.2f}") for share in (entry.precision, entry.recall, entry.f1)),
            Cell(f"{entry.n:,}"),
        )
        for entry in entries
    )
    return Table(columns, rows, note, "Scores by class")


def runs_table(groups: Groups, folder: Path) -> Table:
    """One row per run, with a link relative to the folder of the report."""
    parts = [part for part in PARTS if any(part in reading.scores for reading in every(groups))]
    endings = distinct(_ending(reading) for reading in every(groups))
    columns = (
        Column("Model", numeric=False),
        Column("Seed"),
        *(Column(f"{part.capitalize()} accuracy", "%") for part in parts),
        Column("Best epoch", "of epochs"),
        Column("Training", "s"),
        *((Column("Ended", numeric=False),) if len(endings) > 1 else ()),
        Column("Run folder", numeric=False),
    )
    rows = tuple(_run_row(reading, parts, folder, ended=len(endings) > 1) for reading in every(groups))
    note = "The run folders hold all scores, curves, predictions and weights."
    if len(endings) == 1:
        note = f"End of every run: {endings[0]}. {note}"
    return Table(columns, rows, note, "Runs" if len(rows) > 1 else "Run")


def _ending(reading: Reading) -> str:
    return reading.status.reason or reading.status.state


def _run_row(reading: Reading, parts: Sequence[str], folder: Path, *, ended: bool) -> tuple[Cell, ...]:
    status, path = reading.status, reading.run.path
    best, epochs = status.best_epoch, status.epochs
    return (
        Cell(reading.label, model=reading.label),
        Cell(str(reading.seed)),
        *(Cell(f"{100 * reading.scores[p].accuracy:.2f}" if p in reading.scores else "") for p in parts),
        Cell(str(best or ""), f"of {epochs}" if epochs else ""),
        Cell(_plain(reading.cost.train_seconds)),
        *((Cell(_ending(reading)),) if ended else ()),
        Cell(path.name, link=quote(os.path.relpath(path.resolve(), folder.resolve()).replace(os.sep, "/"))),
    )


def facts_table(title: str, facts: Sequence[tuple[str, str]]) -> Table:
    columns = (Column("", numeric=False), Column("", numeric=False))
    return Table(columns, tuple((Cell(name), Cell(value)) for name, value in facts if value), title=title)


def _arrow(pair: Confused) -> str:
    """Short names stay on one line."""
    text = f"{pair.true} → {pair.predicted}"
    return text.replace(" ", "\u00a0") if len(text) <= 14 else text


def _count(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def _compact(value: float | None) -> str:
    return "" if value is None else compact(value)


def _plain(value: float | None) -> str:
    return "" if value is None else plain(value)


def _mebibytes(value: float | None) -> str:
    return "" if value is None else plain(value / MIB)
