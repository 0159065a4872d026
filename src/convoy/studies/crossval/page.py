"""The page of a cross-validation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from convoy.reporting import figures_classes as classes_
from convoy.reporting import sections, tables
from convoy.reporting.content import (
    Block,
    Cell,
    Chart,
    Column,
    Field,
    Gallery,
    Page,
    Section,
    Strip,
    Table,
    Tile,
    table_of,
)
from convoy.reporting.figures_images import prediction_tiles
from convoy.reporting.palette import MODELS, Look
from convoy.reporting.quantities import plain
from convoy.reporting.reading import Groups, Reading, every, of_study
from convoy.runs import Study
from convoy.studies.crossval import figures, words
from convoy.studies.crossval.finding import CrossvalFinding

HARDEST = 24


def page(study: Study, finding: CrossvalFinding, folder: Path) -> Page:
    groups = of_study(study)
    readings = every(groups)  # in the order of finding.rows
    curves = curve_groups(groups)
    labels = tuple(dict.fromkeys((*curves, *groups)))
    look = Look(labels)
    line_of = {reading.label: label for label, group in curves.items() for reading in group}
    lines = [line_of[reading.label] for reading in readings]
    panel = figures.folds(finding, look, lines).panel()
    chart = Chart("cv_accuracy", "Accuracy", (panel,), figures.caption(finding))
    page_sections = [
        Section("Accuracy by fold", (chart, _folds(finding, readings, folder, lines))),
        _training(curves, look),
        _errors(finding, readings),
    ]
    repeats = f" × {finding.repeats} repeats" if finding.repeats > 1 else ""
    return Page(
        kicker=sections.kicker("Cross-validation", study.name, readings),
        title=f"{finding.label} on {finding.data}: {finding.folds} folds{repeats}",
        sentence=words.sentence(finding),
        caveats=tuple(words.caveats(finding)),
        tables=(_summary(finding),),
        sections=(
            *(section for section in page_sections if section),
            sections.data(groups),
            sections.setup(groups, folder, [study.table["command"]]),
        ),
        labels=labels,
    )


def _summary(finding: CrossvalFinding) -> Table:
    """The mean over folds with both intervals, and the accuracy over all images."""
    corrected, naive = finding.accuracy, finding.naive
    columns = (Column("", numeric=False), Column("Accuracy", "%"), Column("Spread", "sd, points"), Column("n"))
    spread, n = Cell(f"{100 * (corrected.sd or 0):.2f}"), Cell(str(corrected.n), "folds")
    mean, plain_mean = Cell(*corrected.parts(scale=100), bold=True), Cell(*naive.parts(scale=100))
    rows = [
        (Cell("Mean over folds, corrected interval", bold=True), mean, spread, n),
        (Cell("Mean over folds, plain t interval (too narrow)"), plain_mean, spread, n),
    ]
    for repeat, images in enumerate(finding.out_of_fold, start=1):
        name = "All images, out of fold" + (f", repeat {repeat}" if finding.repeats > 1 else "")
        rows.append((Cell(name), Cell(*images.parts(scale=100)), Cell(""), Cell(f"{images.n:,}", "images")))
    note = (
        "±: half-width of the 95 % interval. Corrected: for the training images that folds share (Nadeau and Bengio "
        "2003). All images: each is classified by the network that was not trained on it; range: 95 % interval over "
        "images (Wilson). oof.npz in the study folder holds the predictions."
    )
    return Table(columns, tuple(rows), note)


def _folds(finding: CrossvalFinding, readings: Sequence[Reading], folder: Path, lines: Sequence[str]) -> Table:
    """One row per fold. `lines`: the label of each fold's curve."""
    scores = [reading.scores["fold"] for reading in readings]
    seconds = [reading.cost.train_seconds for reading in readings]
    fields: list[Field[int]] = [
        Field("Fold", lambda i: Cell(f"{finding.rows[i].fold + 1} of {finding.folds}", model=lines[i]), numeric=False),
        *([Field("Repeat", lambda i: str(finding.rows[i].repeat + 1))] if finding.repeats > 1 else []),
        Field("Seed", lambda i: str(finding.rows[i].seed)),
        Field("Accuracy", lambda i: Cell(*finding.rows[i].accuracy.parts(scale=100)), "%"),
        Field("Correct", lambda i: Cell(f"{scores[i].correct:,}", f"of {scores[i].n:,}"), "images"),
        Field("Trained on", lambda i: f"{readings[i].data.counts['train']:,}", "images"),
        Field("Inner validation", lambda i: f"{finding.rows[i].validation_images:,}", "images"),
        Field("Best epoch", lambda i: tables.best_epoch_cell(readings[i]), "of epochs"),
        Field("Training", lambda i: "" if (value := seconds[i]) is None else plain(value), "s"),
        Field("Run folder", lambda i: tables.run_cell(readings[i], folder), numeric=False),
    ]
    note = "Ranges: 95 % intervals over the images of a fold (Wilson)."
    return table_of(fields, range(len(readings)), note, "Folds")


