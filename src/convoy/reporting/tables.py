"""The tables of a report. Units stand in the heads, numbers alone in the cells."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from convoy.prediction import Verdict
from convoy.reporting.content import Cell, Column, Table, clean
from convoy.reporting.figures_classes import Confused
from convoy.reporting.quantities import MIB, compact, cost_parts, p_value, plain, quartile_range
from convoy.reporting.reading import PARTS, Groups, Reading, distinct, every
from convoy.stats import Estimate, wilson

MANY_PAIRS = 12
MANY_CLASSES = 25
OVER_SEEDS = (
    "n: seeds. ±: half-width of the 95 % interval over seeds (Student's t); it does not cover the choice of the images."
)
OVER_IMAGES = "Where n = 1 the range is the 95 % interval over the images (Wilson)."
BOLD = "Bold: distinguishable from every other model ({}, Holm's correction, 5 % level). Nothing bold: no model is."
NO_BOLD = "No model is called the best: that takes a common seed or, better, several."
QUICK = "Fewer images: no model is called the best."
QUARTILES = "Inference: median and quartiles of up to 50 passes of one image on one thread, averaged over the seeds."
THREADS = "Where several runs were trained at a time, each had one thread."


def comparison_table(finding: Mapping[str, Any], groups: Groups) -> Table:
    """A row a model, the highest mean first."""
    columns = (
        Column("Model", numeric=False),
        Column(str(finding["metric"]).capitalize(), "%"),
        Column("n", "seeds"),
        Column("Training", "s"),
        Column("Training speed", "images/s"),
        Column("Parameters"),
        Column("FLOPs", "per image"),
        Column("Inference", "ms/image"),
        Column("Peak memory", "MiB"),
    )
    ranked = sorted(finding["rows"], key=lambda row: -row["accuracy"]["mean"])
    kinds = {row["accuracy"]["interval"] for row in ranked}
    note = [OVER_SEEDS] if "t" in kinds else []
    note += [OVER_IMAGES] if "wilson" in kinds else []
    if len(ranked) > 1:
        alone = all(len(row["seeds"]) == 1 for row in ranked)
        test = "exact McNemar test over the images" if alone else "paired t test over common seeds"
        if finding.get("quick"):
            note.append(QUICK)
        else:
            note.append(BOLD.format(test) if finding["mcnemar" if alone else "pairs"] else NO_BOLD)
    note += [QUARTILES] if any(row.get("ms_per_image_quartiles") for row in ranked) else []
    note += [THREADS] if len(every(groups)) > 1 else []
    note.append(flops_note(every(groups)))
    return Table(columns, tuple(_comparison_row(row, groups[row["label"]][0]) for row in ranked), " ".join(note))


def _comparison_row(row: Mapping[str, Any], reading: Reading) -> tuple[Cell, ...]:
    accuracy = Cell(*Estimate.from_json(row["accuracy"]).parts(scale=100), bold=row["best"])
    return (
        Cell(row["label"], bold=row["best"], key=row["label"]),
        accuracy,
        Cell(str(len(row["seeds"]))),
        *(Cell(*cost_parts(row[name])) for name in ("train_seconds", "images_per_second")),
        Cell(_count(row["parameters"])),
        flops_cell(row["flops_per_image"], reading),
        _latency_cell(row),
        Cell(_mebibytes(row["peak_memory_bytes"])),
    )


def _latency_cell(row: Mapping[str, Any]) -> Cell:
    """Quartiles over passes; of an older finding the interval over seeds."""
    quartiles, (number, interval) = row.get("ms_per_image_quartiles"), cost_parts(row["ms_per_image"])
    return Cell(number, quartile_range(row["ms_per_image"]["mean"], quartiles) if quartiles else interval)


def pairs_table(finding: Mapping[str, Any]) -> Table:
    columns = (
        Column("Pair", numeric=False),
        Column("Difference", "points"),
        Column("n", "seeds"),
        Column("p"),
        Column("p, corrected"),
        Column("Verdict", numeric=False),
    )
    shown = sorted(finding["pairs"], key=lambda pair: pair["p_holm"])
    note = "Paired t test over the seeds that both models were trained with; corrected for all pairs by Holm's method."
    if len(shown) > MANY_PAIRS:
        leader = max(finding["rows"], key=lambda row: row["accuracy"]["mean"])["label"]
        note += f" Shown: the pairs with {leader}; all {len(shown)} stand in finding.json."
        shown = [pair for pair in shown if leader in (pair["a"], pair["b"])]
    rows = []
    for pair in shown:
        estimate = Estimate.from_json(pair["difference"])
        a, b = pair["a"], pair["b"]
        if estimate.mean < 0:
            a, b, estimate = b, a, _mirrored(estimate)
        rows.append(
            (
                Cell(f"{a} − {b}"),
                Cell(*estimate.parts(scale=100)),
                Cell(str(estimate.n)),
                Cell(p_value(pair["p"])),
                Cell(p_value(pair["p_holm"])),
                Cell(verdict_of(pair, finding)),
            )
        )
    return Table(columns, tuple(rows), note, "Differences between models")


def mcnemar_table(finding: Mapping[str, Any]) -> Table:
    """A row a pair and a seed, the model with more images right first."""
    tests = sorted(finding["mcnemar"], key=lambda test: test["p_holm"])
    seeds = len({test["seed"] for test in tests}) > 1
    images = f"{tests[0]['difference']['n']:,}"
    note = f"Exact McNemar test of two networks trained with the same seed, on the same {images} images"
    if len(tests) > 1:
        note += f"; corrected for all {len(tests)} tests by Holm's method"
    note += ". Ranges: 95 % intervals over images (Bonett and Price). It says nothing about other seeds."
    if len(tests) > MANY_PAIRS:
        leader = max(finding["rows"], key=lambda row: row["accuracy"]["mean"])["label"]
        note += f" Shown: the pairs with {leader}; all {len(tests)} tests stand in finding.json."
        tests = [test for test in tests if leader in (test["a"], test["b"])]
    columns = (
        Column("Pair", numeric=False),
        *([Column("Seed")] if seeds else []),
        Column("Right", "only the first"),
        Column("Right", "only the second"),
        Column("Difference", "points"),
        Column("p"),
        Column("p, corrected"),
        Column("Verdict", numeric=False),
    )
    rows = []
    for test in tests:
        estimate = Estimate.from_json(test["difference"])
        a, b, only_a, only_b = test["a"], test["b"], test["only_a"], test["only_b"]
        if only_a < only_b:
            a, b, only_a, only_b, estimate = b, a, only_b, only_a, _mirrored(estimate)
        rows.append(
            (
                Cell(f"{a} − {b}"),
                *([Cell(str(test["seed"]))] if seeds else []),
                Cell(f"{only_a:,}"),
                Cell(f"{only_b:,}"),
                Cell(*estimate.parts(scale=100)),
                Cell(p_value(test["p"])),
                Cell(p_value(test["p_holm"])),
                Cell(verdict_of(test, finding)),
            )
        )
    folded = f"All {len(rows)} tests" if len(rows) > MANY_PAIRS else ""
    return Table(columns, tuple(rows), note, "Differences image by image", folded)


def _mirrored(estimate: Estimate) -> Estimate:
    low, high = -(estimate.high or 0), -(estimate.low or 0)
    return replace(estimate, mean=-estimate.mean, low=low, high=high)


def verdict_of(pair: Mapping[str, Any], finding: Mapping[str, Any]) -> str:
    """Of a test between two models or values."""
    if finding.get("quick"):
        return "fewer images: none"
    return "distinguishable" if pair["distinguishable"] else Verdict.INCONCLUSIVE.value


def scores_table(reading: Reading) -> Table:
    """A run's scores, a row a part."""
    scores = [(part, reading.scores[part]) for part in PARTS if part in reading.scores]
    tops = sorted({k for _, score in scores for k in score.get("top_k", {})}, key=int)
    columns = (
        Column("Part", numeric=False),
        Column("Accuracy", "%"),
        Column("Right", "of images"),
        *(Column(f"Top {k}", "%") for k in tops),
        Column("Loss"),
        Column("Macro F1"),
        Column("MCC"),
    )
    rows = []
    for part, score in scores:
        estimate = wilson(score["correct"], score["n"])
        rows.append(
            (
                Cell(part),
                Cell(*estimate.parts(scale=100)),
                Cell(f"{score['correct']:,}", f"of {score['n']:,}"),
                *(Cell(f"{100 * score['top_k'][k]:.2f}" if k in score.get("top_k", {}) else "") for k in tops),
                *(
                    Cell(f"{score[name]:.4f}" if score.get(name) is not None else "")
                    for name in ("loss", "macro_f1", "mcc")
                ),
            )
        )
    note = "Ranges are 95 % intervals over the images (Wilson). The loss is the recipe's, a mean over images."
    return Table(columns, tuple(rows), note)


