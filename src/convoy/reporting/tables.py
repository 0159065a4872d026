"""The tables of a report. Units are in the column heads, numbers in the cells."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from convoy.prediction import Verdict
from convoy.recipe.faults import Fault
from convoy.reporting.content import Cell, Column, Table
from convoy.reporting.figures_classes import Confused
from convoy.reporting.quantities import MIB, compact, cost_parts, p_value, plain, quartile_range
from convoy.reporting.reading import PARTS, Groups, Reading, distinct, every
from convoy.run_contents import Score
from convoy.stats import Estimate, wilson

MANY_PAIRS = 12
MANY_CLASSES = 25
OVER_SEEDS = (
    "n: seeds. ±: half-width of the 95 % interval over seeds (Student's t), which does not cover the choice of images."
)
OVER_IMAGES = "For n = 1, the range is the 95 % interval over images (Wilson)."
BOLD = (
    "Bold: significantly different from every other model ({}, Holm's correction, 5 % level). "
    "Nothing bold: no such model."
)
NO_BOLD = "No best model: this needs a common seed or, better, several."
QUICK = "Fewer images: no best model."
QUARTILES = "Inference: median and quartiles of up to 50 passes of one image on one thread, averaged over seeds."
THREADS = "Runs trained in parallel had one thread each."


def comparison_table(finding: Mapping[str, Any], groups: Groups) -> Table:
    """One row per model, highest mean first."""
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
            note.append(BOLD.format(test) if finding.get("mcnemar" if alone else "pairs") else NO_BOLD)
    note += [QUARTILES] if any(row.get("ms_per_image_quartiles") for row in ranked) else []
    note += [THREADS] if len(every(groups)) > 1 else []
    note.append(flops_note(every(groups)))
    return Table(columns, tuple(_comparison_row(row, groups[row["label"]][0]) for row in ranked), " ".join(note))


def _comparison_row(row: Mapping[str, Any], reading: Reading) -> tuple[Cell, ...]:
    accuracy = Cell(*Estimate.from_json(row["accuracy"]).parts(scale=100), bold=row["best"])
    return (
        Cell(row["label"], bold=row["best"], model=row["label"]),
        accuracy,
        Cell(str(len(row["seeds"]))),
        *(Cell(*cost_parts(row[name])) for name in ("train_seconds", "images_per_second")),
        Cell(_count(row["parameters"])),
        flops_cell(row["flops_per_image"], reading),
        _latency_cell(row),
        Cell(_mebibytes(row["peak_memory_bytes"])),
    )


def _latency_cell(row: Mapping[str, Any]) -> Cell:
    """With quartiles over passes; an older finding has the interval over seeds."""
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
    pairs = sorted(finding["pairs"], key=lambda pair: pair["p_holm"])
    note = "Paired t test over the common seeds of two models; p corrected for all pairs (Holm)."
    if len(pairs) > MANY_PAIRS:
        leader = max(finding["rows"], key=lambda row: row["accuracy"]["mean"])["label"]
        note += f" Shown: pairs with {leader}; all {len(pairs)} are in finding.json."
        pairs = [pair for pair in pairs if leader in (pair["a"], pair["b"])]
    rows = []
    for pair in pairs:
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
    """One row per pair and seed; the model with more correct images is first."""
    tests = sorted(finding["mcnemar"], key=lambda test: test["p_holm"])
    seeds = len({test["seed"] for test in tests}) > 1
    images = f"{tests[0]['difference']['n']:,}"
    note = f"Exact McNemar test of two networks trained with the same seed, on the same {images} images"
    if len(tests) > 1:
        note += f"; p corrected for all {len(tests)} tests (Holm)"
    note += ". Ranges: 95 % intervals over images (Bonett and Price). They do not cover other seeds."
    if len(tests) > MANY_PAIRS:
        leader = max(finding["rows"], key=lambda row: row["accuracy"]["mean"])["label"]
        note += f" Shown: pairs with {leader}; all {len(tests)} tests are in finding.json."
        tests = [test for test in tests if leader in (test["a"], test["b"])]
    columns = (
        Column("Pair", numeric=False),
        *([Column("Seed")] if seeds else []),
        Column("Correct", "first only"),
        Column("Correct", "second only"),
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
    return Table(columns, tuple(rows), note, "Differences on the same images", folded)


def _mirrored(estimate: Estimate) -> Estimate:
    low, high = -(estimate.high or 0), -(estimate.low or 0)
    return replace(estimate, mean=-estimate.mean, low=low, high=high)


def verdict_of(pair: Mapping[str, Any], finding: Mapping[str, Any]) -> str:
    """The verdict of a test between two models or values."""
    if finding.get("quick"):
        return "none (fewer images)"
    return "significant" if pair["distinguishable"] else Verdict.INCONCLUSIVE.value


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