def curve_groups(groups: Groups) -> dict[str, list[Reading]]:
    """One curve per fold if there are enough colours, else one per repeat."""
    readings = every(groups)
    if len(readings) <= len(MODELS):
        return dict(groups)
    lines: dict[str, list[Reading]] = {}
    for reading in readings:
        lines.setdefault(f"repeat {reading.recipe.data.split.repeat + 1}", []).append(reading)
    return lines


def _training(curves: Groups, look: Look) -> Section | None:
    chart = sections.curves(curves, look, held_out="inner validation", caption=figures.curves_caption)
    return None if chart is None else Section("Training", (chart,))


def _errors(finding: CrossvalFinding, readings: Sequence[Reading]) -> Section | None:
    """Out-of-fold confusion matrix, most confused pairs, hardest images of all folds."""
    scores = [reading.scores["fold"] for reading in readings]
    if not all(score.confusion for score in scores):
        return None
    numbers = classes_.confusion_numbers(finding.label, readings[0].classes, scores)
    numbers = numbers._replace(runs=1)  # each image is counted once
    chart = sections.confusion_chart([numbers], named=False)
    blocks: list[Block] = [chart]
    worst = numbers.worst(sections.CONFUSED_PAIRS)
    if worst:
        blocks.append(tables.confused_table({finding.label: worst}))
    tiles = hardest(readings)
    if tiles:
        wrong = sum(bool(tile.true_class) for tile in tiles)
        caption = (
            f"The {len(tiles)} images with the highest out-of-fold loss; {wrong} are misclassified. Red: a wrong "
            "prediction, with the true class below."
        )
        blocks.append(Gallery("hardest", "Hardest images", (Strip("", tiles),), caption))
    return Section("Out-of-fold errors", tuple(blocks))


def hardest(readings: Sequence[Reading]) -> tuple[Tile, ...]:
    """The images of all folds with the highest cross-entropy, each once; empty if the runs hold no images."""
    keys = ("images", "labels", "predicted", "confidence")
    folds: list[dict[str, np.ndarray]] = []
    for reading in readings:
        gallery, predictions = reading.gallery, reading.run.predictions
        if "hardest_images" not in gallery or "fold_logits" not in predictions:
            return ()
        places, labels = gallery["hardest_index"], gallery["hardest_labels"]
        logits = predictions["fold_logits"][places].astype(np.float64)
        highest = logits.max(axis=1)
        total = highest + np.log(np.exp(logits - highest[:, None]).sum(axis=1))
        loss = np.nan_to_num(total - logits[np.arange(len(labels)), labels], nan=np.inf)
        arrays = {key: gallery[f"hardest_{key}"] for key in keys}
        folds.append({**arrays, "loss": loss, "index": predictions["fold_index"][places]})
    joined = {name: np.concatenate([arrays[name] for arrays in folds]) for name in folds[0]}
    order = np.argsort(-joined["loss"], kind="stable")
    _, firsts = np.unique(joined["index"][order], return_index=True)  # an image can be hard in several repeats
    chosen = order[np.sort(firsts)[:HARDEST]]
    images, labels, predicted, confidence, index = (joined[name][chosen] for name in (*keys, "index"))
    return prediction_tiles(images, labels, predicted, confidence, readings[0].classes, index)