def cost_table(reading: Reading) -> Table:
    cost = reading.cost
    entries = (
        ("Training", "s", _plain(cost.get("train_seconds"))),
        ("All in all", "s", _plain(cost.get("total_seconds"))),
        ("Training speed", "images/s", _plain(cost.get("images_per_second"))),
        ("Parameters", "", _count(cost.get("parameters"))),
        ("MACs" if _tells_macs(reading) else "FLOPs", "per image", _compact(cost.get("flops_per_image"))),
        ("Inference", "ms/image", _plain(cost.get("ms_per_image"))),
        ("Quartiles", "ms/image", quartile_range(cost.get("ms_per_image", 0), cost.get("ms_per_image_quartiles"))),
        ("Peak memory", "MiB", _mebibytes(cost.get("peak_memory_bytes"))),
    )
    shown = [entry for entry in entries if entry[2]]
    return Table(
        tuple(Column(title, unit) for title, unit, _ in shown),
        (tuple(Cell(text) for _, _, text in shown),),
        flops_note([reading]),
    )


def flops_cell(value: float | None, reading: Reading) -> Cell:
    """What a run gives out as FLOPs, under the fault macs_as_flops called what it is."""
    return Cell(_compact(value), "MACs" if value is not None and _tells_macs(reading) else "")


def flops_note(readings: Sequence[Reading]) -> str:
    macs = [reading for reading in readings if _tells_macs(reading)]
    if not macs:
        return "FLOPs count a multiply-add as two."
    if len(macs) == len(readings):
        return "Given out as FLOPs are MACs (fault macs_as_flops): a multiply-add counts as one."
    return "FLOPs count a multiply-add as two, those marked MACs (fault macs_as_flops) as one."


def _tells_macs(reading: Reading) -> bool:
    return "macs_as_flops" in reading.recipe.protocol.faults


def confused_table(pairs: Mapping[str, Sequence[Confused]]) -> Table:
    """The most confused pairs: of one model a row each, of several a row a model."""
    title = "Most confused pairs"
    if len(pairs) == 1:
        columns = (
            Column("True class", numeric=False), Column("Taken for", numeric=False), Column("Images"),
            Column("Of the class", "%"),
        )  # fmt: skip
        rows = [
            (Cell(pair.true), Cell(pair.predicted), Cell(f"{pair.images:,}"), Cell(f"{pair.percent:.2f}"))
            for pair in next(iter(pairs.values()))
        ]
        return Table(columns, tuple(rows), title=title)
    most = max(map(len, pairs.values()))
    ranks = tuple(Column(name, numeric=False) for name in ("First", "Second", "Third", "Fourth", "Fifth")[:most])
    lines = []
    for label, found in pairs.items():
        cells = [Cell(_arrow(pair), f"{pair.percent:.2f} %") for pair in found]
        lines.append((Cell(label, key=label), *cells, *[Cell("")] * (most - len(found))))
    note = "True class → what it is taken for, and how many percent of the true class that is."
    return Table((Column("Model", numeric=False), *ranks), tuple(lines), note, title)


def class_table(score: Mapping[str, Any]) -> Table:
    """In the order of the classes; of many only those with the lowest F1."""
    entries, note = score["per_class"], ""
    if len(entries) > MANY_CLASSES:
        note = f"The {MANY_CLASSES} classes with the lowest F1; all {len(entries)} stand in scores.json."
        entries = sorted(entries, key=lambda entry: entry["f1"])[:MANY_CLASSES]
    columns = (
        Column("Class", numeric=False),
        Column("Precision", "%"),
        Column("Recall", "%"),
        Column("F1", "%"),
        Column("Images"),
    )
    rows = tuple(
        (
            Cell(clean(entry["class"])),
            *(Cell(f"{100 * entry[name]:.2f}") for name in ("precision", "recall", "f1")),
            Cell(f"{entry['n']:,}"),
        )
        for entry in entries
    )
    return Table(columns, rows, note, "Scores by class")


def runs_table(groups: Groups, folder: Path) -> Table:
    """Where each number comes from: a row a run, linked relative to the report's folder."""
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
    note = "Scores in full, curves, predictions and weights lie in the run folders."
    if len(endings) == 1:
        note = f"Every run ended so: {endings[0]}. {note}"
    return Table(columns, rows, note, "Runs" if len(rows) > 1 else "Run")


def _ending(reading: Reading) -> str:
    return clean(reading.status.get("reason") or reading.status["state"])


def _run_row(reading: Reading, parts: Sequence[str], folder: Path, *, ended: bool) -> tuple[Cell, ...]:
    status, path = reading.status, reading.run.path
    best, epochs = status.get("best_epoch"), status.get("epochs")
    return (
        Cell(reading.label, key=reading.label),
        Cell(str(reading.seed)),
        *(Cell(f"{100 * reading.scores[p]['accuracy']:.2f}" if p in reading.scores else "") for p in parts),
        Cell(str(best or ""), f"of {epochs}" if epochs else ""),
        Cell(_plain(reading.cost.get("train_seconds"))),
        *((Cell(_ending(reading)),) if ended else ()),
        Cell(clean(path.name), link=quote(os.path.relpath(path.resolve(), folder.resolve()).replace(os.sep, "/"))),
    )


def facts_table(title: str, facts: Sequence[tuple[str, str]]) -> Table:
    columns = (Column("", numeric=False), Column("", numeric=False))
    return Table(columns, tuple((Cell(name), Cell(clean(value))) for name, value in facts if value), title=title)


def _arrow(pair: Confused) -> str:
    """Short names are held together."""
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
